#!/bin/bash
# Efficiencies of kernels: what a model needs is measured once, beside what is kept, and not for other kernels.
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/efficiencies.bash"
kept_efficiencies "$build" '' # all but experts of MXFP4, which take the least time
expect 0 'plan of the demonstration model' plan
check 'what it does not need is not measured' sh -c "! grep 'measuring the kernels' $T/err"
if [ "${QM_TEST_SLOW:-1}" != 0 ]; then # sanitizers make it minutes
    expect 0 'plan of a model that needs more' plan --random gpt-oss-20b --layers 1
    check 'what is missing of the efficiencies is measured' err_has '^measuring the kernels'
    check 'and kept beside what was there' sh -c "tr -d ' \n' <'$KERNELS' | grep -q '\"experts\":{\"BF16\":\[\[1.0,0.9.*\"MXFP4\":\[\[1.0,'"
    expect 0 'once' plan --random gpt-oss-20b --layers 1
    check 'not again' sh -c "! grep 'measuring the kernels' $T/err"
fi
kept_efficiencies "of other kernels" ', "MXFP4": [[1, 0.9]]'
expect 0 'a run with an efficiency of another build' run $DEMO -p 'The house of' -n 2
check 'is not predicted' sh -c "! grep '^predicted' $T/err"
finish
