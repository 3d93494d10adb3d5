#!/bin/bash
# What ends an answer, and tokens that a model's files name and its vocabulary has not: in every command that generates.
. "$(dirname "$0")/lib.bash"

# variant FOLDER PYTHON: the demonstration model with its configs changed by PYTHON (config, generation, tokenizer).
variant() {
    mkdir "$T/$1"
    ln -s "$PWD"/data/demo/*.safetensors "$PWD"/data/demo/*.index.json "$PWD"/data/demo/tokenizer.json "$T/$1"
    python3 - "$T/$1" "$2" <<'END'
import json, sys
names = {"config": "config.json", "generation": "generation_config.json", "tokenizer": "tokenizer_config.json"}
files = {k: json.load(open("data/demo/" + n)) for k, n in names.items()}
exec(sys.argv[2], files)
for k, n in names.items():
    json.dump(files[k], open(sys.argv[1] + "/" + n, "w"))
END
}
OTHERS='config["eos_token_id"] = 1021; generation["eos_token_id"] = 1021; tokenizer["eos_token"] = "<|endoftext|>"'
PROMPT='<|im_start|>user
Where is the brass rope?<|im_end|>
<|im_start|>assistant
'

# Only the template ends a turn with <|im_end|>; the configs are a base model's.
variant template "$OTHERS"
expect 0 'inspect' inspect "$T/template"
check 'says where each comes from' out_has '^end tokens +1021 "<.endoftext.>" \(config.json, generation_config.json, tok'
check 'the template too' out_has '^ +1023 "<.im_end.>" \(chat template\)$'
expect 0 'run' run "$T/template" -p "$PROMPT" -n 200 --json
check 'ends there' out_has '"finish_reason":"stop"'
printf '{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"max_tokens":200,"messages":[{"role":"user","content":"Where is the brass rope?"}]}}\n' >"$T/rows"
expect 0 'batch' batch "$T/template" "$T/rows" -o "$T/answers"
check 'ends there' grep -q '"finish_reason": *"stop"' "$T/answers"
expect 0 'chat' chat "$T/template" --once 'Where is the brass rope?' -n 200
check 'ends there' test "$(wc -w <"$T/out")" -lt 60
# Only the tokenizer's eos_token does.
variant eos "$OTHERS"'; tokenizer["eos_token"] = "<|im_end|>"; del tokenizer["chat_template"]'
expect 0 'a completion' run "$T/eos" -p "$PROMPT" -n 200 --json
check 'ends at eos_token' out_has '"finish_reason":"stop"'
# A template whose user turns alone end with a token.
variant user "$OTHERS"'; tokenizer["chat_template"] = "{% for m in messages %}{{ m.content }}{{ \"<|im_end|>\" if m.role == \"user\" }}{% endfor %}"'
expect 0 'inspect' inspect "$T/user"
check 'which ends no answer' test "$(grep -c im_end "$T/out")" = 0

# Ids that are none of the model's are said, and do no harm.
variant beyond 'config["eos_token_id"] = [1023, -1, 5000]; generation["eos_token_id"] = 1024; tokenizer["additional_special_tokens"] = ["<|new|>"]'
expect 0 'inspect' inspect "$T/beyond"
check 'an end token beyond it' out_has 'end token 5000 \(config.json\) is not in the model.s vocabulary of 1024'
check 'another' out_has 'end token 1024 \(generation_config.json\) is not'
check 'tokens beyond the embedding' out_has 'has ids up to 1024, but the model.s embedding only 1024 rows'
expect 0 'run' run "$T/beyond" -p "$PROMPT" -n 200 --json
check 'ends as before' out_has '"finish_reason":"stop"'
check 'and says it' err_has 'end token 5000'
refuse 3 'a prompt with such a token' 'token 1024 \("<.new.>"\) at position 1 is beyond' run "$T/beyond" -p 'a<|new|>' -n 1
printf 'a <|new|> b' >"$T/text"
refuse 3 'a text with one' 'text: token 1024' perplexity "$T/beyond" -f "$T/text"
sed -i 's/Where/<|new|> where/' "$T/rows"
sed 's/"a"/"b"/; s/<.new.>//' "$T/rows" >"$T/row"
cat "$T/row" >>"$T/rows"
expect 0 'a row with one' batch "$T/beyond" "$T/rows" -o "$T/more"
check 'fails alone' grep -q 'token 1024.*is beyond the model' "$T/more"
check 'the other is answered' test "$(grep -c '"finish_reason"' "$T/more")" = 1
finish
