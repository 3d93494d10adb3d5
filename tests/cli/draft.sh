#!/bin/bash
# Drafts: every result is the one without them, whatever is drafted and however many; what is said of them.
. "$(dirname "$0")/lib.bash"

# same NAME ARGUMENT...: the output is the same with and without drafts.
same() {
    local name=$1 draft
    shift
    expect 0 "$name, off" "$@" --draft off
    cp "$T/out" "$T/off"
    for draft in 'auto' 'lookup' 'lookup --draft-tokens 1' 'auto --draft-tokens 7'; do
        # shellcheck disable=SC2086 # words
        expect 0 "$name, $draft" "$@" --draft $draft
        check "$name, $draft: the same" cmp -s "$T/out" "$T/off"
    done
}

same 'text that repeats itself' run $DEMO -p 'Who kept the lighthouse log?' -n 200
same 'sampled' run $DEMO -p 'Who kept the lighthouse log?' -n 100 --temperature 1.5 --seed 3 --repeat-penalty 1.1
same 'a document' chat $DEMO -f $DEMO/demo/logbook_500.txt --once 'Where is the brass rope?'
seq 1 40 | tr '\n' ' ' >"$T/ids"
same 'a model of windows' run $REFERENCE/gpt_oss --ids "$T/ids" -n 60

# the JSON but for times and drafts
without='import json, sys
r = json.load(sys.stdin)
print(json.dumps({k: r[k] for k in ("text", "ids", "finish_reason", "usage", "logprobs")}))'
for draft in off auto; do
    expect 0 "log-probabilities, $draft" run $DEMO -p 'Who kept the lighthouse log?' -n 80 --logprobs 3 --json \
        --draft $draft
    python3 -c "$without" <"$T/out" >"$T/$draft.json"
done
check 'log-probabilities are the same' cmp -s "$T/off.json" "$T/auto.json"
check 'what was drafted' out_has '"drafts":\{"steps":[0-9]+,"drafted":[0-9]+,"accepted":[0-9]+,"saved_seconds":-?[0-9.e-]+\}'
expect 0 'off in JSON' run $DEMO -p x -n 2 --json --draft off
check 'null' out_has '"drafts":null'

printf 'Where is the brass rope?\n/stats\nWhere is the brass rope?\n/stats\n' >"$T/in"
IN=$T/in expect 0 'a conversation' chat $DEMO -f $DEMO/demo/logbook_500.txt
cp "$T/out" "$T/conversation"
IN=$T/in expect 0 'a conversation without' chat $DEMO -f $DEMO/demo/logbook_500.txt --draft off
check 'the same answers' cmp -s <(grep -vE 'tokens/s|drafts:' "$T/conversation") <(grep -vE 'tokens/s|drafts:' "$T/out")

refuse 2 'a kind that is none' 'expected auto, lookup or off, found quickly' run $DEMO -p x --draft quickly
refuse 2 "llama.cpp's number" 'found 8; how many tokens is --draft-tokens' run $DEMO -p x --draft 8
refuse 2 'no tokens' 'draft-tokens.*1 to 16' run $DEMO -p x --draft-tokens 0
refuse 2 'too many' 'draft-tokens.*1 to 16' run $DEMO -p x --draft-tokens 17
refuse 2 'a draft model' 'lookup needs none' run $DEMO -p x --model-draft small

finish
