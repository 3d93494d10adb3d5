#!/bin/bash
# quietmind batch: what it writes, and that nothing is lost: kill -9 at random instants (20; 200 with LONG=1), every
# write, fsync and rename failing once (every one with LONG=1, else one in six), signals, changed inputs. With
# QM_TEST_SLOW=0 (the sanitizers) fewer of them.
. "$(dirname "$0")/lib.bash"
usual() { if [ -n "${LONG:-}" ]; then echo "$1"; elif [ "${QM_TEST_SLOW:-}" = 0 ]; then echo "$3"; else echo "$2"; fi; }
KILLS=${KILLS:-$(usual 200 20 5)} FAULT_STEP=${FAULT_STEP:-$(usual 1 6 30)}
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

# --- every kind of row ---
{
    row chat chat/completions '"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 8'
    row text completions '"prompt": "The bells rang", "max_tokens": 6, "temperature": 0'
    row two completions '"prompt": "The owl", "max_tokens": 5, "n": 2'
    row vector embeddings '"input": "The owl came in"'
    echo 'not JSON'
    echo '{"method": "POST", "url": "/v1/completions", "body": {}}'
    row format chat/completions '"messages": [{"role": "user", "content": "Hi"}], "response_format": {"type": "json_object"}'
    echo
    row chat completions '"prompt": "again"'
    row picture images '"prompt": "an owl"'
    row none completions '"max_tokens": 5'
    printf '{"custom_id": "long", "method": "POST", "url": "/v1/completions", "body": {"prompt": "'
    head -c 4000 /dev/zero | tr '\0' 'x'
    printf '"}}\n'
} >"$T/kinds.jsonl"
code 'all kinds of rows' 0 run "$T/kinds.jsonl" -o "$T/kinds.out"
check 'one line a row' test "$(wc -l <"$T/kinds.out")" = 11
check 'in order' test "$(ids "$T/kinds.out" | tr '\n' ' ')" = 'chat text two vector format chat picture none long '
check 'four answers' test "$(grep -c '"status_code":200' "$T/kinds.out")" = 4
check 'an embedding' grep -q '"custom_id":"vector".*"object":"embedding".*"embedding":\[-*0' "$T/kinds.out"
check 'two choices' grep -q '"custom_id":"two".*"index":1' "$T/kinds.out"
check 'an error names the field' grep -q '"custom_id":"format","response":null,"error":.*response_format' "$T/kinds.out"
check 'a second row of one name' grep -q '"custom_id":"chat","response":null,"error":.*same custom_id' "$T/kinds.out"
check 'what is no JSON' sed -n 5p "$T/kinds.out" | grep -q '"custom_id":null,"response":null,"error":{"code":"invalid_request"'
check 'a prompt that is too long' grep -q '"custom_id":"long","response":null,"error"' "$T/kinds.out"
check 'failures by reason' err_has '1  .*images'
check 'nothing is left beside it' test "$(ls "$T" | grep -c '^kinds.out')" = 2
cp "$T/kinds.out" "$T/before"
code 'a finished job again' 0 run "$T/kinds.jsonl" -o "$T/kinds.out"
check 'says that it is complete' err_has 'is complete: 11 rows, 7 failed'
check 'and changes nothing' cmp -s "$T/before" "$T/kinds.out"
code 'strictly' 1 run "$T/kinds.jsonl" -o "$T/kinds.out" --strict
rm "$T/kinds.out"
code 'its output removed' 0 run "$T/kinds.jsonl" -o "$T/kinds.out"
check 'is written again' cmp -s "$T/before" "$T/kinds.out"
code 'status' 0 "$QUIETMIND" batch --status "$T/kinds.out"
check 'status: complete' out_has '^state +complete'
code 'export' 0 "$QUIETMIND" batch --export "$T/kinds.out"
check 'export: the same' cmp -s "$T/out" "$T/kinds.out"
code 'check' 0 run "$T/kinds.jsonl" --check
check 'check: counts' out_has '^rows +11, 7 of them'
check 'check: says which' out_has '^row 7 \(format\): .*response_format'
check 'check: estimates' test "$(grep -cE '^(prompts|answers|memory|time) ' "$T/out")" = 4
code 'check, strictly' 1 run "$T/kinds.jsonl" --check --strict
code 'as completed' 0 run "$T/kinds.jsonl" -o "$T/kinds.done" --as-completed --report "$T/report.html" \
    --on-done "echo \$QUIETMIND_OUT \$QUIETMIND_FAILED >'$T/told'"
check 'on done' grep -q 'kinds.done 7' "$T/told"
check 'the same rows' cmp -s <(sed 's/"created":[0-9]*//g' "$T/kinds.done" | sort) <(sed 's/"created":[0-9]*//g' "$T/kinds.out" | sort)
check 'a report' grep -q '</svg>' "$T/report.html"
check 'that loads nothing' sh -c "! grep -qE 'https?://|<script|src=' '$T/report.html'"

# --- what is refused ---
cp "$T/kinds.jsonl" "$T/changed.jsonl"
code 'a job' 0 run "$T/changed.jsonl" -o "$T/changed.out"
code 'another seed' 3 run "$T/changed.jsonl" -o "$T/changed.out" --seed 5
check 'is named' err_has -- '--seed \(it was 0, now 5\)'
code 'another knob' 3 run "$T/changed.jsonl" -o "$T/changed.out" --rope-theta 5000
check 'is named too' err_has -- '--rope-theta'
echo >>"$T/changed.jsonl"
code 'another input' 3 run "$T/changed.jsonl" -o "$T/changed.out"
check 'the input is named' err_has "the input's content"
code 'unless it starts over' 0 run "$T/changed.jsonl" -o "$T/changed.out" --restart
echo mine >"$T/mine"
code 'a file that is no output' 3 run "$T/kinds.jsonl" -o "$T/mine"
check 'stays' grep -q mine "$T/mine"
head -c 3000 /dev/urandom >"$T/broken.journal"
cp "$T/broken.journal" "$T/broken.copy"
code 'a damaged journal' 3 run "$T/kinds.jsonl" -o "$T/broken"
check 'is left as it is' cmp -s "$T/broken.journal" "$T/broken.copy"
code 'no input' 3 run "$T/nonexistent" -o "$T/x"
code 'no output named' 2 run "$T/kinds.jsonl"
code 'no such hours' 2 run "$T/kinds.jsonl" -o "$T/x" --hours 25:00-7
code 'nothing to look at' 3 "$QUIETMIND" batch --status "$T/nonexistent"

# --- documents ---
mkdir "$T/docs"
head -n 12 $DEMO/demo/logbook_500.txt >"$T/docs/a.txt"
tail -n 12 $DEMO/demo/logbook_500.txt >"$T/docs/b.txt"
printf 'Who kept the log?\n\n  What is the first entry?  \n' >"$T/ask"
code 'questions on documents' 0 run --document "$T/docs" --ask "$T/ask" -o "$T/answers.md" --format md -n 8 --temperature 0
check 'as chapters' test "$(grep -c '^# ' "$T/answers.md") $(grep -c '^## ' "$T/answers.md")" = '2 4'
check 'with answers' test "$(grep -cE '^[A-Z0-9]' "$T/answers.md")" -ge 4
code 'as lines' 0 run --document "$T/docs/a.txt" --ask "$T/ask" -o "$T/answers.jsonl" -n 8 --temperature 0
check 'named by document and question' test "$(ids "$T/answers.jsonl" | tr '\n' ' ')" = 'a.txt#1 a.txt#2 '

# --- a longer job, for what follows: 24 rows, some sampled, some wrong ---
for i in $(seq 24); do
    case $((i % 8)) in
    3) echo "{\"custom_id\": \"r$i\", \"oops\": true}" ;;
    5) row "r$i" embeddings '"input": "The bells rang and the brothers sang"' ;;
    *) row "r$i" completions '"prompt": "The bells rang and", "max_tokens": 60, "ignore_eos": true, "temperature": 1' ;;
    esac
done >"$T/in.jsonl"
start=$(date +%s%N)
code 'uninterrupted' 0 run "$T/in.jsonl" -o "$T/in.whole"
took=$((($(date +%s%N) - start) / 1000000))
check 'sampled rows differ' test "$(grep -o '"text":"[^"]*"' "$T/in.whole" | sort -u | wc -l)" -ge 15

# resumed OUT NAME [INPUT]: runs the job to its end; the result must be the uninterrupted run's
resumed() {
    local rc input=${3:-in}
    run "$T/$input.jsonl" -o "$1" >"$T/out" 2>"$T/err"
    rc=$?
    [ $rc = 0 ] && same "$1" "$T/$input.whole" && [ ! -e "$1.partial" ] && return 0
    bad "$2" "exit code $rc, or the output differs"
    return 1
}

# --- kill -9 ---
killed=0 lost=0 partial=0
rm -f "$T"/killed*
for ((k = 0; k < KILLS; k++)); do
    "$QUIETMIND" batch $DEMO "$T/in.jsonl" -o "$T/killed" --threads 2 --sequences 8 --context 512 --checkpoint-every 0.05 \
        </dev/null >"$T/out" 2>"$T/err" &
    pid=$!
    sleep "$(awk -v t=$took -v r=$RANDOM 'BEGIN { printf "%.3f", t * r / 32768 / 1000 }')"
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null
    # what is finished can be read
    if [ -e "$T/killed.partial" ] && [ -s "$T/killed.partial" ]; then
        partial=$((partial + 1))
        "$QUIETMIND" batch --export "$T/killed" >"$T/exported" 2>"$T/err" || lost=$((lost + 1))
        # every exported line is in OUT.partial and in the uninterrupted output
        sort "$T/exported" | comm -23 - <(sort "$T/killed.partial") | grep -q . && lost=$((lost + 1))
        sed 's/"created":[0-9]*//g' "$T/exported" | sort | comm -23 - <(sed 's/"created":[0-9]*//g' "$T/in.whole" | sort) |
            grep -q . && lost=$((lost + 1))
    fi
    if [ -e "$T/killed" ] || [ $((k % 5)) = 4 ]; then
        resumed "$T/killed" "resumed after kill -9 ($k)" || lost=$((lost + 1))
        rm -f "$T"/killed*
    fi
done
check "kill -9: $killed of $KILLS times, $partial with rows finished; nothing lost" test $lost = 0
check 'it was killed in time' test $killed -gt $((KILLS / 4))

# --- signals, while rows are at work ---
for i in $(seq 24); do
    row "l$i" completions '"prompt": "The bells rang and", "max_tokens": 450, "ignore_eos": true, "temperature": 1'
done >"$T/long.jsonl"
code 'a longer job' 0 run "$T/long.jsonl" -o "$T/long.whole"
for signal in INT TERM HUP; do
    "$QUIETMIND" batch $DEMO "$T/long.jsonl" -o "$T/stopped" --threads 2 --sequences 1 --context 512 \
        --checkpoint-every 0.1 </dev/null >"$T/out" 2>"$T/err" &
    pid=$!
    for ((i = 0; i < 400; i++)); do
        "$QUIETMIND" batch --status "$T/stopped" 2>&1 | grep -q "working (process $pid)" && break
        sleep 0.01
    done
    [ $signal != INT ] || {
        run "$T/long.jsonl" -o "$T/stopped" >"$T/second" 2>&1
        check "a second run is refused" test $? = 3
        check 'and says who' grep -q "another run (process $pid)" "$T/second"
    }
    kill -$signal $pid
    wait $pid
    rc=$?
    check "SIG$signal ends it with 130" test $rc = 130
    check 'says how to resume' err_has "^resume with: .*batch $DEMO .*/long.jsonl -o .*/stopped"
done
resumed "$T/stopped" 'resumed after signals' long && ok 'resumed after signals'

# --- checkpoints: one long prompt, computed slowly ---
head -n 56 $DEMO/demo/logbook_2k.txt | tr -d '\n"\\' >"$T/log"
isa=$(usual scalar scalar avx2) other=$(usual avx2 avx2 scalar) # the sanitizers are slow enough
slowly() { "$QUIETMIND" batch $DEMO "$T/prompt.jsonl" --context 4096 --isa $isa --chunk 64 --sequences 1 --threads 2 "$@" </dev/null; }
row long completions "\"prompt\": \"$(cat "$T/log")\", \"max_tokens\": 5, \"temperature\": 0" >"$T/prompt.jsonl"
begin_slowly() { # begin_slowly OPTION...: until a checkpoint is there, then kill -9
    slowly -o "$T/slow" --checkpoint-every 0.05 "$@" >"$T/out" 2>"$T/err" &
    pid=$!
    for ((i = 0; i < 3000; i++)); do
        [ "$(stat -c %s "$T/slow.kv" 2>/dev/null || echo 0)" -gt 270000 ] && break
        sleep 0.01
    done
    pkill -9 -P $pid
    wait $pid 2>/dev/null
}
begin_slowly
code 'a long prompt resumes' 0 slowly -o "$T/slow"
check 'from its checkpoint' err_has ' ([0-9]+) prompt tokens \([1-9][0-9]* of them shared\)'
check 'which is gone afterwards' test ! -e "$T/slow.kv"
mv "$T/slow" "$T/slow.first"
rm -f "$T"/slow.journal*
begin_slowly
code 'by another instruction set' 0 "$QUIETMIND" batch $DEMO "$T/prompt.jsonl" --context 4096 --sequences 1 --isa $other -o "$T/slow"
check 'says so' err_has 'the instruction set \(it was '
check 'and drops checkpoints' err_has '\(0 of them shared\)'
rm -f "$T"/slow "$T"/slow.journal*
begin_slowly
printf 'damaged' | dd of="$T/slow.kv" bs=1 seek=200000 conv=notrunc 2>/dev/null
code 'a damaged checkpoint does no harm' 0 slowly -o "$T/slow"
check 'the same answer' same "$T/slow" "$T/slow.first"
code 'without checkpoints' 0 slowly -o "$T/without" --checkpoint-size 0 --checkpoint-every 0.05
check 'the same answer, too' same "$T/without" "$T/slow.first"
mkdir "$T/kv"
code 'keys and values kept' 0 slowly -o "$T/kept" --kv-disk "$T/kv" --checkpoint-every 0.05
check 'in a file' test -n "$(ls "$T/kv")"
code 'serve a later job' 0 slowly -o "$T/later" --kv-disk "$T/kv"
check 'with its prompt' err_has '\([1-9][0-9]{2} of them shared\)'

# --- until, hours ---
code 'until' 6 run "$T/long.jsonl" -o "$T/until" --sequences 1 --until "$(date -d '+2 sec' +%H:%M:%S)"
touch "$T/long.jsonl"
resumed "$T/until" 'resumed after --until' long && ok 'resumed after --until'
check 'an input with a new time is compared' err_has 'long.jsonl has another time'
from=$(date -d '-2 hours' +%H:%M) to=$(date -d '-1 hours' +%H:%M)
timeout -s INT 3 "$QUIETMIND" batch $DEMO "$T/in.jsonl" -o "$T/hours" --threads 2 --sequences 8 --context 512 \
    --hours "$from-$to" </dev/null >"$T/out" 2>"$T/err"
check 'outside its hours it waits' err_has "paused until $from"
check 'and does nothing' test ! -s "$T/hours.partial"
resumed "$T/hours" 'resumed after --hours' && ok 'resumed after --hours'

# --- a terminal ---
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    script -qec "stty cols 60; '$QUIETMIND' batch $DEMO '$T/long.jsonl' -o '$T/panel' --threads 2 --sequences 2 --context 512" \
        /dev/null </dev/null | tr '\r' '\n' | sed 's/\x1b\[[AK]//g' >"$T/out"
    check 'a panel' grep -q '^done .*of 24 rows' "$T/out"
    check 'no wider than the terminal' sh -c "! grep -E '^(done|at work|speed|left|memory)' '$T/out' | grep -qE '^.{60,}'"
fi

# --- the disk ---
head -n 6 "$T/in.jsonl" >"$T/short.jsonl"
run "$T/short.jsonl" -o "$T/short.whole" 2>"$T/err"
if "${CC:-cc}" -D_GNU_SOURCE -shared -fPIC -O1 -o "$T/fault.so" tests/cli/fault_preload.c -ldl 2>"$T/err" &&
    mkdir "$T/disk" && ! ldd "$QUIETMIND" | grep -q libasan; then
    fault() { # fault AT CODE: the job with that call failing
        rm -rf "$T/disk" && mkdir "$T/disk"
        FAULT_DIR="$T/disk" FAULT_AT=$1 FAULT_CODE=$2 FAULT_COUNT="$T/count" LD_PRELOAD="$T/fault.so" \
            run "$T/short.jsonl" -o "$T/disk/out" --checkpoint-every 0.01 >"$T/out" 2>"$T/err"
    }
    fault 0 5
    calls=$(od -An -td8 -N8 "$T/count" | tr -d ' ')
    check "a job makes $calls changes of files" test "$calls" -gt 20
    wrong=0
    for ((at = 1 + RANDOM % FAULT_STEP; at <= calls; at += FAULT_STEP)); do
        fault $at $((at % 2 ? 5 : 28)) # EIO, ENOSPC
        rc=$?
        [ $rc = 0 ] || [ $rc = 5 ] || [ $rc = 3 ] || { wrong=$((wrong + 1)) && bad "call $at fails" "exit code $rc"; }
        [ $rc = 0 ] || grep -q '^quietmind: ' "$T/err" || { wrong=$((wrong + 1)) && bad "call $at fails" 'no message'; }
        run "$T/short.jsonl" -o "$T/disk/out" >"$T/out" 2>"$T/err"
        rc=$?
        [ $rc = 0 ] && same "$T/disk/out" "$T/short.whole" ||
            { wrong=$((wrong + 1)) && bad "resumed after call $at failed" "exit code $rc, or the output differs"; }
    done
    check "each of them failing (one in $FAULT_STEP tried): resumed every time" test $wrong = 0
fi
finish
