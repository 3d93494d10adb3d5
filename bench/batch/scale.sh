#!/bin/bash
# A million rows, 20 GB: how long until the first row is finished, how much memory that takes, and the same after kill -9
# with most of the input behind. Wanted: seconds, and no more memory than for a small input.
#   bench/batch/scale.sh [ROWS [BYTES-A-ROW]]     1000000 20000
# Rows are long, but their prompts short: what is measured is reading, not computing. Rows are refused on purpose but for
# one in a thousand, so that nine tenths of the input can be passed in minutes.
set -u
cd "$(dirname "$0")/../.." || exit 5
quietmind=${QUIETMIND:-build/quietmind} rows=${1:-1000000} bytes=${2:-20000}
T=$(mktemp -d -p "${TMPDIR:-/var/tmp}") || exit 5
trap 'kill -9 $pid 2>/dev/null; rm -rf "$T"' EXIT
pid=
need=$((rows * bytes / 1000000)) free=$(df --output=avail -BM "$T" | tail -n 1 | tr -dc 0-9)
[ "$free" -gt $((need * 5 / 4)) ] || { echo "$T: $need MB are needed, $free MB are free" >&2; exit 5; }
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
    "$quietmind" batch data/demo "$T/in.jsonl" -o "$T/out" --context 512 2>"$T/err" &
    pid=$!
}
partial() { stat -c %s "$T/out.partial" 2>/dev/null || echo 0; }
# Until OUT.partial is larger than $1 bytes; prints the seconds since the start.
wait_more() {
    while [ "$(partial)" -le "$1" ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
    awk -v a="$began" -v b="$(date +%s%N)" 'BEGIN { printf "%.2f", (b - a) / 1e9 }'
}
start_job
first=$(wait_more 0)
while [ "$("$quietmind" batch --status "$T/out" 2>/dev/null | sed -n 's/^rows  *\([0-9]*\).*/\1/p')" -lt $((rows * 9 / 10)) ] &&
    kill -0 $pid 2>/dev/null; do
    sleep 1
done
peak=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' /proc/$pid/status)
kill -9 $pid
wait $pid 2>/dev/null
before=$(partial)
start_job
again=$(wait_more "$before")
wait $pid
code=$?
awk -v r="$rows" -v s="$size" -v f="$first" -v a="$again" -v p="$peak" -v c="$code" -v n="$(wc -l <"$T/out")" 'BEGIN {
    printf "| %d rows, %.1f GB: start; resume at nine tenths; peak memory | seconds; seconds; constant | %s s; %s s; %.0f MB (exit code %d, %d lines) |\n",
           r, s / 1e9, f, a, p / 1000, c, n }'
