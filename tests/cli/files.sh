#!/bin/bash
# Files that are no files: whatever stands in the place of a model's file, of a journal or of another file of the
# program's own is refused by its name, with exit code 3, and is not waited for. Streams that are closed.
. "$(dirname "$0")/lib.bash"

# in_place KIND PATH: makes such a thing there
in_place() {
    rm -rf "$2"
    case $1 in
    pipe) mkfifo "$2" ;;
    socket) (cd "$(dirname "$2")" && python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$(basename "$2")") ;;
    loop) ln -s "$(basename "$2")" "$2" ;;
    folder) mkdir "$2" ;;
    device) ln -s /dev/zero "$2" ;;
    esac
}
copy() { # a demonstration model of links, $M
    M=$T/model
    rm -rf "$M"
    mkdir "$M"
    ln -s "$PWD/$DEMO"/* "$M"
}

# --- of a model ---
for kind in pipe socket loop folder device; do
    for name in config.json tokenizer.json tokenizer_config.json generation_config.json model.safetensors.index.json \
        model-00002-of-00002.safetensors chat_template.jinja; do
        copy
        in_place $kind "$M/$name"
        refuse 3 "$kind as $name" "$name" chat "$M" --once a -n 1
    done
    copy
    rm "$M/tokenizer.json"
    in_place $kind "$M/tokenizer.model"
    refuse 3 "$kind as tokenizer.model" 'tokenizer.model' run "$M" -p a -n 1
done
copy
in_place pipe "$M/config.json"
row='{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "The owl", "max_tokens": 2}}'
echo "$row" >"$T/row.jsonl"
echo '1 2 3' >"$T/ids"
echo '[{"role": "user", "content": "a"}]' >"$T/body"
for command in inspect 'tokenize a' plan 'bench -p 1 -n 0' 'compare -n 2' "logits --ids $T/ids -o $T/x.npy" \
    'perplexity -f README.md' "batch $T/row.jsonl -o $T/out.jsonl" "batch --check $T/row.jsonl"; do
    # shellcheck disable=SC2086 # words
    set -- $command
    [ "$1" = tokenize ] && in_place pipe "$M/tokenizer.json"
    refuse 3 "a pipe as config.json: $1" 'found a named pipe' "$1" "$M" "${@:2}"
done

# --- named on the command line ---
mkfifo "$T/fifo"
copy
refuse 3 'a named pipe as a template' 'fifo.*named pipe' chat $DEMO --chat-template "$T/fifo" --once a -n 1
refuse 3 'a named pipe as a template, rendered' 'fifo.*named pipe' render $DEMO "$T/body" --chat-template "$T/fifo"
refuse 3 'a named pipe as a machine' 'fifo.*named pipe' plan $DEMO --machine "$T/fifo"
refuse 3 'a named pipe as a plan' 'fifo.*named pipe' run $DEMO -p a -n 1 --device emulated:1GiB --offload "$T/fifo"
refuse 3 'a named pipe as a profile of experts' 'fifo.*named pipe' run $DEMO -p a -n 1 --profile-experts "$T/fifo"
refuse 3 'a named pipe as a disk' 'named pipe' machine --disk "$T/fifo"
refuse 3 'a named pipe as a shape' 'fifo.*named pipe' plan --random "$T/fifo"
refuse 3 'a named pipe as an earlier result' 'fifo.*named pipe' compare $DEMO --with "$T/fifo" -n 2 --rounds 1
expect 0 'but what a shell hands over is read: a prompt' run $DEMO -f <(printf 'Hello.') -n 2
cp "$T/out" "$T/plain"
expect 0 'a prompt with a byte order mark' run $DEMO -f <(printf '\xEF\xBB\xBFHello.') -n 2
check 'the mark is no part of it' cmp -s "$T/out" "$T/plain"
expect 0 'a template' chat $DEMO --chat-template <(printf 'User: {{ messages[0].content }}') --once 'Hello.' -n 2
expect 0 'a template and questions of a job' batch $DEMO --chat-template <(printf 'User: {{ messages[0].content }}') \
    --document <(echo 'The owl sleeps.') --ask <(echo 'Who sleeps?') -o "$T/piped.md" -n 2 --threads 1
check 'the question is there' grep -q '^## Who sleeps?$' "$T/piped.md"
expect 0 'a body' render $DEMO <(cat "$T/body")
expect 0 'ids' run $DEMO --ids <(echo 1 2 3) -n 1

# --- of a batch job ---
for kind in pipe socket loop folder device; do
    in_place $kind "$T/job.jsonl.journal"
    refuse 3 "$kind as a journal, looked at" 'job.jsonl.journal' batch --status "$T/job.jsonl"
    refuse 3 "$kind as a journal, exported" 'job.jsonl.journal' batch --export "$T/job.jsonl"
    refuse 3 "$kind as a journal" 'job.jsonl.journal' batch $DEMO "$T/row.jsonl" -o "$T/job.jsonl"
    rm -rf "$T/job.jsonl.journal"
    in_place $kind "$T/job.jsonl.lock"
    refuse 3 "$kind as a lock" 'job.jsonl.lock' batch $DEMO "$T/row.jsonl" -o "$T/job.jsonl"
    rm -rf "$T/job.jsonl.lock"
done

# --- kept between runs ---
export XDG_CACHE_HOME=$T/cache
mkdir -p "$T/cache/quietmind"
for kind in pipe socket loop; do
    in_place $kind "$T/cache/quietmind/history.db"
    expect 3 "$kind as the history" compare --history
done
rm "$T/cache/quietmind/history.db"
unset XDG_CACHE_HOME

export XDG_CACHE_HOME=$T/cache
"$QUIETMIND" machine >/dev/null 2>&1
for file in "$T"/cache/quietmind/machine-*.json; do
    in_place pipe "$file"
    in_place pipe "${file/machine-/kernels-}"
done
expect 0 'a pipe as the profile of the machine, which is not needed' run $DEMO -p a -n 2
unset XDG_CACHE_HOME

# --- read and written ---
safe() { # safe NAME FILE: it is as it was
    check "$1: is as it was" cmp -s "$2" "$T/kept"
}
cd "$T" || exit 5
DEMO=$OLDPWD/$DEMO
echo '1 2 3' >ids
cp ids kept
ln -s ids link
ln ids hard
ln -s fresh nowhere
mkdir sub
for name in ids link hard ./ids sub/../ids "$T/ids"; do
    refuse 3 "ids over themselves, as $name" 'which is read' logits "$DEMO" --ids ids -o "$name"
    refuse 3 "ids as $name" 'which is read' logits "$DEMO" --ids "$name" -o ids
    safe "$name" ids
done
refuse 3 'a map of attention over ids' 'which is read' logits "$DEMO" --ids ids -o x.npy --attention ids --layer 0
refuse 3 'one file for two results' 'written there too' logits "$DEMO" --ids ids -o fresh --attention nowhere --layer 0
refuse 3 'a result over the model' 'config.json, which is read' logits "$M" --ids ids -o "$M/config.json"
refuse 3 'counts over the prompt' 'which is read' run "$DEMO" -f ids --profile-experts ids -n 1
refuse 3 'a comparison over its prompt' 'which is read' compare "$DEMO" -f ids -o ids
refuse 3 'a comparison over the job' 'which is read' compare "$DEMO" --job ids -o ids
refuse 3 'a comparison over the one before' 'which is read' compare "$DEMO" --with ids -o ids
refuse 3 'a plan over its machine' 'which is read' plan "$DEMO" --machine ids -o ids
safe 'all of these' ids
expect 0 'numbers to standard output' logits "$DEMO" --ids ids -o - --last 1
check 'are numpy'"'"'s' sh -c 'head -c 6 out | tail -c 5 | grep -q NUMPY'
check 'and no file' test ! -e ./-
refuse 2 'a job to standard output' "-o -: expected a file" batch "$DEMO" ids -o -
refuse 2 'a comparison to standard output' "-o -: expected a file" compare "$DEMO" -o - -n 2
refuse 2 'a plan to standard output' "-o -: expected a file" plan "$DEMO" -o -
refuse 2 'a report to standard output' "report -: expected a file" batch "$DEMO" ids -o x --report -
refuse 2 'counts to standard output' "profile-experts -: expected a file" run "$DEMO" -p a -n 1 --profile-experts -

# --- names beside a job's output ---
echo "$row" >in.jsonl
cp in.jsonl kept
batch() { # batch CODE NAME ARGUMENT...
    expect "$1" "$2" batch "$DEMO" "${@:3}" --threads 1 --context 256
}
for suffix in .partial .kv .lock .journal .journal-wal .journal-shm .journal-journal; do
    cp kept "job$suffix"
    batch 3 "the input is job$suffix" "job$suffix" -o job
    safe "job$suffix" "job$suffix"
    batch 3 "the input is job$suffix, started over" "job$suffix" -o job --restart
    safe "job$suffix, started over" "job$suffix"
    batch 3 "a file that is job$suffix" in.jsonl -o job
    safe "a file that is job$suffix" "job$suffix"
    batch 3 "the report is job$suffix" in.jsonl -o job --report "job$suffix"
    safe "the report is job$suffix" "job$suffix"
    [ $suffix = .lock ] || batch 0 "a file that is job$suffix, started over" in.jsonl -o job --restart
    [ $suffix = .lock ] || safe "moved aside: job$suffix" "job$suffix.aside-1"
    rm -f job job.*
done
cp kept job.tmp
batch 0 'a file that is job.tmp' in.jsonl -o job
safe 'a file that is job.tmp' job.tmp
rm job.tmp
batch 3 'a report over the input' in.jsonl -o other --report in.jsonl
batch 3 'a report over the answers' in.jsonl -o other --report other
batch 3 'a report over the answers of another job' in.jsonl -o other --report job
batch 3 'answers over a file of another job' in.jsonl -o job.partial
mkdir stores
cp kept stores/other.kv
batch 0 'a file that is there as a checkpoint' in.jsonl -o other --checkpoint-dir stores
safe 'a file that is there as a checkpoint' stores/other.kv
rm other other.*
mkfifo page.pipe
batch 3 'a report into a pipe that nobody reads' in.jsonl -o other --report page.pipe
batch 3 'a report over somebody'"'"'s page' in.jsonl -o other --report kept
refuse 3 'numbers over the answers of a job' 'batch job' logits "$DEMO" --ids ids -o job
check 'nothing was begun' test ! -e other -a ! -e other.journal
safe 'the input' in.jsonl
batch 0 'a report' in.jsonl -o job --report page.html
batch 0 'is written again' in.jsonl -o job --report page.html
cp job answers
rm job.journal
batch 3 'without a journal' in.jsonl -o job
check 'the answers stay' cmp -s job answers
mv job job.partial
batch 3 'finished rows without a journal' in.jsonl -o job
: >job.journal
batch 3 'with an empty one' in.jsonl -o job
check 'stay' cmp -s job.partial answers
batch 0 'started over' in.jsonl -o job --restart
check 'are moved aside' cmp -s job.partial.aside-1 answers
check 'and that is said' err_has 'job.partial: no journal knows it; it was moved aside, to job.partial.aside-1'
cd "$OLDPWD" || exit 5
DEMO=data/demo

# --- terminals ---
# shown NAME ARGUMENT...: what the program writes where both its outputs are a terminal, in $T/out
shown() {
    local name=$1
    timeout 120 python3 - "$T/out" "$QUIETMIND" "${@:2}" <<'EOS' || bad "$name" 'no terminal'
import os, pty, subprocess, sys
master, slave = pty.openpty()
program = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
os.close(slave)
text = b""
while True:
    try:
        more = os.read(master, 4096)
    except OSError:
        break
    if not more:
        break
    text += more
program.wait()
open(sys.argv[1], "wb").write(text.replace(b"\r\n", b"\n"))
EOS
}
# harmless NAME TEXT: that is there, and no sequence of a stranger's
harmless() {
    check "$1: is shown" out_has "$2"
    check "$1: harmless" sh -c "! LC_ALL=C grep -qP '\x1b(\]|\[[0-9;]*[^0-9;K])|\x07|\x9b' '$T/out'"
}
evil=$'\e]0;owned\a\e[31m'
printf '[{"role": "user", "content": "x\\u001b]0;owned\\u0007\\u001b[31m y"}]' >"$T/evil"
shown 'a prompt' render $DEMO "$T/evil"
harmless 'a prompt' 'x\?\]0;owned\?\?\[31m y'
"$QUIETMIND" render $DEMO "$T/evil" >"$T/out"
check 'elsewhere it is as it is' grep -q $'\e]0;owned\a' "$T/out"
printf '{"custom_id": "n\\u001b[31m", "method": "GET"}\n' >"$T/evil.jsonl"
shown 'a row' batch $DEMO "$T/evil.jsonl" --check
harmless 'a row' 'n\?\[31m'
mkdir "$T/model$evil"
shown 'a name' inspect "$T/model$evil"
harmless 'a name' 'model\?\]0;owned'
id=$("$QUIETMIND" tokenize $DEMO $'\e' --no-special 2>/dev/null | awk '{print $1; exit}')
shown 'an answer' run $DEMO -p a -n 3 --logit-bias "$id=100"
harmless 'an answer' '\?\?\?'
shown 'an answer of a chat' chat $DEMO --once a -n 3 --logit-bias "$id=100"
harmless 'an answer of a chat' '\?\?\?'
shown 'a token' tokenize $DEMO --decode="$id"
harmless 'a token' '\?'

# --- streams ---
"$QUIETMIND" run $DEMO -n 1 <&- >"$T/out" 2>"$T/err"
check 'a closed standard input is empty' test $? = 3
"$QUIETMIND" tokenize $DEMO - <&- >"$T/out" 2>"$T/err"
rc=$?
check 'to tokenize too' test $rc != 5
timeout 60 "$QUIETMIND" run $DEMO -p a -n 2 <&- 2>&- >"$T/out"
check 'closed ones are no file of ours' test $? = 0 -a -s "$T/out"
timeout 60 "$QUIETMIND" run $DEMO -p a -n 2 >&- 2>"$T/err"
check 'a result that goes nowhere is a failure' test $? = 5
finish
