#!/bin/bash
# plan: the forms of its answer, machines of files, and what can't be met.
. "$(dirname "$0")/lib.bash"
export XDG_CACHE_HOME=$T/cache
CONFIG=$REFERENCE/qwen3_moe/config.json
MACHINE=$T/machine.json
cp tests/fuzz/corpus/speed/small "$MACHINE"
number() { sed -n "s/.*\"$1\": \([0-9.eE+-]*\).*/\1/p" "$T/out" | head -n 1; }

. "$(dirname "$0")/efficiencies.bash" # nothing is measured here but the machine
kept_efficiencies "$build" ', "MXFP4": [[1, 0.9]]'
# A profile of a slower and of a faster machine.
cp "$KEPT" "$T/profile"
rates() { python3 -c '
import json, sys
p = json.load(open(sys.argv[1]))
for k in ("usual_read", "usual_bf16", "usual_f32"): p[k] = float(sys.argv[2])
json.dump(p, open(sys.argv[3], "w"), indent=2)' "$T/profile" "$1" "$KEPT"; }
rates 1e15
expect 0 'a profile of better days' plan
check 'is said' err_has '^profile of 20.*; now: .*: predictions are for now|taken beside noise; it is quiet now|^the machine is busy'
check 'and stays' sh -c "! cmp -s '$T/profile' '$KEPT'"
rates 1e6
expect 0 'a profile of worse days' plan
check 'is said' err_has '^profile of 20.*; now: .*: measuring again|taken beside noise; it is quiet now|^the machine is busy'
check 'memory' out_has '^weights +[0-9.]+$'
check 'speeds' out_has '^decode +[0-9.]+'
check 'what bounds it' out_has '^decode +.* %'
check 'no line is wide' sh -c "! grep -E '.{101}' $T/out"
ls "$T"/cache/quietmind/machine-*.json >/dev/null || bad 'the profile is kept' 'no file'
expect 0 'plan --json' plan $DEMO --machine "$MACHINE" --json --context 2048
check 'predicted prompt' out_has '"prefill_tps": [0-9.]+'
check 'predicted generation' out_has '"decode_tps": [0-9.]+'
expect 0 'a config.json alone' plan "$CONFIG" --machine "$MACHINE" --json
check 'experts are counted' out_has '"expert": [1-9]'
expect 0 'a shape' plan --random gpt-oss-20b --layers 2 --prompt 1000 --generate 10 --batch 4 --depth 100 --ram 900GB --machine "$MACHINE"
check 'the job' out_has '^scenario +prefill 4 x 1000 tokens in .*tokens/s'
check 'a speed of few tokens is not predicted' test "$(tr -s ' \n' ' ' <"$T/out" | grep -c '10 tokens in [^(]*(too few tokens to predict a speed)')" = 1
refuse 4 'more than there is' 'the keys and values are [0-9.]+ GiB short: .*--context [0-9]+ fits' plan --random qwen3-0.6b --ram 4GiB --context 40960 --machine "$MACHINE" --offload none
refuse 4 'weights that do not fit' 'the weights are [0-9.]+ GiB short: .*no context fits: the weights alone' plan --random llama-3-70b --ram 64GiB --machine "$MACHINE" --offload none
refuse 2 'a context that the job does not fit' 'the scenario needs 544 tokens' plan $DEMO --context 100 --machine "$MACHINE"
refuse 2 'nothing to do' 'nothing to do' plan $DEMO --prompt 0 --generate 0
refuse 2 'a size' 'expected a size such as' plan $DEMO --ram much
refuse 2 'two models' 'either a model' plan $DEMO --random qwen3-4b
refuse 2 'layers of a whole model' '--layers is for' plan $DEMO --layers 2
refuse 2 'the type of files' '--dtype is for' plan $DEMO --dtype f32
refuse 2 'the type of files, in a table' '--dtype is for' plan --table $DEMO --dtype f32
expect 0 'a type' plan --random qwen3-0.6b --dtype f32 --json --ram 900GB --machine "$MACHINE"
check 'twice the bytes' out_has '"weights": ?2384'
refuse 3 'a machine that is not there' 'No such file' plan $DEMO --machine "$T/none"
echo '{"version": 1}' >"$T/half.json"
refuse 3 'half a machine' 'expected a text' plan $DEMO --machine "$T/half.json"

# A device: what goes to it, wishes, and what can't be met.
BIG="--random qwen3-30b-a3b --machine $MACHINE --context 8192"
expect 0 'a card' plan $BIG --vram 24GiB --prompt 4000
check 'a placement' out_has '^placement +cpu: embedding'
check 'the card has some' out_has '^ +card: '
check 'how far from the best' out_has '^search +best of [0-9]+ tried; at most [0-9]+ % less time is possible'
expect 0 'nothing to the card' plan $BIG --offload none
check 'nothing there' out_has 'card: nothing'
expect 0 'the last layers' plan $BIG --offload 10
check 'those' out_has 'card: layers 38-47'
expect 0 'a pin' plan $BIG --vram 20GiB --pin 'layers 0-3' --pin 'experts 3 on cpu'
check 'pinned' out_has 'card: .*layers 0-2, [0-9-]+; attention of 3'
expect 0 'two devices' plan --random qwen3-4b --machine "$MACHINE" --device emulated:4GiB,bandwidth=900,bf16=100T,pcie=25 --vram 4GiB
check 'both' out_has 'emulated: '
check 'marked' out_has 'emulated \(emulated\)'
expect 0 'a device like the CPU' plan --random qwen3-4b --machine threadripper-pro-9995wx --device emulated:64GiB,bandwidth=400,bf16=50T,pcie=55 --context 8192
check 'both compute each FFN' out_has '^placement +cpu: embedding; 4[0-9] % of the FFN of 0-35$'
check 'the rest is on the device' out_has 'emulated: head; attention and 5[0-9] % of the FFN of 0-35'
expect 0 'a model whose weights need the card' plan --random llama-3-70b --machine "$MACHINE" --context 4096
refuse 4 'pins that do not fit' 'short for the weights pinned to it: .*; pin less .*--vram' plan $BIG --vram 8GiB --pin 'layers 0-40'
refuse 4 'layers that do not fit' 'the devices are [0-9.]+ GiB short for the last 48 layers: .* --offload auto' plan $BIG --vram 8GiB --offload 48
refuse 4 'all together too little' 'the CPU is [0-9.]+ GiB short for the weights|the weights are [0-9.]+ GiB short: ' plan $BIG --vram 8GiB --ram 16GiB
refuse 2 'a pin of what is not there' 'has layers 0-47' plan $BIG --pin 'layers 40-48'
refuse 2 'a pin on no device' 'no device is called' plan $BIG --pin 'head on moon'
refuse 2 'what is pinned' 'expected layers, attention' plan $BIG --pin 'wheels 1'
refuse 3 'a device that is not there' 'No such file' plan $BIG --device emulated
refuse 2 'a device without a size' 'expected a size' plan $BIG --device emulated:
expect 0 'described ones by name' plan --random llama-3-70b --machine threadripper-pro-9995wx --device rtx-5090
refuse 3 'no such machine' '--machine nothing: No such file.*there are .*h200' plan --random llama-3-70b --machine nothing
refuse 3 'no such device' '--device nothing: No such file.*rtx-5090' plan --random llama-3-70b --machine xeon-6980p-2s --device nothing
for f in bench/machines/*.json; do
    case $f in
    */rtx* | */h200*) expect 0 "$f" plan --random llama-3-70b --machine bench/machines/threadripper-pro-9995wx.json --device "$f" ;;
    *) expect 0 "$f" plan --random llama-3-70b --machine "$f" ;;
    esac
    check "$f: numbers are marked" out_has '(estimated|published)'
done
refuse 2 'a device without bandwidth' 'expected a number above 0' plan $BIG --device emulated:9GiB,bandwidth=0
refuse 3 'an offload' 'some: No such file' plan $BIG --offload some
refuse 2 'more layers than there are' 'expected auto, require, none' plan $BIG --offload 49

# Plans as files.
expect 0 'a plan is saved' plan $BIG --vram 24GiB --prompt 4000 -o "$T/plan.json"
cp "$T/out" "$T/first"
expect 0 'and read again' plan $BIG --vram 24GiB --prompt 4000 --offload "$T/plan.json" -o "$T/again.json"
check 'the same plan' cmp "$T/plan.json" "$T/again.json"
check 'the same answer' sh -c "grep -v ^search $T/first | cmp - $T/out"
refuse 4 'a plan for more memory' 'the plan: card is [0-9.]+ GiB short, for the (weights|keys and values|activations)' plan $BIG --vram 12GiB --offload "$T/plan.json"
refuse 3 'a plan of another model' 'a plan of another model: qwen3_moe' plan --random qwen3-4b --machine "$MACHINE" --offload "$T/plan.json"
refuse 3 'a plan for other devices' 'the name of a device' plan --random qwen3-30b-a3b --machine "$MACHINE" --offload <(sed 's/card/moon/' "$T/plan.json")
sed '/^ *{"attention"/{H;x;s/^\n//;x;}' "$T/plan.json" | sed '6d' >"$T/short.json"
refuse 3 'a plan with a layer missing' 'expected a list of 48 layers, found 47' plan $BIG --offload "$T/short.json"

refuse 3 'a plan whose head is nowhere' ': "head": expected the name of a device' plan $BIG --offload <(sed 's/"head": "[a-z]*"/"head": "moon"/' "$T/plan.json")
refuse 3 'a plan with an expert twice' 'expert 2 is placed twice' \
    plan $BIG --offload <(sed '0,/"experts": {[^}]*}/s//"experts": {"card": "0-3,2"}/' "$T/plan.json")
refuse 3 'a plan of another version' '"version" must be from 1 to 1' plan $BIG --offload <(sed 's/"version": 1/"version": 2/' "$T/plan.json")
refuse 3 'a negative number in a plan' '"stream_rows" must be from 0' plan $BIG --offload <(sed 's/"stream_rows": [0-9]*/"stream_rows": -1/' "$T/plan.json")
refuse 3 'half a plan' 'not valid JSON' plan $BIG --offload <(head -c 1000 "$T/plan.json")
refuse 3 'a folder for a plan' 'expected a regular file, found a folder' plan $BIG --offload "$T"
ln -s plan.json "$T/link.json"
expect 0 'a plan by a link' plan $BIG --vram 24GiB --prompt 4000 --offload "$T/link.json"
mkfifo "$T/fifo"
refuse 3 'a plan out of a named pipe' 'expected a regular file, found a named pipe' plan $BIG --vram 24GiB --prompt 4000 --offload "$T/fifo"
refuse 3 'a plan to nowhere' 'nowhere/plan.json: cannot write here' plan $BIG -o "$T/nowhere/plan.json"
refuse 3 'a plan to a folder' 'Is a directory' plan $BIG -o "$T"
refuse 5 'a plan to a full disk' '/dev/full: No space left' plan $BIG -o /dev/full
echo before >"$T/there.json"
expect 0 'a plan over a file' plan $BIG -o "$T/there.json"
check 'which it replaces' grep -q '"layer"' "$T/there.json"
for form in '' --json --html; do
    "$QUIETMIND" plan $BIG $form 2>"$T/err" >/dev/full
    check "a full disk for the answer $form: exit code 5" test $? = 5
    check "a full disk for the answer $form: said" err_has 'standard output: No space left'
done

# What is wrong is said before anything is measured.
KEEP=$XDG_CACHE_HOME
export XDG_CACHE_HOME=$T/unmeasured
refuse 4 'what does not fit' 'GiB short' plan --random llama-3-70b --context 100000000
refuse 3 'another plan' 'a plan of another model' plan --random qwen3-4b --layers 1 --offload "$T/plan.json" --device emulated:1GiB
refuse 2 'another pin' 'has layers 0-0' plan --random qwen3-4b --layers 1 --pin 'layers 7' --device emulated:1GiB
expect 0 'nothing is to be measured' plan $DEMO --no-measure
check 'the table of memory' out_has '^weights +[0-9]'
check 'default rates, marked' sh -c "tr -s ' \\n' ' ' <'$T/out' | grep -q 'reads [0-9.]* GB/s (default), BF16 [0-9.]* .FLOP/s (default) default efficiencies'"
expect 0 'the same for programs' plan $DEMO --no-measure --json
check 'marked there' out_has '"read_is": "default"'
check 'efficiencies too' out_has '"efficiencies": "default"'
check 'nothing was measured' sh -c "! grep measuring '$T/err' && ! test -e '$T/unmeasured'"
interrupt 130 'Ctrl-C while it measures' 'measuring' plan
check 'the table was there at once' grep -rqE '^weights +[0-9]' "$T/out"
check 'nothing half written' sh -c "! find '$T/unmeasured' -type f ! -name 'machine-*.json' | grep ."
export XDG_CACHE_HOME=$KEEP

# Counted routing.
expect 0 'experts are counted' run $DEMO -p 'The house of' -n 8 --profile-experts "$T/routing.json"
check 'it says what it shows' err_has 'experts: [0-9]+ tokens counted; the busiest'
FIRST=$(sed -n 's/.*"tokens": \([0-9]*\).*/\1/p' "$T/routing.json")
expect 0 'and further' run $DEMO -p 'The house of' -n 8 --profile-experts "$T/routing.json"
check 'added up' grep -q "\"tokens\": $((2 * FIRST))," "$T/routing.json"
expect 0 'plan reads it' plan $DEMO --machine "$MACHINE" --profile-experts "$T/routing.json"
check 'and says so' out_has '^routing +[0-9]+ tokens counted'
expect 0 'without one' plan $DEMO --machine "$MACHINE"
check 'uniform' out_has '^routing +uniform'
# Two experts of each layer are nearly always the same ones: those go to the card.
python3 - "$T/routing.json" "$T/skewed.json" <<'EOS' || exit 5
import json, sys
p = json.load(open(sys.argv[1]))
p["count"] = [[p["tokens"] if e in (5, 6) else 0 for e in range(p["experts"])] for _ in p["count"]]
json.dump(p, open(sys.argv[2], "w"))
EOS
SMALL="$DEMO --machine $T/slow.json --device emulated:10MiB,bandwidth=900,launch=0.01,handover=0.01 --chunk 16 --context 256 -p 0 -n 64"
python3 - "$MACHINE" "$T/slow.json" <<'EOS' || exit 5
import json, sys
m = json.load(open(sys.argv[1]))
m.pop("devices")
m["read"] = 6e7
m["nodes"][0]["read_by_threads"] = [[1, 2e7], [4, 6e7]]
json.dump(m, open(sys.argv[2], "w"))
EOS
expect 0 'experts that are chosen alike' plan $SMALL -o "$T/even.json" --json
EVEN=$(number decode_tps)
expect 0 'experts of which two are chosen' plan $SMALL --profile-experts "$T/skewed.json" -o "$T/skew.json" --json
check 'the placement is another' sh -c "! cmp -s $T/even.json $T/skew.json"
check 'and faster' python3 -c 'import sys; sys.exit(not float(sys.argv[2]) > float(sys.argv[1]))' "$EVEN" "$(number decode_tps)"
refuse 3 'of another model' 'of a model with' plan --random qwen3-30b-a3b --machine "$MACHINE" --profile-experts "$T/routing.json"
refuse 2 'a model without experts' 'no experts' run $REFERENCE/qwen3 --ids <(echo 1 2 3) -n 2 --profile-experts "$T/none.json"
refuse 3 'counts to nowhere' 'nowhere/r.json: cannot write here' run $DEMO -p x -n 1 --profile-experts "$T/nowhere/r.json"
: >"$T/empty.json"
refuse 3 'an empty profile' 'not valid JSON' run $DEMO -p x -n 1 --profile-experts "$T/empty.json"
refuse 3 'a profile that is not there' 'No such file' plan $DEMO --machine "$MACHINE" --profile-experts "$T/none.json"
sed 's/"pairs": [0-9]*/"pairs": -1/' "$T/routing.json" >"$T/bad.json"
refuse 3 'a damaged profile' '"pairs"' plan $DEMO --machine "$MACHINE" --profile-experts "$T/bad.json"

# Predicted beside measured.
rm -f "$T"/cache/quietmind/history.db
expect 0 'no history yet' plan --accuracy
check 'said' out_has 'no run has been predicted'
LONG=$(printf 'The house of %d. ' $(seq 40))
expect 0 'a run' run $DEMO -p "$LONG" -n 80 --draft off
check 'is predicted' err_has '^predicted: prefill [0-9.]+ tokens/s; decode'
expect 0 'a short run' run $DEMO -p 'The house of' -n 8
check 'is not: too short' sh -c "! grep '^predicted' '$T/err'"
expect 0 'a bench' bench $DEMO -p 8,64 -n 2,64 -r 1 -o json
check 'is predicted' test "$(grep -cE '"predicted_ts": ?[0-9.]+' "$T/out")" = 2
check 'of 64 tokens and more' test "$(grep -cE '"predicted_ts": ?null' "$T/out")" = 2
expect 0 'the history' plan --accuracy
check 'not the cold prompt of the run' sh -c "! grep -E '^20.* demo +prefill [0-9]{3} ' '$T/out'"
check 'the generation of the run' out_has '^20.* demo +decode 79 @ [0-9]+ '
check 'the prompt of the bench' out_has '^20.* demo +prefill 64 '
check 'the generation of the bench' out_has '^20.* demo +decode 64 '
check 'summed up' out_has '^median error [0-9]+ %; [0-9]+ of 3 within'
expect 0 'as JSON' plan --accuracy --json
check 'rows' out_has '"predicted": [0-9.]+'
echo 'no database' >"$T/cache/quietmind/history.db"
expect 0 'a damaged history stops nothing' run $DEMO -p 'The house of' -n 65 --draft off
check 'is said' err_has 'the history .*not a database; it is put aside as history.db.damaged'
check 'once' test "$(grep -c 'the history' "$T/err")" = 1
check 'put aside' grep -qx 'no database' "$T/cache/quietmind/history.db.damaged"
expect 0 'its rows' plan --accuracy
check 'the generation, which found the damage' out_has ' demo +decode 64 '
expect 0 'the next run' run $DEMO -p 'The house of' -n 65 --draft off
check 'nothing is said' sh -c "! grep 'the history' $T/err"
echo 'no database' >"$T/cache/quietmind/history.db"
expect 0 'a bench that finds it' bench $DEMO -p 64 -n 64 -r 1
check 'says so once' test "$(grep -c 'the history' "$T/err")" = 1
expect 0 'all its rows' plan --accuracy
check 'both' out_has '^median error [0-9]+ %; [0-9]+ of 2 within'
mkdir "$T/elsewhere"
mv "$T"/cache/quietmind/history.db "$T/elsewhere"
mkdir "$T/cache/quietmind/history.db"
expect 0 'a history that can not be opened stops nothing' bench $DEMO -p 64 -n 0 -r 1
check 'is said once' test "$(grep -c 'the history .*expected a regular file, found a folder' "$T/err")" = 1
rmdir "$T/cache/quietmind/history.db"
CACHE=$XDG_CACHE_HOME
unset XDG_CACHE_HOME
HOME='' expect 0 'no cache' plan --accuracy
check 'said' out_has '^nothing is kept: neither XDG_CACHE_HOME nor HOME'
HOME='' expect 0 'no cache for results' compare --history
check 'said' out_has '^nothing is kept: neither XDG_CACHE_HOME nor HOME'
HOME='' expect 0 'a run without one' run $DEMO -p 'The house of' -n 2
check 'says nothing of it' sh -c "! grep -E 'predicted|history' $T/err"
export XDG_CACHE_HOME=$CACHE
echo 'no database' >"$T/cache/quietmind/history.db"
refuse 3 'a damaged history' 'the history .*not a database; it is put aside' plan --accuracy

# What fits.
expect 0 'a table of all shapes' plan --table --machine "$MACHINE" --ram 60GiB,1TB
check 'a shape' out_has '^llama-3-70b +60G +[0-9.]+/s'
check 'no line is wide' sh -c "! grep -E '.{101}' $T/out"
expect 0 'several models' plan gpt-oss-20b $DEMO --machine "$MACHINE" --offload none --json
check 'both' out_has '"model": "demo"'
refuse 2 'sizes of memory' 'expected a size' plan --table --machine "$MACHINE" --ram 60GiB,much
expect 0 'a page' plan $BIG --vram 24GiB --html
check 'whole' sh -c "tail -n 1 $T/out | grep -q '</html>'"
check 'its legend keeps its size' sh -c "grep -q '<i class=\"c0\"></i> weights' $T/out && grep -q '^\.key.* i{[^}]*width:.8em;height:.8em' $T/out"
check 'the placement in words' out_has '^<pre>cpu: '

# What is planned is what a process then takes: of shapes of 2 GiB and more within 1 % and 64 MiB.
resident() { # resident SHAPE LAYERS
    "$QUIETMIND" plan --random "$1" --layers "$2" --context 64 -p 16 -n 0 --threads 1 --offload none --ram 900GB --machine "$MACHINE" --json |
        python3 -c '
import json, os, subprocess, sys
cpu = json.load(sys.stdin)["memory"]["devices"][0]
bench = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(bench.pid, 0)
taken = usage.ru_maxrss * 1024
assert status == 0 and cpu["total"] > 2 << 30, (status, cpu)
assert abs(taken - cpu["total"]) <= cpu["total"] / 100 + (64 << 20), (taken, cpu)' \
            "$QUIETMIND" bench --random "$1" --layers "$2" -p 16 -n 0 -d 48 --fill-depth -r 1 --threads 1
}
if [ "${QM_TEST_SLOW:-1}" != 0 ]; then
    check 'resident memory, dense' resident qwen3-4b 8
    check 'resident memory, experts' resident gpt-oss-20b 4
fi

# A config of 61 layers of 256 experts, alone.
cat >"$T/config.json" <<EOF
{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 129280, "hidden_size": 7168,
 "num_hidden_layers": 61, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 18432,
 "moe_intermediate_size": 2048, "num_experts": 256, "num_experts_per_tok": 8, "norm_topk_prob": true,
 "decoder_sparse_step": 1, "mlp_only_layers": [], "rms_norm_eps": 1e-6, "rope_theta": 10000,
 "max_position_embeddings": 163840, "hidden_act": "silu", "tie_word_embeddings": false, "torch_dtype": "bfloat16"}
EOF
expect 0 'two nodes and an attention map' plan --random qwen3-30b-a3b --machine epyc-9575f-2s --context 8192 --attention-maps
check 'the map' out_has '^attention maps +0\.0[0-9]$'
check 'the slack' out_has '^slack +0\.0[0-9]$'
check 'each node' out_has '^1 +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+$'
expect 0 'in JSON' plan --random qwen3-30b-a3b --machine epyc-9575f-2s --context 8192 --attention-maps --json
check 'the map in bytes' out_has '"attention_maps": [1-9]'
check 'nodes' out_has '"node": 1'
expect 0 'no map' plan --random qwen3-30b-a3b --machine epyc-9575f-2s --context 8192
check 'is not counted' sh -c "! grep 'attention maps' $T/out"
expect 0 'many experts' plan "$T/config.json" --machine bench/machines/epyc-9575f-2s.json --ram 2TB --device bench/machines/rtx-pro-6000.json --context 131072 --prompt 100000 --generate 1000
check 'some are on the card' out_has 'rtx-pro-6000: '

# drafts
expect 0 "drafts by acceptance" plan qwen3-4b --machine bench/machines/epyc-9575f-2s.json -n 200 --acceptance 0.6
check "what they make of decode" out_has "^drafts +pay where [0-9]+ % of them or more are right; with 60 %: [0-9.]+$"
expect 0 "drafts in JSON" plan qwen3-4b --machine bench/machines/epyc-9575f-2s.json -n 200 --acceptance 0.6 --json
check "their members" out_has '"pays_from": 0\.[0-9]+,'
check "the acceptance" out_has '"acceptance": 0.59*[0-9]*|"acceptance": 0.6'
check "and the speed" test "$(python3 -c 'import json, sys
p = json.load(sys.stdin)["predicted"]
print(p["drafts"]["drafts"] > 0 and p["drafts"]["decode_tps"] > p["decode_tps"])' <"$T/out")" = True
expect 0 "no acceptance said" plan qwen3-4b --machine bench/machines/epyc-9575f-2s.json -n 200
check "only where they pay" out_has "^drafts +pay where [0-9]+ % of them or more are right$"
refuse 2 "an acceptance beyond 1" "acceptance.*0 to 1" plan qwen3-4b --acceptance 1.5

finish
