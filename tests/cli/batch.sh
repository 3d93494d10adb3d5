#!/bin/bash
# quietmind batch: what it writes, what it refuses, when it works. That nothing is lost is in batch_kill.sh,
# batch_disk.sh and batch_checkpoint.sh.
. "$(dirname "$0")/batch.bash"

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
check 'a prompt that is too long' grep -qE '"custom_id":"long","response":null,"error".*; --context raises it"' "$T/kinds.out"
check 'failures by reason' err_has '1  .*images'
check 'predicted, before it begins' err_has '^11 rows, about .* \(.* to .*\), done by [0-9][0-9]:[0-9][0-9]$'
check 'and how that was' err_has '^predicted: about .* of work \(.* to .*\); it took '
check 'nothing is left beside it' test "$(ls "$T" | grep -c '^kinds.out')" = 2
cp "$T/kinds.out" "$T/before"
code 'a finished job again' 0 run "$T/kinds.jsonl" -o "$T/kinds.out"
check 'does not resume' sh -c "! grep -q resuming '$T/err'"
check 'says that it is complete' err_has 'is complete: 11 rows, 7 failed'
check 'and changes nothing' cmp -s "$T/before" "$T/kinds.out"
code 'strictly' 1 run "$T/kinds.jsonl" -o "$T/kinds.out" --strict
rm "$T/kinds.out"
code 'its output removed' 0 run "$T/kinds.jsonl" -o "$T/kinds.out"
check 'is written again' cmp -s "$T/before" "$T/kinds.out"
code 'status' 0 "$QUIETMIND" batch --status "$T/kinds.out"
check 'status: complete' out_has '^state +complete'
check 'status for programs' sh -c "'$QUIETMIND' batch --status '$T/kinds.out' --json | python3 -c '
import json, sys
j = json.load(sys.stdin)
lines = open(sys.argv[1]).read().splitlines()
failed = sum(1 for l in lines if json.loads(l)[\"error\"])
cut = sum(1 for l in lines if \"\\\"length\\\"\" in l)
assert cut, \"no row is cut\"
assert j[\"complete\"] is True and j[\"process\"] is None and j[\"state\"] == \"complete\", j
assert j[\"rows\"] == {\"total\": len(lines), \"finished\": len(lines), \"failed\": failed, \"cut\": cut}, j
p = j[\"predicted\"]
assert 0 < p[\"low\"] < p[\"seconds\"] < p[\"high\"] and j[\"left_seconds\"] == 0, j
assert j[\"runs\"] == 1 and j[\"seconds\"] > 0 and j[\"tokens\"][\"generated\"] > 0, j
' '$T/kinds.out'"
code 'JSON of a status only' 2 "$QUIETMIND" batch $DEMO "$T/kinds" -o "$T/no" --json
code 'export' 0 "$QUIETMIND" batch --export "$T/kinds.out"
check 'export: the same' cmp -s "$T/out" "$T/kinds.out"
code 'check' 0 run "$T/kinds.jsonl" --check
check 'check: counts' out_has '^rows +11, 7 of them invalid'
check 'check: a time with its range, and a clock' out_has '^time +about .* \(.* to .*\), done by [0-9][0-9]:[0-9][0-9]: prefill .*, decode '
check 'check: says which' out_has '^row 7 \(format\): .*response_format'
check 'check: estimates' test "$(grep -cE '^(prompts|answers|memory|time) ' "$T/out")" = 4
code 'check, strictly' 1 run "$T/kinds.jsonl" --check --strict
code 'as completed' 0 run "$T/kinds.jsonl" -o "$T/kinds.done" --as-completed --report "$T/report.html" \
    --on-done "echo \$QUIETMIND_OUT \$QUIETMIND_FAILED >'$T/reported'"
check 'on done' grep -q 'kinds.done 7' "$T/reported"
check 'the same rows' cmp -s <(sed 's/"created":[0-9]*//g' "$T/kinds.done" | sort) <(sed 's/"created":[0-9]*//g' "$T/kinds.out" | sort)
check 'a report' grep -q '</svg>' "$T/report.html"
for said in "data/demo" 'avx\|scalar' 'quietmind [0-9.]*' 'batch data/demo .*--as-completed --report' 'energy' 'started' 'finished' \
    '<th>predicted</th><td>about .* of work (.* to .*)' '<th>took</th><td>' \
    'href="kinds.done"' '>7 failed<' 'id="row-5"' 'custom_id' 'cached' 'Rows that failed' '>2 cut<' 'answer was cut' '<span style="left:[0-9.]*%">[0-9][0-9]:[0-9][0-9]'; do
    check "it says: $said" grep -q "$said" "$T/report.html"
done
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
cp "$T/kinds.jsonl" "$T/input"
code 'the input as output' 3 run "$T/input" -o "$T/input" --restart
check 'stays, too' cmp -s "$T/input" "$T/kinds.jsonl"
code 'questions as output' 3 run --document "$T/kinds.jsonl" --ask "$T/input" -o "$T/input" --restart
check 'stay, too' cmp -s "$T/input" "$T/kinds.jsonl"
code 'a folder as output' 3 run "$T/kinds.jsonl" -o "$T"
check 'is named' err_has 'is a folder'
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
mkdir -p "$T/docs/old" "$T/docs/.git"
cp "$T/docs/a.txt" "$T/docs/old/c.txt"
cp "$T/ask" "$T/docs/questions.txt"
demo=$PWD/$DEMO
beside_them() {
    (cd "$T/docs" && "$QUIETMIND" batch "$demo" --document . --ask questions.txt -o answers.md -n 8 --temperature 0 \
        --threads 2 --context 512 </dev/null)
}
code 'questions on documents, beside them' 0 beside_them
check 'how many, before it begins' err_has "^3 documents, 2 questions: 6 rows, about .* \\(.* to .*\\), done by [0-9]"
check 'what is hidden is reported' err_has '^skipped, hidden: .git/$'
check 'as chapters' test "$(grep -c '^# ' "$T/docs/answers.md") $(grep -c '^## ' "$T/docs/answers.md")" = '3 6'
check 'named by their folders' grep -q '^# old/c.txt$' "$T/docs/answers.md"
check 'cut ones are marked' grep -q '^\*Cut at its limit of 8 tokens.\*$' "$T/docs/answers.md"
code 'once more: its own files are no documents' 0 beside_them
check 'and it is complete' err_has 'answers.md is complete: 6 rows'
printf '%%PDF-1.4\n' >"$T/docs/scan.pdf"
code 'what is no text' 3 env PATH=/no-such "$QUIETMIND" batch $DEMO --document "$T/docs" --ask "$T/ask" -o "$T/some.csv"
check 'is named, with what to do' err_has 'scan.pdf: a PDF: install pdftotext'
check 'before anything is begun' test ! -e "$T/some.csv.journal"
code 'is left out' 0 run --document "$T/docs" --ask "$T/ask" -o "$T/some.csv" -n 4 --temperature 0 --skip-unreadable
check 'a name decides about the format' grep -q '^document,question,answer,cut,error$' "$T/some.csv"
rm -r "$T/docs/scan.pdf" "$T/docs/old" "$T/docs"/answers.md* "$T/docs/questions.txt"
code 'a format that is given' 0 run --document "$T/docs" --ask "$T/ask" -o "$T/answers.md" --format md -n 8 --temperature 0
check 'with answers' test "$(grep -cE '^[A-Z0-9]' "$T/answers.md")" -ge 4
code 'as lines' 0 run --document "$T/docs/a.txt" --ask "$T/ask" -o "$T/answers.jsonl" -n 8 --temperature 0
check 'named by document and question' test "$(ids "$T/answers.jsonl" | tr '\n' ' ')" = 'a.txt#1 a.txt#2 '

# --- until, hours ---
mixed_rows 24 >"$T/in.jsonl"
run "$T/in.jsonl" -o "$T/in.whole" 2>"$T/err"
rows=$(sized 100 100 40)
long_rows $rows 450 >"$T/long.jsonl"
run "$T/long.jsonl" -o "$T/long.whole" 2>"$T/err"
for seconds in 2 4 8 16 32; do # a busy machine may begin so late that the time is tomorrow's
    run "$T/long.jsonl" -o "$T/until" --sequences 1 --until "$(date -d "+$seconds sec" +%H:%M:%S)" >"$T/out" 2>"$T/err"
    rc=$?
    [ $rc = 0 ] || break
    rm -f "$T"/until*
done
check 'until' test $rc = 6
touch "$T/long.jsonl"
resumed "$T/until" 'resumed after --until' long && ok 'resumed after --until'
check 'an input with a new time is compared' err_has 'long.jsonl has another time'
from=$(date -d '-2 hours' +%H:%M) to=$(date -d '-1 hours' +%H:%M)
"$QUIETMIND" batch $DEMO "$T/in.jsonl" -o "$T/hours" --threads 2 --sequences 8 --context 512 --hours "$from-$to" \
    </dev/null >"$T/out" 2>"$T/err" &
pid=$!
for ((i = 0; i < 3000; i++)); do
    err_has 'paused until' && break
    sleep 0.01
done
kill -INT $pid
wait $pid
check 'paused, it can be stopped' test $? = 130
check 'outside its hours it waits' err_has "paused until $from"
check 'and does nothing' test ! -s "$T/hours.partial"
resumed "$T/hours" 'resumed after --hours' in && ok 'resumed after --hours'

# --- a terminal ---
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    script -qec "stty cols 60; '$QUIETMIND' batch $DEMO '$T/long.jsonl' -o '$T/panel' --threads 2 --sequences 2 --context 512" \
        /dev/null </dev/null | tr '\r' '\n' | sed 's/\x1b\[[AK]//g' >"$T/out"
    check 'a panel' grep -q "^done .*of $rows rows" "$T/out"
    check 'no wider than the terminal' sh -c "! grep -E '^(done|running|speed|left|memory)' '$T/out' | grep -qE '^.{60,}'"
fi

finish
