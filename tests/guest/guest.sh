#!/bin/bash
# Two NUMA nodes on any machine: boots a small guest under qemu (its emulator, so no virtualization is needed)
# with two sockets and two nodes, and runs checks.sh in it. Nothing is installed for it: the kernel is unpacked
# from Debian's package, the initial file system is packed here from busybox and what has been built.
#   tests/guest/guest.sh [BUILD [SECONDS]]     BUILD: the tree that has the program and its tests, build by
#   default; SECONDS: how long the guest may take, 170 by default
# Ends with 77 after a line "skipped: REASON" where there is no qemu or no kernel to be had. What the guest says
# is left in BUILD/guest/said, its kernel's messages in BUILD/guest/console.
set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 5
BUILD=${1:-build}
OUT=$BUILD/guest
LIMIT=${2:-170}

skip() { echo "skipped: no guest: $1"; exit 77; }
stop() { echo "FAIL $1"; echo '[  FAILED  ] 1 test(s).'; exit 1; }

# Debian's kernel for virtual machines, unpacked and kept; the package that installs it names its version.
fetch_kernel() {
    [ ! -s "$OUT/vmlinuz" ] || return 0
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
    [ -n "$package" ] || return 1
    rm -f "$OUT"/*.deb
    (cd "$OUT" && timeout 120 apt-get download -qq "$package") >/dev/null 2>&1 || return 1
    dpkg-deb --fsys-tarfile "$OUT"/*.deb | tar -xO --wildcards './boot/vmlinuz-*' >"$OUT/vmlinuz.part" &&
        [ -s "$OUT/vmlinuz.part" ] && mv "$OUT/vmlinuz.part" "$OUT/vmlinuz" && rm -f "$OUT"/*.deb
}

# What goes into the guest, at the places that it has here.
add_program() { # add_program FILE NAME: with the libraries that it names
    local library
    strip -o "$ROOT/bin/$2" "$1" || cp "$1" "$ROOT/bin/$2"
    for library in $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+ \(' | tr -d ' ('); do
        mkdir -p "$ROOT${library%/*}"
        cp -Lu "$library" "$ROOT$library" || return 1
    done
}

pack() {
    ROOT=$OUT/root
    rm -rf "$ROOT"
    mkdir -p "$ROOT"/{bin,proc,sys,dev,tmp,cgroup,hog,tests,demo} || return 1
    cp "$(command -v busybox)" "$ROOT/bin/busybox" && add_program "$(command -v busybox)" busybox || return 1
    add_program "$BUILD/quietmind" quietmind || return 1
    local test
    for test in "$BUILD"/tests/numa/test_*; do
        [ ! -x "$test" ] || add_program "$test" "${test##*/}" || return 1
    done
    cp tests/guest/init "$ROOT/init" && cp tests/guest/checks.sh "$ROOT/checks.sh" || return 1
    cp data/demo/*.json data/demo/*.safetensors "$ROOT/demo" || return 1
    cp tests/fuzz/corpus/speed/small "$ROOT/speed.json" || return 1
    expectations 2>"$OUT/err" || return 1
    (cd "$ROOT" && find . | cpio --quiet -o -H newc) >"$OUT/initramfs"
}

# Prompts, and what the program makes of them here, by the guest's instruction set and one thread.
expectations() {
    local text here="$BUILD/quietmind"
    text=$(cat data/demo/demo/logbook_500.txt)
    "$here" tokenize data/demo "${text:0:700}" >"$ROOT/long.ids" || return 1 # about 200 tokens
    cut -d ' ' -f 1-12 "$ROOT/long.ids" >"$ROOT/short.ids"
    echo 'How many bells are there?' >"$ROOT/question.txt"
    set -- --isa avx2 --threads 1
    "$here" logits data/demo --ids "$ROOT/short.ids" -o "$ROOT/here.npy" "$@" || return 1
    "$here" run data/demo --ids "$ROOT/long.ids" -n 4 --temperature 0 --json "$@" >"$OUT/run" || return 1
    sed -n 's/.*"ids":\(\[[0-9,]*\]\).*/\1/p' "$OUT/run" >"$ROOT/here.ids"
    "$here" chat data/demo --once "$(cat "$ROOT/question.txt")" -n 12 --temperature 0 "$@" >"$ROOT/here.txt"
}

boot() { # -nodefaults: no network, no disk
    timeout -k 5 "$LIMIT" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 4,sockets=2,cores=2 -m 1024 \
        -object memory-backend-ram,id=first,size=512M -object memory-backend-ram,id=second,size=512M \
        -numa node,nodeid=0,cpus=0-1,memdev=first -numa node,nodeid=1,cpus=2-3,memdev=second \
        -numa dist,src=0,dst=1,val=21 -nodefaults -nographic -no-reboot \
        -serial "file:$OUT/console" -serial "file:$OUT/said" -kernel "$OUT/vmlinuz" -initrd "$OUT/initramfs" \
        -append 'console=ttyS0 quiet panic=-1 mitigations=off' </dev/null
}

for command in qemu-system-x86_64 busybox cpio; do
    command -v $command >/dev/null || skip "$command is not installed"
done
mkdir -p "$OUT"
fetch_kernel || skip "Debian's package linux-image-cloud-amd64 cannot be had from here"
pack || stop "packing the guest's file system: $(cat "$OUT/err" 2>/dev/null)"
rm -f "$OUT/console" "$OUT/said"
boot
rc=$?
tr -d '\r' <"$OUT/said"
if ! grep -q '^end of the checks' "$OUT/said"; then
    tail -n 15 "$OUT/console"
    stop "the guest: expected it to reach the end of its checks, found that it stopped (qemu: exit code $rc, 124: after $LIMIT s)"
fi
! grep -q '^FAIL ' "$OUT/said"
