#!/bin/sh
# shellcheck shell=dash
# What holds on two nodes: run inside the guest by init, by busybox's shell. CPUs 0 and 1 are on node 0, 2 and 3
# on node 1. Prints a line for each check, and the counts in CMocka's words; the unit tests print their own.
# What the program computes there is compared with what it computed outside: here.npy, here.txt.
passed=0 failed=0
ok() { passed=$((passed + 1)); echo "ok   $1"; }
bad() { # bad NAME WHAT
    failed=$((failed + 1))
    echo "FAIL $1: $2"
    head -c 600 /tmp/out | sed 's/^/     out| /'
    head -c 600 /tmp/err | sed 's/^/     err| /'
}
check() { # check NAME COMMAND...: the command succeeds
    local name=$1
    shift
    if "$@"; then ok "$name"; else bad "$name" "not so: $*"; fi
}
expect() { # expect CODE NAME COMMAND...: its output is then in /tmp/out and /tmp/err
    local code=$1 name=$2 rc
    shift 2
    timeout 120 "$@" >/tmp/out 2>/tmp/err </dev/null
    rc=$?
    if [ $rc = "$code" ]; then ok "$name"; else bad "$name" "expected exit code $code, found $rc"; fi
}
await() { # await COMMAND...: until it succeeds; fails after two minutes, or when the conversation has ended
    local n=0
    until "$@"; do
        n=$((n + 1))
        [ $n -lt 480 ] && kill -0 $chat 2>/dev/null || return 1
        usleep 250000
    done
}
section() { echo "== $1 ($(cut -d. -f1 /proc/uptime) s since the start)"; }

# The same logits as outside: same_logits NAME COMMAND..., what to put before the program (env: nothing)
same_logits() {
    local name=$1
    shift
    rm -f /tmp/there.npy
    expect 0 "$name" "$@" quietmind logits demo --ids short.ids --isa avx2 -o /tmp/there.npy
    check "$name: the same bits as outside" cmp -s /tmp/there.npy here.npy
}
# Refused with that code, by words that match the pattern: refused CODE NAME PATTERN COMMAND...
refused() {
    local code=$1 name=$2 pattern=$3
    shift 3
    expect "$code" "$name" "$@"
    check "$name: says so" grep -qE "^quietmind: .*$pattern" /tmp/err
}

# A conversation that stays open: its questions are lines of file descriptor 3.
chat_begin() { # chat_begin COMMAND...: what to put before the program
    rm -f /tmp/questions
    mkfifo /tmp/questions
    "$@" quietmind chat demo --temperature 0 --isa avx2 -n 12 </tmp/questions >/tmp/out 2>/tmp/err &
    chat=$!
    exec 3>/tmp/questions
}
chat_ask() { cat question.txt >&3; }
chat_end() { exec 3>&-; wait $chat; }
answers() { [ "$(wc -l </tmp/out)" -ge "$1" ]; }
# Where the threads of the conversation may run: "0 1 2 3 " is one pinned to each CPU.
cpus() { sed -n 's/^Cpus_allowed_list:\t//p' /proc/$chat/task/*/status 2>/dev/null | sort | tr '\n' ' '; }
pinned_to() { [ "$(cpus)" = "$1" ]; }
# Every page that is bound to a node is there, and every one of these nodes has some, by the kernel's own account:
# all_in_place NODE...
all_in_place() {
    awk -v nodes="$*" '
        $2 ~ /^(bind|prefer)/ {
            home = $2; sub(/.*:/, "", home)
            for (i = 3; i <= NF; i++) if ($i ~ /^N[0-9]+=/) {
                split(substr($i, 2), at, "=")
                pages[at[1]] += at[2]
                if (at[1] != home) strangers += at[2]
            }
        }
        END {
            n = split(nodes, node, " ")
            for (i = 1; i <= n; i++) { printf "     node %s: %d pages\n", node[i], pages[node[i]]; if (!pages[node[i]]) bad = 1 }
            printf "     in the wrong place: %d\n", strangers
            exit bad || strangers > 0
        }' /proc/$chat/numa_maps
}
ended_well() { chat_end && [ "$(tail -n 1 /tmp/out)" = "$(cat here.txt)" ]; }

reserve() { # reserve PAGES: of 2 MiB, on each node
    for node in 0 1; do echo "$1" >/sys/devices/system/node/node$node/hugepages/hugepages-2048kB/nr_hugepages; done
}
free_pages() { cat /sys/devices/system/node/node"$1"/hugepages/hugepages-2048kB/free_hugepages; }
free_kib() { awk '/MemFree/ { print $4 }' /sys/devices/system/node/node"$1"/meminfo; }
online() { echo "$2" >/sys/devices/system/cpu/cpu"$1"/online; }
# inside CGROUP COMMAND...
# shellcheck disable=SC2016 # for the script to expand
printf '#!/bin/sh\necho $$ >/cgroup/$1/cgroup.procs && shift && exec "$@"\n' >/bin/inside
chmod +x /bin/inside

section 'the machine'
two_nodes() {
    [ "$(cat /sys/devices/system/node/online)" = 0-1 ] && [ "$(cat /sys/devices/system/node/node0/distance)" = '10 21' ]
}
check 'two nodes at distances 10 and 21' two_nodes
expect 0 'machine' quietmind machine
check 'machine: nodes and cores' grep -q '2 packages, 2 NUMA nodes, 4 cores' /tmp/out
check 'machine: from node to node' grep -qE '^ +1( +[0-9.]+){2}$' /tmp/out
check 'machine: no more than AVX2' grep -qE '^instructions +avx2$' /tmp/out

section 'unit tests'
reserve 6
check 'huge pages of 2 MiB can be reserved on both nodes' test "$(free_pages 0) $(free_pages 1)" = '6 6'
for test in /bin/test_*; do
    echo "$test"
    QM_TEST_SLOW=0 timeout 120 "$test" 2>&1 || bad "$test" "exit code $?"
done

reserve 0

section 'results'
expect 0 'run: a prompt of 200 tokens' quietmind run demo --ids long.ids -n 4 --temperature 0 --isa avx2 --json
check 'run: the tokens as outside' grep -qF "\"ids\":$(cat here.ids)," /tmp/out
in_place() { grep -q '"placed_share":1\.0,' /tmp/out && ! grep -q '"pages":0' /tmp/out; }
check 'run: all pages of weights and KV in the right place' in_place
expect 0 'compare' quietmind compare demo --machine speed.json --configs cpu --prompt-tokens 16 -n 3 -r 1 --isa avx2
check 'compare: memory of both nodes' grep -qE '^cpu +node 0: 0.[0-9]+ \+ [0-9.e-]+ \(100 %\), node 1: 0.[0-9]+ ' /tmp/out
same_logits 'two nodes' env
same_logits 'nodes off' env QUIETMIND_NUMA=off
same_logits 'one node of two' env QUIETMIND_NUMA=1
same_logits 'three threads on two nodes' env QUIETMIND_THREADS=3
same_logits 'more threads than cores' env QUIETMIND_THREADS=6
same_logits 'affinity to one node' taskset c

section 'threads and pages'
chat_begin env
check 'two nodes: a thread pinned to each core' await pinned_to '0 1 2 3 '
chat_ask
check 'two nodes: an answer' await answers 1
check 'two nodes: all pages in the right place' all_in_place 0 1
online 3 0
chat_ask
check 'a CPU goes offline: an answer' await answers 2
online 3 1
check 'a CPU goes offline: the answer as outside' ended_well

online 3 0
chat_begin env
check 'a CPU is offline: the others are used' await pinned_to '0 1 2 '
chat_ask
check 'a CPU is offline: the answer as outside' ended_well
online 3 1

chat_begin env QUIETMIND_NUMA=1
check 'one node of two: its cores are used' await pinned_to '2 3 '
chat_ask
check 'one node of two: an answer' await answers 1
check 'one node of two: all pages in the right place' all_in_place 1
check 'one node of two: the answer as outside' ended_well

section 'what is not allowed'
refused 2 'a node that is not there' 'node 2' quietmind run demo -p a --numa 2
refused 2 'no list of nodes' 'numa' quietmind run demo -p a --numa first
mkdir /cgroup/second
echo +cpuset >/cgroup/cgroup.subtree_control
echo 2-3 >/cgroup/second/cpuset.cpus
echo 1 >/cgroup/second/cpuset.mems
chat_begin inside second
check 'a cpuset of one node: its cores are used' await pinned_to '2 3 '
chat_ask
check 'a cpuset of one node: the answer as outside' ended_well
refused 2 'a node outside the cpuset' 'node 0' inside second quietmind run demo -p a --numa 0
same_logits 'no memory policies allowed' test_denied
check 'no memory policies allowed: said' grep -q 'could not be bound' /tmp/err

section 'huge pages'
reserve 110 # so that little else is left
echo "     reserved, and free but for them: $(free_pages 0) and $(free_pages 1), $(free_kib 0) and $(free_kib 1) KiB"
chat_begin env
chat_ask
check 'huge pages: an answer' await answers 1
echo "     free while it is open: $(free_pages 0) and $(free_pages 1)"
huge_taken() { [ "$(free_pages 0)" -lt 110 ] && [ "$(free_pages 1)" -lt 110 ]; }
check 'huge pages: taken on both nodes' huge_taken
check 'huge pages: all pages in the right place' all_in_place 0 1
check 'huge pages: the answer as outside' ended_well
reserve 2
same_logits 'huge pages, too few' env
check 'huge pages, too few: said' grep -q 'the reserved huge pages.* are too few' /tmp/err
echo +hugetlb >/cgroup/cgroup.subtree_control
mkdir /cgroup/small
echo 0 >/cgroup/small/hugetlb.2MB.max
reserve 20
same_logits 'huge pages that the cgroup does not allow' inside small
expect 0 'huge pages that the cgroup does not allow: measured without' inside small test_probe
reserve 0

section 'a node without memory'
mount -t tmpfs -o mpol=bind:1,size=100% hog /hog
dd if=/dev/zero of=/hog/fill bs=1M count=$(($(free_kib 1) / 1024 - 16)) 2>/dev/null
echo "     free on nodes 0 and 1: $(free_kib 0) and $(free_kib 1) KiB"
same_logits 'a full node' env
check 'a full node: said' grep -q '^NUMA node 1 has .* the rest goes to other nodes' /tmp/err
refused 4 'only the full node' 'available' quietmind run demo -p a --numa 1
check 'only the full node: nothing loaded' test ! -s /tmp/out
umount /hog

section 'the end'
[ $passed = 0 ] || echo "[  PASSED  ] $passed test(s)."
[ $failed = 0 ] || echo "[  FAILED  ] $failed test(s)."
echo "end of the checks"
