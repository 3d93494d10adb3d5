#!/bin/bash
# --device and --offload: results are the CPU's, what is emulated is said, and a device that fails loses nothing.
# shellcheck source=tests/cli/lib.bash
. "${BASH_SOURCE[0]%/*}/lib.bash"
export XDG_CACHE_HOME="$T/cache"
known_efficiency
CARD=emulated:1GiB,bandwidth=100,bf16=10T,pcie=10

refuse 2 'no size' 'expected a size such as 90GiB' run $DEMO -p x -n 1 --device emulated:
refuse 2 'no such field' '--device: expected bandwidth' run $DEMO -p x -n 1 --device emulated:1GiB,colour=3
refuse 2 'layers without a device' 'there is no device' run $DEMO -p x -n 1 --offload 2
refuse 2 'more layers than there are' 'a number of layers up to 4' run $DEMO -p x -n 1 --offload 5 --device $CARD
refuse 3 'no plan file' 'nothere' run $DEMO -p x -n 1 --offload "$T/nothere" --device $CARD
for c in "run $DEMO -p x" "chat $DEMO --once x" "batch $DEMO none -o $T/none" "compare $DEMO" "bench $DEMO" "run none -p x"; do
    refuse 2 "a card: ${c%% *}" 'this build computes on no GPU' $c --device card:1GiB
done
refuse 2 'a described card' 'rtx-pro-6000: this build computes on no GPU' run $DEMO -p x --device rtx-pro-6000 --offload auto
refuse 2 'cards alone' 'this build computes on no GPU: nothing to run' compare $DEMO --configs gpu
refuse 4 'too little memory' 'emulated.* short|short.*emulated|--offload' run $DEMO -p x -n 1 --offload 4 --device emulated:1MiB

expect 0 'on the CPU' run $DEMO -p 'The bell' -n 12 --json
ids=$(grep -oE '"ids":\[[0-9,]*\]' "$T/out")
check 'no devices' out_has '"devices":null'
expect 0 'two layers on a device' run $DEMO -p 'The bell' -n 12 --json --offload 2 --device $CARD
check 'the same tokens' grep -qF "$ids" "$T/out"
check 'where they are' err_has 'emulated: .*layers 2-3'
check 'marked in the summary' err_has 'emulated: emulated device: times are simulated; [0-9.]+ GiB'
check 'marked in JSON' out_has '"devices":\[\{"name":"emulated","emulated":true,"bytes":[1-9]'
expect 0 'less is free than planned' run $DEMO -p 'The bell' -n 12 --json --offload 2 --device $CARD,free=2MiB
check 'less is free: planned again, said' err_has 'emulated has 0.00 GiB free, [0-9.]+ were planned: planned again'
check 'less is free: the same tokens' grep -qF "$ids" "$T/out"
check 'less is free: not the layers asked for' sh -c "! grep 'layers 2-3' $T/err"
expect 0 'enough is free' run $DEMO -p 'The bell' -n 12 --json --offload 2 --device $CARD,free=500MiB
check 'enough is free: as asked' err_has 'emulated: .*layers 2-3'
check 'enough is free: nothing is said' sh -c "! grep 'planned again' $T/err"
refuse 2 'free without a size' 'expected a size' run $DEMO -p x -n 1 --device $CARD,free=much
expect 0 'it fails' run $DEMO -p 'The bell' -n 12 --json --offload 2 --device $CARD,fail=40
check 'it fails: the same tokens' grep -qF "$ids" "$T/out"
check 'it fails: said once' test "$(grep -c 'emulated failed at .*; the CPU goes on, nothing is lost' "$T/err")" = 1
check 'it fails: in JSON' out_has '"failed":true'
refuse 2 'require needs a device' 'there is no device, and this build computes on no GPU' run $DEMO -p x -n 1 --offload require
expect 0 'a plan' plan $DEMO --context 512 -p 64 -n 16 --offload 3 --device $CARD -o "$T/plan.json"
expect 0 'the plan executed' run $DEMO -p 'The bell' -n 12 --context 512 --json --offload "$T/plan.json" --device $CARD
check 'the plan executed: the same tokens' grep -qF "$ids" "$T/out"
expect 0 'a plan, and less is free' run $DEMO -p 'The bell' -n 12 --context 512 --json --offload "$T/plan.json" \
    --device $CARD,free=2MiB
check 'a plan, and less is free: planned again, said' err_has 'emulated has .* free, .* planned: planned again'
check 'a plan, and less is free: the same tokens' grep -qF "$ids" "$T/out"
IDS="--ids $T/ids -n 12 --context 128 --json" LLAMA=$REFERENCE/llama
echo 1 2 3 4 5 6 7 >"$T/ids"
expect 0 'a plan of a dense model' plan $LLAMA --context 128 -p 64 -n 16 --offload 3 --device $CARD -o "$T/whole.json"
sed '0,/"ffn": "emulated"/s//"ffn": {"cpu": 96, "emulated": 64}/' "$T/whole.json" >"$T/split.json"
expect 0 'an FFN of both is planned' plan $LLAMA --context 128 -p 64 -n 16 --offload "$T/split.json" --device $CARD -o "$T/again.json"
check 'an FFN of both: named' out_has 'cpu: embedding; 60 % of the FFN of 0$'
check 'an FFN of both: the rest' out_has 'emulated: head; attention and 40 % of the FFN of 0; layers 1-2'
check 'an FFN of both: saved as it was' cmp "$T/split.json" "$T/again.json"
expect 0 'an FFN of both is executed' run $LLAMA $IDS --offload "$T/split.json" --device $CARD
ids=$(grep -oE '"ids":\[[0-9,]*\]' "$T/out")
expect 0 'an FFN of both on the CPU' run $LLAMA $IDS --offload "$T/split.json" --device $CARD,fail=1
check 'an FFN of both on the CPU: the same tokens' grep -qF "$ids" "$T/out"
refuse 3 'columns of an FFN' 'layer 0: "ffn": expected the columns of "cpu", a multiple of 32, and those of one device, together 160' \
    run $LLAMA $IDS --offload <(sed 's/"cpu": 96/"cpu": 95/' "$T/split.json") --device $CARD
expect 0 'chat' chat $DEMO --once 'Who are you?' --offload 4 --device $CARD
# A device that fails ends no command: the same results, and it is reported once, when it happens.
FAILING="--offload 2 --device $CARD,fail=40"
reported_once() { check "$1: reported once" test "$(grep -c 'emulated failed at .*; the CPU goes on, nothing is lost' "$T/err")" = 1; }
for i in {1..60}; do echo $((i * 37 % 500)); done >"$T/many"
expect 0 'logits' logits $DEMO --ids "$T/many" -o "$T/logits.npy" --chunk 16 --attention "$T/map.npy" --layer 3
expect 0 'logits, it fails' logits $DEMO --ids "$T/many" -o "$T/failed.npy" --chunk 16 --attention "$T/map2.npy" --layer 3 $FAILING
reported_once 'logits'
check 'logits: the same bits' cmp "$T/logits.npy" "$T/failed.npy"
check 'logits: the same attention' cmp "$T/map.npy" "$T/map2.npy"
expect 0 'perplexity' perplexity $DEMO -f $DEMO/demo/logbook_500.txt --window 60 --json
mean=$(grep -o '"mean_nll":[0-9.]*' "$T/out")
check 'perplexity: no devices' out_has '"devices":null'
expect 0 'perplexity, it fails' perplexity $DEMO -f $DEMO/demo/logbook_500.txt --window 60 --json $FAILING
reported_once 'perplexity'
check 'perplexity: the same number' grep -qF "$mean" "$T/out"
check 'perplexity: in JSON' out_has '"failed":true'
expect 0 'chat, it fails' chat $DEMO --once 'Who are you?' -n 20 $FAILING
reported_once 'chat'
cp "$T/out" "$T/answer"
expect 0 'chat without' chat $DEMO --once 'Who are you?' -n 20
check 'chat: the same answer' cmp "$T/out" "$T/answer"
printf '{"custom_id": "%s", "method": "POST", "url": "/v1/completions", "body": {"prompt": "The bell", "max_tokens": 20}}\n' \
    a b c >"$T/rows.jsonl"
expect 0 'batch' batch $DEMO "$T/rows.jsonl" -o "$T/rows" --context 256
expect 0 'batch, it fails' batch $DEMO "$T/rows.jsonl" -o "$T/failed" --context 256 --report "$T/report.html" $FAILING
reported_once 'batch'
check 'batch: the same answers' cmp <(sed 's/"created":[0-9]*//g' "$T/rows") <(sed 's/"created":[0-9]*//g' "$T/failed")
check 'batch: in the summary' err_has '^a device failed, .*: emulated failed at'
check 'batch: in the report' grep -q 'devices that failed.*emulated failed at' "$T/report.html"
expect 0 'batch: status' batch --status "$T/failed"
check 'batch: in the status' out_has '^failed   .*: emulated failed at'
expect 0 'batch: status for programs' batch --status "$T/failed" --json
check 'batch: in that too' out_has '"device_failures": ".*emulated failed at'
expect 0 'bench' bench $DEMO -p 8 -n 4 -r 2 -o jsonl --offload 4 --device $CARD
check 'bench: marked' out_has '"devices": ?\[\{"name": ?"emulated"'
check 'bench: the backend' out_has '"backends": ?"CPU, emulated device"'
finish
