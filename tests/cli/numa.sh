#!/bin/bash
# --numa: what it refuses, what is said where memory can't be bound, and that results are the same. A second node is
# made up by hwloc, so binding to it fails on most machines; tests/guest has two real ones.
# shellcheck source=tests/cli/lib.bash
. "${BASH_SOURCE[0]%/*}/lib.bash"

refuse 2 'no node' 'expected auto, off, or NUMA nodes' run $DEMO -p x -n 1 --numa ''
refuse 2 'no list of nodes' '--numa: expected auto, off, or NUMA nodes .*found "0-"' chat $DEMO --once x --numa 0-
refuse 2 'a node that is not there' 'NUMA node 63 is not there: this machine has 0' run $DEMO -p x -n 1 --numa 0,63
refuse 2 'bench: a node that is not there' 'NUMA node 63 is not there' bench $DEMO -p 4 -n 0 -r 1 --numa 63
expect 0 'run' run $DEMO -p 'The bell' -n 4 --temperature 0 --json
ids=$(grep -oE '"ids":\[[0-9,]*\]' "$T/out")
echo 1 2 3 4 5 6 7 8 9 300 301 302 >"$T/ids"
check 'the load in a line' err_has '^loaded [0-9.]+ MiB of weights in [0-9.]+ s, [0-9.]+ [kMG]?B/s; .*pages'
check 'the load in JSON' out_has '"load":\{"bytes":[0-9]+,"seconds":[0-9.e-]+,"cache_dropped":false'
expect 0 'logits' logits $DEMO --ids "$T/ids" -o "$T/one.npy"

export HWLOC_SYNTHETIC='pack:2 [numa] core:1 pu:1' HWLOC_THISSYSTEM=1
expect 0 'two nodes' run $DEMO -p 'The bell' -n 4 --temperature 0 --json
check 'two nodes: both have weights and KV' out_has \
    '"nodes":\[\{"node":0,"threads":1,"weights":\{"bytes":[1-9].*\{"node":1,"threads":1,"weights":\{"bytes":[1-9].*"kv":\{"bytes":[1-9]'
check 'two nodes: the share that is in place' out_has '"placed_share":(0\.[0-9]+|1\.0)'
check 'two nodes: the same tokens' grep -qF "$ids" "$T/out"
check 'two nodes: in the line' err_has '% on their NUMA nodes \(2\)$'
if [ ! -e /sys/devices/system/node/node1 ]; then
    check 'a node that is not real: said' err_has '^NUMA node 1: weights could not be bound to it: Invalid argument'
fi
for nodes in auto off 1 0-1; do
    expect 0 "logits --numa $nodes" logits $DEMO --ids "$T/ids" -o "$T/two.npy" --numa $nodes
    check "logits --numa $nodes: the same bits" cmp -s "$T/one.npy" "$T/two.npy"
done
expect 0 'bench' bench $DEMO -p 4 -n 0 -r 1 -o json --numa 0,1
check 'bench: the load in the row' out_has '"node": ?1'
refuse 2 'two nodes: a third' 'NUMA node 2 is not there: this machine has 0-1' run $DEMO -p x -n 1 --numa 0,2
finish
