#!/bin/bash
# What needs no weights: plan and inspect of a folder, a file, a name of the cache that have config.json alone, or of a
# shape; what is missing is asked for; contexts beyond the model's own; files that are not as config.json says.
. "$(dirname "$0")/lib.bash"
export XDG_CACHE_HOME=$T/cache HF_HUB_CACHE=$T/hub
MACHINE=$T/machine.json
cp tests/fuzz/corpus/speed/small "$MACHINE"
snapshot() { # snapshot NAME: a folder of the cache
    mkdir -p "$T/hub/models--Org--$1/refs" "$T/hub/models--Org--$1/snapshots/abc1"
    echo abc1 >"$T/hub/models--Org--$1/refs/main"
    echo "$T/hub/models--Org--$1/snapshots/abc1"
}
mkdir "$T/alone"
cp $DEMO/config.json "$T/alone"
cp $DEMO/config.json "$(snapshot Config)"
cp $DEMO/tokenizer.json "$(snapshot Tokenizer)"

for model in "$T/alone" "$T/alone/config.json" Org/Config; do
    expect 0 "plan ${model##*/}" plan "$model" --machine "$MACHINE"
    check 'is of the model' out_has '4 layers, 1.64 M parameters'
    expect 0 "inspect ${model##*/}" inspect "$model"
    check 'is of the model' out_has '^parameters +1643904 '
done
expect 0 'inspect a folder with config.json alone' inspect "$T/alone"
check 'says so' out_has '^note +no weights are here: config.json alone describes the model$'
expect 0 'plan of it' plan "$T/alone" --machine "$MACHINE"
check 'says so' err_has '^no weights are here: config.json alone describes the model$'
expect 0 'plan of some layers of it' plan "$T/alone" --layers 2 --machine "$MACHINE"
check 'has these' out_has ' 2 layers'
expect 0 'plan of a shape' plan qwen3-30b-a3b --ram 100GiB --machine "$MACHINE"
check 'is of the shape' out_has '48 layers, 30.53 B parameters'
expect 0 'inspect a shape' inspect qwen3-0.6b
check 'is of the shape' out_has 'qwen3: 28 layers'
expect 0 'a table of all' plan --table "$T/alone" qwen3-4b Org/Config --machine "$MACHINE"
refuse 3 'run without weights' 'no model here' run -m "$T/alone" -p hi

for command in plan inspect; do
    refuse 3 "$command of what is not in the cache" \
        'Here .hf download Qwen/Qwen3-30B-A3B config.json. is enough, or name its shape, qwen3-30b-a3b' \
        $command Qwen/Qwen3-30B-A3B
    refuse 3 "$command of a cache's folder without it" 'Here .hf download Org/Tokenizer config.json. is enough' \
        $command Org/Tokenizer
    refuse 3 "$command of an unknown name" 'Shapes known by name: qwen3-30b-a3b, ' $command qwen3-5b
done
refuse 2 'layers of files' '--layers is for --random or a config.json' plan $DEMO --layers 2 --machine "$MACHINE"

beyond='^warning: a context of 20000 tokens is more than the model.s maximum of 16384'
expect 0 'plan beyond the context' plan $DEMO --context 20000 --machine "$MACHINE"
check 'says so' err_has "$beyond"
expect 0 'a job beyond the context' plan $DEMO --prompt 19968 -n 32 --machine "$MACHINE"
check 'says so' err_has "$beyond"
expect 0 'inspect beyond the context' inspect $DEMO --context 20000
check 'says so' out_has '^note +warning: a context of 20000 tokens'
expect 0 'run beyond the context' run -m $DEMO -p hi -n 1 --context 20000
check 'says so' err_has "$beyond"
# YaRN by hand, as model cards say
cp -r $DEMO "$T/yarn"
sed -i 's/"rope_scaling": null/"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}/' \
    "$T/yarn/config.json"
expect 0 'a model with a scaling added' run -m "$T/yarn" -p hi -n 1 --context 20000
check 'needs no warning' sh -c "! grep -q '^warning' $T/err"
expect 0 'and its context' inspect "$T/yarn"
check 'is factor x original' out_has '^context +32768 tokens'

# As Python writes it
sed -i 's/^{/{"model_max_length": 1000000000000000019884624838656, "x": NaN,/' "$T/yarn/tokenizer_config.json"
expect 0 'a tokenizer_config.json as published' chat -m "$T/yarn" --once hi -n 1
# The files count
sed -i 's/"torch_dtype": "bfloat16"/"torch_dtype": "float32"/' "$T/yarn/config.json"
expect 0 'another dtype in config.json' inspect "$T/yarn"
check 'is said' out_has '^note +config.json says F32, but the files are BF16: the files count$'
finish
