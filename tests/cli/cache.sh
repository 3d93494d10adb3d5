#!/bin/bash
# What is kept in the user's cache (the machine's profile, the kernels' efficiency, the history), damaged in every way: nothing
# waits, nothing fails, no result is lost; it is measured again, or defaults stand in, and that is said once.
# shellcheck source=tests/cli/lib.bash
. "${BASH_SOURCE[0]%/*}/lib.bash"
export XDG_CACHE_HOME="$T/cache"
known_efficiency
LONG=$(printf 'The house of %d. ' $(seq 40))
expect 0 'a run that is kept' run $DEMO -p "$LONG" -n 65 --seed 1 --temperature 0
cp "$T/out" "$T/answer"
cp -a "$T/cache" "$T/good"
flip() { python3 -c '
import sys
b = bytearray(open(sys.argv[1], "rb").read())
for i in range(0, len(b), 37): b[i] ^= 0x41
open(sys.argv[1], "wb").write(b)' "$1"; }
damage() { # damage HOW FILE
    local size
    size=$(stat -c %s "$2")
    case $1 in
    empty) : >"$2" ;;
    truncated) truncate -s $((size / 2)) "$2" ;;
    flipped) flip "$2" ;;
    'a named pipe') rm "$2" && mkfifo "$2" ;;
    'a folder') rm "$2" && mkdir "$2" ;;
    'a loop of links') ln -sf "${2##*/}" "$2" ;;
    forbidden) chmod 0 "$2" ;;
    esac
}
for how in empty truncated flipped 'a named pipe' 'a folder' 'a loop of links' forbidden; do
    for file in machine kernels history; do
        rm -rf "$T/cache"
        cp -a "$T/good" "$T/cache"
        damage "$how" "$(ls "$T"/cache/quietmind/$file*)"
        expect 0 "$file $how: a run" run $DEMO -p "$LONG" -n 65 --seed 1 --temperature 0
        check "$file $how: the same answer" cmp -s "$T/out" "$T/answer"
        check "$file $how: said at most once" test "$(grep -c "$file.*$how\|the history" "$T/err")" -le 1
        expect 0 "$file $how: a plan" plan --random qwen3-0.6b --no-measure
        check "$file $how: it has its table" out_has '^weights +[0-9]'
        expect 0 "$file $how: a check" batch $DEMO $DEMO/demo/batch.jsonl --check
        case $file/$how in machine/flipped | 'machine/a named pipe') ;; *) continue ;; esac
        expect 0 "$file $how: measured again" machine
        check "$file $how: shown" out_has '^reads +best [0-9.]+ GB/s, typical [0-9.]+ GB/s'
    done
done
# Nowhere to keep anything: a file in the place of the folder, a folder that may not be written to, no room.
for where in file forbidden; do
    rm -rf "$T/cache"
    if [ $where = file ]; then : >"$T/cache"; else mkdir -m 500 "$T/cache"; fi
    expect 0 "$where: a run" run $DEMO -p "$LONG" -n 65 --seed 1 --temperature 0
    check "$where: the same answer" cmp -s "$T/out" "$T/answer"
    expect 0 "$where: the machine" machine
    [ $where = forbidden ] && chmod 700 "$T/cache"
done
finish
