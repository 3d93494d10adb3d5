#!/bin/bash
# Fifty questions about one document, against fifty separate runs. Wanted: at least 30 times less time.
#   bench/batch/shared.sh [QUESTIONS [PROMPT-TOKENS [SEPARATE]]]     50 32768 3
# The model is random, of Qwen3-0.6B's shape with 4 layers; each answer has 32 tokens. Of the separate runs SEPARATE are
# measured, and their mean is taken for all.
set -u
cd "$(dirname "$0")/../.." || exit 5
quietmind=${QUIETMIND:-build/quietmind} questions=${1:-50} tokens=${2:-32768} separate=${3:-3}
T=$(mktemp -d -p "${TMPDIR:-/var/tmp}") || exit 5
trap 'rm -rf "$T"' EXIT
bench/batch/random_model.py "$T/model" || exit 5

# The document as token ids, the question behind it: ids of the demonstration model's vocabulary.
awk -v n="$tokens" -v questions="$questions" 'BEGIN {
    srand(7)
    for (i = 0; i < n; i++) document = document (i ? "," : "") int(100 + 800 * rand())
    for (q = 1; q <= questions; q++) {
        printf "{\"custom_id\": \"q%d\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": {\"prompt\": [%s", q, document
        for (i = 0; i < 16; i++) printf ",%d", int(100 + 800 * rand())
        printf "], \"max_tokens\": 32, \"ignore_eos\": true, \"temperature\": 0}}\n"
    }
}' >"$T/in.jsonl"
seconds() { # seconds COMMAND...: wall time
    local start
    start=$(date +%s%N)
    "$@" >"$T/out" 2>"$T/err" || { cat "$T/err" >&2; exit 5; }
    awk -v a="$start" -v b="$(date +%s%N)" 'BEGIN { printf "%.2f\n", (b - a) / 1e9 }'
}
batch() { "$quietmind" batch "$T/model" "$1" -o "$2" --checkpoint-size 0; }
together=$(seconds batch "$T/in.jsonl" "$T/together")
alone=0
for ((i = 1; i <= separate; i++)); do
    sed -n "${i}p" "$T/in.jsonl" >"$T/one.jsonl"
    one=$(seconds batch "$T/one.jsonl" "$T/one.$i")
    alone=$(awk -v a="$alone" -v b="$one" 'BEGIN { print a + b }')
done
awk -v t="$together" -v a="$alone" -v n="$separate" -v q="$questions" -v k="$tokens" 'BEGIN {
    printf "| %d questions on one document of %d tokens, against %d separate runs | >= 30 x | %.1f x (%.1f s against %d x %.1f s) |\n",
           q, k, q, q * a / n / t, t, q, a / n }'
