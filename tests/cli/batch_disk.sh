#!/bin/bash
# quietmind batch and disks that fail: every write, fsync and rename of a job failing once (every one with LONG=1, else
# one in six; with QM_TEST_SLOW=0 one in thirty). Skipped where nothing can be put before the program's calls.
. "$(dirname "$0")/batch.bash"
FAULT_STEP=${FAULT_STEP:-$(usual 1 6 30)}

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
finish
