#!/bin/bash
# The figures of batch jobs, wanted beside measured, as rows of a Markdown table. Minutes to hours.
#   bench/batch/run.sh
set -u
cd "$(dirname "$0")/../.." || exit 5
echo '| what | wanted | measured |'
echo '|---|---|---|'
row() { # row WANTED LOG PATTERN: the line of a test's log, as a row
    sed -nE "s/^(ok  |FAIL) ($3.*)/| \2 | $1 | \1 |/p" "$2"
}
log=$(mktemp) || exit 5
trap 'rm -f "$log"' EXIT
KILLS=${KILLS:-1000} tests/cli/batch_kill.sh >"$log" 2>&1
row '0 lost, 0 twice, the file identical' "$log" 'kill -9: '
FAULT_STEP=1 tests/cli/batch_disk.sh >"$log" 2>&1
row 'resumable, nothing corrupt' "$log" 'each of them failing'
bench/batch/shared.sh
bench/batch/scale.sh
