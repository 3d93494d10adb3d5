#!/bin/bash
# A million rows, 20 GB: how long until the first row is finished, how long after kill -9 with nine tenths behind until the
# next one is, and how much memory that takes. Wanted: seconds, and the same memory from the first row to the last.
#   bench/batch/scale.sh [ROWS [BYTES-A-ROW]]     1000000 20000
# Rows are long, but their prompts short: what is measured is reading, not computing. All but one in a thousand are refused
# on purpose (no such url), so that the input can be passed in minutes. The output and the journal need 3 GB more.
set -u
cd "$(dirname "$0")/../.." || exit 5
quietmind=${QUIETMIND:-build/quietmind} rows=${1:-1000000} bytes=${2:-20000}
T=$(mktemp -d -p "${TMPDIR:-/var/tmp}") || exit 5
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; rm -rf "$T"' EXIT
need=$((rows * (bytes + 3000) / 1000000)) free=$(df --output=avail -BM "$T" | tail -n 1 | tr -dc 0-9)
[ "$free" -gt "$need" ] || { echo "$T: $need MB are needed, $free MB are free" >&2; exit 5; }
awk -v rows="$rows" -v bytes="$bytes" 'BEGIN {
    while (length(pad) < bytes) pad = pad "The bells rang and the brothers sang in the upper garden. "
    pad = substr(pad, 1, bytes - 140)
    for (i = 1; i <= rows; i++)
        printf "{\"custom_id\": \"r%07d\", \"method\": \"POST\", \"url\": \"/v1/%s\", \"body\": {\"prompt\": \"Hello\", \"max_tokens\": 2, \"user\": \"%s\"}}\n",
               i, i % 1000 == 1 ? "completions" : "nothing", pad
}' >"$T/in.jsonl"
size=$(stat -c %s "$T/in.jsonl")

start_job() {
    began=$(date +%s%N)
    "$quietmind" batch data/demo "$T/in.jsonl" -o "$T/out" --context 512 --report "$T/report.html" 2>"$T/err" &
    pid=$!
}
partial() { stat -c %s "$T/out.partial" 2>/dev/null || echo 0; }
seconds() { awk -v a="$began" -v b="$(date +%s%N)" 'BEGIN { printf "%.2f", (b - a) / 1e9 }'; }
# Until OUT.partial is larger than $1 bytes; prints the seconds since the start.
wait_more() {
    while [ "$(partial)" -le "$1" ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
    seconds
}
# Until so many rows are finished.
wait_rows() {
    while [ "$("$quietmind" batch --status "$T/out" 2>/dev/null | sed -n 's/^rows  *\([0-9]*\).*/\1/p')" -lt "$1" ] &&
        kill -0 $pid 2>/dev/null; do
        sleep 1
    done
}
peak() { sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' /proc/$pid/status 2>/dev/null || echo 0; } # kB
start_job
first=$(wait_more 0)
at_first=$(peak)
wait_rows $((rows / 2))
at_half=$(peak)
wait_rows $((rows * 9 / 10))
at_nine=$(peak)
kill -9 $pid
wait $pid 2>/dev/null
before=$(partial)
start_job
again=$(wait_more "$before")
at_resumed=$(peak) at_end=0
while kill -0 $pid 2>/dev/null; do # writing the output and the report included
    now=$(peak)
    [ "${now:-0}" -lt "$at_end" ] || at_end=${now:-$at_end}
    sleep 0.02
done
wait $pid
code=$?
resumed=$(seconds) pid=
awk -v r="$rows" -v s="$size" -v f="$first" -v a="$again" -v c="$code" -v n="$(wc -l <"$T/out")" -v e="$resumed" \
    -v m="$at_first $at_half $at_nine $at_resumed $at_end" 'BEGIN {
    split(m, kb, " ")
    printf "| %d rows, %.1f GB: start; resume at nine tenths | seconds; seconds | %s s; %s s (the last tenth and the output: %s s; exit code %d, %d lines) |\n",
           r, s / 1e9, f, a, e, c, n
    printf "| its peak memory at the first row, half, nine tenths; resumed, at the end | constant | %.0f, %.0f, %.0f; %.0f, %.0f MB |\n",
           kb[1] / 1000, kb[2] / 1000, kb[3] / 1000, kb[4] / 1000, kb[5] / 1000 }'
