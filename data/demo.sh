#!/bin/sh
# `make demo`: the demonstration model reads a logbook and answers ten questions about it, each answer beside
# the one that is right.     data/demo.sh PROGRAM
# Ends with 0 when all are right, 1 when an answer differs, else with the code of the command that failed.
set -u
quietmind=${1:?usage: data/demo.sh PROGRAM}
cd "$(dirname "$0")/.." || exit 5
model=data/demo
book=$model/demo/logbook_2k.txt
scratch=$(mktemp -d) || exit 5
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title() { printf '\n%s\n%s\n' "$1" "$(printf '%s' "$1" | sed 's/./-/g')"; }
shown() { printf '$ %s\n' "$*"; }
# A field of a line of JSON: text without escapes, or a number.
text_field() { sed -n "s/.*\"$1\": *\"\\([^\"]*\\)\".*/\\1/p"; }
number_field() { tr -d '\n' | sed -n "s/.*\"$1\": *\\([0-9.eE+-]*\\).*/\\1/p"; }
failed() { # failed CODE WHAT
    echo "$2 failed (exit code $1):"
    cat "$scratch/log"
    exit "$1"
}

title "The model: tiny, trained for this demonstration, from $model"
shown "$quietmind inspect $model"
"$quietmind" inspect $model 2>"$scratch/log" || failed $? inspect

title "The document: $(wc -l <$book | tr -d ' ') lines of a night log, $book"
awk 'NR > 2 && NR < 8 { print "  " substr($0, 1, 76) } END { print "  ..." }' $book

title 'Ten questions, the whole log before each; left the answer, right the expected'
shown "$quietmind chat $model -f LOGBOOK --once QUESTION"
start=$(date +%s)
grep '"log2k-' $model/demo/expected.jsonl | head -n 10 >"$scratch/questions"
asked=0 right=0
while IFS= read -r line <&3; do
    question=$(printf '%s\n' "$line" | text_field question)
    expected=$(printf '%s\n' "$line" | text_field expected)
    answer=$("$quietmind" chat $model -f $book --once "$question" --temperature 0 2>"$scratch/log" </dev/null) ||
        failed $? "question '$question'"
    asked=$((asked + 1))
    mark=differs
    if [ "$answer" = "$expected" ]; then
        mark=same
        right=$((right + 1))
    fi
    printf '%2d %s\n' $asked "$question"
    if [ ${#answer} -le 33 ] && [ ${#expected} -le 33 ]; then
        printf '   %-33s | %-33s %s\n' "$answer" "$expected" $mark
    else
        printf '   %s\n   | %-67s %s\n' "$answer" "$expected" $mark
    fi
done 3<"$scratch/questions"
seconds=$(($(date +%s) - start))
printf '\n%d of %d answers as expected, in %d s.\n' $right $asked $seconds

title 'How fast, on this machine'
shown "$quietmind run $model -f $book -n 64 --json"
"$quietmind" run $model -f $book -n 64 --temperature 0 --json >"$scratch/json" 2>"$scratch/log" || failed $? run
reading=$(number_field prefill_tps <"$scratch/json")
writing=$(number_field decode_tps <"$scratch/json")
printf '  reading the document  %8.0f tokens/s\n' "${reading:-0}"
printf '  writing after it      %8.0f tokens/s\n' "${writing:-0}"
echo '  (A real model is thousands of times larger, and slower accordingly: what it'
echo '  writes a second is about the GB/s that this machine reads from memory, over'
echo '  the GB of weights that one token uses.)'

title 'Planned before it runs, and compared: the CPU, fewer threads, a card on paper'
shown "$quietmind plan $model"
"$quietmind" plan $model >"$scratch/plan" 2>"$scratch/log" || failed $? plan
sed -n '/^tokens\/s/,/^writing/p' "$scratch/plan" | cut -c 1-42 | sed 's/^/  /'
shown "$quietmind compare $model --configs cpu,quiet,emulated:auto -n 32"
"$quietmind" compare $model --configs cpu,quiet,emulated:auto -n 32 --csv >"$scratch/csv" 2>"$scratch/log" ||
    failed $? compare
awk -F, 'NR == 1 { printf "  %-14s %10s %10s %10s %10s  %s\n", "tokens/s", "reading", "predicted", "writing", "predicted", "answers" }
    NR > 1 { gsub(/"/, "", $1)
        printf "  %-14s %10.0f %10.0f %10.0f %10.0f  %s\n", $1, $5, $8, $9, $12, $23 == "" ? "-" : $23 ? "the same" : "differ" }' \
    "$scratch/csv"
echo '  (emulated: computed on the CPU, the times simulated from a card of 1.8 TB/s.)'

title 'Next, with a real model'
cat <<NEXT
Any folder as published on Hugging Face, downloaded by you (nothing is ever
fetched); the README lists the architectures. What it is and what it takes:
  $quietmind inspect ~/models/Qwen3-30B-A3B
Talk to it, alone or about a document:
  $quietmind chat ~/models/Qwen3-30B-A3B
  $quietmind chat ~/models/Qwen3-30B-A3B -f report.txt
A model in the local Hugging Face cache goes by its name:
  $quietmind chat Qwen/Qwen3-30B-A3B
More: $quietmind --help
NEXT
[ "$asked" = 10 ] && [ $right = $asked ]
