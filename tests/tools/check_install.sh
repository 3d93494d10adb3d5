#!/bin/bash
# `make install` below a folder: what is there, and that the installed program runs from there.
set -u
cd "$(dirname "$0")/../.." || exit 5
root=$PWD/build/check/root
rm -rf "$root"
"${MAKE:-make}" --no-print-directory install DESTDIR="$root" PREFIX=/usr || exit 1
bad=0
for f in bin/quietmind share/man/man1/quietmind.1 share/quietmind/demo/config.json share/quietmind/demo/tokenizer.json \
    share/quietmind/demo/demo/logbook_2k.txt share/doc/quietmind/LICENSE share/doc/quietmind/README.md \
    share/doc/quietmind/docs/batch.md share/doc/quietmind/night-shift.service \
    share/bash-completion/completions/quietmind share/zsh/site-functions/_quietmind; do
    [ -s "$root/usr/$f" ] || { echo "not installed: $f"; bad=1; }
done
for command in run chat tokenize render logits perplexity inspect; do
    grep -q "$command" "$root/usr/share/man/man1/quietmind.1" || { echo "the manual page says nothing of $command"; bad=1; }
done
grep -q '^\.TH ' "$root/usr/share/man/man1/quietmind.1" || { echo "the manual page has no .TH line"; bad=1; }
grep -q '^ExecStart=/usr/bin/quietmind batch ' "$root/usr/share/doc/quietmind/night-shift.service" || { echo 'the unit does not start the installed program'; bad=1; }
bash -n "$root/usr/share/bash-completion/completions/quietmind" || bad=1
cd / || exit 5
"$root/usr/bin/quietmind" --version || { echo "the installed program does not run"; bad=1; }
"$root/usr/bin/quietmind" plan --random llama-3-70b --machine threadripper-pro-9995wx --device rtx-5090 >/dev/null ||
    { echo "the installed machines are not found"; bad=1; }
"$root/usr/bin/quietmind" inspect "$root/usr/share/quietmind/demo" >/dev/null || { echo "inspect of the installed model failed"; bad=1; }
exit $bad
