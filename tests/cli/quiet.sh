#!/bin/bash
# Quiet work: the same text on fewer threads, what is reported of it, and what the system refuses.
. "$(dirname "$0")/lib.bash"
has() { grep -qE "$1" "$T/$2"; }

expect 0 'as it is' run $DEMO -p 'Once upon a time' -n 120 --threads 4
cp "$T/out" "$T/loud"
for quiet in --quiet --quiet=10 --quiet=100 --quiet=max; do
    expect 0 "$quiet" run $DEMO -p 'Once upon a time' -n 120 --threads 4 $quiet
    check "$quiet writes the same" cmp -s "$T/loud" "$T/out"
    check "$quiet says the threads" has 'threads? (keep|\(too few)|all 4 threads' err
done
expect 0 'as JSON' run $DEMO -p 'Once upon a time' -n 120 --threads 4 --quiet=10 --nice 1 --idle --json
check 'JSON has it' has '"quiet":\{"wanted":0.1,"found":true,"threads":[1-4],"threads_all":4,"kept":[0-9.]+' out
expect 0 'not asked for' run $DEMO -p a -n 2 --json
check 'JSON says so' has '"quiet":null' out
IN="$T/in"
echo '{"role":"user"}' >"$T/in"
expect 0 'chat' chat $DEMO --once 'Hello' -n 5 --quiet --idle
QUIETMIND_QUIET=fast refuse 2 'a wrong variable' '--?quiet|QUIETMIND_QUIET' run $DEMO -p a
# an ordinary user may not raise its priority
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    chmod 755 "$T"
    timeout 60 setpriv --reuid 65534 --clear-groups --bounding-set -all --inh-caps -all \
        "$QUIETMIND" run "$PWD/$DEMO" -p a -n 2 --nice -5 >"$T/out" 2>"$T/err"
    if [ -s "$T/out" ]; then
        check 'a refused nice value is said' has 'warning: the system refuses a nice value of -5: ' err
    fi
fi
finish
