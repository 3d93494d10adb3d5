#!/bin/bash
# quietmind batch and the machine's sleep: systemd-inhibit where there is one, and a job that does not depend on it; the
# user unit of docs/batch.md.
. "$(dirname "$0")/batch.bash"

row one completions '"prompt": "The owl", "max_tokens": 4' >"$T/one.jsonl"
long_rows 400 400 >"$T/long.jsonl"
mkdir "$T/bin"
# A systemd-inhibit of the test's own, first on PATH.
inhibitor() { # inhibitor SCRIPT
    printf '#!/bin/sh\n%s\n' "$1" >"$T/bin/systemd-inhibit"
    chmod +x "$T/bin/systemd-inhibit"
    rm -f "$T"/one.out* "$T/reported" "$T/released"
}
job() { PATH=$T/bin:$PATH run "$T/one.jsonl" -o "$T/one.out"; }
holds='while [ "${1#--}" != "$1" ]; do echo "$1"; shift; done >"'$T/reported'"; "$@"; : >"'$T/released'"'
# waits_for TEST...: so long as a test may take
waits_for() {
    for ((i = 0; i < 3000; i++)); do
        "$@" && return 0
        sleep 0.01
    done
    return 1
}

inhibitor "$holds"
code 'sleep is inhibited' 0 job
check 'sleep, and being idle' grep -qx -- '--what=sleep:idle' "$T/reported"
check 'by whom' grep -qx -- '--who=quietmind' "$T/reported"
check 'until the job ends' test -e "$T/released"
inhibitor "$holds"
PATH=$T/bin:$PATH "$QUIETMIND" batch $DEMO "$T/long.jsonl" -o "$T/killed" --threads 1 --sequences 1 --context 512 \
    </dev/null >"$T/out" 2>"$T/err" &
pid=$!
check 'it begins with the work' waits_for test -s "$T/reported"
check 'and lasts as long' test ! -e "$T/released"
kill -9 $pid
wait $pid 2>/dev/null
check 'a job that is killed lets go' waits_for test -e "$T/released"
inhibitor 'echo "Failed to inhibit: no bus" >&2; exit 1'
code 'one that fails' 0 job
check 'says nothing' sh -c "! grep -q inhibit '$T/err'"
inhibitor "echo \$\$ >'$T/reported'; exec sleep 600"
code 'one that hangs' 0 job
check 'is ended' sh -c "! kill -0 \$(cat '$T/reported') 2>/dev/null"
rm "$T/bin/systemd-inhibit" "$T"/one.out*
for tool in $(ls /bin /usr/bin | grep -v '^systemd-inhibit$' | grep -xE 'sh|env|cat'); do ln -sf "$(command -v "$tool")" "$T/bin/$tool"; done
code 'none at all' 0 env PATH="$T/bin" "$QUIETMIND" batch $DEMO "$T/one.jsonl" -o "$T/one.out" --threads 2

# --- the unit ---
sed -n '/^    \[Unit\]/,/^    WantedBy/s/^    //p' docs/batch.md | sed "s|^ExecStart=quietmind |ExecStart=$QUIETMIND |" >"$T/night-shift.service"
check 'the documented unit' test "$(grep -cE '^(ExecStart|Restart|RestartSec|SuccessExitStatus|WantedBy)=' "$T/night-shift.service")" = 5
if command -v systemd-analyze >/dev/null; then
    code 'is one by systemd' 0 systemd-analyze verify "$T/night-shift.service"
    check 'without a warning' test ! -s "$T/err"
else
    echo 'skipped: systemd-analyze is not here'
fi
sed -n 's/^ExecStart=[^ ]* //p' "$T/night-shift.service" | sed "s|%h/models/[^ ]*|$DEMO|; s|%h/jobs/in|$T/one|; s|%h/jobs|$T|; s|--hours [^ ]*|--hours 00:00-23:59:59|" >"$T/words"
# shellcheck disable=SC2046 # words
code 'its command is a job' 0 "$QUIETMIND" $(cat "$T/words") --threads 2
check 'with its answer' test "$(ids "$T/out.jsonl")" = one
# shellcheck disable=SC2046
code 'started again' 0 "$QUIETMIND" $(cat "$T/words") --threads 2
check 'it ends at once' err_has 'is complete: 1 row, 0 failed'
finish
