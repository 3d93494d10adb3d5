#!/bin/bash
# quietmind batch and disks that fail: every write, fsync and rename of a job failing once (every one with LONG=1, else
# one in six; with QM_TEST_SLOW=0 one in thirty). Skipped where nothing can be put before the program's calls.
. "$(dirname "$0")/batch.bash"
FAULT_STEP=${FAULT_STEP:-$(sized 1 6 30)}

skip() {
    echo "skipped: $1"
    exit 77
}
ldd "$QUIETMIND" | grep -q libasan && skip 'a sanitizer stands before the calls of the disk'
"${CC:-cc}" -D_GNU_SOURCE -shared -fPIC -O1 -o "$T/fault.so" tests/cli/fault_preload.c -ldl 2>"$T/err" ||
    skip 'no compiler for what fails calls of the disk'

mixed_rows 6 >"$T/short.jsonl"
code 'uninterrupted' 0 run "$T/short.jsonl" -o "$T/short.whole"
mkdir "$T/disk"
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

# --- a disk that can't be read for a while: never reported as a file of somebody else, or as damage ---
"$QUIETMIND" batch $DEMO "$T/short.jsonl" -o "$T/read" --threads 2 --sequences 8 --context 512 \
    --hours "$(date -d '+3 hours' +%H:%M)-$(date -d '+4 hours' +%H:%M)" </dev/null >"$T/out" 2>"$T/err" &
pid=$!
for ((i = 0; i < 6000; i++)); do
    err_has 'paused until' && break
    sleep 0.01
done
kill -9 $pid
wait $pid 2>/dev/null
wrong=0
for at in 1 2 3 4 5 6 7 8 9 10 11 12; do
    rm -rf "$T/disk" && mkdir "$T/disk"
    for file in "$T"/read.*; do cp "$file" "$T/disk/out.${file##*/read.}"; done
    FAULT_READ=1 FAULT_DIR="$T/disk" FAULT_AT=$at FAULT_CODE=5 FAULT_COUNT="$T/count" LD_PRELOAD="$T/fault.so" \
        run "$T/short.jsonl" -o "$T/disk/out" >"$T/out" 2>"$T/err"
    rc=$?
    [ $rc = 0 ] || [ $rc = 5 ] || { wrong=$((wrong + 1)) && bad "read $at fails" "exit code $rc: $(tail -n 1 "$T/err")"; }
done
check 'reads that fail when a job is resumed: exit code 5' test $wrong = 0

# --- the disk of --kv-disk: it costs what was kept there, never the job or an answer ---
prompt=$(head -n 14 $DEMO/demo/logbook_2k.txt | tr -d '\n"\\')
for i in 1 2 3; do
    row "k$i" completions "\"prompt\": \"$prompt Question $i\", \"max_tokens\": 8, \"temperature\": 0"
done >"$T/kv.jsonl"
code 'without a disk for prompts' 0 run "$T/kv.jsonl" -o "$T/kv.whole"
on_disk() { # on_disk AT CODE READ: a job with a store of its own (READ: of another job's), and that call failing
    rm -rf "$T/warm" "$T"/kv.out*
    mkdir "$T/warm"
    [ -z "$3" ] || cp "$T/stored/"* "$T/warm/"
    env ${3:+FAULT_READ=1} FAULT_DIR="$T/warm/" FAULT_AT=$1 FAULT_CODE=$2 FAULT_COUNT="$T/count" LD_PRELOAD="$T/fault.so" \
        "$QUIETMIND" batch $DEMO "$T/kv.jsonl" -o "$T/kv.out" --threads 2 --sequences 8 --context 512 \
        --kv-disk "$T/warm" --checkpoint-every 0.01 </dev/null >"$T/out" 2>"$T/err"
}
counted() { od -An -td8 -N8 "$T/count" | tr -d ' '; }
# What is kept follows from when blocks are done: until something is there that another job reads.
for ((i = 0; i < 50; i++)); do
    on_disk 0 5 ''
    rm -rf "$T/stored" && cp -r "$T/warm" "$T/stored"
    on_disk 1000000 5 1
    [ "$(counted)" = 0 ] || break
done
for read in '' 1; do
    wrong=0
    for ((i = 0; i < 50; i++)); do
        on_disk 1000000 5 "$read"
        calls=$(counted)
        [ "$calls" = 0 ] || break
    done
    [ "$calls" -gt 0 ] || bad "calls ${read:+that read}" 'none was seen'
    for ((at = 1; at <= calls; at += calls / 12 + 1)); do
        on_disk $at $((at % 2 ? 5 : 28)) "$read"
        rc=$?
        [ $rc = 0 ] && same "$T/kv.out" "$T/kv.whole" ||
            { wrong=$((wrong + 1)) && bad "--kv-disk: call $at fails ${read:+to read}" "exit code $rc, or the output differs"; }
    done
    check "--kv-disk: $calls calls ${read:+that read}, each of which may fail" test $wrong = 0
done

finish
