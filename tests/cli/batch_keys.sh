#!/bin/bash
# What is stored by one run and used by another: only where nothing differs that can change a bit. Each input of a
# result alone is tried in tests/engine/test_fingerprint.c; here the way from the command line to the files.
. "$(dirname "$0")/batch.bash"
export XDG_CACHE_HOME="$T/cache"
known_efficiency
CARD=emulated:1GiB,bandwidth=100,bf16=10T,pcie=10

# The model with another field in its config, its other files linked.
variant() { # variant NAME SED
    mkdir "$T/$1"
    ln -s "$PWD/$DEMO"/* "$T/$1/"
    rm "$T/$1/config.json"
    sed "$2" $DEMO/config.json >"$T/$1/config.json"
}
batch() { # batch MODEL IN OUT OPTION...
    local model=$1 in=$2 out=$3
    shift 3
    "$QUIETMIND" batch "$model" "$T/$in.jsonl" -o "$T/$out" --threads 1 --sequences 2 --chunk 64 --checkpoint-every 0.0001 "$@" </dev/null
}
differ() { ! same "$1" "$2"; }
text=$(head -n 14 $DEMO/demo/logbook_2k.txt | tr -d '\n"\\')
row e1 embeddings "\"input\": \"$text\"" >"$T/read.jsonl"
row e2 embeddings "\"input\": \"$text And?\"" >>"$T/read.jsonl"

# --- keys and values of one context, under dynamic scaling -----------------------------------------------------------
variant dynamic 's/"max_position_embeddings": 16384/"max_position_embeddings": 128/; s/"rope_scaling": null/"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}/'
mkdir "$T/kv"
code 'a context' 0 batch "$T/dynamic" read a --context 768 --kv-disk "$T/kv"
code 'another, alone' 0 batch "$T/dynamic" read b --context 1536
code 'another, with what the first one stored' 0 batch "$T/dynamic" read c --context 1536 --kv-disk "$T/kv"
check 'answers as alone' same "$T/b" "$T/c"
check 'which differ from the first' differ "$T/a" "$T/c"
code 'the first again' 0 batch "$T/dynamic" read d --context 768 --kv-disk "$T/kv"
check 'finds its own' err_has '\((256|384) cached\)'
check 'and answers as before' same "$T/a" "$T/d"

# --- sums that are split ---------------------------------------------------------------------------------------------
plan=$T/split.plan
"$QUIETMIND" plan $DEMO --context 768 -p 64 -n 16 --offload 0 --device $CARD -o "$plan" >/dev/null 2>&1
sed -i 's/"experts": {}/"experts": {"emulated": "0-3"}/' "$plan"
split=(--offload "$plan" --device "$CARD")
rm -rf "$T/kv"
mkdir "$T/kv"
code 'a split job' 0 batch $DEMO read sa --context 768 --kv-type f32 --kv-disk "$T/kv" "${split[@]}"
code 'the CPU alone' 0 batch $DEMO read sb --context 768 --kv-type f32
check 'has other bits' differ "$T/sa" "$T/sb"
code 'the CPU with what the split job stored' 0 batch $DEMO read sc --context 768 --kv-type f32 --kv-disk "$T/kv"
check 'answers as alone' same "$T/sb" "$T/sc"
code 'the split job again' 0 batch $DEMO read sd --context 768 --kv-type f32 --kv-disk "$T/kv" "${split[@]}"
check 'finds its own' err_has '\((256|384) cached\)'

# --- a job that goes on ----------------------------------------------------------------------------------------------
long_rows 3 40 >"$T/long.jsonl"
cat "$T/read.jsonl" >>"$T/long.jsonl"
# begin MODEL OUT OPTION...: the engine is open and the job begun; it waits for its hours, and Ctrl-C ends it.
begin() {
    local out=$2 model=$1 rc
    shift 2
    "$QUIETMIND" batch "$model" "$T/long.jsonl" -o "$T/$out" --threads 1 --sequences 2 --context 768 \
        --hours "$(date -d '+3 hours' +%H:%M)-$(date -d '+4 hours' +%H:%M)" "$@" </dev/null >"$T/out" 2>"$T/err" &
    pid=$!
    for ((i = 0; i < 6000; i++)); do
        grep -q 'paused until' "$T/err" && break
        sleep 0.01
    done
    kill -INT $pid
    wait $pid
    rc=$?
    check "$out is interrupted" test $rc = 130
}
more() { local model=$1 out=$2; shift 2; batch "$model" long "$out" --context 768 "$@"; }
code 'a whole split job' 0 more $DEMO whole "${split[@]}"
begin $DEMO parts "${split[@]}"
code 'going on without a split' 3 more $DEMO parts --offload none --device $CARD
check 'is refused by name' err_has 'differs: how sums are split among CPU and devices'
code 'going on without the device' 3 more $DEMO parts
check 'names what is missing' err_has 'no device: .*--device'
code 'going on with too little free there' 4 more $DEMO parts --device $CARD,free=1MiB
check 'says so' err_has 'less memory free than the placement needs'
code 'going on with a device that is too small' 4 more $DEMO parts --device emulated:1MiB
check 'says so, too' err_has 'the placement that this began with: .* GiB short, .*; it can have no other placement'
code 'going on as --offload auto' 0 more $DEMO parts --offload auto --device $CARD
check 'keeps the split' same "$T/whole" "$T/parts"

cp -r $DEMO "$T/model"
begin "$T/model" edited
printf 'x' | dd of="$T/model/model-00001-of-00002.safetensors" bs=1 seek=110000 conv=notrunc 2>/dev/null
code 'weights changed in a byte' 3 more "$T/model" edited
check 'are noticed' err_has "differs: the model's weights"
cp $DEMO/model-00001-of-00002.safetensors "$T/model/"
mv "$T/model" "$T/elsewhere"
code 'the same weights, copied, elsewhere' 0 more "$T/elsewhere" edited
code 'a whole job' 0 more $DEMO plain
check 'with its answers' cmp -s <(grep -o '"custom_id.*' "$T/plain" | sed 's/"model":"[^"]*"//; s/"created":[0-9]*//') \
    <(grep -o '"custom_id.*' "$T/edited" | sed 's/"model":"[^"]*"//; s/"created":[0-9]*//')
check 'what was hashed is kept' test "$(wc -l <"$XDG_CACHE_HOME/quietmind/weights.known")" -ge 4
begin $DEMO sets
code 'what changes a bit alone is reported' 0 more $DEMO sets --kv-type f32
check 'as a change' err_has 'since this job began there changed the type of keys and values \(--kv-type\) \(it was BF16, now F32\)'
begin $DEMO turns
code 'another rotation' 3 more $DEMO turns --rope-theta 5000
check 'is refused' err_has 'differs: the rotation of positions \(--rope-theta'
code 'other experts' 3 more $DEMO turns --experts-per-token 1
check 'are refused' err_has 'differs: the experts of a token \(--experts-per-token\) \(it was 2, now 1\)'
finish
