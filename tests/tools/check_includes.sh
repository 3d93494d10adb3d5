#!/bin/bash
# The include rule: data flows one way (files -> model -> engine -> session -> protocol -> batch, serve, app), and a folder
# may include only what its row of the table names. Another arrow fails with file, line and what is allowed.
#   check_includes.sh [--self-test] [ROOT]
# The table is below. A header is public unless it is called internal.h, private.h, *_internal.h or *_private.h, or is
# in a folder called private: such a one belongs to its own layer. tests/ and bench/ may include anything. What is
# reached through other headers counts too, for functions (not for types and macros): a file may call only functions
# of headers that its folder may include. Arguments of the command line are seen by what parses, checks and explains
# them, and by the commands' files, which decode them to plain options. "x.h" is looked for beside the file that
# includes it, then in src/, then in the root.
set -u

# What each folder may include, itself among it: folders, and headers of others by name.
export TABLE='
base: base
text: base text
model: base model
engine: base model engine simd numa
planner: base model engine planner simd numa
session: base text model engine session simd
protocol: base text session protocol
batch: base text model engine planner session protocol batch simd numa src/report/numbers.h
report: base report
serve: base text session protocol serve
app: base text model engine planner session protocol batch report serve app simd numa offload
simd: base simd
numa: base numa
offload: base model numa offload src/engine/device.h src/engine/batch.h src/engine/cpu/cpu.h src/engine/forward.h src/engine/kv.h src/engine/memory.h src/engine/panels.h src/engine/units.h
'

# Names of functions of a header that the folder may not include, though it reaches it through others.
check_reach() { # check_reach ROOT
    (
        cd "$1" || exit 5
        mapfile -t headers < <(find src simd numa offload -name '*.h' 2>/dev/null | sort)
        mapfile -t files < <(find src simd numa offload -name '*.[ch]' 2>/dev/null | sort)
        awk '
function layer(path,   part) {
    split(path, part, "/")
    return part[1] == "src" ? part[2] : part[1]
}
function code(line,   at) { # without comments and strings
    gsub(/"([^"\\]|\\.)*"/, "", line)
    if (comment) {
        if (!(at = index(line, "*/"))) return ""
        line = substr(line, at + 2)
        comment = 0
    }
    while (at = index(line, "/*")) {
        if (!match(substr(line, at), /\*\//)) { comment = 1; return substr(line, 1, at - 1) }
        line = substr(line, 1, at - 1) substr(line, at + RSTART + 1)
    }
    sub(/\/\/.*/, "", line)
    return line
}
BEGIN {
    rows = split(ENVIRON["TABLE"], row, "\n")
    for (i = 1; i <= rows; i++)
        if (split(row[i], cell, ": ") == 2) may[cell[1]] = " " cell[2] " "
}
FNR == 1 { comment = 0; from = layer(FILENAME) }
{
    line = code($0)
    if (!uses) { # a declaration begins in column 0, and its name is what stands before the first parenthesis
        if (line ~ /^[a-z]/ && match(line, /qm_[a-z0-9_]+\(/) && index(line, "(") == RSTART + RLENGTH - 1)
            owner[substr(line, RSTART, RLENGTH - 1)] = FILENAME
        next
    }
    while (match(line, /qm_[a-z0-9_]+/)) {
        name = substr(line, RSTART, RLENGTH)
        line = substr(line, RSTART + RLENGTH)
        if (!(name in owner)) continue
        n++
        if (!index(may[from], " " layer(owner[name]) " ") && !index(may[from], " " owner[name] " ")) {
            print FILENAME ":" FNR ": " name " is of " owner[name] ", which " from " may not include"
            bad++
        }
    }
}
END {
    if (bad) { print bad " of " n " uses reach a header that the folder may not include"; exit 1 }
    print n + 0 " uses of functions follow the rule"
}' "${headers[@]}" uses=1 "${files[@]}"
    )
}

# Arrows against the others that are meant: who hands out implementations or data knows them and is known by them.
export MEANT=' src/model/config>src/model/arch/arch src/model/config>src/model/config_fields src/model/model>src/model/weights simd/kernels>simd/tables
 simd/kernels>simd/mxfp4 src/report/page>src/report/plot src/app/options>src/app/foreign '

# Circles of files, x.c and x.h being one. Private headers are left out: they join the files of their layer.
check_circles() { # check_circles ROOT
    (
        cd "$1" || exit 5
        mapfile -t files < <(find src simd numa offload -name '*.[ch]' 2>/dev/null | sort)
        found=$(awk '
function resolve(file, name,   dir) {
    dir = file
    sub(/[^\/]*$/, "", dir)
    if ((dir name) in there) return dir name
    if (("src/" name) in there) return "src/" name
    return name in there ? name : ""
}
function stem(path) { sub(/\.[ch]$/, "", path); return path }
BEGIN {
    for (i = 1; i < ARGC; i++) there[ARGV[i]] = 1
    meant = ENVIRON["MEANT"]
    gsub(/\n/, " ", meant)
}
FILENAME ~ /(^|_|\/)(internal|private)\.h$/ { next }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, part, "\"")
    from = stem(FILENAME)
    to = stem(resolve(FILENAME, part[2]))
    if (to != "" && to != from && !index(meant, " " from ">" to " ")) print from, to
}' "${files[@]}" | tsort 2>&1 >/dev/null)
        [ -z "$found" ] && { echo "no circle of files"; exit 0; }
        sed 's/^tsort: -: input contains a loop:/files that include each other in a circle:/; s/^tsort: /    /' <<<"$found"
        exit 1
    )
}

check() { # check ROOT: all
    local rc=0
    check_includes "$1" || rc=1
    check_reach "$1" || rc=1
    check_circles "$1" || rc=1
    return $rc
}

check_includes() { # check_includes ROOT
    (
        cd "$1" || exit 5
        find src simd numa offload -name '*.[chS]' -o -name '*.cu' 2>/dev/null | sort |
            xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' /dev/null |
            awk -F: '
function layer(path,   part) {
    split(path, part, "/")
    return part[1] == "src" ? part[2] : part[1]
}
function exists(path,   line) {
    if (!(path in known)) { known[path] = (getline line < path) >= 0; close(path) }
    return known[path]
}
function normal(path) { # without a/../ and ./
    gsub(/\/\.\//, "/", path)
    while (match(path, /[^\/.]+\/\.\.\//)) path = substr(path, 1, RSTART - 1) substr(path, RSTART + RLENGTH)
    return path
}
function resolve(file, name,   dir) {
    dir = file
    sub(/[^\/]*$/, "", dir)
    if (exists(normal(dir name))) return normal(dir name)
    if (exists("src/" name)) return "src/" name
    return exists(name) ? name : ""
}
function is_private(path) { return path ~ /(^|\/)private\// || path ~ /(^|\/|_)(internal|private)\.h$/ }
function complain(text) { print $1 ":" $2 ": " text; bad++ }
function sees_arguments(path) {
    return path ~ /^src\/app\/(cmd_[a-z]+|app|options|option_table|decode|paths|help|completion|foreign|batch\/options)\.[ch]$/
}
BEGIN {
    rows = split(ENVIRON["TABLE"], row, "\n")
    for (i = 1; i <= rows; i++)
        if (split(row[i], cell, ": ") == 2) may[cell[1]] = cell[2]
}
{
    n++
    name = $0
    sub(/^[^"]*"/, "", name)
    sub(/".*/, "", name)
    from = layer($1)
    target = resolve($1, name)
    if (!(from in may)) { complain("no rule for the folder " from " (tests/tools/check_includes.sh has the table)"); next }
    if (target == "") { complain("\"" name "\" is neither beside the file nor in src/ nor in the root"); next }
    to = layer(target)
    if (index(" " may[from] " ", " " to " ") == 0 && index(" " may[from] " ", " " target " ") == 0)
        complain(from " may not include " target "; it may include: " may[from])
    else if (from != to && is_private(target))
        complain(target " is private to " to)
    else if ((target == "src/app/options.h" || target == "src/app/decode.h") && !sees_arguments($1))
        complain("arguments of the command line are decoded by the commands (src/app/cmd_NAME.c), not here")
}
END {
    if (bad) { print bad " of " n " includes break the rule"; exit 1 }
    print n + 0 " includes follow the rule"
}'
    )
}

# A tree with one of each fault, and the lines that must be said about it.
self_test() {
    local dir said want failed=0
    dir=$(mktemp -d) || exit 5
    # shellcheck disable=SC2064 # the name of now
    trap "rm -rf '$dir'" EXIT
    mkdir -p "$dir"/src/{base,text,model/arch,engine/private,planner,session,protocol,batch,report,app} "$dir"/{simd/avx2,numa,offload,tests}
    for h in src/base/error.h src/model/model.h src/planner/time.h src/engine/engine.h src/engine/device.h \
        src/engine/private/kv.h src/session/sampler.h src/report/numbers.h src/app/out.h src/app/options.h simd/kernels.h simd/tables_internal.h numa/team.h; do
        echo >"$dir/$h"
    done
    printf '/* int qm_said(int n); of which a text speaks */\nvoid qm_team_run(int n);\n' >"$dir/numa/team.h"
    printf 'int qm_model_open(\n    const char *name);\n' >"$dir/src/model/model.h"
    printf '#include <stdio.h>\n#include "base/error.h"\n' >"$dir/src/base/good.c"
    printf '#include "engine/engine.h" /* qm_team_run\nqm_team_run */\n// qm_team_run\nputs("qm_team_run"); qm_model_open(0); qm_said(1);\n' >"$dir/src/session/good.c"
    printf '#include "simd/kernels.h"\n#include "numa/team.h"\n' >"$dir/src/planner/good.c"
    printf '#include "private/kv.h"\n#include "../model/model.h"\n' >"$dir/src/engine/good.c"
    printf '#include "engine/device.h"\n' >"$dir/offload/good.c"
    printf '#include "../tables_internal.h"\n' >"$dir/simd/avx2/good.c"
    printf '#include "simd/tables_internal.h"\n' >"$dir/tests/anything.c"
    said=$(check "$dir") || { echo "self-test: a tree without fault was refused: $said"; failed=1; }

    printf '\n#include "model/model.h"\n' >"$dir/src/base/bad.c"
    printf '#include "engine/engine.h"\n' >"$dir/src/model/arch/bad.h"
    printf '  #  include "../session/sampler.h" // later\n' >"$dir/src/engine/bad.c"
    printf '#include "planner/time.h"\n' >"$dir/src/session/bad.c"
    printf '#include "simd/tables_internal.h"\n#include "engine/private/kv.h"\n#include "app/options.h"\n' >"$dir/src/app/bad.c"
    printf '#include "model/model.h"\n' >"$dir/src/text/bad.c"
    printf '#include "engine/engine.h"\n' >"$dir/src/protocol/bad.c"
    printf '#include "planner/time.h"\n' >"$dir/src/report/bad.c"
    printf '#include "report/numbers.h"\n#include "app/out.h"\n' >"$dir/src/batch/bad.c"
    printf '#include "numa/team.h"\n' >"$dir/simd/bad.c"
    printf '#include "engine/engine.h"\n' >"$dir/offload/bad.c"
    printf '#include "nowhere.h"\n' >"$dir/numa/bad.c"
    printf '#include "engine/engine.h"\n/* by the engine */ int n; qm_team_run(n);\n' >"$dir/src/session/reach.c"
    printf '#include "engine/device.h"\nreturn qm_model_open(0) ? qm_team_run : 0;\n' >"$dir/offload/reach.c"
    printf '#include "engine/round.h"\n' >"$dir/src/engine/ring.h"
    printf '#include "private/kv.h"\n' >"$dir/src/engine/round.h"
    printf '  # include "ring.h"\n' >"$dir/src/engine/round.c"
    printf '#include "session/sampler.h"\nqm_model_open(0);\n' >"$dir/src/protocol/reach.c"
    said=$(check "$dir") && { echo "self-test: backwards arrows were let through: $said"; failed=1; }
    while read -r want; do
        case $said in
        *"$want"*) ;;
        *) echo "self-test: not said: $want"; failed=1 ;;
        esac
    done <<'WANT'
src/base/bad.c:2: base may not include src/model/model.h; it may include: base
src/model/arch/bad.h:1: model may not include src/engine/engine.h
src/engine/bad.c:1: engine may not include src/session/sampler.h
src/session/bad.c:1: session may not include src/planner/time.h
src/text/bad.c:1: text may not include src/model/model.h
src/protocol/bad.c:1: protocol may not include src/engine/engine.h
src/app/bad.c:1: simd/tables_internal.h is private to simd
src/app/bad.c:2: src/engine/private/kv.h is private to engine
src/app/bad.c:3: arguments of the command line are decoded by the commands (src/app/cmd_NAME.c), not here
src/batch/bad.c:2: batch may not include src/app/out.h
src/report/bad.c:1: report may not include src/planner/time.h
simd/bad.c:1: simd may not include numa/team.h
offload/bad.c:1: offload may not include src/engine/engine.h
numa/bad.c:1: "nowhere.h" is neither beside the file
14 of 29 includes break the rule
src/protocol/reach.c:2: qm_model_open is of src/model/model.h, which protocol may not include
src/session/reach.c:2: qm_team_run is of numa/team.h, which session may not include
2 of 7 uses reach a header
files that include each other in a circle:
    src/engine/ring
    src/engine/round
WANT
    [ $failed = 0 ] && echo "self-test: every backwards arrow was caught"
    return $failed
}

if [ "${1:-}" = --self-test ]; then
    shift
    self_test || exit 1
fi
check "${1:-$(dirname "$0")/../..}"
