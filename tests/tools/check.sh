#!/bin/bash
# `make check`: every step, one line each, and one closing line with the counts.
#   tests/tools/check.sh [STEP...]     all steps, or those named; LONG=1: minutes for each fuzz target
# A step's output is in build/check/STEP.log; its tail is shown where it failed. All steps run even if one
# fails. Tests count one by one (CMocka's own counts), a script or a rule counts one. A script that exits 77
# was skipped; a line "skipped: REASON" in a log is shown.
set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 5
unset MAKEFLAGS MFLAGS MAKELEVEL CMOCKA_MESSAGE_OUTPUT CMOCKA_TEST_ABORT
MAKE=${MAKE:-make}
LONG=${LONG:-}
JOBS=$(nproc)
OUT=build/check
FUZZ_SECONDS=5
[ -z "$LONG" ] || FUZZ_SECONDS=300
TELLING='ERROR|LINE  |^\[  FAILED|runtime error|SUMMARY|WARNING: ThreadS|exit code|no end after|Test unit written|differs|expected|rror:'
PASSED=0 FAILED=0 SKIPPED=0
mkdir -p "$OUT"
rm -f "$OUT"/*.failures

# Sanitizers stop at the first finding, whatever it is.
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

gcc_flags() { printf '%s\n' B=build CC=gcc; }
clang_flags() { printf '%s\n' B=build/clang CC=clang; }
asan_flags() { printf '%s\n' B=build/asan CC=clang SAN=address,undefined 'CFLAGS=-O1 -g'; }
tsan_flags() { printf '%s\n' B=build/tsan CC=clang SAN=thread 'CFLAGS=-O1 -g'; }
fuzz_flags() { printf '%s\n' B=build/fuzz CC=clang SAN=fuzzer-no-link,address,undefined 'CFLAGS=-O1 -g'; }

build() { # build VARIANT TARGET...
    local flags
    mapfile -t flags < <("$1_flags")
    shift
    "$MAKE" --no-print-directory -k -j "$JOBS" "${flags[@]}" "$@"
}

BUILT=' '
built() { # built VARIANT TARGET...: build, as a step of its own, once
    case $BUILT in *" $1 "*) return ;; esac
    BUILT="$BUILT$1 "
    rule "build-$1" build "$@"
}

report() { # report STEP SECONDS PASSED FAILED SKIPPED
    PASSED=$((PASSED + $3)) FAILED=$((FAILED + $4)) SKIPPED=$((SKIPPED + $5))
    local word=ok counts="$3 passed"
    [ "$5" = 0 ] || counts="$counts, $5 skipped"
    [ "$3$4" != 00 ] || word=skip
    [ "$4" = 0 ] || { word=FAIL counts="$counts, $4 failed"; }
    printf '%-5s %-12s %-36s %4d s\n' "$word" "$1" "$counts" "$2"
    if [ "$4" != 0 ]; then
        { [ -s "$OUT/$1.failures" ] && cat "$OUT/$1.failures" || tail -n 25 "$OUT/$1.log"; } | head -n 60 | cut -c1-200 | sed 's/^/      | /'
        echo "      whole log: $OUT/$1.log"
    fi
}

rule() { # rule STEP COMMAND...: counts one
    local step=$1 start=$SECONDS rc
    shift
    ( "$@" ) >"$OUT/$step.log" 2>&1
    rc=$?
    case $rc in
    0) report "$step" $((SECONDS - start)) 1 0 0 ;;
    77)
        report "$step" $((SECONDS - start)) 0 0 1
        tail -n 1 "$OUT/$step.log" | sed 's/^/      /'
        ;;
    *) report "$step" $((SECONDS - start)) 0 1 0 ;;
    esac
}

telling() { # telling LOG: the lines that say what was wrong, or else the last ones
    local lines
    lines=$(grep -aE "$TELLING" "$1" | head -n 12)
    if [ "$(printf '%s\n' "$lines" | wc -l)" -ge 3 ]; then printf '%s\n' "$lines"; else tail -n 10 "$1"; fi
}

# What takes longest begins first: begun last it would run alone while the other cores have nothing left.
LONGEST='plan\.sh|calibrate\.sh|bad_input|/batch\.sh|compare|demo|batch_(changes|kill|checkpoint)|bench|cache\.sh|test_(identity|reference|product|placed|template|scheduler|service|tokenizer)'
longest_first() { printf '%s\n' "$@" | awk -v long="$LONGEST" '{ print ($0 ~ long ? 0 : 1), $0 }' | sort -s -k 1,1 | cut -d ' ' -f 2-; }

# Runs many things at once through run_one.sh, each with a log and a line of counts of its own, and adds up.
many() { # many STEP PARALLEL THING...
    local step=$1 parallel=$2 start=$SECONDS dir="$OUT/$1.d"
    shift 2
    rm -rf "$dir"
    mkdir -p "$dir"
    [ $# -gt 0 ] && longest_first "$@" | xargs -P "$parallel" -n 1 tests/tools/run_one.sh "$dir"
    sort "$dir"/*.counts 2>/dev/null >"$dir/all"
    {
        cat "$dir"/*.log 2>/dev/null
        echo
        awk '{ printf "%-7s %6.1f s %5d passed %4d skipped %4d failed  %s\n",
               $4 ? "FAIL" : $2 ? "ok" : "skipped", $5, $2, $3, $4, $1 }' "$dir/all"
    } >"$OUT/$step.log"
    for failed in $(awk '$4 { print $1 }' "$dir/all"); do
        echo "$failed ($dir/${failed//\//-}.log):"
        telling "$dir/${failed//\//-}.log"
    done >"$OUT/$step.failures"
    # shellcheck disable=SC2046 # three numbers
    report "$step" $((SECONDS - start)) $(awk '{ p += $2; s += $3; f += $4 } END { print p + 0, f + 0, s + 0 }' "$dir/all")
    # Why: a test prints "skipped: REASON" before it skips.
    grep -ah '^skipped: ' "$dir"/*.log 2>/dev/null | sort | uniq -c | head -n 5 | cut -c1-90
}

found() { find "$@" 2>/dev/null | sort; } # paths hold no blanks here
binaries() { # binaries TREE FIND-ARGUMENTS...: what their sources become in that tree
    local tree=$1
    shift
    found "$@" | sed -e "s|^|$tree/|" -e 's|\.c$||'
}
unit_tests() { binaries "$1" tests -name 'test_*.c'; }
thread_tests() { { binaries "$1" tests/numa -name 'test_*.c'; binaries "$1" tests -name 'test_*threads*.c'; } | sort -u; }

# --- the steps ---------------------------------------------------------------------------------------------

# shellcheck disable=SC2046 # lists of paths
{ # (one scope for the directive above)
step_gcc() {
    built gcc all tests
    many gcc "$JOBS" $(unit_tests build)
}
step_clang() {
    built clang all tests
    many clang "$JOBS" $(unit_tests build/clang)
}
step_asan() {
    built asan all tests
    QM_TEST_SLOW=0 many asan "$JOBS" $(unit_tests build/asan)
}
step_tsan() {
    built tsan $(thread_tests build/tsan)
    QM_TEST_SLOW=0 many tsan "$JOBS" $(thread_tests build/tsan)
}
# Scripts wait for programs as often as they compute: one more of them than cores.
step_cli() {
    built gcc all tests
    QUIETMIND=$PWD/build/quietmind many cli $((JOBS + 1)) $(found tests/cli -name '*.sh')
}
step_cli_asan() {
    built asan all tests
    # AVX2: kernels for AVX-512 are not optimised there, and tests/simd sees them all
    QM_TEST_SLOW=0 QUIETMIND_ISA=avx2 QUIETMIND=$PWD/build/asan/quietmind many cli-asan $((JOBS + 1)) $(found tests/cli -name '*.sh')
}
step_fuzz() {
    built fuzz fuzzers
    FUZZ_SECONDS=$FUZZ_SECONDS many fuzz "$JOBS" $(binaries build/fuzz tests/fuzz -name 'fuzz_*.c')
}
}
step_install() {
    built gcc all tests
    rule install tests/tools/check_install.sh
}
step_guest() {
    built gcc all tests
    many guest 1 tests/guest/guest.sh
}
step_deps() { rule deps tests/tools/test_deps.sh; }
step_layers() {
    rule layers tests/tools/check_includes.sh --self-test
    rule walks tests/tools/check_walks.sh --self-test
}
step_headers() { rule headers tests/tools/check_headers.sh; }
step_house() { rule house tests/tools/check_house.sh; }
format_check() { found src simd numa offload tests bench -name '*.[ch]' | xargs -r clang-format --dry-run -Werror; }
step_format() { rule format format_check; }
step_lint() { rule lint tests/tools/lint.sh; }

STEPS='deps layers house headers format lint gcc cli guest install clang asan cli_asan tsan fuzz'
begin=$SECONDS
for s in ${*:-$STEPS}; do
    if ! declare -F "step_$s" >/dev/null; then
        echo "check.sh: no step '$s'; there are: $STEPS" >&2
        exit 2
    fi
    "step_$s"
done
echo "$((SECONDS - begin)) seconds; logs in $OUT/"
echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
[ "$FAILED" = 0 ] && [ $((PASSED)) -gt 0 ]
