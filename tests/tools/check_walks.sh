#!/bin/bash
# The walks of CONTRIBUTING.md, from function to function through the code, stay true.
#   check_walks.sh [--self-test] [ROOT]
# A line "1. `path:function` ..." under a heading "### One ..." names a function that is defined in that file and
# called, or handed to a region, by one of the lines before it. A line whose text begins with "Then" begins anew.
set -u

# The functions' bodies, from the line at the left edge that has the name to the brace that ends it.
body() { # body FILE NAME
    awk -v name="$2" '
        !inside && match($0, "^[a-z].*[ *]" name "\\(") { inside = 1; text = "" }
        inside { text = text $0 "\n" }
        inside && /;$/ && text !~ /\{/ { inside = 0 } # a declaration
        inside && /^}/ { print text; exit }' "$1"
}

check() { # check ROOT
    (
        cd "$1" || exit 5
        bad=0 walks=0 lines=0 before=
        while IFS= read -r line; do
            case $line in
            '### One '*) walks=$((walks + 1)) before= ;;
            '#'*) [ -n "$before" ] && before= ;;
            esac
            [[ $line =~ ^[0-9]+\.\ \`([^:\`]+):([a-z_0-9]+)\`\ *(.*)$ ]] || continue
            file=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]} text=${BASH_REMATCH[3]}
            lines=$((lines + 1))
            own=$([ -f "$file" ] && body "$file" "$name")
            if [ -z "$own" ]; then
                echo "CONTRIBUTING.md: $file defines no function $name"
                bad=1
                continue
            fi
            if [ -n "$before" ] && [[ $text != Then* ]] && ! grep -qE "(^|[^A-Za-z0-9_])$name([^A-Za-z0-9_]|$)" <<<"$before"; then
                echo "CONTRIBUTING.md: no line before it calls $name of $file"
                bad=1
            fi
            before+=${own#*\{}
        done <CONTRIBUTING.md
        if [ "$walks" -lt 4 ] || [ "$lines" -lt $((walks * 8)) ]; then
            echo "CONTRIBUTING.md: $walks walks with $lines lines; expected four of eight lines and more"
            bad=1
        fi
        [ $bad = 0 ] && echo "$walks walks of $lines functions are true"
        exit $bad
    )
}

if [ "${1:-}" = --self-test ]; then
    shift
    t=$(mktemp -d) || exit 5
    trap 'rm -rf "$t"' EXIT
    printf 'int b(void);\nstatic int c(int x) {\n    return x;\n}\n\nint a(int x) {\n    return b(c(x));\n}\n' >"$t/a.c"
    printf 'int b(void) {\n    return 1;\n}\n' >"$t/b.c"
    walk() { # walk LINE...: eight lines in each of four walks, the last one as given
        for w in 1 2 3 4; do
            printf '### One %d\n' $w
            for _ in 1 2 3 4 5 6 7; do printf '1. `a.c:a` Then it begins\n'; done
            printf '%s\n' "$1"
        done >"$t/CONTRIBUTING.md"
        check "$t" >"$t/log"
    }
    printf 'int d(void) {\n    return 1;\n}\n' >"$t/d.c"
    for line in '`b.c:b` is called' '`a.c:c` is called' '`d.c:d` Then it is not called'; do
        walk "8. $line" || failed="$line"
    done
    for line in '8. `a.c:b` is declared there only' '8. `a.c:e` is not there' '8. `e.c:a` is no file' '8. `d.c:d` is not called' 'no eighth line'; do
        walk "$line" && failed="$line"
    done
    if [ -n "${failed:-}" ]; then
        echo "check_walks: the self-test failed at: $failed"
        exit 1
    fi
    echo 'self-test: every wrong line was caught'
fi
check "${1:-$(dirname "$0")/../..}"
