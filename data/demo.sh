#!/bin/sh
# `make demo`: the whole story told with the demonstration model. A batch of 60 questions about
# three logbooks that is killed (kill -9) in the middle and resumed, every answer beside the expected one; then what
# this machine can do (which is measured, once), what the plan says, a card (emulated) compared with the CPU, and what
# to type for a real model.
#     data/demo.sh PROGRAM
#
# The answers and the report stay in a folder of their own below $TMPDIR, which is named at the end.
# Ends with 0 when every answer is that of the reference implementation and nothing was lost by the kill, with 1
# when not, else with the code of the command that failed.
set -u
export LC_ALL=C
quietmind=${1:?usage: data/demo.sh PROGRAM}
cd "$(dirname "$0")/.." || exit 5
model=data/demo
questions=$model/demo/batch.jsonl
expected=$model/demo/expected.jsonl
kept=$(mktemp -d "${TMPDIR:-/tmp}/quietmind-demo.XXXXXX") || exit 5
scratch=$kept/scratch
mkdir "$scratch" || exit 5
out=$kept/answers.jsonl report=$kept/report.html

tidy() {
    [ ! -s "$scratch/pid" ] || [ -e "$scratch/ended" ] || kill -9 "$(cat "$scratch/pid")" 2>/dev/null
    rm -rf "$scratch"
    [ -e "$report" ] || rm -rf "$kept"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

title() { printf '\n%s\n%s\n' "$1" "$(printf '%s' "$1" | sed 's/./-/g')"; }
shown() { printf '$ %s\n' "$*"; }
# Lines that begin with a name, folded to 79 columns with what follows under what follows.
narrow() {
    while IFS= read -r line; do
        rest=$(printf '%s' "$line" | cut -c16- | fold -s -w 64 | sed 's/ *$//; 2,$s/^/               /')
        printf '%-15.15s%s\n' "$line" "$rest"
    done
}
# The machine's lines that begin so, an energy's reason whole.
of_machine() { awk -v begin="$1" '/^ / { if (energy) print; next } { energy = /^energy/ && $0 ~ begin } $0 ~ begin' "$scratch/machine"; }
# The last table of a plan: what was not measured before is shown by default rates first, and again when it is.
last_plan() { awk '/^model / { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$scratch/plan"; }
failed() { # failed CODE WHAT
    echo "$2 failed (exit code $1):"
    cat "$scratch/log"
    exit "$1"
}
wrong() { # wrong WHAT: what the demonstration shows is not so
    echo "Not as it should be: $1."
    verdict=1
}
verdict=0

title "A night's work: $(wc -l <$questions | tr -d ' ') questions about three logbooks, an OpenAI batch file"
# A number of the job's status, by its name; nothing where there is none yet.
job() { "$quietmind" batch --status "$out" --json 2>/dev/null | sed -n "s/^ *\"$1\": \([0-9.]*\),*\$/\1/p"; }
# shellcheck disable=SC2086 # $pieces are words
batch() { exec "$quietmind" batch $model $questions -o "$out" --report "$report" $pieces 2>"$scratch/log"; }
# Succeeds when it was killed with some rows finished and some not.
run_and_kill() {
    rm -rf "$out"* "$report" "$scratch/ended" "$scratch/pid"
    {
        (batch) &
        echo $! >"$scratch/pid"
        wait $!
        echo $? >"$scratch/ended"
    } 2>/dev/null &
    rows=
    until [ "${rows:-0}" -ge 10 ] || [ -e "$scratch/ended" ]; do
        sleep 0.02
        rows=$(job finished)
    done
    [ -e "$scratch/ended" ] || kill -9 "$(cat "$scratch/pid")" 2>/dev/null
    wait
    before=$(job finished)
    ended=$(cat "$scratch/ended")
    [ "$ended" = 137 ] || [ "$ended" = 0 ] || failed "$ended" batch
    [ ! -e "$out" ] && [ "${before:-0}" -gt 0 ]
}
# Eight rows at a time, so that they finish one after another. A fast machine has finished all of them before it is
# looked at: row by row, then.
pieces='--sequences 8'
run_and_kill || {
    pieces='--sequences 1 --threads 1'
    run_and_kill || failed 1 'killing batch before it has finished'
}
cat <<SHOWN
\$ $quietmind batch $model $questions \\
    -o $out \\
    --report $report $pieces
Killed in the middle, by kill -9. What is finished:
\$ $quietmind batch --status $out
SHOWN
"$quietmind" batch --status "$out" || failed $? 'batch --status'
"$quietmind" batch --export "$out" >"$scratch/before" 2>"$scratch/log" || failed $? 'batch --export'
echo 'The same command again answers the rest:'
(batch) || failed $? 'batch, resumed,'
echo "  $(wc -l <"$out" | tr -d ' ') answers, $before of them from before the kill."

title 'Every answer: as it came, as expected; X marks what differs'
awk '
function field(name,    s) {
    if (!match($0, "\"" name "\": ?\"([^\"\\\\]|\\\\.)*\""))
        return ""
    s = substr($0, RSTART, RLENGTH)
    sub(/^[^:]*: ?"/, "", s)
    return substr(s, 1, length(s) - 1)
}
function cut(s, n) { return length(s) <= n ? s : substr(s, 1, n - 2) ".." }
function short(s,    w, n) { # first word and last two of a long question
    if (length(s) <= 27)
        return s
    n = split(s, w, " ")
    return cut(w[1] " ... " w[n - 1] " " w[n], 27)
}
FNR == NR { answer[field("custom_id")] = field("content"); lines++; next }
{
    id = field("custom_id")
    split(id, part, "-")
    if (part[1] != log_name)
        printf "logbook_%s.txt\n", substr(log_name = part[1], 4)
    a = id in answer ? answer[id] : "(no answer)"
    same = a == field("expected")
    as_expected += same
    as_reference += a == field("model_bf16")
    printf "%2d %-27s %-23s %s %s\n", ++n, short(field("question")), cut(a, 23), same ? "=" : "X", cut(field("expected"), 23)
}
END {
    printf "%d of %d answers as expected; %d as transformers gives them in BF16.\n", as_expected, n, as_reference
    exit !(n && as_reference == n && lines == n)
}' "$out" $expected >"$scratch/table" || wrong 'an answer is missing, or is not that of the reference implementation'
cat "$scratch/table"

title 'What it took'
[ -n "$(job finished)" ] || failed 1 'batch --status --json'
{
    echo "prompts        $(job prompt) tokens; $(job cached) of them not computed again: questions about the same logbook share them (prefix cache)"
    awk -v prompt="$(job prompt)" -v cached="$(job cached)" -v generated="$(job generated)" -v s="$(job seconds)" -v runs="$(job runs)" 'BEGIN {
        printf "speed          prompts computed at %.0f tokens/s, answers generated at %.1f tokens/s, in %.1f s of work in %d runs\n",
               (prompt - cached) / s, generated / s, s, runs }'
    joules=$(job joules)
    [ -z "$joules" ] || awk -v j="$joules" -v generated="$(job generated)" 'BEGIN {
        printf "energy         %.0f J, %.2f J a token generated\n", j, j / generated }'
    echo "answers        $out"
    echo "report         $report"
} | narrow
[ "$(grep -Fxc -f "$out" "$scratch/before")" = "$before" ] || wrong 'a row that was finished before the kill is missing or changed'
[ -s "$report" ] || wrong 'there is no report'
echo "These two stay, with the job's journal; to remove them: rm -r \\
  $kept"

title 'This machine (measured once, and kept)'
shown "$quietmind machine"
: >"$scratch/log"
"$quietmind" machine >"$scratch/machine" || failed $? machine
of_machine '^(processor|instructions|memory  |energy|read|BF16)' | narrow

title 'Before anything is loaded: what fits, and how fast it will be'
shown "$quietmind plan $model"
"$quietmind" plan $model >"$scratch/plan" || failed $? plan
last_plan | grep -E '^(model|memory|total|left|tokens/s|prefill|decode|would)' | narrow

title 'A card, emulated: planned, then compared with the CPU on the same answers'
card=emulated:16MiB,bandwidth=200,bf16=4T,pcie=16,launch=1,handover=2
printf '$ %s \\\n    --device %s\n' "$quietmind plan $model --context 4096" "$card"
: >"$scratch/log"
"$quietmind" plan $model --context 4096 --device $card >"$scratch/plan" || failed $? plan
last_plan | awk '/^placement/ { on = 1 } /^(search|$)/ { on = 0 } on || /^(tokens\/s|prefill +[0-9]|decode +[0-9])/' |
    narrow
printf '$ %s \\\n    --device %s\n' "$quietmind compare $model --configs cpu,quiet,emulated:auto -n 64" "$card"
: >"$scratch/log"
"$quietmind" compare $model --configs cpu,quiet,emulated:auto -n 64 --device $card --csv >"$scratch/csv" ||
    failed $? compare
awk -F, 'NR == 1 { printf "  %-14s %10s %10s %10s %10s  %s\n", "tokens/s", "prompt", "predicted", "generated", "predicted", "answers" }
    NR > 1 { gsub(/"/, "", $1)
        printf "  %-14s %10.0f %10.0f %10.0f %10.0f  %s\n", $1, $5, $8, $9, $12, $23 == "" ? "-" : $23 ? "the same" : "differ" }' \
    "$scratch/csv"
echo '  (emulated: computed on the CPU, its times simulated from a card of 200 GB/s.
  This model fits in a cache: its times are harder to predict than real ones.)'

title 'Next, with a real model'
cat <<NEXT
Any folder as published on Hugging Face, downloaded by you (nothing is ever
fetched); the README lists the architectures. What it takes and how fast it
will be, and then a night's work:
  $quietmind plan ~/models/Qwen3-30B-A3B --context 131072
  $quietmind batch ~/models/Qwen3-30B-A3B --document reports/ \\
      --ask questions.txt -o answers.md --format md --hours 22:00-07:00
How configurations of this machine do on the same answers:
  $quietmind compare ~/models/Qwen3-30B-A3B --configs cpu,quiet
Talk to it, alone or about a document:
  $quietmind chat ~/models/Qwen3-30B-A3B -f report.txt
More: $quietmind --help
NEXT
exit $verdict
