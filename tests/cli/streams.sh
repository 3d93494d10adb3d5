#!/bin/bash
# Where output goes: results alone on standard output, closed pipes, full disks, interruptions, terminals.
. "$(dirname "$0")/lib.bash"
echo '1 2 3 4 5' >"$T/ids"
Q3=$REFERENCE/qwen3

expect 0 'run' run $DEMO -p 'Hello.' -n 5
cp "$T/out" "$T/text"
check 'speed on standard error' err_has 'tokens/s.* GB/s .*% of'
expect 0 'run --silent' run $DEMO -p 'Hello.' -n 5 --silent
check 'nothing on standard error' test ! -s "$T/err"
check 'the same result' cmp -s "$T/out" "$T/text"
expect 0 'without a model: the demonstration' run -p 'Hello.' -n 5
check 'it says so' err_has 'demonstration model'
check 'the same result' cmp -s "$T/out" "$T/text"
IN=$T/prompt && printf 'Hello.' >"$IN"
expect 0 'prompt from standard input' run $DEMO -n 5
check 'the same result' cmp -s "$T/out" "$T/text"
expect 0 'prompt from a file' run -m $DEMO -f "$IN" -n 5
check 'the same result' cmp -s "$T/out" "$T/text"
unset IN

"$QUIETMIND" run $Q3 --ids "$T/ids" --context 100000 2>"$T/err" | head -c 1 >"$T/out"
codes=("${PIPESTATUS[@]}")
check 'a closed pipe ends it, with exit code 0' test "${codes[0]}" = 0
check 'and silently' sh -c "! grep -q quietmind: '$T/err'"
"$QUIETMIND" help --man 2>"$T/err" | true
check 'a pipe closed at once' test "${PIPESTATUS[0]}" = 0

for command in "run $DEMO -p a -n 3" "inspect $DEMO" "tokenize $DEMO hello" '--help'; do
    # shellcheck disable=SC2086 # words
    "$QUIETMIND" $command >/dev/full 2>"$T/err"
    rc=$?
    check "a full disk: $command" test $rc = 5
    check 'it says so' err_has 'No space left'
done

mkdir "$T/o"
expect 0 'logits' logits $Q3 --ids "$T/ids" -o "$T/o/x.npy" --silent
check 'nothing on standard output' test ! -s "$T/out"
check 'nothing beside the file' test "$(ls -A "$T/o")" = x.npy
cp "$T/o/x.npy" "$T/before"
refuse 5 'logits to a full disk' 'No space left' logits $Q3 --ids "$T/ids" -o /dev/full
refuse 3 'logits to nowhere' 'no-such' logits $Q3 --ids "$T/ids" -o "$T/no-such/x.npy"
refuse 3 'logits to a directory' 'directory' logits $Q3 --ids "$T/ids" -o "$T/o"
(ulimit -f 1 && "$QUIETMIND" logits $Q3 --ids "$T/ids" -o "$T/o/x.npy" >"$T/out" 2>"$T/err")
check 'a disk that fills up' test $? = 5
check 'the old file is as it was' cmp -s "$T/before" "$T/o/x.npy"
check 'nothing half-written' test "$(ls -A "$T/o")" = x.npy
refuse 5 'attention to a full disk' 'No space left' logits $Q3 --ids "$T/ids" -o "$T/o/y.npy" --attention /dev/full --layer 0
check 'then no logits either' test "$(ls -A "$T/o")" = x.npy

# shellcheck disable=SC2016 # conditions are evaluated later
# stop SIGNAL: sends it once $waited_for is true, waits, and leaves the exit code in $rc
stop() {
    local i
    for ((i = 0; i < 2400; i++)); do
        eval "$waited_for" && break
        sleep 0.05
    done
    kill "-$1" $pid
    wait $pid
    rc=$?
}
"$QUIETMIND" run $Q3 --ids "$T/ids" --context 1000000 >"$T/out" 2>"$T/err" &
pid=$! waited_for='out_has "^[0-9]+ [0-9]+ [0-9]"'
stop INT
check 'Ctrl-C while generating' test $rc = 130
check 'what was generated is there' out_has '^[0-9]+ [0-9]+ .*[0-9]$'
check 'and so are the figures' err_has 'decode: [0-9]+ tokens'
for seconds in 0.5 2 8 30; do # until it comes while tokens are generated
    "$QUIETMIND" run $Q3 --ids "$T/ids" --context 1000000 --json >"$T/out" 2>"$T/err" &
    pid=$! waited_for="sleep $seconds; true"
    stop TERM
    [ ! -s "$T/out" ] || break
done
check 'a signal with --json' test $rc = 130
check 'the result is whole' out_has '^\{.*"finish_reason":"interrupted".*\}$'
sleep 3 | "$QUIETMIND" run $DEMO >"$T/out" 2>"$T/err" &
pid=$! waited_for='sleep 0.5; true'
stop INT
check 'Ctrl-C while reading the prompt' test $rc = 130
head -c 400000 /dev/zero | tr '\0' a >"$T/letters"
"$QUIETMIND" run $DEMO -f "$T/letters" --context 500000 --isa scalar --threads 1 >"$T/out" 2>"$T/err" &
pid=$! waited_for='err_has "^prompt: [0-9]+ of [0-9]+ tokens"'
stop INT
check 'Ctrl-C while computing the prompt' test $rc = 130
check 'it says what is kept' err_has '^quietmind: interrupted: nothing was generated yet$'
check 'and said before how far it was' err_has '^prompt: [0-9]+ of [0-9]+ tokens \([0-9]+ %\)'
seq 1 400 | awk '{ for (i = 0; i < 40; i++) printf "%d ", (NR * 40 + i) % 500 }' >"$T/long"
"$QUIETMIND" logits $Q3 --ids "$T/long" -o "$T/o/z.npy" --context 16000 --isa scalar --threads 1 2>"$T/err" &
pid=$! waited_for='ls "$T/o" | grep -q "z.npy.tmp"'
stop INT
check 'Ctrl-C while writing' test $rc = 130
check 'it says that nothing is kept' err_has '^quietmind: interrupted: no file was written$'
check 'nothing half-written' test "$(ls -A "$T/o")" = x.npy

# On a terminal (made by script(1)): a live line no wider than it, an answer that ends with a newline.
if command -v script >/dev/null; then
    script -qec "stty cols 40; '$QUIETMIND' run $DEMO -p Hello. -n 5 2>/dev/null" /dev/null </dev/null >"$T/out" 2>"$T/err"
    check 'a terminal gets a newline' sh -c "tail -c 1 '$T/out' | grep -q '^$'"
    script -qec "stty cols 40; '$QUIETMIND' run $DEMO -f $DEMO/demo/logbook_4k.txt --threads 1 -n 1 >/dev/null" \
        /dev/null </dev/null | tr '\r' '\n' | sed 's/\x1b\[K//g' | grep '^prompt: [0-9]* of ' >"$T/out"
    check 'a live line' test -s "$T/out"
    check 'from nothing on, at once' sh -c "head -n 1 '$T/out' | grep -q '^prompt: 0 of [0-9]* tokens (0 %)'"
    check 'no wider than the terminal' sh -c "! grep -qE '^.{40,}' '$T/out'"
    # Ctrl-D must come when a line is being edited: before that the terminal itself takes it.
    { printf 'Hello.\n/stats\n/nonsense\n/help\n' && sleep 2 && printf '\004' && sleep 1; } |
        timeout 60 script -qec "'$QUIETMIND' chat $DEMO --temperature 0" /dev/null >"$T/out" 2>"$T/err"
    check 'Ctrl-D leaves' test "${PIPESTATUS[1]}" = 0
    check 'chat on a terminal' grep -q 'context: .* of .* tokens' "$T/out"
    check 'a wrong command is reported' grep -q 'unknown command /nonsense' "$T/out"
    check 'its help' grep -q '/system TEXT' "$T/out"
fi
finish
