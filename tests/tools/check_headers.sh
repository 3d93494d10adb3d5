#!/bin/bash
# Every header compiles alone, under both compilers: it includes what it uses.
set -u
cd "$(dirname "$0")/../.." || exit 5
flags="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function -I. -Isrc"
[ ! -d src ] || flags="$flags $(pkg-config --cflags jansson libpcre2-8 libutf8proc hwloc libedit libxxhash libmicrohttpd)"
bad=0 n=0
for header in $(find src simd numa offload tests bench -name '*.h' 2>/dev/null | sort); do
    case $header in
    # bodies for the vectors and the constants of the files that include them: compiled there
    simd/float_tiles.h | simd/mxfp4_tiles.h | simd/mxfp4_float.h) continue ;;
    simd/avx2/*) isa="-mavx2 -mfma -mf16c -mbmi2" ;;
    simd/avx512/*) isa="-mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512dq -mavx512vl" ;;
    simd/avx512bf16/*) isa="-mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16" ;;
    simd/amx/*) isa="-mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mamx-tile -mamx-bf16" ;;
    *) isa= ;;
    esac
    n=$((n + 1))
    for cc in gcc clang; do
        # shellcheck disable=SC2086 # flags are words
        echo "#include \"$header\"" | $cc $flags $isa -fsyntax-only -x c - || { echo "$header: does not compile alone ($cc)"; bad=1; }
    done
done
echo "$n headers compiled alone by gcc and clang"
exit $bad
