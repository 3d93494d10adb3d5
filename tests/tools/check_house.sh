#!/bin/bash
# House rules that a compiler does not check.
#   - files of at most 700 lines (aim: 600), functions of at most 100 (aim: 80)
#   - only src/app reads the environment, prints, exits or names options: libraries return errors, and mark what helps
#   - hwloc and libnuma only in numa/, intrinsics only in simd/, libedit only in src/app
#   - no -ffast-math, no work left as a note to oneself
set -u
cd "$(dirname "$0")/../.." || exit 5
LINES=700 FUNCTION=100
bad=0
complain() { echo "$1"; bad=1; }
sources() { find "$@" -name '*.[ch]' 2>/dev/null | sort; }

for f in $(sources src simd numa offload tests bench) $(find tests -name '*.sh' -o -name '*.mk') Makefile; do
    n=$(wc -l <"$f")
    [ "$n" -le $LINES ] || complain "$f: $n lines; split it by purpose (at most $LINES)"
done

# clang-format puts a function's opening line and its closing brace at the left edge.
sources src simd numa offload tests bench | xargs -r awk -v limit=$FUNCTION '
    FNR == 1 { start = head = 0 }
    /^[A-Za-z_].*\(/ && !/;$/ { head = FNR; name = $0 }
    /^[^ \t#}].*\{$/ || /^[ ]+.*\) \{$/ && head && !start { if (head) start = head }
    /^}/ { if (start && FNR - start + 1 > limit) {
               sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
               printf "%s:%d: %s has %d lines; split it (at most %d)\n", FILENAME, start, name, FNR - start + 1, limit
               bad = 1 }
           start = head = 0 }
    END { exit bad }' || bad=1

forbid() { # forbid PATTERN WHY FOLDER...
    local pattern=$1 why=$2
    shift 2
    if sources "$@" | xargs -r grep -nE "$pattern" /dev/null | grep -vE ':[0-9]+: *(/?\*|//)|"[^"]*\(soffice --'; then
        complain "  ^ $why"
    fi
}
libraries="src/base src/text src/model src/engine src/planner src/session src/protocol src/batch simd numa offload"
# shellcheck disable=SC2086 # lists of folders
{
    forbid '\b(secure_)?getenv *\(' 'the environment is read only in src/app' $libraries
    forbid '\b(printf|puts|putchar|perror) *\(|\bf(printf|puts|putc) *\([^;]*\bstd(out|err)\b' 'libraries do not print' $libraries
    # 127: a child's end where exec failed
    forbid '\b(exit|abort) *\(|\b_exit *\((127[^)]|[^1])' 'libraries do not end the program' $libraries
    forbid '"[^"]*--[a-z]' 'libraries name no option: see qm_remedy, or take the name from the caller' $libraries
    forbid '# *include *<(hwloc|numa|numaif)' 'hwloc and libnuma belong to numa/' src simd offload
    forbid '# *include *<histedit|# *include *<editline' 'libedit belongs to src/app' src/base src/text src/model src/engine src/planner src/session src/protocol src/batch simd numa offload
    forbid '# *include *<(.mmintrin|x86intrin)' 'intrinsics belong to simd/' src
    forbid '\b(TODO|FIXME|XXX)\b' 'finish it or open an issue' src simd numa offload tests bench
}
if grep -nE -- '-ffast-math|-Ofast' Makefile tests/*.mk; then complain "  ^ fast-math changes results"; fi
[ $bad = 0 ] && echo "house rules kept"
exit $bad
