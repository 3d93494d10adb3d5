#!/bin/bash
# The commands doing their work on the demonstration model and a reference model.
. "$(dirname "$0")/lib.bash"
echo '1 2 3 4 5 6 7 8 9 10' >"$T/ids"
Q3=$REFERENCE/qwen3 MOE=$REFERENCE/qwen3_moe

# inspect
expect 0 'inspect' inspect $DEMO
check 'parameters' out_has '^parameters +1643904 .*626688.* active'
check 'tensors by type' out_has '^tensors +BF16: 135'
check 'memory' out_has '^memory +weights .*working '
check 'memory of keys and values' out_has '^ +KV 1.0 KiB a token'
check 'the chat template' out_has '^chat template +yes'
expect 0 'inspect without a tokenizer' inspect $Q3
check 'what is missing is said' out_has '^note +no tokenizer'
expect 0 'inspect --json' inspect $DEMO --json --context 1000
check 'the context asked for' out_has '"kv_tokens": 1000'

# run
expect 0 'run --json' run $DEMO -p 'Hello.' -n 4 --json
for key in text ids finish_reason usage prompt_tokens completion_tokens prefill_tps decode_tps; do
    check "run --json has $key" out_has "\"$key\":"
done
check 'one line' test "$(wc -l <"$T/out")" = 1
check 'its length' out_has '"finish_reason":"length".*"completion_tokens":4'
expect 0 'run --ids without a tokenizer' run $Q3 --ids "$T/ids" -n 6
cp "$T/out" "$T/six"
check 'prints ids' out_has '^[0-9]+( [0-9]+){5}$'
for variant in '--threads 1' '--threads 3' '--isa scalar' '--seed 5'; do
    # shellcheck disable=SC2086 # words
    expect 0 "run $variant" run $Q3 --ids "$T/ids" -n 6 $variant
    [ "$variant" = '--isa scalar' ] || check 'the same ids' cmp -s "$T/six" "$T/out"
done
expect 0 'a bias' run $Q3 --ids "$T/ids" -n 3 --logit-bias 7=100
check 'decides' out_is '7 7 7
'
expect 0 'a seed' run $Q3 --ids "$T/ids" -n 20 --temperature 1 --seed 42
cp "$T/out" "$T/seeded"
expect 0 'the same seed' run $Q3 --ids "$T/ids" -n 20 --temp 1 --seed 42
check 'the same ids' cmp -s "$T/seeded" "$T/out"
expect 0 'another seed' run $Q3 --ids "$T/ids" -n 20 --temp 1 --seed 43
check 'other ids' sh -c "! cmp -s '$T/seeded' '$T/out'"
expect 0 'logprobs' run $DEMO -p 'Hello.' -n 2 --json --logprobs 3
check 'are in the result' out_has '"logprobs":\[\{"id":[0-9]+,"logprob":-?[0-9.e-]+,"token":".*","bytes":\[.*"top_logprobs":\['
expect 0 'a context that fills up' run $Q3 --ids "$T/ids" --context 16 --json
check 'says why it ended' out_has '"finish_reason":"context_full"'
expect 0 'beyond the maximum' run $Q3 --ids "$T/ids" -n 1 --context 5000
check 'warns' err_has '^warning: a context of 5000 tokens is more than the model.s maximum of 4096;'
expect 0 'an override' run $MOE --ids "$T/ids" -n 1 --experts-per-token 1
check 'is reported' err_has 'experts'
expect 0 'a rope scaling' run $Q3 --ids "$T/ids" -n 1 --rope-scaling yarn:factor=4,original=4096 --context 16384
check 'raises the maximum' sh -c "! grep -q warning: '$T/err'"
expect 0 'a KV type' run $Q3 --ids "$T/ids" -n 2 --kv-type f32
expect 0 'nothing to generate' run $Q3 --ids "$T/ids" -n 0 --json
check 'is no token' out_has '"ids":\[\]'

# logits
expect 0 'logits' logits $Q3 --ids "$T/ids" -o "$T/all.npy"
check 'the shape' grep -aq "'shape': (10, 512)" "$T/all.npy"
check 'the size' test "$(wc -c <"$T/all.npy")" = $((128 + 10 * 512 * 4))
expect 0 'logits in pieces' logits $Q3 --ids "$T/ids" -o "$T/pieces.npy" --chunk 3 --threads 1
check 'the same bits' cmp -s "$T/all.npy" "$T/pieces.npy"
expect 0 'the last ones' logits $Q3 --ids "$T/ids" -o "$T/last.npy" --last 2 --chunk 3
check 'the shape' grep -aq "'shape': (2, 512)" "$T/last.npy"
tail -c 4096 "$T/all.npy" >"$T/a" && tail -c 4096 "$T/last.npy" >"$T/b"
check 'the same bits' cmp -s "$T/a" "$T/b"
expect 0 'attention' logits $Q3 --ids "$T/ids" -o "$T/x.npy" --attention "$T/maps.npy" --layer 1
check 'the shape' grep -aq "'shape': (4, 10, 10)" "$T/maps.npy"
expect 0 'attention in pieces' logits $Q3 --ids "$T/ids" -o "$T/x.npy" --attention "$T/maps2.npy" --layer 1 --chunk 3
check 'the same bits' cmp -s "$T/maps.npy" "$T/maps2.npy"
refuse 2 'a layer that is not there' 'expected one from 0 to 2' logits $Q3 --ids "$T/ids" -o "$T/x.npy" --attention "$T/y.npy" --layer 3
IN=$T/ids expect 0 'ids from standard input' logits $Q3 --ids - -o "$T/stdin.npy"
check 'the same bits' cmp -s "$T/all.npy" "$T/stdin.npy"

# models by name, in a cache made for it
hub=$T/hub/models--Some--Model
mkdir -p "$hub/refs" "$hub/snapshots" && printf 'abc' >"$hub/refs/main" && ln -s "$PWD/$DEMO" "$hub/snapshots/abc"
HF_HUB_CACHE=$T/hub expect 0 'a name in HF_HUB_CACHE' inspect Some/Model
check 'is found' out_has '^parameters +1643904'
HF_HOME=$T expect 0 'a name in HF_HOME' run -m Some/Model -p a -n 1
HF_HUB_CACHE=$T/hub refuse 3 'a name that is not there' 'Some/Other' run Some/Other -p a -n 1

# perplexity
expect 0 'perplexity' perplexity $DEMO -f $DEMO/demo/logbook_500.txt
check 'with its spread' out_has 'standard error'
expect 0 'perplexity --json' perplexity $DEMO -f $DEMO/demo/logbook_500.txt --window 100 --json
check 'its members' out_has '^\{"perplexity":[0-9.]+,"mean_nll":[0-9.]+,"standard_error":.*"window":100,"devices":null\}$'

# chat
line=$(sed -n 1p $DEMO/demo/expected.jsonl)
question=$(printf '%s' "$line" | sed 's/.*"question": "\([^"]*\)".*/\1/')
answer=$(printf '%s' "$line" | sed 's/.*"expected": "\([^"]*\)".*/\1/')
expect 0 'chat --once about a document' chat -f $DEMO/demo/logbook_500.txt --once "$question"
check 'the right answer' out_is "$answer
"
printf '%s\n/clear\n%s\n/stats\n/save %s\n' "$question" "$question" "$T/saved" >"$T/in"
IN=$T/in expect 0 'chat from a script' chat $DEMO -f $DEMO/demo/logbook_500.txt
check 'the answer, twice' test "$(grep -cxF "$answer" "$T/out")" = 2
check 'nothing is computed twice' out_has '[(][1-9][0-9]* from cache, '
check 'saved' grep -q '"messages"' "$T/saved"
printf '/load %s\n/save %s\n' "$T/saved" "$T/again" >"$T/in"
IN=$T/in expect 0 'chat loads' chat $DEMO
check 'and saves the same' cmp -s "$T/saved" "$T/again"
echo '{{ messages[-1].content }}<think>' >"$T/thinking"
expect 0 'reasoning' chat $DEMO --once 'Hello.' --chat-template "$T/thinking" -n 5
check 'stands between marks' sh -c "head -n 1 '$T/out' | grep -qx '<think>' && tail -n 1 '$T/out' | grep -qx '</think>'"
expect 0 'reasoning, hidden' chat $DEMO --once 'Hello.' --chat-template "$T/thinking" -n 5 --hide-thinking
check 'nothing is left' out_is '
'
expect 0 'a system message' chat $DEMO --once 'Hello.' --system 'Be brief.' -n 5
printf '/nonsense\n' >"$T/in"
IN=$T/in refuse 2 'a wrong command in a script' 'unknown command /nonsense' chat $DEMO
finish
