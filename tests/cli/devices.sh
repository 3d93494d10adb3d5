#!/bin/bash
# --device and --offload: results are the CPU's, what is emulated is said, and a device that fails loses nothing.
# shellcheck source=tests/cli/lib.bash
. "${BASH_SOURCE[0]%/*}/lib.bash"
export XDG_CACHE_HOME="$T/cache"
usual_shares
CARD=emulated:1GiB,bandwidth=100,bf16=10T,pcie=10

refuse 2 'no size' 'expected a size such as 90GiB' run $DEMO -p x -n 1 --device emulated:
refuse 2 'no such field' '--device: expected bandwidth' run $DEMO -p x -n 1 --device emulated:1GiB,colour=3
refuse 2 'layers without a device' 'there is no device' run $DEMO -p x -n 1 --offload 2
refuse 2 'more layers than there are' 'a number of layers up to 4' run $DEMO -p x -n 1 --offload 5 --device $CARD
refuse 3 'no plan file' 'nothere' run $DEMO -p x -n 1 --offload "$T/nothere" --device $CARD
refuse 4 'a card that is not emulated' 'only emulated devices' run $DEMO -p x -n 1 --offload 2 --device card:1GiB
refuse 4 'too little memory' 'emulated.* short|short.*emulated|--offload' run $DEMO -p x -n 1 --offload 4 --device emulated:1MiB

expect 0 'on the CPU' run $DEMO -p 'The bell' -n 12 --json
ids=$(grep -oE '"ids":\[[0-9,]*\]' "$T/out")
check 'no devices' out_has '"devices":null'
expect 0 'two layers on a device' run $DEMO -p 'The bell' -n 12 --json --offload 2 --device $CARD
check 'the same tokens' grep -qF "$ids" "$T/out"
check 'where they are' err_has 'emulated: .*layers 2-3'
check 'marked in the summary' err_has 'emulated: emulated, so are the times; [0-9.]+ GiB'
check 'marked in JSON' out_has '"devices":\[\{"name":"emulated","emulated":true,"bytes":[1-9]'
expect 0 'it fails' run $DEMO -p 'The bell' -n 12 --json --offload 2 --device $CARD,fail=40
check 'it fails: the same tokens' grep -qF "$ids" "$T/out"
check 'it fails: said once' test "$(grep -c 'emulated failed at' "$T/err")" = 1
check 'it fails: in JSON' out_has '"failed":true'
refuse 4 'require needs a device' 'there is no device' run $DEMO -p x -n 1 --offload require
expect 0 'a plan' plan $DEMO --context 512 -p 64 -n 16 --offload 3 --device $CARD -o "$T/plan.json"
expect 0 'the plan executed' run $DEMO -p 'The bell' -n 12 --context 512 --json --offload "$T/plan.json" --device $CARD
check 'the plan executed: the same tokens' grep -qF "$ids" "$T/out"
expect 0 'chat' chat $DEMO --once 'Who are you?' --offload 4 --device $CARD
expect 0 'bench' bench $DEMO -p 8 -n 4 -r 2 -o jsonl --offload 4 --device $CARD
check 'bench: marked' out_has '"devices": ?\[\{"name": ?"emulated"'
check 'bench: the backend' out_has '"backends": ?"CPU, emulated device"'
finish
