#!/bin/bash
# quietmind batch and a long prompt: what is computed of it is saved and found again, or done without.
. "$(dirname "$0")/batch.bash"

# One long prompt, computed slowly.
head -n 56 $DEMO/demo/logbook_2k.txt | tr -d '\n"\\' >"$T/log"
isa=$(sized scalar scalar avx2) other=$(sized avx2 avx2 scalar) # the sanitizers are slow enough
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
check 'from its checkpoint' err_has 'prompts [0-9]+ tokens \([1-9][0-9]* cached\)'
check 'which is gone afterwards' test ! -e "$T/slow.kv"
mv "$T/slow" "$T/slow.first"
rm -f "$T"/slow.journal*
begin_slowly
code 'by another instruction set' 0 "$QUIETMIND" batch $DEMO "$T/prompt.jsonl" --context 4096 --sequences 1 --isa $other -o "$T/slow"
check 'says so' err_has 'the instruction set \(it was '
check 'and drops checkpoints' err_has 'prompts [0-9]+ tokens \(0 cached'
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
check 'with its prompt' err_has '\([1-9][0-9]{2} cached\)'
finish
