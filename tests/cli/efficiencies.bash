# Measures the machine into $T/cache, and lets a script write efficiencies of kernels as if they were measured.
export XDG_CACHE_HOME=$T/cache
expect 0 'the machine' machine --json
KEPT=$(ls "$T"/cache/quietmind/machine-*.json) KERNELS=$(ls "$T"/cache/quietmind/machine-*.json | sed 's/machine-/kernels-/')
field() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" "$KEPT"; }
build=$(sed -n 's/.*"kernels_build": "\(.*\)".*/\1/p' "$T/out")
kept_efficiencies() { # kept_efficiencies BUILD MORE-OF-EXPERTS
    cat >"$KERNELS" <<EOF
{"version": 3, "identity": "$(field identity)", "isa": "$(field isa)", "build": "$1", "measured": "now", "efficiency":
 {"value_ns": 1, "route_ns": 1, "dense": {"BF16": [[1, 0.9]], "F16": [[1, 0.9]], "F32": [[1, 0.9]]},
  "experts": {"BF16": [[1, 0.9]]$2},
  "attention_64": {"BF16": [[1, 0.8]]}, "attention_128": {"BF16": [[1, 0.8]]}}}
EOF
}
