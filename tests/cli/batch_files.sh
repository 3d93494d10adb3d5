#!/bin/bash
# quietmind batch and files as people have them: inputs of other editors, damaged lines, pipes; outputs with odd names, in
# folders that are not there, that are no files; other folders and other paths of the same model on resuming.
. "$(dirname "$0")/batch.bash"

# --- lines ---
text='"prompt": "The owl", "max_tokens": 4, "temperature": 0'
{
    printf '\xEF\xBB\xBF'
    row first completions "$text" | sed 's/$/\r/'
    printf '\r\n\n   \n\t\n'
    printf '{"custom_id": "nul\0x", "method": "POST"}\n'
    printf '{"custom_id": "bytes\xff\xfe", "method": "POST"}\n'
    row escape completions '"prompt": "a\xb"'
    row pair completions '"prompt": "\ud800"'
    row a completions "$text"
    row a completions "$text"
    echo '[1, 2]'
    echo '{"custom_id": 5}'
    row '' completions "$text"
    printf '{"custom_id": "wide", "pad": "%s"}\n' "$(head -c 3000000 /dev/zero | tr '\0' x)"
    row last completions "$text" | tr -d '\n'
} >"$T/odd.jsonl"
code 'lines of all kinds' 0 run "$T/odd.jsonl" -o "$T/odd.out" --report "$T/odd.html"
check 'each has its own' test "$(wc -l <"$T/odd.out")" = 12
check 'named, in order' test "$(ids "$T/odd.out" | tr '\n' ' ')" = 'first escape pair a a wide last '
check 'four answers' test "$(grep -c '"status_code":200' "$T/odd.out")" = 4
check 'where a line is wrong' grep -q 'row 2 (line 6 of the file): not valid JSON at column 19: control character' "$T/odd.out"
check 'and its number' grep -q '"custom_id":null.*not valid JSON at column 19.*"line":6}' "$T/odd.out"
check 'lines that are no JSON are counted together' err_has '^ +3  not valid JSON$'
code 'checked before' 0 run "$T/odd.jsonl" --check
check 'the same is found' out_has '^ +3  not valid JSON$'
odd="$T/<b>&amp;\"'%41.out"
code 'a name that looks like markup' 0 run "$T/odd.jsonl" -o "$odd" --report "$T/markup.html"
check 'is text on the page' grep -qF "&lt;b&gt;&amp;amp;&quot;'%41.out</a>" "$T/markup.html"
check 'and an address in the link' grep -qF 'href="%3Cb%3E%26amp%3B%22%27%2541.out"' "$T/markup.html"
check 'nothing of it is markup' sh -c "! grep -q '<b>&\|<b>\"' '$T/markup.html'"
code 'a report that cannot be written' 3 run "$T/odd.jsonl" -o "$T/late.out" --report "$T/nowhere/report.html"
check 'is said by its name' err_has 'nowhere/report.html: cannot write here'
check 'before anything is begun' test ! -e "$T/late.out.journal"
: >"$T/zero.jsonl"
printf '\n\r\n' >"$T/blank.jsonl"
for input in zero blank; do
    code "no row: $input" 0 run "$T/$input.jsonl" -o "$T/$input.out" --report "$T/$input.html"
    check "$input: an empty output" test -e "$T/$input.out" -a ! -s "$T/$input.out"
    check "$input: a report without pictures" sh -c "grep -q '0 rows</b>: 0 answered, 0 failed, 0 cut' '$T/$input.html' && ! grep -q '<svg' '$T/$input.html'"
    code "$input: checked" 0 run "$T/$input.jsonl" --check
    check "$input: no longest prompt" out_has '^prompts +0 tokens, 0 shared$'
done

# --- what is no file ---
row one completions "$text" >"$T/one.jsonl"
mkfifo "$T/pipe"
code 'a pipe as input' 3 timeout 120 "$QUIETMIND" batch $DEMO "$T/pipe" -o "$T/x"
check 'is not waited for' err_has 'expected a regular file, found a named pipe'
code 'a folder as input' 3 run "$T" -o "$T/x"
check 'is called one' err_has 'found a folder'
printf 'Dear all,\nthe meeting is at ten.\n' >"$T/text.txt"
code 'a text as input' 3 run "$T/text.txt" -o "$T/x"
check 'is refused at its first line' err_has 'text.txt: expected a batch file.*found line 1: not valid JSON'
code 'a text is checked' 3 run "$T/text.txt" --check
printf '[{"custom_id": "a"}]\n' >"$T/list.json"
code 'a list as input' 3 run "$T/list.json" -o "$T/x"
printf '{"custom_id": "a", "method": }\n{"custom_id": "b"}\n' >"$T/wrong.jsonl"
code 'no row is answered' 1 run "$T/wrong.jsonl" -o "$T/wrong.out"
check 'which is reported by name' test "$(ids "$T/wrong.out" | tr '\n' ' ')" = 'a b '
code 'nor the next time' 1 run "$T/wrong.jsonl" -o "$T/wrong.out"
code 'as checked' 1 run "$T/wrong.jsonl" --check
code 'an output without a name' 2 run "$T/one.jsonl" -o ''
check 'is asked for' err_has 'the output is missing'
code 'a folder that is not there' 3 run "$T/one.jsonl" -o "$T/nowhere/out"
code 'a name that ends as a folder' 3 run "$T/one.jsonl" -o "$T/nowhere/"
check 'is taken for one' err_has 'is a folder; name a file in it'
mkfifo "$T/device"
code 'an output that is no file' 3 run "$T/one.jsonl" -o "$T/device" --restart
check 'is named' err_has 'is not a regular file'
check 'and stays' test -p "$T/device"
check 'nothing is left of these' sh -c "! ls -A '$T' | grep -E '^(x|device|nowhere|)\.'"
code 'no such job' 3 "$QUIETMIND" batch --status "$T/one.jsonl"
check 'says what is missing' err_has 'one.jsonl.journal is not there: no job writes this output'

# --- names, folders, paths ---
mkdir "$T/a folder"
long_rows 30 400 >"$T/a folder/in \$x 'one' \"two\"; #.jsonl"
stopped() { # stopped FOLDER ARGUMENT...: a job interrupted in that folder
    local pid i
    (cd "$1" && shift && exec "$QUIETMIND" batch "$@") </dev/null >"$T/out" 2>"$T/err" &
    pid=$!
    for ((i = 0; i < 6000; i++)); do
        "$QUIETMIND" batch --status "$1/out put" 2>/dev/null | grep -q '^rows *[1-9]' && break
        sleep 0.01
    done
    kill -TERM $pid
    wait $pid
}
demo=$PWD/$DEMO
limits='--threads 2 --sequences 2 --context 512'
# shellcheck disable=SC2086 # words
stopped "$T/a folder" "$demo" "in \$x 'one' \"two\"; #.jsonl" -o 'out put' $limits
check 'odd names: stopped' test $? = 130
resume=$(sed -n 's/^resume with: //p' "$T/err")
check 'it was at work' test -s "$T/a folder/out put.partial"
code 'the line that it says resumes it' 0 sh -c "cd '$T/a folder' && $resume"
check 'all of it' test "$(wc -l <"$T/a folder/out put")" = 30
check 'as before' err_has '^resuming the job begun'
mv "$T/a folder/out put" "$T/whole"
rm "$T/a folder/out put."*
mv "$T/a folder/in "* "$T/in.jsonl"
ln -s "$demo" "$T/model"
# shellcheck disable=SC2086
stopped "$T/a folder" "$demo" ../in.jsonl -o 'out put' $limits
check 'relative paths: stopped' test $? = 130
# shellcheck disable=SC2086
code 'resumed elsewhere, by another path of the model' 0 sh -c "cd '$T' && '$QUIETMIND' batch model in.jsonl -o 'a folder/out put' $limits"
check 'the same lines' same "$T/a folder/out put" "$T/whole"

# --- looking at a job takes nothing from it ---
flock -s "$T/looked.lock" sleep 0.1 &
looking=$!
code 'a job that somebody looks at as it begins' 0 run "$T/one.jsonl" -o "$T/looked"
wait $looking
finish
