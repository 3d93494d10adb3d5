#!/bin/bash
# deps.sh against machines made of stand-in commands: bare, complete, without apt, not root.
set -u
deps=$(cd "$(dirname "$0")" && pwd)/deps.sh
dir=$(mktemp -d) || exit 5
trap 'rm -rf "$dir"' EXIT
failed=0
mkdir -p "$dir/bin" "$dir/root/usr/include" "$dir/root/usr/lib"
for c in cat sed env sh touch chmod; do ln -s "$(command -v $c)" "$dir/bin/$c"; done
stand_in() { printf '#!/bin/sh\n%s\n' "$2" >"$dir/bin/$1"; chmod +x "$dir/bin/$1"; }
said= rc=0
run() { # run ARGUMENTS: deps.sh on that machine
    : >"$dir/calls"
    said=$(PATH=$dir/bin QM_DEPS_ROOT=$dir/root CALLS=$dir/calls ROOT=$dir/root BIN=$dir/bin /bin/sh "$deps" "$@" 2>&1)
    rc=$?
}
expect() { # expect WHAT CODE TEXT...
    local what=$1
    [ "$rc" = "$2" ] || { echo "$what: exit code $rc, expected $2"; failed=1; }
    shift 2
    local text
    for text in "$@"; do
        case "$said
$(cat "$dir/calls")" in
        *"$text"*) ;;
        *) echo "$what: not there: $text"; failed=1 ;;
        esac
    done
    [ $failed = 0 ] || { echo "--- said:"; echo "$said"; cat "$dir/calls"; exit 1; }
}

stand_in id 'echo 0'
run program
expect 'no apt' 5 'not Debian or Ubuntu' 'gcc ' 'libnuma-dev' 'header numa.h'
[ ! -s "$dir/calls" ] || { echo "no apt: something was installed"; failed=1; }

# An apt-get that installs: commands and headers of what it is asked for.
stand_in apt-cache 'exit 0'
# shellcheck disable=SC2016 # for the stand-in to expand
stand_in apt-get 'echo "apt-get $*" >>"$CALLS"
case "$*" in *install*) ;; *) exit 0 ;; esac
for p; do case $p in
gcc|pkg-config|clang-format|cppcheck|python3|cpio) printf "#!/bin/sh\n" >$BIN/$p; chmod +x $BIN/$p ;;
qemu-system-x86) touch $BIN/qemu-system-x86_64; chmod +x $BIN/qemu-system-x86_64 ;;
busybox-static) touch $BIN/busybox; chmod +x $BIN/busybox ;;
clang) printf "#!/bin/sh\necho $ROOT/rt\n" >$BIN/clang; chmod +x $BIN/clang ;;
libclang-rt-dev) touch $ROOT/rt ;;
libc6-dev) touch $ROOT/usr/include/stdio.h ;;
libjansson-dev) touch $ROOT/usr/include/jansson.h ;;
libpcre2-dev) touch $ROOT/usr/include/pcre2.h ;;
libutf8proc-dev) touch $ROOT/usr/include/utf8proc.h ;;
libhwloc-dev) touch $ROOT/usr/include/hwloc.h ;;
libnuma-dev) [ -n "${BROKEN:-}" ] || touch $ROOT/usr/include/numa.h ;;
libedit-dev) touch $ROOT/usr/include/histedit.h ;;
libsqlite3-dev) touch $ROOT/usr/include/sqlite3.h ;;
libxxhash-dev) touch $ROOT/usr/include/xxhash.h ;;
libmicrohttpd-dev) touch $ROOT/usr/include/microhttpd.h ;;
libcmocka-dev) touch $ROOT/usr/include/cmocka.h ;;
libopenblas0-pthread) touch $ROOT/usr/lib/libopenblas.so.0 ;;
esac; done'

stand_in id 'echo 1000'
run program
expect 'not root, no sudo' 5 'as root: apt-get install'

export BROKEN=1
stand_in id 'echo 0'
run program
expect 'an install that brings nothing' 5 'Still missing after installing: libnuma-dev'
unset BROKEN

# shellcheck disable=SC2016
stand_in sudo 'echo "sudo $*" >>"$CALLS"; exec "$@"'
stand_in id 'echo 1000'
run program
expect 'one missing, with sudo' 0 'sudo env DEBIAN_FRONTEND=noninteractive apt-get' 'no-install-recommends -- libnuma-dev' ' update '
case $said in *libjansson*) echo "what was there was installed again"; failed=1 ;; esac

run program
expect 'all there' 0
[ -z "$said" ] && [ ! -s "$dir/calls" ] || { echo "all there: apt was called, or something said: $said"; failed=1; }

stand_in id 'echo 0'
run program check
expect 'the packages of check' 0 clang libclang-rt-dev clang-format cppcheck libcmocka-dev python3 libopenblas0-pthread
run check
expect 'check, all there' 0
[ ! -s "$dir/calls" ] || { echo "check, all there: apt was called"; failed=1; }

run guest
expect 'the packages of the guest' 0 ' qemu-system-x86 busybox-static cpio'

run nonsense
expect 'a wrong word' 2 'neither program, check nor guest'
[ $failed = 0 ] && echo "deps.sh does what it says"
exit $failed
