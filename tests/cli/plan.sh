#!/bin/bash
# plan: the forms of its answer, machines of files, and what can't be met.
. "$(dirname "$0")/lib.bash"
export XDG_CACHE_HOME=$T/cache
CONFIG=$REFERENCE/qwen3_moe/config.json
number() { sed -n "s/.*\"$1\": \([0-9.eE+-]*\).*/\1/p" "$T/out" | head -n 1; }

expect 0 'plan of the demonstration model' plan
check 'memory' out_has '^weights +[0-9.]+$'
check 'speeds' out_has '^writing +[0-9.]+'
check 'what bounds it' out_has '^writing +.* %'
check 'no line is wide' sh -c "! grep -E '.{101}' $T/out"
expect 0 'plan --json' plan $DEMO --json --context 2048
check 'predicted prompt' out_has '"prefill_tps": [0-9.]+'
check 'predicted generation' out_has '"decode_tps": [0-9.]+'
check 'nothing measured twice' test ! -s "$T/err"
expect 0 'a config.json alone' plan "$CONFIG" --json
check 'experts are counted' out_has '"expert": [1-9]'
expect 0 'a shape' plan --random gpt-oss-20b --layers 2 --prompt 1000 --generate 10 --batch 4 --depth 100 --ram 900GB
check 'the job' out_has '^job +4 x 1000 tokens read'
refuse 4 'more than there is' 'is [0-9.]+ GiB short: .*--context [0-9]+ fits' plan --random qwen3-0.6b --ram 4GiB --context 40960
refuse 4 'weights that do not fit' 'no context fits: the weights need [0-9.]+ GiB' plan --random llama-3-70b --ram 64GiB
refuse 2 'a context that the job does not fit' 'the job needs 544 tokens' plan $DEMO --context 100
refuse 2 'nothing to do' 'nothing to do' plan $DEMO --prompt 0 --generate 0
refuse 2 'a size' 'expected a size such as' plan $DEMO --ram much
refuse 2 'two models' 'either a model' plan $DEMO --random qwen3-4b
refuse 2 'layers of a whole model' '--layers is for' plan $DEMO --layers 2
refuse 3 'a machine that is not there' 'No such file' plan $DEMO --machine "$T/none"
echo '{"version": 1}' >"$T/machine.json"
refuse 3 'half a machine' 'expected a text' plan $DEMO --machine "$T/machine.json"

finish
