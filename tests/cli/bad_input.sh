#!/bin/bash
# What damaged models and wrong prompts get: exit code 3 and a message that names the thing; 4 where it does
# not fit.
. "$(dirname "$0")/lib.bash"

copy() { # copy NAME: a demonstration model to damage, $M
    M=$T/$1
    cp -r $DEMO "$M" && chmod -R u+w "$M"
}
echo '1 2 3 4 5' >"$T/ids"
SHARD1=model-00001-of-00002.safetensors SHARD2=model-00002-of-00002.safetensors

copy missing && rm "$M/$SHARD2"
refuse 3 'a missing shard' "$SHARD2" run "$M" -p a -n 1
refuse 3 'a missing shard, inspected' "$SHARD2" inspect "$M"
refuse 3 'a missing shard that would not fit either' "$SHARD2" run "$M" -p a --context 1000000000
copy truncated && truncate -s -100 "$M/$SHARD2"
refuse 3 'a truncated shard' "$SHARD2" run "$M" -p a -n 1
copy short && truncate -s 100 "$M/$SHARD1"
refuse 3 'a shard shorter than its header' "$SHARD1" run "$M" -p a -n 1
copy shape && sed -i 's/"moe_intermediate_size": 96/"moe_intermediate_size": 64/' "$M/config.json"
refuse 3 'a wrong shape' 'expected.*(64|96)' run "$M" -p a -n 1
copy layers && sed -i 's/"num_hidden_layers": 4/"num_hidden_layers": 5/' "$M/config.json"
refuse 3 'more layers than there are' 'layers\.4\.' run "$M" -p a -n 1
copy fewer && sed -i 's/"num_hidden_layers": 4/"num_hidden_layers": 3/' "$M/config.json"
refuse 3 'fewer layers than there are' 'layers' run "$M" -p a -n 1
copy activation && sed -i 's/"hidden_act": "silu"/"hidden_act": "gelu"/' "$M/config.json"
refuse 3 'an unknown activation' 'gelu' run "$M" -p a -n 1
copy type && sed -i 's/"model_type": "qwen3_moe"/"model_type": "mystery"/' "$M/config.json"
refuse 3 'an unknown architecture' 'mystery' run "$M" -p a -n 1
copy json && echo '{' >"$M/config.json"
refuse 3 'a config that is not JSON' 'config.json' inspect "$M"
copy nan && printf '\300\177' | dd of="$M/$SHARD2" bs=1 seek=$(($(wc -c <"$M/$SHARD2") - 2)) conv=notrunc 2>/dev/null
refuse 3 'a weight that is not finite' 'weight.*(finite|NaN)' run "$M" -p a -n 1
copy tokenizer && echo '{}' >"$M/tokenizer.json"
refuse 3 'a damaged tokenizer' 'tokenizer.json' run "$M" -p a -n 1
copy bare && rm "$M/tokenizer.json"
refuse 3 'no tokenizer' 'tokenizer' run "$M" -p a -n 1

cp -r $REFERENCE/gpt_oss "$T/scales" && chmod -R u+w "$T/scales"
F=$T/scales/model.safetensors
header=$(od -An -tu8 -N8 "$F" | tr -d ' ')
offset=$(tail -c +9 "$F" | head -c "$header" | grep -ao '_scales":{[^}]*"data_offsets":\[[0-9]*' | head -n 1 | grep -o '[0-9]*$')
printf '\377' | dd of="$F" bs=1 seek=$((8 + header + offset)) conv=notrunc 2>/dev/null
refuse 3 'an MXFP4 scale of 255' 'scales.*255|255.*scales' run "$T/scales" --ids "$T/ids" -n 1

cp -r $REFERENCE/qwen3 "$T/vocabulary" && chmod -R u+w "$T/vocabulary"
cp $DEMO/tokenizer.json $DEMO/tokenizer_config.json "$T/vocabulary"
refuse 3 'a vocabulary larger than the embedding' 'embedding' run "$T/vocabulary" -p a -n 1

mkdir "$T/empty" "$T/gguf"
refuse 3 'a directory without a model' 'no model' run "$T/empty" -p a
refuse 3 'no such directory' 'no-such' inspect "$T/no-such"
refuse 3 'no such name' 'nobody/nothing' inspect nobody/nothing
printf 'GGUF\003\0\0\0' >"$T/gguf/model.gguf"
refuse 3 'a GGUF file' 'safetensors' run "$T/gguf/model.gguf" -p a
refuse 3 'a directory with a GGUF file' 'gguf' run "$T/gguf" -p a

echo '1 1024' >"$T/bad"
refuse 3 'a token id out of range' 'id 1024 at position 1' run $DEMO --ids "$T/bad" -n 1
refuse 3 'a token id out of range, logits' 'id 1024 at position 1' logits $DEMO --ids "$T/bad" -o "$T/x.npy"
for text in '1 -1' '1,2' '1 two' '99999999999' ''; do
    printf '%s' "$text" >"$T/bad"
    refuse 3 "ids \"$text\"" "$T/bad: .*expected" run $DEMO --ids "$T/bad" -n 1
done
printf 'ab\377cd' >"$T/bad"
refuse 3 'invalid UTF-8 in a file' 'not valid UTF-8.* offset 2' run $DEMO -f "$T/bad" -n 1
refuse 3 'invalid UTF-8 in an argument' 'not valid UTF-8.* offset 1' run $DEMO -p $'a\xc3' -n 1
IN=$T/bad refuse 3 'invalid UTF-8 on standard input' 'standard input: not valid UTF-8.* offset 2' run $DEMO -n 1
refuse 3 'invalid UTF-8 in chat' 'offset 1' chat $DEMO --once $'a\xc3' -n 1
refuse 3 'invalid UTF-8 to tokenize' 'offset 1' tokenize $DEMO $'a\xc3'
refuse 3 'an empty prompt' 'empty' run $DEMO -p '' -n 1
refuse 3 'no such file' 'no-such' run $DEMO -f "$T/no-such" -n 1
refuse 3 'a prompt longer than the context' 'context of 64 .*; shorten the prompt or raise --context$' run $DEMO -f $DEMO/demo/logbook_500.txt --context 64
refuse 3 'ids longer than the context' 'context of 4' logits $DEMO --ids "$T/ids" -o "$T/x.npy" --context 4
refuse 3 'a document longer than the context' 'context' chat $DEMO -f $DEMO/demo/logbook_500.txt --once a --context 64
refuse 3 'a text too short for perplexity' 'at least 2' perplexity $DEMO -f /dev/null
refuse 4 'a context that does not fit' '(need|available)' run $DEMO -p a --context 1000000000

copy template && echo '{{ raise_exception("no such role") }}' >"$M/chat_template.jinja"
echo '{"messages":[{"role":"user","content":"hi"}]}' >"$T/body"
refuse 3 'a template that raises' 'no such role' render "$M" "$T/body"
refuse 3 'a template that raises, in chat' 'no such role' chat "$M" --once a
echo '{% if %}' >"$M/chat_template.jinja"
refuse 3 'a template that is wrong' 'chat_template' render "$M" "$T/body"
echo '{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"q"}]}}' >"$T/rows"
echo '{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"q","max_tokens":1}}' >"$T/texts"
for wrong in missing broken raising; do # what is wrong with the template is said before anything is computed
    case $wrong in
    missing)
        rm "$M/chat_template.jinja"
        cp "$M/tokenizer_config.json" "$T/config"
        sed 's/"chat_template"/"another_template"/' "$T/config" >"$M/tokenizer_config.json"
        says='has no chat template .*; give one with --chat-template FILE' ;;
    broken) echo '{% if %}' >"$M/chat_template.jinja"; says="can't be read: .*chat_template.jinja:1: " ;;
    raising) echo '{{ raise_exception("no such role") }}' >"$M/chat_template.jinja"; says='refuses these messages: no such role' ;;
    esac
    for how in -o --check; do
        refuse 3 "a $wrong template, batch $how" "row 1 .*$says" batch "$M" "$T/rows" $how $([ $how = -o ] && echo "$T/never")
    done
    check 'nothing is begun' test ! -e "$T/never.journal"
    refuse 3 "a $wrong template, in chat" "$says" chat "$M" --once a
    expect 0 "a $wrong template, inspect" inspect "$M"
    check 'is noted' out_has "$says"
done
expect 0 'texts need no template' batch "$M" "$T/texts" -o "$T/texts.out"
check 'they are answered' grep -q '"status_code":200' "$T/texts.out"
# another template fails for rows of its own: these rows fail
echo '{% for m in messages %}{{ raise_exception("no " + m.role) if m.role == "system" }}{{ m.content }}{% endfor %}' >"$M/chat_template.jinja"
sed 's/"a"/"b"/; s/"user"/"system"/' "$T/rows" | cat - "$T/rows" >"$T/mixed"
expect 0 'a row that the template refuses' batch "$M" "$T/mixed" -o "$T/mixed.out"
check 'fails with its words' grep -q '"custom_id":"b",.*refuses these messages: no system' "$T/mixed.out"
check 'the other one does not' grep -q '"custom_id":"a",.*"status_code":200' "$T/mixed.out"
echo '{"messages":[' >"$T/body"
refuse 3 'messages that are not JSON' 'not valid JSON' render $DEMO "$T/body"
echo '"hi"' >"$T/body"
refuse 3 'messages that are a string' 'expected an object' render $DEMO "$T/body"
echo '{"messages":5}' >"$T/body"
refuse 3 'messages that are a number' 'messages' render $DEMO "$T/body"
printf '{"text":"a"}\n{"text":5}\n' >"$T/lines"
IN=$T/lines expect 3 'a bad line' tokenize $DEMO --jsonl
check 'its number is said' err_has 'line 2'
check 'the lines before are answered' out_has '^{"ids":\['
printf '{"ids":[1]}\n{"ids":[1,1024]}\n' >"$T/lines"
IN=$T/lines expect 3 'a bad id in a line' tokenize $DEMO --decode --jsonl
check 'its number is said' err_has 'line 2'
check 'nothing was written' test ! -e "$T/x.npy"
finish
