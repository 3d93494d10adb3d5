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

# a draft model: here the model itself
same_model() {
    local name=$1
    shift
    expect 0 "$name, off" "$@" --draft off
    cp "$T/out" "$T/off"
    expect 0 "$name, a model" "$@" --draft $DEMO
    check "$name, a model: the same" cmp -s "$T/out" "$T/off"
}
same_model 'greedy' run $DEMO -p 'Who kept the lighthouse log?' -n 60
same_model 'sampled' run $DEMO -p 'Who kept the lighthouse log?' -n 60 --temperature 1 --seed 4
same_model 'a document' chat $DEMO -f $DEMO/demo/logbook_500.txt --once 'Where is the brass rope?'
cp -r $DEMO "$T/other"
python3 - "$T/other/tokenizer.json" <<'EOS'
import json, sys
t = json.load(open(sys.argv[1]))
v = t["model"]["vocab"]
a, b = [k for k in v if v[k] == 40][0], [k for k in v if v[k] == 41][0]
v[a], v[b] = 41, 40
json.dump(t, open(sys.argv[1], "w"))
EOS
refuse 3 'other tokens' 'the draft model has other tokens: id 40 is' run $DEMO -p x -n 2 --draft "$T/other"
refuse 3 'a model that is not there' 'quickly: expected a model folder' run $DEMO -p x --draft quickly
refuse 3 'a draft model without a tokenizer' 'has neither tokenizer' run $DEMO -p x --draft $REFERENCE/qwen3
refuse 3 'nothing to compare with' 'has no tokenizer, so it cannot be seen' run $REFERENCE/qwen3 --ids "$T/ids" \
    --draft $DEMO
# a job: ids and times differ, answers do not
answers='import json, sys
for line in sys.stdin:
    r = json.loads(line)
    print(r["custom_id"], json.dumps(r["response"]["body"]["choices"]), r["response"]["body"]["usage"]["completion_tokens"])'
python3 -c 'import json
for i in range(6):
    m = [{"role": "user", "content": "Tell me a story about Anselm." if i % 2 else "Hello."}]
    body = {"model": "demo", "messages": m, "max_tokens": 60, "temperature": i % 3, "seed": i, "ignore_eos": True}
    print(json.dumps({"custom_id": f"row-{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}))' >"$T/job.jsonl"
for draft in off auto 'lookup --draft-tokens 3'; do
    # shellcheck disable=SC2086 # words
    expect 0 "a job, $draft" batch $DEMO "$T/job.jsonl" -o "$T/job.${draft%% *}" --draft $draft
    python3 -c "$answers" <"$T/job.${draft%% *}" >"$T/answers.${draft%% *}"
done
check 'rows are answered' test "$(wc -l <"$T/answers.off")" = 6
check 'as without drafts' cmp -s "$T/answers.off" "$T/answers.auto"
check 'however many' cmp -s "$T/answers.off" "$T/answers.lookup"
expect 0 'a job with a draft model' batch $DEMO "$T/job.jsonl" -o "$T/job.model" --draft $DEMO
check 'which drafted' err_has 'drafts: [0-9]+ of [0-9]+ drafted token'
python3 -c "$answers" <"$T/job.model" >"$T/answers.model"
check 'the same answers' cmp -s "$T/answers.off" "$T/answers.model"
refuse 3 'a job with a draft model of other tokens' 'the draft model has other tokens: id 40 is' \
    batch $DEMO "$T/job.jsonl" -o "$T/no" --draft "$T/other"
refuse 4 'a draft model that does not fit' 'drafts 0[.]1' \
    batch $DEMO "$T/job.jsonl" -o "$T/no" --draft $DEMO --kv-memory 100T
expect 0 'its memory is said before' batch $DEMO "$T/job.jsonl" --check --draft $DEMO
check 'with lookup and weights' out_has 'memory .*drafts 1[0-9][0-9] MiB'

refuse 2 "llama.cpp's number" 'found "8"; how many tokens is --draft-tokens' run $DEMO -p x --draft 8
refuse 2 'no tokens' 'draft-tokens.*1 to 16' run $DEMO -p x --draft-tokens 0
refuse 2 'too many' 'draft-tokens.*1 to 16' run $DEMO -p x --draft-tokens 17
refuse 2 "llama.cpp's draft model" 'did you mean --draft .MODEL' run $DEMO -p x --model-draft small

finish
