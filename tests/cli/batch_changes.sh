#!/bin/bash
# quietmind batch and what changes behind its back: the input edited while a job runs, a journal that is damaged, memory
# that is less than it was, files that can't be opened for a while. No answer belongs to a question that is not in the
# input, and nothing that is short for a while is reported for good.
. "$(dirname "$0")/batch.bash"

rows=$(sized 40 40 10)
long_rows $rows 300 | sed 's/The bells rang and/The bells rang AAAA/' >"$T/in.jsonl"
cp -p "$T/in.jsonl" "$T/before.jsonl"
code 'uninterrupted' 0 run "$T/in.jsonl" -o "$T/in.whole"

edit() { # edit FILE ROW FROM TO: in place, of the same length
    local at
    at=$(grep -ob "$3" "$1" | sed -n "${2}p" | cut -d: -f1)
    printf '%s' "$4" | dd of="$1" bs=1 seek="$at" conv=notrunc 2>/dev/null
}
begin() { # begin OUT OPTION...: until a row is finished
    local out=$1 i
    shift
    "$QUIETMIND" batch $DEMO "$T/in.jsonl" -o "$out" --threads 2 --context 512 "$@" </dev/null >"$T/out" 2>"$T/err" &
    pid=$!
    for ((i = 0; i < 3000; i++)); do
        [ -s "$out.partial" ] && break
        sleep 0.01
    done
}

# --- the input ---
begin "$T/edited" --sequences 1
edit "$T/in.jsonl" $rows AAAA BBBB
wait $pid
check 'a row edited before it is answered: refused' test $? = 3
check 'saying so' err_has 'in.jsonl: changed while it was read'
check 'with no output' test ! -e "$T/edited"
cp -p "$T/before.jsonl" "$T/in.jsonl"
resumed "$T/edited" 'put back as it was' in && ok 'put back as it was: every answer is of its question'

begin "$T/late" --sequences 1
edit "$T/in.jsonl" 1 AAAA BBBB
wait $pid
check 'a row edited after it was answered: refused' test $? = 3
check 'by its number' err_has 'row 1 of the input is not the one that was answered'
code 'and again' 3 run "$T/in.jsonl" -o "$T/late"
edit "$T/in.jsonl" 1 BBBB AAAA
resumed "$T/late" 'put back by hand' in && ok 'put back by hand'

begin "$T/touched" --sequences 1
edit "$T/in.jsonl" 2 AAAA BBBB
edit "$T/in.jsonl" 1 BBBB AAAA
wait $pid
check 'edited and put back meanwhile: compared, and finished' test $? = 0
check 'the same' same "$T/touched" "$T/in.whole"

begin "$T/between" --sequences 1
kill -9 $pid
wait $pid 2>/dev/null
edit "$T/in.jsonl" 1 AAAA BBBB
touch -r "$T/before.jsonl" "$T/in.jsonl"
code 'edited between two runs, its time put back' 3 run "$T/in.jsonl" -o "$T/between"
cp -p "$T/before.jsonl" "$T/in.jsonl"
resumed "$T/between" 'put back between two runs' in && ok 'put back between two runs'
cp "$T/between" "$T/kept"
edit "$T/in.jsonl" 1 AAAA BBBB
rm "$T/between"
code 'a complete job whose input differs makes no output' 3 run "$T/in.jsonl" -o "$T/between"
edit "$T/in.jsonl" 1 BBBB AAAA
code 'put back, it does' 0 run "$T/in.jsonl" -o "$T/between"
check 'the same as before' cmp -s "$T/between" "$T/kept"
cp -p "$T/before.jsonl" "$T/in.jsonl"

# --- the journal ---
begin "$T/damaged" --sequences 2
kill -TERM $pid
wait $pid
"$QUIETMIND" batch --export "$T/damaged" >"$T/exported"
python3 - "$T/damaged.journal" "$T/exported" <<'EOS'
import json, re, sys
journal, exported = sys.argv[1:]
data = bytearray(open(journal, "rb").read())
text = json.loads(open(exported).readline())["response"]["body"]["choices"][0]["text"].encode()
at = data.index(json.dumps(text.decode())[1:60].encode())
data[at + 20] ^= 1
open(journal, "wb").write(data)
EOS
code 'a damaged answer is not exported' 3 "$QUIETMIND" batch --export "$T/damaged"
resumed "$T/damaged" 'a damaged answer' in && ok 'a damaged answer is computed again'
check 'and reported' err_has 'damaged.journal: 1 row damaged or missing'

# --- memory ---
for ((i = 1; i <= 24; i++)); do
    row "m$i" completions "\"prompt\": \"$(printf 'The bells rang and %.0s' $(seq $((i * 14))))\", \"max_tokens\": 30, \"ignore_eos\": true"
done >"$T/memory.jsonl"
all() { "$QUIETMIND" batch $DEMO "$T/memory.jsonl" -o "$@" --threads 2 --context 2048 </dev/null; }
code 'rows of all lengths' 0 all "$T/memory.whole"
code 'with less memory' 4 all "$T/memory" --kv-memory 1M
check 'what does not fit waits' err_has 'are not answered yet, the first of them row [0-9]+: .*--kv-memory leaves'
check 'what fits is finished' grep -q '"custom_id":"m1".*"status_code":200' "$T/memory.partial"
check 'nothing has failed' sh -c "! grep -q '\"response\":null' '$T/memory.partial'"
check 'nothing is made of it' test ! -e "$T/memory"
code 'with more of it' 0 all "$T/memory"
check 'the same' same "$T/memory" "$T/memory.whole"
"$QUIETMIND" batch $DEMO "$T/memory.jsonl" -o "$T/less" --threads 2 --context 2048 --sequences 1 </dev/null >"$T/out" 2>"$T/err" &
pid=$!
for ((i = 0; i < 3000; i++)); do
    [ -s "$T/less.partial" ] && break
    sleep 0.01
done
kill -TERM $pid
wait $pid
before=$(wc -l <"$T/less.partial")
code 'resumed with less memory' 4 all "$T/less" --kv-memory 1M
check 'which is named' err_has 'memory holds less than when this job began: .*2048 tokens.*--kv-memory leaves'
check 'before anything is computed' test "$(wc -l <"$T/less.partial")" = "$before"
code 'resumed with as much' 0 all "$T/less"
check 'the same lines' same "$T/less" "$T/memory.whole"

# --- files that can't be opened for a while ---
wrong=
for n in 4 5 6 7 8 9 10 12 14 16 20; do
    (ulimit -n $n && run "$T/in.jsonl" -o "$T/files") >"$T/out" 2>"$T/err"
    rc=$?
    [ $rc = 0 ] || [ $rc = 5 ] || wrong="$wrong $n:$rc($(tail -n 1 "$T/err"))"
    [ $rc != 0 ] || break
done
check "too few files may be open: always exit code 5 ($wrong )" test -z "$wrong"
resumed "$T/files" 'after it' in && ok 'after it'
finish
