# What stands around the program: its packages, the demonstration, the checks and the benchmarks.

deps: ## install the packages that are missing (apt; elsewhere: list them)
	@tests/tools/deps.sh program check

demo: ## build, then the whole story: a batch killed and resumed, the machine, a plan, a card
	@tests/tools/deps.sh program
	@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j $(shell nproc)) all
	@data/demo.sh $B/quietmind

check: ## every test and rule; LONG=1: minutes for each fuzz target
	@tests/tools/deps.sh program check
	@tests/tools/deps.sh guest || echo "Without them there is no guest with two nodes: that step is skipped."
	@MAKE='$(MAKE)' LONG='$(LONG)' tests/tools/check.sh

# One step alone, or several: make step STEPS="gcc format"
step: ## some steps of check only: STEPS="gcc format"
	@MAKE='$(MAKE)' LONG='$(LONG)' tests/tools/check.sh $(STEPS)

tests: $(TEST_BIN) ## build the unit tests

fuzzers: $(FUZZ_BIN)

bench: $(BENCH_BIN) ## build and run every benchmark
	@for b in $(BENCH_BIN); do echo "== $${b##*/}"; $$b $(BENCH_ARGS) || exit 1; done

.PHONY: deps demo check step tests fuzzers bench
