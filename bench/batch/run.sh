#!/bin/bash
# The figures of batch jobs, wanted beside measured, as rows of a Markdown table. Minutes to hours.
#   bench/batch/run.sh
set -u
cd "$(dirname "$0")/../.." || exit 5
echo '| what | wanted | measured |'
echo '|---|---|---|'
KILLS=${KILLS:-1000} FAULT_STEP=1 tests/cli/batch.sh >"${TMPDIR:-/tmp}/batch-kills.log" 2>&1
sed -nE 's/^(ok  |FAIL) (kill -9: .*)/| \2 | 0 lost, 0 twice | \1 |/p; s/^(ok  |FAIL) (each of them failing.*)/| every write, fsync and rename \2 | resumable, nothing corrupt | \1 |/p' \
    "${TMPDIR:-/tmp}/batch-kills.log"
bench/batch/shared.sh
bench/batch/scale.sh
