#!/bin/bash
# compare: configurations side by side, their agreement, the forms of the result, and what is refused. No times.
. "$(dirname "$0")/lib.bash"
export XDG_CACHE_HOME=$T/cache
MACHINE=$T/machine.json
cp tests/fuzz/corpus/speed/small "$MACHINE"
# The same machine without its card, and so slow that the planner gives an emulated one something to do.
SLOW=$T/slow.json
python3 - "$MACHINE" "$SLOW" <<'EOS' || exit 5
import json, sys
m = json.load(open(sys.argv[1]))
m.pop("devices")
m["read"], m["bf16"], m["f32"] = 6e7, 1e9, 1e9
m["nodes"][0]["read_by_threads"] = [[1, 2e7], [4, 6e7]]
json.dump(m, open(sys.argv[2], "w"))
EOS
FAST="--machine $SLOW --prompt-tokens 40 -n 6 -r 2"

# shellcheck disable=SC2086 # words of $FAST
{
expect 0 'all configurations' compare $DEMO $FAST --configs cpu,quiet,emulated:auto,auto,gpu -o "$T/first.json"
check 'one to hold others against' out_has '^cpu +reference'
check 'quiet agrees' out_has '^quiet +identical, 6 tokens; mean KL 0, max KL 0 nats'
check 'the device agrees' out_has '^emulated:auto\* +identical'
check 'said' out_has 'they agree, within 0.001 nats'
check 'nothing is predicted of fewer than 64 tokens' test "$(grep -cE '^cpu +[0-9.]+M? +[0-9.M-]+ +- ' "$T/out")" -ge 2
check 'the card is predicted' out_has '^gpu +predicted only: this build computes on no GPU'
check 'emulation is marked' out_has '^\* emulated device: computed on the CPU, times are simulated'
check 'a placement' out_has '^  emulated: .*layers'
check 'no line is wide' sh -c "! LC_ALL=C.UTF-8 grep -E '.{81}' $T/out"
check 'a report' grep -q '"prompts_hash"' "$T/first.json"
check 'memory of nodes and devices, as counted' python3 - "$T/first.json" <<'EOS'
import json, sys
cpu, _, card, *_ = json.load(open(sys.argv[1]))["configs"]
total = sum(n["weights"] + n["kv"] for n in cpu["nodes"])
assert total == cpu["memory"][0]["weights"] + cpu["memory"][0]["kv"], total
assert [m["device"] for m in card["memory"]] == ["cpu", "emulated"]
EOS

expect 0 'an emulated card that is described' compare $DEMO $FAST --configs cpu,emulated:auto \
    --device emulated-card:64MiB,bandwidth=300
check 'takes the place of the typical one' out_has '^  emulated-card: .*layers'

expect 0 'against the report' compare $DEMO $FAST --configs cpu --with "$T/first.json"
check 'the other day' out_has '^before +20[0-9-]+T'
check 'the same answers' out_has '^cpu .* identical$'
} 2>/dev/null
# shellcheck disable=SC2086
{
refuse 2 'a length without the default prompt' '--prompt does not go with --prompt-tokens' compare $DEMO $FAST -p Who
SHORT="--machine $SLOW -n 4 -r 1"
check 'nothing changed' sh -c "! grep -q changed: $T/out"
expect 0 'with another type of keys' compare $DEMO $FAST --configs cpu --kv-type f32 --with "$T/first.json"
check 'what changed since then' out_has '^  changed: .*--kv-type'
expect 0 'prompts of its own' compare $DEMO $SHORT --configs cpu -p 'Who kept the log?' -p Where --with "$T/first.json"
check 'two prompts' out_has '^work +2 prompts'
check 'not comparable' out_has 'not comparable'
expect 0 'a sampled answer, the same seed' compare $DEMO $SHORT --prompt-tokens 20 --configs cpu,quiet --temperature 1 --seed 7 --bound 0
check 'seed' out_has 'temperature 1, seed 7'
check 'identical' out_has '^quiet +identical'
expect 0 'a card given by --device' compare $DEMO $SHORT --prompt-tokens 20 --configs cpu,auto --device emulated:1GiB,bandwidth=900
check 'auto is run on it' out_has '^auto\* +identical'

# Some of a layer's experts elsewhere: sums in another order, so within the bound, but for some of these placements not
# the same bits. By F32 products: operands rounded to BF16 hide it.
apart=0
for size in 0.0101 0.0102 0.0103 0.0104; do
    SPLIT="--configs cpu,emulated:${size}GiB,bandwidth=900,launch=0.001,handover=0.001"
    "$QUIETMIND" compare $DEMO --isa avx2 --machine "$SLOW" --chunk 64 --prompt-tokens 100 -n 250 -r 1 --temperature 1 --bound 0 \
        $SPLIT >"$T/out" 2>"$T/err"
    code=$?
    [ $code = 0 ] || [ $code = 1 ] || bad "experts split at $size" "exit code $code"
    [ $code = 1 ] && grep -q 'they do NOT agree, within 0 nats' "$T/out" && grep -q ' of 8 experts of ' "$T/out" && apart=$size
done
check 'not one bit apart: exit code 1' test $apart != 0
SPLIT="--configs cpu,emulated:${apart}GiB,bandwidth=900,launch=0.001,handover=0.001"
expect 0 'within the default bound' compare $DEMO --machine "$SLOW" --chunk 64 --prompt-tokens 100 -n 250 -r 1 --temperature 1 $SPLIT --json
check 'agree' out_has '"agree": true'

# A device that fails, at a step of each part of the work: the others go on, whichever is the first of them.
CARD=emulated:1GiB,bandwidth=900
expect 0 'less is free than planned' compare $DEMO $SHORT --prompt-tokens 20 --configs "cpu,$CARD,free=1MiB"
check 'less is free: planned again, said' err_has 'emulated has .* free, .* planned: planned again'
check 'less is free: the answers agree' out_has '^emulated:.* +identical'
for step in 1 20 100 300 450; do
    expect 5 "a device fails at step $step" compare $DEMO $FAST --configs "cpu,$CARD,fail=$step,quiet" -o "$T/failed.json"
    check 'said in the end' err_has "^quietmind: emulated:1GiB,.* failed in round [12]: .*emulated failed at"
    check 'and in the result' out_has '^emulated:.*\* +FAILED in round [12]:'
    check 'the others' out_has '^quiet +identical, 6 tokens'
    check 'the others of all rounds' grep -q '"n": 2' "$T/failed.json"
    check 'which is read back' "$QUIETMIND" compare $DEMO $FAST -r 1 --configs cpu --with "$T/failed.json" >/dev/null
done
check 'late: the rounds before' python3 - "$T/failed.json" <<'EOS'
import json, sys
cpu, card, quiet = json.load(open(sys.argv[1]))["configs"]
assert card["failed"].startswith("round 2") and card["measured"] and card["decode_tps"]["n"] == 1, card["failed"]
assert card["agreement"]["identical"] and cpu["decode_tps"]["n"] == quiet["decode_tps"]["n"] == 2
EOS
expect 5 'the first one fails' compare $DEMO $FAST --configs "$CARD,fail=50,cpu,quiet"
check 'the next takes its place' out_has '^cpu +reference'
check 'it gave nothing' sh -c "! grep -E '^emulated.*(identical|reference)' $T/out"
expect 5 'the first one fails late' compare $DEMO $FAST --configs "$CARD,fail=450,cpu" --json
check 'it remains the reference' out_has '"reference": "emulated'
refuse 5 'none is left' 'emulated failed at' compare $DEMO $FAST --configs "$CARD,fail=50"

# What is kept by itself.
rm -f "$T"/cache/quietmind/history.db*
refuse 3 'nothing is kept yet' 'no result of .*demo is kept' compare $DEMO $SHORT --configs cpu --with last
expect 0 'an empty list' compare --history
check 'says so' out_has 'no result is kept yet'
expect 0 'one' compare $DEMO $SHORT --prompt-tokens 20 --configs cpu,quiet
expect 0 'other work' compare $DEMO $SHORT --prompt-tokens 30 --configs cpu
expect 0 'the last one' compare "$PWD/$DEMO" $SHORT --prompt-tokens 20 --configs cpu --with last
check 'of the same work' out_has '^cpu .* identical$'
expect 0 'the last one of other work' compare $DEMO $SHORT --prompt-tokens 25 --configs cpu --with last
check 'said' out_has 'other work: prompts 20 tokens'
expect 0 'a list' compare --history
check 'four' test "$(grep -c ' demo  ' "$T/out")" = 4
check 'speeds' out_has '^ +1  20[^ ]*Z  demo +20\+4: cpu [0-9.e+]+ quiet [0-9.e+]+$'
expect 0 'by number' compare $DEMO $SHORT --prompt-tokens 30 --configs cpu --with 2
check 'that one' out_has '^cpu .* identical$'
refuse 3 'no such number' 'no result 77 is kept' compare $DEMO $SHORT --configs cpu --with 77
expect 0 'the list as JSON' compare --history --json
check 'whole' python3 -c 'import json, sys; l = json.load(open(sys.argv[1])); assert [r["number"] for r in l] == [1, 2, 3, 4, 5], l' "$T/out"
python3 - "$T/cache/quietmind/history.db" <<'EOS' || exit 5
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for i in range(60):
    db.execute("INSERT INTO compared SELECT NULL, at, machine, model, work, summary, report FROM compared WHERE number = 1")
db.execute("UPDATE compared SET report = '{\"version\": 1}' WHERE number = 65")
db.commit()
EOS
refuse 3 'a kept one that is damaged' 'the kept result 65: expected a text' compare $DEMO $SHORT --configs cpu --with 65
expect 0 'one more' compare $DEMO $SHORT --prompt-tokens 20 --configs cpu
expect 0 'how many' compare --history
check 'only so many stay' test "$(grep -c ' demo  ' "$T/out")" = 32
dd if=/dev/zero of="$T/cache/quietmind/history.db" bs=100 count=40 conv=notrunc status=none
expect 0 'a damaged history stops nothing' compare $DEMO $SHORT --prompt-tokens 20 --configs cpu
check 'is said and put aside' err_has 'the history .*; it is put aside as history.db.damaged'
expect 0 'the new one' compare --history
check 'has the result' test "$(grep -c ' demo  ' "$T/out")" = 1

cat >"$T/job.jsonl" <<'ROWS'
{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"model":"demo","prompt":"Hello there","max_tokens":20}}
{"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":{"model":"demo","messages":[{"role":"user","content":"Who?"}]}}
nonsense
ROWS
expect 0 'a job' compare $DEMO $SHORT --prompt-tokens 20 --configs cpu,auto --job "$T/job.jsonl"
said() { tr -s ' \n' ' ' <"$T/out" | grep -qE "$1"; } # lines may be wrapped
check 'its rows' said 'job .*job.jsonl: 2 rows valid; prompts [0-9]+ tokens, of which [0-9]+ shared; answers at most'
check 'its range' out_has '^cpu +about [0-9].* \([0-9].* to [0-9]'
check 'what can not be answered' said '1 row can.t be answered'
check 'a row without a length' said '1 without max_tokens'
check 'the predicted one is marked' out_has '^auto .*\(predicted only\)'
refuse 3 'a job that is not there' 'No such file' compare $DEMO $SHORT --configs cpu --job "$T/none"
echo nonsense >"$T/bad.jsonl"
refuse 3 'a job without rows' 'no row that can be answered' compare $DEMO $SHORT --configs cpu --job "$T/bad.jsonl"

expect 0 'csv' compare $DEMO $SHORT --prompt-tokens 20 --configs cpu,gpu --csv
check 'a line a configuration' test "$(wc -l <"$T/out")" = 3
check 'memory by device and node' out_has '"cpu=[0-9]+","-?[0-9]+=[0-9]+",""$'
check 'as many fields in each' sh -c "awk -F, '{print NF}' $T/out | sort -u | wc -l | grep -qx 1"
LONG="--machine $SLOW --prompt-tokens 400 -n 2000 -r 100 --configs cpu,quiet"
interrupt 130 'Ctrl-C in the first round' 'planned again' compare $DEMO --machine "$SLOW" --prompt-tokens 400 -n 7000 -r 100 \
    --configs "cpu,$CARD,free=1MiB" -o "$T/cut.json"
check 'is said' err_has '^quietmind: interrupted in the first round: nothing is shown or kept'
check 'nothing is shown, nothing is left' sh -c "! test -s $T/out && ! ls $T/cut.json* 2>/dev/null"
interrupt 130 'Ctrl-C later' 'comparing: [3-9][0-9]* of 200' compare $DEMO $LONG -o "$T/cut.json"
check 'is said' err_has '^quietmind: interrupted in round [0-9]+: the result is that of the [0-9]+ before'
check 'the rounds before are shown' out_has '^work .*; [0-9]+ rounds?;'
check 'and agree' out_has '^quiet +identical, 2000 tokens'
check 'each configuration of as many' python3 - "$T/cut.json" <<'EOS'
import json, sys
report = json.load(open(sys.argv[1]))
assert 1 <= report["rounds"] < 100
assert [c["decode_tps"]["n"] for c in report["configs"]] == [report["rounds"]] * 2
EOS
expect 0 'they are kept' compare --history
check 'as the last one' sh -c "tail -n 1 $T/out | grep -q ' demo *400+2000: cpu '"
expect 0 'html' compare $DEMO $SHORT --prompt-tokens 20 --configs cpu,emulated:auto,gpu --html --with "$T/first.json"
check 'bars' out_has '<rect class="c0"'
check 'memory by device' out_has '<td>emulated</td><td>[0-9]'
check 'a strip' out_has 'layer 0: attention on'
check 'nothing is loaded' sh -c "! grep -Eq 'src=|href=|<script|http' $T/out"
check 'ends' out_has '</html>'

refuse 3 'a result to nowhere' 'nowhere/x.json: cannot write here' compare $DEMO $SHORT --configs cpu -o "$T/nowhere/x.json"
refuse 2 'an unknown configuration' '--configs: expected cpu, drafts, quiet' compare $DEMO --configs tpu
refuse 2 'two forms' '--csv does not go with --json' compare $DEMO --json --csv
refuse 2 'history of a model' '--history takes no argument' compare --history $DEMO
refuse 2 'rows at once of no job' '--sequences goes with --job' compare $DEMO --sequences 2
refuse 2 'more than the context' "the model's context is" compare $DEMO $SHORT --prompt-tokens 20000
refuse 3 'no such report' 'No such file' compare $DEMO --with "$T/none"
echo '{"version": 1}' >"$T/half.json"
refuse 3 'half a report' 'expected a text "model"' compare $DEMO --with "$T/half.json"
refuse 2 'a device that is none' '--device' compare $DEMO $SHORT --configs cpu --device what:
expect 0 'the card of the described machine' compare $DEMO $SHORT --prompt-tokens 20 --configs gpu,auto --machine "$MACHINE"
check 'that card' sh -c "tr -s ' \n' ' ' <'$T/out' | grep -q 'auto predicted only: [^;]*; predicted for [^;]*card: [0-9.]* GiB'"
check 'nothing was run' out_has '^gpu +predicted only'
}
expect 0 'drafts' compare $DEMO --configs cpu,drafts -n 120 -r 2 -p 'Who kept the lighthouse log?' --bound 0
check 'the same answers' out_has '^drafts +identical, 120 tokens'
check 'how many were right' out_has '^drafts +[0-9]+ of [0-9]+ drafted tokens were right'
expect 0 'drafts as JSON' compare $DEMO --configs drafts,cpu -n 40 -r 1 --temperature 1 --bound 0 --json
check 'in numbers' out_has '"drafted": [0-9]+'
refuse 2 'drafts of what' 'expected cpu, drafts, quiet' compare $DEMO --configs drafts:9

finish
