#!/bin/bash
# Runs one test binary, test script or fuzz target for check.sh:  run_one.sh DIR THING
# Leaves DIR/NAME.log and DIR/NAME.counts: "NAME passed skipped failed seconds", CMocka's counts where THING
# prints them, else one. A crash or a sanitizer's report after tests that passed is one failure more.
set -u
dir=$1 thing=$2
name=${thing//\//-}
log=$dir/$name.log
start=$EPOCHREALTIME

echo "=== $thing" >"$log"
case $thing in
*/fuzz_*)
    target=${thing##*/fuzz_}
    fresh=build/fuzz/corpus/$target seeds=tests/fuzz/corpus/$target
    artifacts=build/fuzz/artifacts/$target
    mkdir -p "$fresh" "$artifacts"
    set -- "$thing" -max_total_time="${FUZZ_SECONDS:-5}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$artifacts/" -verbosity=1
    [ ! -e "tests/fuzz/$target.dict" ] || set -- "$@" -dict="tests/fuzz/$target.dict"
    set -- "$@" "$fresh"
    [ ! -d "$seeds" ] || set -- "$@" "$seeds"
    limit=$((${FUZZ_SECONDS:-5} + 120))
    ;;
*.sh) set -- bash "$thing"; limit=600 ;;
*) set -- "$thing"; limit=900 ;;
esac
# ThreadSanitizer maps fixed addresses; without randomisation they are free on every kernel.
case $thing in
build/tsan/*) setarch -R true 2>/dev/null && set -- setarch -R "$@" ;;
esac

timeout -k 10 "$limit" "$@" >>"$log" 2>&1 </dev/null
rc=$?
[ $rc != 124 ] || echo "$thing: no end after $limit s; stopped" >>"$log"
[ $rc = 0 ] || echo "$thing: exit code $rc" >>"$log"

awk -v name="$thing" -v rc=$rc -v start="$start" -v end="$EPOCHREALTIME" '
    /^\[  (PASSED|SKIPPED|FAILED) +\]/ && match($0, /[0-9]+ test\(s\)/) {
        n = substr($0, RSTART) + 0
        if (/PASSED/) passed += n; else if (/SKIPPED/) skipped += n; else failed += n
        counted = 1
    }
    END {
        if (!counted) { passed = rc == 0; skipped = rc == 77; failed = rc != 0 && rc != 77 }
        else if (rc != 0 && !failed) failed = 1
        printf "%s %d %d %d %.1f\n", name, passed, skipped, failed, end - start
    }' "$log" >"$dir/$name.counts"
exit 0
