#!/bin/bash
# quietmind batch and rows that end the program: tried again alone, set aside the second time, and nobody else is. Skipped
# where nothing can be put before the program's calls.
. "$(dirname "$0")/batch.bash"

skip() {
    echo "skipped: $1"
    exit 77
}
ldd "$QUIETMIND" | grep -q libasan && skip 'a sanitizer stands before the calls of the system'
ldd "$QUIETMIND" | grep -q libc.so || skip 'the program is linked statically'
"${CC:-cc}" -D_GNU_SOURCE -shared -fPIC -O1 -o "$T/crash.so" tests/cli/crash_preload.c -ldl 2>"$T/err" ||
    skip 'no compiler for what ends the program'

{
    long_rows 3 60
    row bad completions '"prompt": "The bells rang POISON", "max_tokens": 60, "ignore_eos": true'
    long_rows 3 60 | sed 's/"l/"m/'
} >"$T/in.jsonl"
code 'uninterrupted' 0 run "$T/in.jsonl" -o "$T/in.whole"
crashing() { # crashing OUT WHEN SIGNAL
    CRASH_ON=POISON CRASH_WHEN=$2 CRASH_SIGNAL=$3 LD_PRELOAD="$T/crash.so" run "$T/in.jsonl" -o "$1"
}
others() { cmp -s <(grep -v '"custom_id":"bad"' "$1" | sed 's/"created":[0-9]*//') <(grep -v '"custom_id":"bad"' "$T/in.whole" | sed 's/"created":[0-9]*//'); }

for case in 'work 11' 'work 6' 'read 11'; do
    read -r when signal <<<"$case"
    out="$T/$when$signal"
    code "$case: ended by its signal" $((128 + signal)) crashing "$out" $when $signal
    check "$case: which leaves a record" grep -qa "^ended by signal $signal:.* 4" <(tr '\0' '\n' <"$out.lock")
    code "$case: tried again" $((128 + signal)) crashing "$out" $when $signal
    check "$case: which is reported" err_has "the last run was ended by signal $signal"
    code "$case: set aside" 0 crashing "$out" $when $signal
    check "$case: by its name" grep -q '"custom_id":"bad","response":null,"error":{"code":"internal_error","message":"row 4: the program crashed twice' "$out"
    check "$case: the others are answered" others "$out"
    check "$case: all of them" test "$(wc -l <"$out")" = 7
done

code 'once only' 139 crashing "$T/once" work 11
code 'then well' 0 run "$T/in.jsonl" -o "$T/once"
check 'the same' same "$T/once" "$T/in.whole"

# A kill -9 says nothing about rows, however often.
for i in 1 2 3 4; do
    code "killed from outside, $i" 137 crashing "$T/killed" work 9
done
code 'then whole' 0 run "$T/in.jsonl" -o "$T/killed"
check 'nothing is set aside' same "$T/killed" "$T/in.whole"
finish
