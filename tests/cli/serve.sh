#!/bin/bash
# quietmind serve: what it refuses to begin with, and by serve.py what clients see.
. "$(dirname "$0")/lib.bash"

refuse 2 'no address' '--listen: expected ADDRESS:PORT' serve $DEMO --listen nowhere
refuse 2 'no port' '--listen: expected ADDRESS:PORT' serve $DEMO --listen 127.0.0.1
refuse 2 'a port too high' '--listen: expected ADDRESS:PORT' serve $DEMO --listen 127.0.0.1:70000
refuse 2 'others without keys' 'others than this machine could ask' serve $DEMO --listen 0.0.0.0:0
refuse 3 'keys that are not there' 'No such file' serve $DEMO --api-keys "$T/none"
printf '# nothing\n\n' >"$T/empty"
refuse 3 'no keys' 'there is no key in it' serve $DEMO --api-keys "$T/empty"
refuse 2 'a log of what' '--log: expected text, json or off' serve $DEMO --log xml
refuse 3 'no model' 'expected a model folder' serve nothing
refuse 4 'too little memory' 'not enough memory' serve $DEMO --kv-memory 100T
refuse 2 "vLLM's name" 'did you mean --alias' serve $DEMO --served-model-name x
refuse 2 "llama-server's port" 'did you mean --listen' serve $DEMO --port 8080

mkdir "$T/clients"
while read -r state rest; do
    case $state in
    ok) ok "$rest" ;;
    FAIL)
        : >"$T/out"
        : >"$T/err"
        bad "${rest%% (*}" "$rest"
        ;;
    esac
done < <(timeout 600 python3 tests/cli/serve.py "$QUIETMIND" $DEMO "$T/clients" 2>&1 || echo "FAIL serve.py ended with an error")
[ $passed -gt 60 ] || bad 'serve.py' "expected more than 60 checks, found $passed"

finish
