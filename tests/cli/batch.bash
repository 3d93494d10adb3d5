# What the tests of quietmind batch share. Sourced by tests/cli/batch*.sh.
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
sized() { if [ -n "${LONG:-}" ]; then echo "$1"; elif [ "${QM_TEST_SLOW:-}" = 0 ]; then echo "$3"; else echo "$2"; fi; }
IN=
run() { "$QUIETMIND" batch $DEMO "$@" --threads 2 --sequences 8 --context 512 </dev/null; }
row() { printf '{"custom_id": "%s", "method": "POST", "url": "/v1/%s", "body": {%s}}\n' "$1" "$2" "$3"; }
# Two jobs of one input differ in the time at which they began alone.
same() { cmp -s <(sed 's/"created":[0-9]*/"created":0/g' "$1") <(sed 's/"created":[0-9]*/"created":0/g' "$2"); }
ids() { sed -n 's/.*"custom_id":"\([^"]*\)".*/\1/p' "$1"; }
code() { # code NAME EXPECTED COMMAND...
    local name=$1 want=$2 rc
    shift 2
    "$@" >"$T/out" 2>"$T/err"
    rc=$?
    if [ $rc = "$want" ]; then ok "$name"; else bad "$name" "expected exit code $want, found $rc"; fi
}
# Some rows sampled, some wrong.
mixed_rows() { # mixed_rows ROWS
    local i
    for ((i = 1; i <= $1; i++)); do
        case $((i % 8)) in
        3) echo "{\"custom_id\": \"r$i\", \"oops\": true}" ;;
        5) row "r$i" embeddings '"input": "The bells rang and the brothers sang"' ;;
        *) row "r$i" completions '"prompt": "The bells rang and", "max_tokens": 60, "ignore_eos": true, "temperature": 1' ;;
        esac
    done
}
# Rows of so many tokens that a job can be met at work.
long_rows() { # long_rows ROWS TOKENS
    local i
    for ((i = 1; i <= $1; i++)); do
        row "l$i" completions "\"prompt\": \"The bells rang and\", \"max_tokens\": $2, \"ignore_eos\": true, \"temperature\": 1"
    done
}
# resumed OUT NAME INPUT: runs the job of $T/INPUT.jsonl to its end; the result must be $T/INPUT.whole
resumed() {
    local rc
    run "$T/$3.jsonl" -o "$1" >"$T/out" 2>"$T/err"
    rc=$?
    [ $rc = 0 ] && same "$1" "$T/$3.whole" && [ ! -e "$1.partial" ] && return 0
    bad "$2" "exit code $rc, or the output differs"
    return 1
}
