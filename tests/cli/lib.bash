# What the command-line tests share: one checked run of the program after another, counted.
# Sourced by tests/cli/*.sh, which are run by bash from anywhere:  QUIETMIND=build/quietmind tests/cli/usage.sh
set -u
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 5
QUIETMIND=${QUIETMIND:-build/quietmind}
case $QUIETMIND in /*) ;; *) QUIETMIND=$PWD/$QUIETMIND ;; esac
[ -x "$QUIETMIND" ] || { echo "$QUIETMIND is not there: make first"; exit 5; }
DEMO=data/demo REFERENCE=tests/data/reference
T=$(mktemp -d) || exit 5
trap 'rm -rf "$T"' EXIT
passed=0 failed=0

ok() { passed=$((passed + 1)); echo "ok   $1"; }
bad() { # bad NAME WHAT
    failed=$((failed + 1))
    echo "FAIL $1: $2"
    head -c 600 "$T/out" | sed 's/^/     out| /'
    head -c 600 "$T/err" | sed 's/^/     err| /'
}

# expect CODE NAME ARGUMENT...: runs the program; its output is then in $T/out and $T/err. Standard input is
# $T/in where $IN is set, else empty.
expect() {
    local code=$1 name=$2 rc
    shift 2
    timeout 300 "$QUIETMIND" "$@" <"${IN:-/dev/null}" >"$T/out" 2>"$T/err"
    rc=$?
    if [ $rc = "$code" ]; then ok "$name"; else bad "$name" "expected exit code $code, found $rc"; fi
}

check() { # check NAME COMMAND...: the command succeeds
    local name=$1
    shift
    if "$@"; then ok "$name"; else bad "$name" "not so: $*"; fi
}

# refuse CODE NAME TEXT ARGUMENT...: ends with the code, says TEXT (a pattern) on standard error after
# "quietmind: ", and nothing on standard output.
refuse() {
    local code=$1 name=$2 text=$3
    shift 3
    expect "$code" "$name" "$@"
    check "$name: says so" grep -qE "^quietmind: .*($text)" "$T/err"
    check "$name: no result" test ! -s "$T/out"
}

# interrupt CODE NAME PATTERN ARGUMENT...: runs the program with a terminal for standard error, and presses Ctrl-C a
# fifth of a second after the PATTERN is shown.
interrupt() {
    local code=$1 name=$2 rc
    shift 2
    timeout 120 python3 - "$T" "$1" "$QUIETMIND" "${@:2}" <<'EOS'
import os, pty, re, signal, subprocess, sys, time
folder, pattern, *command = sys.argv[1:]
master, slave = pty.openpty()
program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(folder + "/out", "wb"), stderr=slave)
os.close(slave)
shown, pressed = b"", False
while True:
    try:
        more = os.read(master, 4096)
    except OSError:
        break
    shown += more
    if not more:
        break
    if not pressed and re.search(pattern.encode(), shown):
        time.sleep(0.2)
        program.send_signal(signal.SIGINT)
        pressed = True
open(folder + "/err", "wb").write(re.sub(rb"\r(\n|\x1b\[K)", rb"\n", shown))
sys.exit(program.wait() if pressed else 99)
EOS
    rc=$?
    if [ $rc = "$code" ]; then ok "$name"; else bad "$name" "expected exit code $code, found $rc"; fi
}

# known_efficiency: the machine is measured, and its kernels' efficiencies are made up: measuring them, which takes a minute, is
# tried in plan's own test.
known_efficiency() {
    local build profile isa identity
    local some='{"BF16": [[1, 0.5]]}'
    local all='{"BF16": [[1, 0.5]], "F16": [[1, 0.5]], "F32": [[1, 0.5]], "MXFP4": [[1, 0.5]]}'
    build=$("$QUIETMIND" machine --json 2>/dev/null | sed -n 's/.*"kernels_build": "\([^"]*\)".*/\1/p')
    for profile in "$XDG_CACHE_HOME"/quietmind/machine-*.json; do
        isa=$(sed -n 's/.*"isa": *"\([^"]*\)".*/\1/p' "$profile" | head -n 1)
        identity=$(sed -n 's/.*"identity": *"\([^"]*\)".*/\1/p' "$profile" | head -n 1)
        cat >"${profile/machine-/kernels-}" <<EOF
{"version": 3, "identity": "$identity", "isa": "$isa", "build": "$build", "measured": "2026-01-01T00:00:00Z",
 "efficiency": {"dense": $all, "experts": $all, "attention_64": $some, "attention_128": $some, "value_ns": 0, "route_ns": 0}}
EOF
    done
}

out_is() { printf '%s' "$1" | cmp -s - "$T/out"; }
out_has() { grep -qE -- "$1" "$T/out"; }
err_has() { grep -qE -- "$1" "$T/err"; }
empty() { [ -z "$(ls -A "$1")" ]; }

finish() {
    echo "[  PASSED  ] $passed test(s)."
    [ $failed = 0 ] || echo "[  FAILED  ] $failed test(s)."
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
    exit
}
