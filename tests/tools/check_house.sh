#!/bin/bash
# House rules that a compiler does not check.
#   - files of at most 700 lines (aim: 600), functions of at most 100 (aim: 80)
#   - only src/app reads the environment, prints, exits or names options: libraries return errors, and mark what helps
#   - hwloc and libnuma only in numa/, intrinsics only in simd/, libedit only in src/app
#   - one word for one thing, as docs/words.md has it
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
libraries="src/base src/text src/model src/engine src/planner src/session src/protocol src/batch src/report simd numa offload"
# shellcheck disable=SC2086 # lists of folders
{
    forbid '\b(secure_)?getenv *\(' 'the environment is read only in src/app' $libraries
    forbid '\b(printf|puts|putchar|perror) *\(|\bf(printf|puts|putc) *\([^;]*\bstd(out|err)\b' 'libraries do not print' $libraries
    # 127: a child's end where exec failed
    forbid '\b(exit|abort) *\(|\b_exit *\((127[^)]|[^1])' 'libraries do not end the program' $libraries
    forbid '"[^"]*--[a-z]' 'libraries name no option: see qm_remedy, or take the name from the caller' $libraries
    forbid '(^|[ \t])rc = rc (\?|\|\|)' 'a chain of what can fail: if (!rc), then rc = (CONTRIBUTING.md)' src simd numa offload
    forbid '# *include *<(hwloc|numa|numaif)' 'hwloc and libnuma belong to numa/' src simd offload
    forbid '# *include *<histedit|# *include *<editline' 'libedit belongs to src/app' src/base src/text src/model src/engine src/planner src/session src/protocol src/batch simd numa offload
    forbid '# *include *<(.mmintrin|x86intrin)' 'intrinsics belong to simd/' src
    forbid '\b(TODO|FIXME|XXX)\b' 'finish it or open an issue' src simd numa offload tests bench
}
if grep -nE -- '-ffast-math|-Ofast' Makefile tests/*.mk; then complain "  ^ fast-math changes results"; fi

# Words that docs/words.md has replaced, as words and as parts of identifiers, in code, comments and docs.
words_of() { printf '(^|[^[:alpha:]])(%s)([^[:alpha:]]|$)' "$1"; }
retired() { # retired WORDS INSTEAD EXCEPT PLACE...: lines that match EXCEPT keep the word
    local found words=$1 instead=$2 except=$3
    shift 3
    found=$(grep -rniE --include='*.[ch]' --include='*.md' --include='*.sh' --include='*.bash' "$(words_of "$words")" "$@" |
        grep -vE '^(docs/words\.md|tests/(tools/check_house\.sh|data/|fuzz/corpus/)|bench/results/):?' | grep -vE "${except:-^$}")
    [ -z "$found" ] || complain "$found"$'\n'"  ^ $words: say $instead (docs/words.md)"
}
[ "$(printf 'is_parted\nKeeper,\ndeparted\nkeeper2\n' | grep -ciE "$(words_of 'parted|keepers?')")" = 3 ] || complain 'check_house: words_of does not find what it should'
all='src simd numa offload tests bench docs README.md CONTRIBUTING.md'
libs='src/base src/text src/model src/engine src/planner src/session simd numa offload'
# shellcheck disable=SC2086 # lists of folders
{
    retired 'keepers?' owner '' $all
    retired 'yardsticks?' 'peak probe' '' $all
    retired 'parted' split '' $all
    retired 'lent' borrowed '' $all
    retired 'qm_homes?|homes' 'NUMA binding' '' src/engine numa offload
    retired 'hand[-_]overs?|qm_hand' transfer '' $all
    retired 'crossings?' transfer 'sampler\.c' $libs
    retired 'drawn|draws?|drawing|redraw' sampled '' src/session simd src/engine
    retired 'told|retold' 'reported, or who does what' '' src simd numa offload docs
    retired 'strips?' micro-panel '' simd
    retired 'turns?' 'round-robin, or round' 'turns? (out|it|off)|in turn|[0-9] turns|wavelength' src/engine src/planner simd
    retired 'usual' 'median, default or typical' '"usual_(read|bf16|f32)"' src/planner src/engine numa src/app
    retired 'beginnings' prefix '' src/session src/engine src/batch docs
    retired 'print_(reading|writing)|of_writing' 'prefill and decode' '' src
    retired 'qm_(job|speed|step|unit|part|shares|team_share|node_share|packed_share)' 'what docs/words.md has' '_(step|unit|job|part)_|(step|unit|job)\(|unit_[a-z]+\b|qm_(engine|op|matrix)_' src/engine/engine.h src/planner/machine.h src/planner/time.h src/app/progress.h src/text/reasoning.h numa/team.h
}
# One enum has the names that begin with a word.
for word in PART UNIT SOURCE CONTENT PROGRESS TRANSFER; do
    n=$(sources src | xargs awk -v word="QM_${word}_" '
        /enum [a-z_]* *\{/ { inside = 1; has = 0 }
        inside && index($0, word) { has = 1 }
        inside && /\}/ { inside = 0; n += has }
        END { print n + 0 }')
    [ "$n" -le 1 ] || complain "QM_${word}_: $n enums have names that begin so; one word, one enum"
done
[ $bad = 0 ] && echo "house rules kept"
exit $bad
