#!/bin/bash
# A conversation as it is typed: lines and messages, commands, Ctrl-C, a closed terminal, what is remembered.
. "$(dirname "$0")/lib.bash"
if ! command -v python3 >/dev/null; then
    echo 'skipped: python3 is not here'
    exit 77
fi
export HOME=$T XDG_STATE_HOME=$T/state TERM=xterm
unset NO_COLOR
STATE=$XDG_STATE_HOME/quietmind

# on CODE COLUMNS NAME STEP... -- ARGUMENT...: on a terminal (terminal.py says how); the transcript is in $T/out.
on() {
    local code=$1 columns=$2 name=$3 rc steps=()
    shift 3
    while [ "$1" != -- ]; do steps+=("$1") && shift; done
    shift
    timeout 300 python3 tests/cli/terminal.py "$columns" "${steps[@]}" -- "$QUIETMIND" "$@" >"$T/out" 2>"$T/err" </dev/null
    rc=$?
    if [ $rc = "$code" ]; then ok "$name"; else bad "$name" "expected exit code $code, found $rc"; fi
}
content() { grep -o '"content": ".*"' "$1" | sed -n "$2p"; } # FILE N: the Nth message's text
is_content() { check "$1" test "$(content "$2" "$3")" = "\"content\": \"$4\""; }

# --- several lines are one message ---
on 0 80 'pasted lines' '?> ' '\x1b[200~one\rtwo\tx\x07\r/three\x1b[201~' '?three' '\r' '?> ' \
    "/save $T/pasted\r" '?saved to' '?2 messages' '?> ' '/exit\r' -- chat $DEMO -n 3
is_content 'are one message, without control characters' "$T/pasted" 1 'one\ntwo\tx\n/three'
on 0 80 'a block and a backslash' '?> ' '"""\r' '?... ' 'a\r' '?... ' '/clear"""\r' '?> ' 'b \\\r' '?... ' 'c\r' '?> ' \
    "/save $T/blocks\r" '?4 messages' '?> ' '/quit\r' -- chat $DEMO -n 3
is_content 'a block' "$T/blocks" 1 'a\n/clear'
is_content 'a backslash' "$T/blocks" 3 'b \nc'
printf '"""x\ny"""\nu\\\nv\n/save %s\n"""\nleft open\n/save %s\n' "$T/script" "$T/never" >"$T/in"
IN=$T/in expect 0 'the same from a script' chat $DEMO -n 3
is_content 'a block' "$T/script" 1 'x\ny'
is_content 'a backslash' "$T/script" 3 'u\nv'
check 'a block is no command' test ! -e "$T/never"

# --- commands ---
echo 'The cat is red.' >"$T/one.txt"
echo 'The dog is blue.' >"$T/two.txt"
printf 'Hello.\n/retry\n/undo\n/file %s\n/file %s\nWhich?\n/save %s\n/clear\n/set top-k 3\n/set temp 0.5\n/set\n/bye\nnever\n' \
    "$T/one.txt" "$T/two.txt" "$T/files" >"$T/in"
IN=$T/in expect 0 'commands from a script' chat $DEMO -n 3
is_content '/file and /undo' "$T/files" 1 'The cat is red.\n\nThe dog is blue.\n\nWhich?'
for word in 'greedy' 'removed: 0 messages' "two.txt: 16 bytes" 'saved to .*/files: 2 messages' '^cleared$' '^top-k 3$'; do
    check "a word: $word" err_has "$word"
done
check '/set shows' out_has '^temperature 0.5$'
check '/retry answers again' test "$(grep -c '^Good' "$T/out")" = 2
for line in '/sav x' '/set' '/clear now' '/set top-p 3' '/set x 3' '/file' "/file $T" '/undo' '/retry' '/load nowhere'; do
    echo "$line" >"$T/in"
    [ "$line" = /set ] || IN=$T/in expect "$(case $line in /file\ * | /load*) echo 3 ;; *) echo 2 ;; esac)" "refused: $line" chat $DEMO
done
expect 0 'several documents' chat $DEMO -f "$T/one.txt" -f "$T/two.txt" --once 'Which?' -n 3
printf 'Which?\n/save %s\n' "$T/joined" >"$T/in"
IN=$T/in expect 0 'several documents in a conversation' chat $DEMO -f "$T/one.txt" -f "$T/two.txt" -n 3
is_content 'are joined' "$T/joined" 1 'The cat is red.\n\nThe dog is blue.\n\nWhich?'
printf 'Hello.\n/stats\nHello.\n/stats\n' >"$T/in"
IN=$T/in expect 0 'figures' chat $DEMO -n 3
check 'of what was computed' out_has 'prompt 10 tokens \(0 from cache, 10 computed\).*generated 3 tokens'
check 'and reused' out_has 'total: prompts [0-9]+ tokens computed, [1-9][0-9]* from cache; generated 6 tokens'
expect 0 'a chat model by run, that ends at once' run $DEMO -p 'Hello.' --logit-bias 1023=100
check 'is pointed to chat' err_has 'quietmind chat --once'

# --- Ctrl-C and the like ---
on 0 80 'Ctrl-C clears the line, twice on an empty one leaves' '?> ' 'abc' '?abc' '\x03' '?^C' '?> ' '\x03' '?again' \
    '?> ' '\x03' -- chat $DEMO
check 'nothing was asked' sh -c "! grep -q 'prompt:' '$T/out'"
on 0 80 'after it the line is typed anew' '?> ' 'abc' '?abc' '\x03' '?> ' 'Hello.\r' '?Good' '?> ' "/save $T/anew\r" \
    '?2 messages' '?> ' '\x04' -- chat $DEMO -n 3
is_content 'without what was cleared' "$T/anew" 1 'Hello.'
head -c 60000 /dev/zero | tr '\0' a >"$T/letters"
on 0 80 'Ctrl-C while the prompt is computed' '?> ' "/file $T/letters\r" '?before the next question' '?> ' 'Hello.\r' \
    '?prompt: ' '\x03' '?stopped before the answer' '?> ' '/save '"$T/none"'\r' '?saved' '?> ' '/exit\r' -- \
    chat $DEMO --isa scalar --threads 1 --context 70000
check 'the question is taken back' sh -c "! grep -q content '$T/none'"
on 130 80 'a closed terminal' '?> ' 'Hello.\r' '?Good' '?> ' hangup -- chat $DEMO -n 3
is_content 'the conversation is kept' "$(ls "$STATE"/chat-*.json)" 1 'Hello.'
check 'for its owner' test "$(stat -c %a "$STATE")" = 700
on 130 200 'SIGTERM at the prompt' '?was cut off' '?> ' "/load $(ls "$STATE"/chat-*.json)\r" '?2 messages' '?> ' '!TERM' \
    -- chat $DEMO -n 3
check 'says where it is kept' out_has 'the conversation is kept: /load .*/chat-.*json'
rm "$STATE"/chat-*.json
on 130 80 'a terminal closed while the prompt is computed' '?> ' "/file $T/letters\r" '?before the next' '?> ' 'Hello.\r' \
    '?prompt: ' hangup -- chat $DEMO --isa scalar --threads 1 --context 70000
check 'nothing was said yet, and nothing is kept' test "$(ls -A "$STATE")" = chat-history
timeout 300 python3 tests/cli/terminal.py 80 '?$ ' "$QUIETMIND chat $DEMO -n 3\r" '?> ' 'abc' '?abc' '\x1a' '?Stopped' \
    '?$ ' 'fg\r' '?abc' 'd\r' '?> ' "/save $T/again\r" '?saved' '?> ' '\x04' '?$ ' 'exit\r' -- \
    env PS1='$ ' bash --norc --noprofile -i >"$T/out" 2>"$T/err" </dev/null
check 'Ctrl-Z and fg' test $? = 0
is_content 'the line goes on where it was' "$T/again" 1 'abcd'

# --- remembered between starts, and not mixed up by several conversations ---
on 0 80 'what was typed before' '?> ' '\x10\x10' "?/save $T/again" '\x03' '?^C' '?> ' '/exit\r' -- chat $DEMO
check 'for its owner alone' test "$(stat -c %a "$STATE/chat-history")" = 600
XDG_STATE_HOME=/dev/null on 0 80 'where nothing can be kept' '?> ' 'Hello.\r' '?Good' '?> ' '/exit\r' -- chat $DEMO -n 3

# --- how it looks ---
on 0 24 'a narrow terminal' '?> ' 'Hello.\r' '?question' '?> ' '/exit\r' -- chat $DEMO --silent
tr -d '\r' <"$T/out" | sed 's/\x1b\[[0-9?]*[a-zA-Z]//g' >"$T/plain"
check 'no line is wider' sh -c "! grep -qE '^.{25,}' '$T/plain'"
check 'words stay whole' sh -c "grep -qx 'Good evening. Give me a' '$T/plain' && grep -q '^page of the' '$T/plain'"
TERM=dumb on 0 80 'a dumb terminal' '?> ' 'Hello.\r' '?Good' '?> ' '/exit\r' -- chat $DEMO -n 3
check 'gets no escape sequences' sh -c "! grep -q \$'\\033' '$T/out'"
echo '{{ messages[-1].content }}<think>' >"$T/thinking"
on 0 80 'reasoning' '?> ' 'Hello.\r' '?> ' '/exit\r' -- chat $DEMO -n 5 --chat-template "$T/thinking"
check 'is dim' grep -q $'\033\[2m' "$T/out"
NO_COLOR=1 on 0 80 'reasoning without colours' '?> ' 'Hello.\r' '?</think>' '?> ' '/exit\r' -- \
    chat $DEMO -n 5 --chat-template "$T/thinking"
check 'is not' sh -c "! grep -q \$'\\033\\[2m' '$T/out'"
finish
