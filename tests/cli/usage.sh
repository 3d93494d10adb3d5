#!/bin/bash
# Help of every command, versions, and what wrong usage gets.
. "$(dirname "$0")/lib.bash"
COMMANDS='run chat batch tokenize render logits perplexity inspect machine plan bench compare help'

expect 0 '--help' --help
check '--help fits 80 columns' sh -c "! grep -qE '^.{81,}' '$T/out'"
check 'help on standard output' test -s "$T/out" -a ! -s "$T/err"
for c in $COMMANDS; do check "--help lists $c" out_has "^  $c "; done
check 'exit codes are listed' out_has '^  130 '
expect 0 'help' help
expect 0 '--version' --version
check 'a version' out_has '^quietmind [0-9]+\.[0-9]+\.[0-9]+$'
for c in $COMMANDS; do
    expect 0 "$c --help" "$c" --help
    cp "$T/out" "$T/help"
    check "$c --help has an example" out_has "^  quietmind $c"
    check "$c --help fits 80 columns" sh -c "! grep -qE '^.{81,}' '$T/out'"
    expect 0 "help $c" help "$c"
    check "help $c is the same" cmp -s "$T/help" "$T/out"
done
expect 0 'help of a command that loads no model' render --help
check 'shows no option that it does not have' sh -c "! grep -qE -- '--(threads|seed|context|device) ' '$T/out'"
refuse 2 'nor is one taken' 'unknown option --threads' render $DEMO x.json --threads 2
refuse 2 'a seed where nothing is sampled' 'unknown option --seed' perplexity $DEMO -f x --seed 2
expect 0 'help of an option that is another thing in one command' compare --help
check 'its own default' sh -c "grep -A1 -e '--seed N' '$T/out' | tr -d '\\n' | grep -q '(default: 0)'"
expect 0 'help in groups' run --help
check 'and no other one' sh -c "! grep -qE '(batch|compare): 0' '$T/out'"
check 'sampling apart from processors' sh -c "grep -A3 '^Sampling:' '$T/out' | grep -q -- --max-tokens"
check 'with defaults' out_has '\(default: the weights. own\)|own\)$'

# completion, by bash itself
expect 0 'completion' help --completion bash
cp "$T/out" "$T/completion"
complete_words() {
    bash --norc -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _quietmind 2>/dev/null
        printf "%s\n" "${COMPREPLY[@]}"' - "$T/completion" "$@" >"$T/out" 2>"$T/err"
}
complete_words quietmind ru
check 'a command' out_is 'run
'
complete_words quietmind run --temp
check 'its options' out_is '--temperature
--temp
'
complete_words quietmind render x --thr
check 'not those of others' out_is '
'
complete_words quietmind run --isa avx512b
check 'choices' out_is 'avx512bf16
'
complete_words quietmind help cha
check 'commands after help' out_is 'chat
'
(cd "$T" && touch 'a file' && complete_words quietmind run -f 'a f')
check 'files' out_is 'a file
'
expect 0 'completion for zsh' help --completion zsh
check 'is one' out_has '^#compdef quietmind$'
if command -v zsh >/dev/null; then check 'zsh reads it' zsh -n "$T/out"; fi
refuse 2 'completion for another shell' 'expected bash or zsh, found "fish"' help --completion fish
refuse 2 'a model for a command' 'the command comes first, as in quietmind chat MODEL' $DEMO
refuse 2 'documents without questions' 'batch: --ask, a file with a question on each line, is missing' batch $DEMO --document README.md -o "$T/a.md"
refuse 2 'no model' 'about documents: quietmind batch MODEL --document PATH' batch
refuse 2 'no output' 'batch: the output is missing: -o answers.md' batch $DEMO --document README.md --ask README.md
refuse 2 'answers that are not written so' '-o .*/a.html: answers are not written as ".html"' batch $DEMO --document README.md --ask README.md -o "$T/a.html"
check 'nothing was begun' test -z "$(ls "$T" | grep '^a\.')"
refuse 3 'a question for --ask' '--ask: expected a file with a question on each line, found no file "Who kept it' batch $DEMO --document README.md --ask 'Who kept it?' -o "$T/a.md"
expect 0 'the manual page' help --man
for phrase in 'are told' 'is told' 'tell how' 'held against' beginnings 'by turns' ' drawn' 'a share of what' 'usual ' 'passed over'; do
    check "the manual says \"$phrase\" in a reader's words" sh -c "! grep -q '$phrase' '$T/out'"
done
check 'the manual page is roff' out_has '^\.TH QUIETMIND 1'
for c in $COMMANDS; do check "the manual page has $c" out_has "^\.SS quietmind $c"; done
if command -v man >/dev/null && command -v groff >/dev/null; then
    check 'the manual page has no warnings' test -z "$(groff -man -Tascii -ww "$T/out" 2>&1 >/dev/null)"
fi
expect 0 '--help after other arguments' run no-such-dir -n 5 --help

refuse 2 'no command' 'which command'
refuse 2 'an unknown command' 'did you mean run\?' rnu
refuse 2 'an unknown command like none' 'unknown command "xyzzy"' xyzzy
refuse 2 'an option before the command' 'the command comes first' --threads 2
refuse 2 'an unknown option' 'unknown option --temprature; did you mean --temperature\?' run $DEMO --temprature 1
refuse 2 "another program's option" 'unknown option -ngl; did you mean --offload' run $DEMO -ngl 99
refuse 2 "another program's letter" 'unknown option -c; did you mean --context' chat $DEMO -c 4096
refuse 2 'an option that is not here' 'unknown option --grammar: not here, because' run $DEMO --grammar x
refuse 2 "another program's command" 'unknown command "pull": not here, because' pull $DEMO
refuse 2 'another name of a command' 'unknown command "show"; did you mean inspect' show $DEMO
refuse 3 "another program's model" 'qwen3:30b: names with a tag' run qwen3:30b -p a
refuse 3 'a model of another format' 'GGUF is not here, because' run none.gguf -p a
refuse 2 'hours as people say them' 'did you mean 22:00-07:00' batch $DEMO x -o "$T/y" --hours 10pm-7am
refuse 2 'an unknown letter' 'unknown option -z' run $DEMO -z
refuse 2 "another command's option" 'unknown option --window' run $DEMO --window 5
refuse 2 'a value is missing' 'expected N after it' run $DEMO -n
refuse 2 'not a number' '-n: expected an integer .* found "ten"' run $DEMO -n ten
refuse 2 'garbage after a number' 'found "5x"' run $DEMO -n 5x
refuse 2 'out of range' '--top-p: expected a number from 0 to 1, found "1.5"' run $DEMO --top-p 1.5
refuse 2 'a share that is none' '--quiet: expected a share of the speed from 10 to 100' run $DEMO -p a --quiet=fast
refuse 2 'a share too small' 'found "5"' run $DEMO -p a --quiet=5
refuse 2 'not finite' '--temperature: expected a number' run $DEMO --temperature nan
refuse 2 'a value for a flag' 'takes no value' run $DEMO --json=yes
refuse 2 'two prompts' 'one of --prompt' run $DEMO -p a -f b
refuse 2 'an extra argument' 'unexpected argument "more"' run $DEMO more
refuse 2 'no model' 'which model' inspect
refuse 2 'an unknown instruction set' 'scalar' run $DEMO -p a --isa sse9
refuse 2 'an unknown KV type' 'expected bf16, f16 or f32, found "int8"' run $DEMO -p a --kv-type int8
refuse 2 'an unknown rope scaling' '--rope-scaling magic.*another kind' run $DEMO -p a --rope-scaling magic:factor=2
refuse 2 'experts of a model without' '--experts-per-token 2: expected a model with experts' run $REFERENCE/qwen3 --ids /dev/null --experts-per-token 2
refuse 2 'logits without ids' '--ids FILE is missing' logits $DEMO -o "$T/x.npy"
refuse 2 'logits without output' '-o OUT.npy is missing' logits $DEMO --ids "$T/x"
refuse 2 'attention without a layer' '--attention goes with --layer' logits $DEMO --ids "$T/x" -o "$T/x.npy" --attention "$T/y.npy"
refuse 2 'perplexity without a text' '-f FILE is missing' perplexity $DEMO
refuse 2 'a logit bias without a value' '--logit-bias: expected ID=X' run $DEMO -p a --logit-bias 5
refuse 2 'a logit bias out of range' '--logit-bias: expected a token id' run $DEMO -p a --logit-bias 1024=1
refuse 2 'a time that is none' '--now: expected a time' render $DEMO x.json --now 2026-02-30T00:00:00
refuse 2 'a time of another form' '--now: expected a time' render $DEMO x.json --now '2026-1-15 12:00'
refuse 2 'a page of a table' '--html does not go with --table' plan --table --html
refuse 2 'the context of a table' '--context does not go with --table' plan --table --context 5
refuse 2 'a job of a table' '--prompt does not go with several models' plan qwen3-4b qwen3-0.6b --prompt 5
refuse 2 'two forms of a plan' '--json does not go with --html' plan --html --json
refuse 2 'accuracy of a model' '--accuracy takes no argument' plan --accuracy qwen3-4b
refuse 2 'the status of a model' '--status takes no argument' batch $DEMO --status x
refuse 2 'status and more' '--export does not go with --status' batch --status x --export x
refuse 2 'the hours of a status' '--hours does not go with --status' batch --status x --hours 22:00-07:00
refuse 2 'the length of no page' '--kv-disk-size goes with --kv-disk' batch $DEMO x -o y --kv-disk-size 5G
refuse 2 'skip-special without decode' 'goes with --decode' tokenize $DEMO --skip-special a

export QUIETMIND_THREADS=x
refuse 2 'a wrong variable' 'QUIETMIND_THREADS: expected an integer' inspect $DEMO
export QUIETMIND_THREADS=1 QUIETMIND_JSON=1 QUIETMIND_MODEL=$DEMO
expect 0 'options from the environment' inspect
check 'they are taken' out_has '"architecture": "qwen3_moe"'
unset QUIETMIND_THREADS QUIETMIND_JSON QUIETMIND_MODEL
finish
