#!/bin/bash
# machine and bench: forms of output, profiles that don't fit, and what wrong usage gets.
. "$(dirname "$0")/lib.bash"
export XDG_CACHE_HOME=$T/cache
CONFIG=$REFERENCE/qwen3_moe/config.json
SMALL="--n-prompt 8 --n-gen 2 --repetitions 2 --threads 1"

expect 0 'machine' machine
check 'machine shows the processor' out_has '^processor '
check 'machine shows limits' out_has '^BF16 .* GFLOP/s'
check 'machine says that it measures' err_has 'measuring this machine'
check 'the profile is kept' sh -c "ls $T/cache/quietmind/machine-*.json"
PROFILE=$(ls "$T"/cache/quietmind/machine-*.json)
expect 0 'machine again' machine --json
check 'kept limits are used' out_has '"measured_now": false'
check 'nothing is measured' test ! -s "$T/err"
expect 0 'machine --refresh' machine --json --refresh --silent
check 'measured again' out_has '"measured_now": true'
check 'quiet' test ! -s "$T/err"
if grep -q '^cpu ' /proc/stat; then
    spinners=()
    for ((i = 0; i < $(nproc --all); i++)); do
        while :; do :; done &
        spinners+=($!)
    done
    expect 0 'machine beside others' machine --json --refresh
    kill "${spinners[@]}"
    check 'noise is marked' out_has '"noisy": "other programs used [0-9]+ % of'
    check 'and kept' grep -q '"others": 0\.' "$PROFILE"
    expect 0 'machine after noise' machine
    check 'it says so, and what helps' sh -c "grep -q '^noisy  *other programs' '$T/out' && grep -q -e '--refresh' '$T/out'"
fi
echo '{' >"$PROFILE"
expect 0 'a damaged profile' machine --json
check 'a damaged profile is said' err_has 'measuring again: .*machine-'
check 'a damaged profile is replaced' out_has '"measured_now": true'
sed -i 's/"identity": "/"identity": "another /' "$PROFILE"
expect 0 "another machine's profile" machine --json
check "another machine's profile is said" err_has 'measuring again: .* another machine'
expect 0 'machine --disk' machine --disk $DEMO/model-00001-of-00002.safetensors
check 'the disk is measured' out_has '^disk +[0-9.]+ GB/s'
refuse 3 'a disk that is not there' 'No such file' machine --disk "$T/none"
refuse 2 'machine takes no model' 'unexpected argument' machine $DEMO
export HWLOC_SYNTHETIC='pack:2 [numa] core:1 pu:1' HWLOC_THISSYSTEM=1
expect 0 'machine of two nodes' machine
check 'a matrix of nodes' out_has '^GB/s from node to node'
check 'both nodes' out_has '^     1 +[0-9.]+ +[0-9.]+$'
unset HWLOC_SYNTHETIC HWLOC_THISSYSTEM
touch "$T/file"
XDG_CACHE_HOME=$T/file expect 0 'a cache that can not be written' machine
check 'said' err_has 'the profile is not kept'

# shellcheck disable=SC2086 # words of $SMALL
{
expect 0 'bench' bench $DEMO $SMALL -d 0,4
check 'which build' out_has '^build: quietmind [0-9.]+, commit [0-9a-f]+\+?|unknown'
check 'no column of a sensor that is not there' sh -c "grep -q 'J/token' '$T/out' || ! grep -q 'rpm\|°C' '$T/out'"
check 'nor a word of it' sh -c "! grep 'not readable' '$T/err' '$T/out'"
check 'a table' out_has '^\| demo .*\| +1 \| +pp8 \|'
check 'generation at depth' out_has 'tg2 @ d4 '
expect 0 'bench, random weights of some layers' bench --progress --random $CONFIG --layers 1 $SMALL --fill-depth -d 8 --profile
check 'a line for each case' err_has '^bench: tg2 at depth 8, 2 repetitions$'
check 'filled' out_has 'tg2 @ d8 filled'
check 'the formula' out_has 'T\(layers run\) / T\(all layers\)'
check 'a profile' out_has 'per step: .* regions, [67]\.00 barriers a layer; microseconds: .*moe_up'
for f in csv json jsonl html; do
    expect 0 "bench -o $f" bench --random $CONFIG $SMALL --batch 1,2 -o $f
    cp "$T/out" "$T/$f"
done
}
for t in bf16 f16 f32; do
    expect 0 "bench --dtype $t" bench --random $REFERENCE/qwen3/config.json --dtype $t $SMALL -o jsonl
    check "rows are of $t" out_has "\"model_type\": ?\"qwen3 ${t^^}\".*\"type_k\": ?\"${t^^}\""
done
QUIETMIND_MODEL=$DEMO expect 0 "the environment's model gives way" bench --random $CONFIG $SMALL
# interrupted CONDITION ARGUMENT...: bench by Ctrl-C, later and later until the condition holds: when it is at work is
# not seen from outside.
cat >"$T/interrupt" <<'EOF'
"${@:3}" >"$1/out" 2>"$1/err" &
sleep "$2"
kill -INT $!
wait $!
EOF
interrupted() {
    local condition=$1 seconds
    shift
    for seconds in 1 3 10 30 60; do
        bash "$T/interrupt" "$T" $seconds "$QUIETMIND" bench "$@"
        rc=$?
        eval "$condition" && break
    done
}
interrupted 'tail -n 1 "$T/out" | grep -q "\]$"' $DEMO -p 0 -n 8000 -r 1000 -o json
check 'interrupted: exit code 130' test $rc = 130
check 'interrupted: JSON all the same' sh -c "tail -n 1 '$T/out' | grep -q '\]$'"
interrupted 'out_has limit_share' --kernel -o jsonl
check 'kernels interrupted: exit code 130' test $rc = 130
check 'a row of a kernel' out_has '"kernel": ?"product_BF16".*"limit_share"'
check 'csv has its names' sh -c "head -n 1 '$T/csv' | grep -q ',n_prompt,n_gen,n_depth,.*,avg_ts,stddev_ts,.*limit_share'"
check 'csv has a line a row' test "$(wc -l <"$T/csv")" = 5
check 'csv has as many columns everywhere' test "$(sed 's/"[^"]*"//g' "$T/csv" | awk -F, '{ print NF }' | sort -u | wc -l)" = 1
check 'jsonl has a line a row' test "$(wc -l <"$T/jsonl")" = 4
check 'json is an array' sh -c "head -c 1 '$T/json' | grep -q '\[' && tail -n 1 '$T/json' | grep -q '^\]'"
check 'json is JSON' python3 -c 'import json, sys; assert len(json.load(open(sys.argv[1]))) == 4' "$T/json"
check 'html is whole' sh -c "grep -q '</html>' '$T/html' && grep -q '<svg' '$T/html'"
check 'html needs no network' sh -c "! grep -qE 'https?:|src=|@import|<script' '$T/html'"

refuse 2 'a list that is none' '--n-prompt: expected integers .* found "5,x"' bench $DEMO -p 5,x
refuse 2 'an unknown format' 'expected md, csv, json, jsonl or html' bench $DEMO -o xml
refuse 2 'nothing to measure' 'nothing to measure' bench $DEMO -p 0 -n 0
refuse 2 'no repetitions' '-r: expected an integer' bench $DEMO -r 0
refuse 2 'an unknown shape' 'expected qwen3-30b-a3b' bench --random qwen-9
refuse 2 'too many layers' 'has 48 layers' bench --random qwen3-30b-a3b --layers 49
refuse 2 'layers of files' '--layers goes with --random' bench $DEMO --layers 1
refuse 2 'the type of files' '--dtype goes with --random' bench $DEMO --dtype f32
refuse 2 'an unknown type' '--dtype: expected bf16, f16 or f32' bench --random qwen3-4b --dtype q4_0
refuse 2 'a model twice' 'either a model' bench $DEMO --random qwen3-4b
refuse 2 'kernels of a model' '--kernel takes no argument' bench $DEMO --kernel
refuse 2 'kernels of prompts' '--n-prompt does not go with --kernel' bench --kernel -p 8
refuse 4 'more than fits' 'not enough memory for the weights: ' bench --random llama-3-70b --layers 80 -d 1000000 $SMALL
refuse 4 'more than fits names what asks for it' '1 sequence of 1000008 tokens' bench --random llama-3-70b -d 1000000 $SMALL
refuse 3 'no such model' 'none' bench "$T/none"
# drafts of a given acceptance: the same tokens, fewer steps
for acceptance in 0 0.5 1; do
    expect 0 "drafts, $acceptance right" bench $DEMO -p 0 -n 40 -d 0,10 --batch 1,3 -r 2 --acceptance $acceptance -o json
    check 'each generation twice, and what came of it' python3 -c '
import json, sys
rows, p = json.load(open(sys.argv[1])), float(sys.argv[2])
plain, drafts = [r for r in rows if not r["drafts"]], [r["drafts"] for r in rows if r["drafts"]]
assert len(plain) == 4 and len(drafts) == 4, (len(plain), len(drafts))
for d in drafts:
    assert d["acceptance"] == p and 0 <= d["accepted"] <= d["drafted"], d
    assert d["best_ts"] > 0 and len(d["step_seconds"]) == 17 and d["step_seconds"][0] > 0, d
    assert p != 1 or d["accepted"] == d["drafted"], d
    assert p != 0 or d["accepted"] == 0, d' "$T/out" $acceptance
done
expect 0 'in the table' bench $DEMO -p 8 -n 8 -r 1 --acceptance 0.6
check 'a column' out_has 'tg8 drafts .* % right, .* % of best'
expect 0 'with a device and --quiet' bench $DEMO -p 0 -n 8 -r 1 --acceptance 0.6 --quiet --offload 2 \
    --device emulated:1GiB,bandwidth=100,bf16=10T,pcie=10
check 'too' out_has 'tg8 drafts'
refuse 2 'more than all' 'acceptance.*0 to 1' bench $DEMO -n 8 --acceptance 1.5

finish
