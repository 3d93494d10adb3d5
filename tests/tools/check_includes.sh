#!/bin/bash
# The include rule: data flows one way (files -> model -> engine -> session -> protocol -> batch, app), so a folder may
# include only what is below it. An arrow that points backwards fails with file, line and what is allowed.
#   check_includes.sh [--self-test] [ROOT]
# The table is below. A header is public unless it is called internal.h, private.h, *_internal.h or
# *_private.h, or is in a folder called private: such a one belongs to its own layer. tests/ and bench/ may
# include anything. "x.h" is looked for beside the file that includes it, then in src/, then in the root.
set -u

check() { # check ROOT
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
BEGIN {
    may["base"] = "base"
    may["text"] = "base text"
    may["model"] = "base model"
    may["engine"] = "base model engine simd numa"
    may["planner"] = "base model engine planner simd numa"
    may["session"] = "base text model engine session simd"
    may["protocol"] = "base text session protocol"
    may["batch"] = "base text model engine planner session protocol batch numa src/report/numbers.h"
    may["report"] = "base report"
    may["app"] = "base text model engine planner session protocol batch report app simd numa offload"
    may["simd"] = "base simd"
    may["numa"] = "base numa"
    may["offload"] = "base model numa offload src/engine/device.h src/engine/batch.h src/engine/cpu/cpu.h src/engine/kv.h src/engine/units.h"
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
        src/engine/private/kv.h src/session/sampler.h src/report/numbers.h src/app/out.h simd/kernels.h simd/tables_internal.h numa/team.h; do
        echo >"$dir/$h"
    done
    printf '#include <stdio.h>\n#include "base/error.h"\n' >"$dir/src/base/good.c"
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
    printf '#include "simd/tables_internal.h"\n#include "engine/private/kv.h"\n' >"$dir/src/app/bad.c"
    printf '#include "model/model.h"\n' >"$dir/src/text/bad.c"
    printf '#include "engine/engine.h"\n' >"$dir/src/protocol/bad.c"
    printf '#include "planner/time.h"\n' >"$dir/src/report/bad.c"
    printf '#include "report/numbers.h"\n#include "app/out.h"\n' >"$dir/src/batch/bad.c"
    printf '#include "numa/team.h"\n' >"$dir/simd/bad.c"
    printf '#include "engine/engine.h"\n' >"$dir/offload/bad.c"
    printf '#include "nowhere.h"\n' >"$dir/numa/bad.c"
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
src/batch/bad.c:2: batch may not include src/app/out.h
src/report/bad.c:1: report may not include src/planner/time.h
simd/bad.c:1: simd may not include numa/team.h
offload/bad.c:1: offload may not include src/engine/engine.h
numa/bad.c:1: "nowhere.h" is neither beside the file
13 of 21 includes break the rule
WANT
    [ $failed = 0 ] && echo "self-test: every backwards arrow was caught"
    return $failed
}

if [ "${1:-}" = --self-test ]; then
    shift
    self_test || exit 1
fi
check "${1:-$(dirname "$0")/../..}"
