#!/bin/sh
# Installs the packages that are missing: deps.sh [program] [check] [guest].
# On Debian and Ubuntu by apt; elsewhere it prints the list and stops with 5. What is there already, from a
# package or not, is left alone: each package is judged by the file or command that it is wanted for.
# QM_DEPS_ROOT: another root to look for headers in (for its test).
set -u
root=${QM_DEPS_ROOT:-}

command_is() { command -v "$1" >/dev/null 2>&1; }
header_is() {
    for d in /usr/include /usr/local/include /usr/include/x86_64-linux-gnu; do
        [ -e "$root$d/$1" ] && return 0
    done
    return 1
}
library_is() {
    for d in /usr/lib /usr/lib64 /usr/local/lib /usr/lib/x86_64-linux-gnu; do
        [ -e "$root$d/$1" ] && return 0
    done
    return 1
}
# The sanitizers' and the fuzzer's runtime, in the layout of clang up to 14 and since.
runtime_is() {
    command_is clang || return 1
    for f in libclang_rt.fuzzer-x86_64.a libclang_rt.fuzzer.a; do
        [ -e "$(clang -print-file-name=$f)" ] && return 0
    done
    return 1
}

# package  how to know  of what   (libc6-dev: gcc only recommends it)
program='gcc command gcc
libc6-dev header stdio.h
pkg-config command pkg-config
libjansson-dev header jansson.h
libpcre2-dev header pcre2.h
libutf8proc-dev header utf8proc.h
libsqlite3-dev header sqlite3.h
libhwloc-dev header hwloc.h
libnuma-dev header numa.h
libedit-dev header histedit.h
libxxhash-dev header xxhash.h
libmicrohttpd-dev header microhttpd.h'
check='clang command clang
libclang-rt-dev runtime clang
clang-format command clang-format
cppcheck command cppcheck
libcmocka-dev header cmocka.h
python3 command python3
libopenblas0-pthread library libopenblas.so.0'

# For the guest with two nodes, which is left out where they cannot be had.
guest='qemu-system-x86 command qemu-system-x86_64
busybox-static command busybox
cpio command cpio'

wanted=
for set in "${@:-program}"; do
    case $set in
    program) wanted="$wanted$program
" ;;
    check) wanted="$wanted$check
" ;;
    guest) wanted="$wanted$guest
" ;;
    *) echo "deps.sh: '$set' is neither program, check nor guest" >&2; exit 2 ;;
    esac
done

missing() {
    printf '%s' "$wanted" | while read -r package kind what; do
        "${kind}_is" "$what" || printf '%s ' "$package"
    done
}

lack=$(missing)
[ -n "$lack" ] || exit 0

if ! command_is apt-get; then
    printf 'These packages are missing, and this is not Debian or Ubuntu (no apt-get).\n'
    printf 'Install what your system calls them, then try again:\n'
    printf '%s' "$wanted" | while read -r package kind what; do
        "${kind}_is" "$what" || printf '  %-16s (%s %s)\n' "$package" "$kind" "$what"
    done
    exit 5
fi

sudo=
if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    if ! command_is sudo; then
        echo "These packages are missing; as root: apt-get install --no-install-recommends $lack" >&2
        exit 5
    fi
fi

echo "Installing what is missing: $lack"
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@"; }
apt update -qq || echo "The package lists could not be renewed; trying with what is there." >&2
# Releases before clang 14.0.6 ship the runtime inside clang's own packages.
case " $lack" in
*" libclang-rt-dev "*) apt-cache show libclang-rt-dev >/dev/null 2>&1 || lack=$(echo "$lack" | sed 's/libclang-rt-dev//') ;;
esac
# shellcheck disable=SC2086 # a list of words
apt install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends -- $lack || { echo "apt-get could not install: $lack" >&2; exit 5; }
lack=$(missing)
[ -z "$lack" ] || { echo "Still missing after installing: $lack" >&2; exit 5; }
