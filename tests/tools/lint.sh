#!/bin/bash
# cppcheck over the sources. What it may not say, and why, is in tests/tools/cppcheck.txt.
set -u
cd "$(dirname "$0")/../.." || exit 5
mkdir -p build/check/cppcheck
folders=
for f in src simd numa offload bench tests; do
    [ ! -d $f ] || folders="$folders $f"
done
# shellcheck disable=SC2086 # a list of folders
exec cppcheck --quiet --error-exitcode=1 --inline-suppr -j "$(nproc)" --std=c11 --platform=unix64 \
    --library=posix --library=tests/tools/jansson.cfg \
    --enable=warning,performance,portability --max-configs=1 -D__x86_64__ -D__GNUC__=12 -DQM_VERSION='""' -DQM_KERNELS='""' -DQM_COMMIT='""' \
    --cppcheck-build-dir=build/check/cppcheck -I . -I src --suppressions-list=tests/tools/cppcheck.txt \
    --template='{file}:{line}: {severity}: {message} [{id}]' $folders
