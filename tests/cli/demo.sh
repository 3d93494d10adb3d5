#!/bin/bash
# data/demo.sh: what `make demo` shows, that a real kill is in it, and that it fails when what it shows is not so.
. "$(dirname "$0")/lib.bash"
export XDG_CACHE_HOME=$T/cache TMPDIR=$T/tmp
mkdir "$TMPDIR"
demo() { # demo CODE NAME PROGRAM
    local rc
    rm -rf "$TMPDIR"/*
    timeout 300 data/demo.sh "$3" </dev/null >"$T/out" 2>"$T/err"
    rc=$?
    if [ $rc = "$1" ]; then ok "$2"; else bad "$2" "expected exit code $1, found $rc"; fi
}
# A program before the program; $1 says where it differs.
wrapped() {
    printf '#!/bin/sh\nquietmind=%s\n%s\nexec "$quietmind" "$@"\n' "$QUIETMIND" "$1" >"$T/wrapped"
    chmod +x "$T/wrapped"
}

known_efficiency

demo 0 'the demonstration' "$QUIETMIND"
check 'the machine' out_has '^reads +best [0-9.]+ GB/s'
check 'the plan' out_has '^total +[0-9.]+$'
check 'predicted speed' out_has '^decode +[0-9.]+ +[0-9.]+$'
check 'killed' out_has '^state +not running; the same command resumes it'
check 'some rows were finished' out_has '^rows +[1-5]?[0-9] finished, 0 failed, of 60'
check 'and kept' out_has '^  60 answers, [1-9][0-9]? of them from before the kill'
check 'every answer' test "$(grep -c '^[ 0-9][0-9] .* = ' "$T/out")" = 60
check 'as expected' out_has '^60 of 60 answers as expected; 60 as '
check 'what was shared' out_has '^prompts +168035 tokens; 1[0-9]{5} of them not computed again'
check 'speed' out_has '^speed +prompts computed at [0-9]+ tokens/s, answers'
check 'joules, or why not' out_has '^energy +[^ ]'
check 'the answers come before anything is measured' sh -c "sed '/^processor/q' $T/out | grep -q '^60 of 60 answers'"
check 'the report is where it says' grep -q '</svg>' "$(sed -n 's/^report  *//p' "$T/out")"
check 'the answers too' test "$(wc -l <"$(sed -n 's/^answers  *//p' "$T/out")")" = 60
check 'nothing else is left' test "$(ls "$TMPDIR" | wc -l)$(ls "$TMPDIR"/* | grep -v journal | tr '\n' ' ')" = '1answers.jsonl report.html '
check 'a card is planned' out_has '^placement +cpu: '
check 'and compared' out_has '^  emulated:auto +[0-9]'
check 'with the same answers' test "$(grep -c ' the same$' "$T/out")" = 2
check 'no line is wide' sh -c "! sed 's|$QUIETMIND|build/quietmind|' $T/out | grep -v '$TMPDIR' | grep -E '.{81}'"
check 'kernels were not measured' sh -c "! grep 'measuring the kernels' $T/err"

wrapped 'case $1 in plan) echo "no plan" >&2; exit 3 ;; esac'
demo 3 'a command that fails' "$T/wrapped"
check 'is named' out_has '^plan failed \(exit code 3\)'
check 'the answers that were shown before stay' test "$(ls "$TMPDIR"/* | grep -v journal | tr '\n' ' ')" = 'answers.jsonl report.html '
wrapped 'case $1 in batch) echo "no batch" >&2; exit 5 ;; esac'
demo 5 'a batch that fails' "$T/wrapped"
check 'says why' out_has '^no batch'
check 'nothing is left of it' empty "$TMPDIR"
check 'nothing was measured before the answers' sh -c "! grep '^processor' $T/out"

[ "${QM_TEST_SLOW:-1}" = 0 ] && finish
# What was shown above is left out from here on.
brief='[ "$1" != compare ] || exit 0'
wrapped "$brief"'
[ "$2" != '$DEMO' ] || [ ! -e "$5.partial" ] || {
    "$quietmind" "$@" || exit
    sed -i "s/Karl/Carl/; s/Ilse/Else/" "$5"
    exit
}'
demo 1 'another answer' "$T/wrapped"
check 'is marked' out_has '^12 Who found the red knife. +Else\. +X Ilse\.'
check 'and counted' out_has '^59 of 60 answers as expected; 59 as '
# Status says nothing before rows go one by one: as if all had finished before it was asked.
wrapped "$brief
case \"\$*\" in
*'--sequences 1 '*) : >'$T/slow' ;;
*--status*) [ -e '$T/slow' ] || [ -e \"\$3\" ] || exit 3 ;;
esac"
demo 0 'a machine that is too fast' "$T/wrapped"
check 'goes row by row' out_has '--sequences 1 --threads 1$'
finish
