#!/bin/bash
# tokenize and render: forms of input and output; their exactness is the unit tests' business.
. "$(dirname "$0")/lib.bash"

expect 0 'tokenize' tokenize $DEMO 'Where is the brass rope?'
ids=$(cat "$T/out")
check 'ids in a line' out_has '^[0-9]+( [0-9]+)+$'
expect 0 'tokenize --decode' tokenize $DEMO --decode "$ids"
check 'and back' out_is 'Where is the brass rope?'
# shellcheck disable=SC2086 # words
expect 0 'ids as arguments' tokenize $DEMO --decode $ids
check 'the same' out_is 'Where is the brass rope?'
expect 0 'ids with commas' tokenize $DEMO --decode "${ids// /,}"
check 'the same' out_is 'Where is the brass rope?'
expect 0 'the option before the model' tokenize --decode "$ids" $DEMO
check 'the same' out_is 'Where is the brass rope?'
echo "$ids" >"$T/in"
IN=$T/in expect 0 'ids from standard input' tokenize $DEMO --decode -
check 'the same' out_is 'Where is the brass rope?'
IN=$T/in expect 0 'ids from standard input, unsaid' tokenize $DEMO --decode
check 'the same' out_is 'Where is the brass rope?'
printf 'Where is the brass rope?' >"$T/in"
IN=$T/in expect 0 'text from standard input' tokenize $DEMO -
check 'the same' out_is "$ids
"
IN=$T/in expect 0 'text from standard input, unsaid' tokenize $DEMO
check 'the same' out_is "$ids
"
expect 0 'tokenize --json' tokenize $DEMO --json '<|im_start|>é'
check 'ids and pieces' out_has '^\{"ids":\[1022,[0-9,]+\],"pieces":\["<\|im_start\|>",".*"\]\}$'
expect 0 'decode keeps special tokens' tokenize $DEMO --decode 1022
check 'it does' out_is '<|im_start|>'
expect 0 'decode without them' tokenize $DEMO --decode 1022 --skip-special
check 'nothing is left' out_is ''
expect 0 'decode --json' tokenize $DEMO --decode 1022 --json
check 'text' out_is '{"text":"<|im_start|>"}
'
n=$(echo "$ids" | wc -w)
printf '\357\273\277Where is the brass rope?' >"$T/a b.txt"
printf 'Where is the brass rope?Where is the brass rope?' >"$T/two"
expect 0 'a file' tokenize $DEMO -f "$T/a b.txt"
check 'without its byte order mark' out_is "$ids
"
expect 0 '--count' tokenize $DEMO --count 'Where is the brass rope?'
check 'a number' out_is "$n
"
expect 0 'of one file' tokenize $DEMO --count -f "$T/a b.txt"
check 'the number alone' out_is "$n
"
expect 0 'of several' tokenize $DEMO --count -f "$T/a b.txt" -f "$T/two"
check 'each, and the total' out_is "$n $T/a b.txt
$((2 * n)) $T/two
$((3 * n)) total
"
expect 0 'as JSON' tokenize $DEMO --count --json -f "$T/a b.txt" -f "$T/two"
check 'the same' out_is "{\"files\":[{\"file\":\"$T/a b.txt\",\"tokens\":$n},{\"file\":\"$T/two\",\"tokens\":$((2 * n))}],\"tokens\":$((3 * n))}
"
expect 0 'several files' tokenize $DEMO -f "$T/a b.txt" -f "$T/a b.txt"
check 'a line each' out_is "$ids
$ids
"
refuse 2 'a file and a text' 'TEXT or --file' tokenize $DEMO -f "$T/two" text
refuse 2 '--count of ids' 'count' tokenize $DEMO --count --decode 1
expect 3 'no such file' tokenize $DEMO --count -f "$T/two" -f "$T/no-such" -f "$T/two"
expect 0 'no ids' tokenize $DEMO ''
check 'an empty line' out_is '
'
printf '{"text":"Where is the brass rope?"}\n{"text":"","add_special":false}' >"$T/in"
IN=$T/in expect 0 'tokenize --jsonl' tokenize $DEMO --jsonl
check 'a line for each' out_is "{\"ids\":[${ids// /,}]}
{\"ids\":[]}
"
cp "$T/out" "$T/lines"
IN=$T/lines expect 0 'decode --jsonl' tokenize $DEMO --decode --jsonl
check 'a line for each' out_is '{"text":"Where is the brass rope?"}
{"text":""}
'
refuse 3 'an id that is not there' '1024|vocabulary' tokenize $DEMO --decode 1024
mkdir "$T/padded"
cp data/demo/tokenizer*.json "$T/padded"
echo '{"vocab_size": 1100}' >"$T/padded/config.json"
expect 0 'an id of a padded vocabulary' tokenize "$T/padded" --decode "$ids 1099"
check 'stands for no text' out_is 'Where is the brass rope?'
refuse 3 'an id beyond it' 'ids 0 to 1099' tokenize "$T/padded" --decode 1100
refuse 3 'an id that is none' 'expected a token id' tokenize $DEMO --decode '1 2' 3x

SPM=tests/data/tokenizers/small-a-spm-bpe
if [ -d $SPM ]; then
    expect 0 'a first token is added' tokenize $SPM a
    cp "$T/out" "$T/with"
    expect 0 '--no-special' tokenize $SPM --no-special a
    check 'or is not' test "$(wc -w <"$T/out")" -lt "$(wc -w <"$T/with")"
fi

mkdir "$T/m"
echo '{"eos_token":"</s>"}' >"$T/m/tokenizer_config.json"
cat >"$T/m/chat_template.jinja" <<'END'
{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}{% if mode is defined %}{{ mode|tojson }}{% endif %}{% if date %}{{ strftime_now("%A %d %B %Y %H:%M:%S") }}{% endif %}
END
echo '{"messages":[{"role":"user","content":"hi"}]}' >"$T/body"
expect 0 'render' render "$T/m" "$T/body"
check 'exactly, without a newline' out_is '[user]hi</s>[assistant]'
expect 0 'render with a variable' render "$T/m" "$T/body" --template-arg mode=false
check 'as JSON' out_is '[user]hi</s>[assistant]false'
expect 0 'render with a text' render "$T/m" "$T/body" --template-arg mode=a=b
check 'as a string' out_is '[user]hi</s>[assistant]"a=b"'
expect 0 'render with a time' render "$T/m" "$T/body" --template-arg date=1 --now 2026-01-15T12:00:09
check 'that time' out_is '[user]hi</s>[assistant]Thursday 15 January 2026 12:00:09'
echo '{"messages":[{"role":"user","content":"hi"}],"add_generation_prompt":false,"chat_template_kwargs":{"mode":1}}' >"$T/body"
expect 0 'what the body says' render "$T/m" "$T/body"
check 'is done' out_is '[user]hi</s>1'
IN=$T/body expect 0 'the body from standard input' render "$T/m" -
check 'the same' out_is '[user]hi</s>1'
echo '[{"role":"user","content":"hi"}]' >"$T/body"
expect 0 'only the messages' render "$T/m" "$T/body"
check 'will do' out_is '[user]hi</s>[assistant]'
echo 'x{{ messages|length }}' >"$T/other"
expect 0 'another template' render "$T/m" "$T/body" --chat-template "$T/other"
check 'is taken' out_is 'x1'
# an answer as OpenAI's library writes it back, and the same messages without what says nothing
cat >"$T/dumped" <<'END'
{"model": "m", "temperature": null, "tools": null, "messages": [{"role": "developer", "content": "Be brief."},
 {"role": "user", "content": [{"type": "text", "text": "q"}]},
 {"content": "a", "refusal": null, "role": "assistant", "annotations": [], "audio": null, "function_call": null, "tool_calls": null},
 {"role": "user", "content": "q", "name": null}]}
END
echo '[{"role":"system","content":"Be brief."},{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":"q"}]' >"$T/clean"
expect 0 'render clean messages' render $DEMO "$T/clean"
cp "$T/out" "$T/wanted"
expect 0 'render what a client wrote' render $DEMO "$T/dumped"
check 'the same' cmp -s "$T/wanted" "$T/out"
refuse 2 'a variable without a value' 'expected NAME=VALUE' render "$T/m" "$T/body" --template-arg mode
expect 0 "the demonstration's template" render $DEMO "$T/body"
check 'ChatML' out_has '^<\|im_start\|>user$'
refuse 3 'no template' 'chat-template' render "$REFERENCE/qwen3" "$T/body"
printf '%%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n' >"$T/a.pdf"
refuse 3 'a PDF as a text' 'expected text, found a PDF: convert it' tokenize $DEMO -f "$T/a.pdf" --count
refuse 3 'a PDF as a prompt' 'expected text, found a PDF: convert it' run $DEMO -n 1 -f "$T/a.pdf"
finish
