#!/bin/bash
# quietmind batch loses nothing: kill -9 at random instants (20; 200 with LONG=1, KILLS=N), and signals. With
# QM_TEST_SLOW=0 (the sanitizers) fewer of them.
. "$(dirname "$0")/batch.bash"
KILLS=${KILLS:-$(sized 200 20 5)}

mixed_rows 24 >"$T/in.jsonl"
code 'uninterrupted' 0 run "$T/in.jsonl" -o "$T/in.whole"
check 'sampled rows differ' test "$(grep -o '"text":"[^"]*"' "$T/in.whole" | sort -u | wc -l)" -ge 15
# How long it takes when nothing else is in its way.
took=1000000
for i in 1 2 3; do
    start=$(date +%s%N)
    run "$T/in.jsonl" -o "$T/in.$i" 2>"$T/err"
    took=$(printf '%s\n' $took $((($(date +%s%N) - start) / 1000000)) | sort -n | head -n 1)
done

# --- kill -9 ---
killed=0 lost=0 partial=0
for ((k = 0; killed < KILLS && k < 3 * KILLS; k++)); do
    "$QUIETMIND" batch $DEMO "$T/in.jsonl" -o "$T/killed" --threads 2 --sequences 8 --context 512 --checkpoint-every 0.01 \
        </dev/null >"$T/out" 2>"$T/err" &
    pid=$!
    sleep "$(awk -v t=$took -v r=$RANDOM 'BEGIN { printf "%.4f", t * r / 32768 / 1000 }')"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ $? != 137 ] || killed=$((killed + 1))
    # what is finished can be read
    if [ -s "$T/killed.partial" ]; then
        partial=$((partial + 1))
        "$QUIETMIND" batch --export "$T/killed" >"$T/exported" 2>"$T/err" || lost=$((lost + 1))
        # every exported line is in OUT.partial and in the uninterrupted output
        sort "$T/exported" | comm -23 - <(sort "$T/killed.partial") | grep -q . && lost=$((lost + 1))
        sed 's/"created":[0-9]*//g' "$T/exported" | sort | comm -23 - <(sed 's/"created":[0-9]*//g' "$T/in.whole" | sort) |
            grep -q . && lost=$((lost + 1))
    fi
    if [ -e "$T/killed" ] || [ $((k % 5)) = 4 ]; then
        resumed "$T/killed" "resumed after kill -9 ($k)" in || lost=$((lost + 1))
        rm -f "$T"/killed*
    fi
done
check "kill -9: $killed of $k tries hit it at work, $partial with rows finished; nothing lost" test $lost = 0
check 'as often as wanted' test $killed = $KILLS

# --- signals, while rows are at work ---
long_rows "$(sized 40 40 6)" 450 >"$T/long.jsonl"
code 'a longer job' 0 run "$T/long.jsonl" -o "$T/long.whole"
for signal in INT TERM HUP; do
    "$QUIETMIND" batch $DEMO "$T/long.jsonl" -o "$T/stopped" --threads 2 --sequences 1 --context 512 \
        --checkpoint-every 0.1 </dev/null >"$T/out" 2>"$T/err" &
    pid=$!
    for ((i = 0; i < 6000; i++)); do
        "$QUIETMIND" batch --status "$T/stopped" 2>&1 | grep -q "working (process $pid)" && break
        sleep 0.01
    done
    [ $signal != INT ] || {
        run "$T/long.jsonl" -o "$T/stopped" >"$T/second" 2>&1
        check "a second run is refused" test $? = 3
        check 'and says who' grep -q "another run (process $pid)" "$T/second"
    }
    kill -$signal $pid
    wait $pid
    rc=$?
    check "SIG$signal ends it with 130" test $rc = 130
    check 'says how to resume' err_has "^resume with: .*batch $DEMO .*/long.jsonl -o .*/stopped"
done
code 'its status' 0 "$QUIETMIND" batch --status "$T/stopped"
check 'says what is left' out_has '^left     about .* of work$'
resumed "$T/stopped" 'resumed after signals' long && ok 'resumed after signals'
check 'and says what was there' err_has '^resuming the job begun [-0-9]+ [:0-9]+ \(quietmind .*\): [0-9]+ rows? finished'
check 'and how long the rest would take' err_has '^[0-9]+ rows?( left)?, about .* \(.* to .*\), done by [0-9]'

# --- kill -9 in a pause of --hours: what was at work when it began is saved ---
"$QUIETMIND" batch $DEMO "$T/long.jsonl" -o "$T/paused" --threads 2 --sequences 1 --context 512 \
    --hours "$(date -d '-1 hour' +%H:%M:%S)-$(date -d '+1 sec' +%H:%M:%S)" </dev/null >"$T/out" 2>"$T/err" &
pid=$!
for ((i = 0; i < 6000; i++)); do
    err_has 'paused until' && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.01
done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
rc=$?
if [ $rc = 0 ]; then
    ok 'too quick to be met in a pause'
else
    check 'killed in a pause' err_has 'paused until .*everything is saved'
    code 'status of it' 0 "$QUIETMIND" batch --status "$T/paused"
    check 'says what it did' out_has 'not running'
fi
resumed "$T/paused" 'resumed after a kill in a pause' long && ok 'resumed after a kill in a pause'
finish
