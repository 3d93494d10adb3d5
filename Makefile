# quietmind. `make help` lists the targets.
#
# One build tree per variant: build/ (the program), build/<variant>/ for check's others, chosen by
#   CC=clang  SAN=address,undefined|thread|fuzzer-no-link,address,undefined  B=build/name
# A change of compiler or flags rebuilds; of a header, what includes it. Nothing here needs a package at
# parse time, so that `make deps` runs on a bare machine. V=1 shows the commands.
CC      := gcc
B       := build
SAN     :=
PREFIX  := /usr/local
DESTDIR :=
LONG    :=

VERSION := 0.1.0
# The commit that is built, for reports; "+": and changes.
COMMIT   = $(eval COMMIT := $(shell git describe --always --abbrev=10 --dirty=+ --exclude='*' 2>/dev/null || echo unknown))$(COMMIT)
PKGS    := jansson libpcre2-8 libutf8proc hwloc libedit sqlite3 libxxhash libmicrohttpd
CFLAGS  ?= -O2 -g
# -ffp-contract=off: a product and a sum stay two roundings unless a kernel asks for one FMA, so the
# bits of a result do not depend on the compiler.
BASE_FLAGS := -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wvla \
              -fno-math-errno -ffp-contract=off -fPIC -pthread -I. -Isrc
ifneq ($(SAN),)
BASE_FLAGS += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS    += -fsanitize=$(SAN)
endif
# Asked of pkg-config once, and only when something is compiled.
INCS = $(eval INCS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null))$(INCS)
LIBS = $(eval LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lnuma -lm -ldl -pthread)$(LIBS)

# Instruction sets by folder: never #if inside bodies.
ISA_avx2       := -mavx2 -mfma -mf16c -mbmi2
ISA_avx512     := $(ISA_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
ISA_avx512bf16 := $(ISA_avx512) -mavx512bf16
ISA_amx        := $(ISA_avx512bf16) -mamx-tile -mamx-bf16
# The fuzzers try parsers: kernels go without instruments there. Over what UndefinedBehaviorSanitizer makes of unrolled
# loops clang takes minutes, unless it leaves it as it is (-O0): so the kernels of 512 bits have all checks. AVX2's
# products, which other tests run long loads on, are optimized, without the three checks that cost.
san_flags       = $(if $(filter simd/%,$1),$(if $(findstring fuzzer,$(SAN)),-fno-sanitize=all,$(if \
                  $(findstring undefined,$(SAN)),$(if $(filter simd/avx512% simd/amx/%,$1),-O0,$(if \
                  $(filter simd/avx2/product%,$1),-fno-sanitize=signed-integer-overflow$(comma)pointer-overflow$(comma)object-size)))))
comma           := ,
isa_flags       = $(ISA_$(notdir $(patsubst %/,%,$(dir $1)))) $(call san_flags,$1)

# What decides how fast kernels are, and what they compute: measured efficiencies and stored keys and values are kept with it,
# and measured and computed again when it differs.
KERNEL_FILES := $(sort $(wildcard simd/*.[ch] simd/*/*.[ch] src/engine/*.[ch] src/engine/*/*.[ch] numa/team.[ch]))
KERNELS = $(eval KERNELS := $(shell (echo '$(CC) $(CFLAGS)'; $(CC) -dumpfullversion; cat $(KERNEL_FILES)) 2>&1 | \
          cksum | tr ' ' -))$(KERNELS)
KERNELS_SRC := simd/build.c
COMMIT_SRC  := src/app/version.c

LIB_SRC := $(filter-out src/app/%,$(shell find src -name '*.c')) $(shell find simd numa offload -name '*.c' 2>/dev/null)
APP_SRC := $(shell find src/app -name '*.c' ! -name main.c 2>/dev/null)
TESTS   := $(sort $(shell find tests -name 'test_*.c'))
FUZZ    := $(sort $(shell find tests/fuzz -name 'fuzz_*.c' 2>/dev/null))
BENCHES := $(sort $(shell find bench -name 'bench_*.c' 2>/dev/null))
TEST_LIB_SRC := $(shell find tests/support -name '*.c' 2>/dev/null)

LIB_OBJ := $(LIB_SRC:%.c=$B/%.o)
APP_OBJ := $(APP_SRC:%.c=$B/%.o)
TEST_LIB_OBJ := $(TEST_LIB_SRC:%.c=$B/%.o)
TEST_BIN := $(TESTS:%.c=$B/%)
FUZZ_BIN := $(FUZZ:%.c=$B/%)
BENCH_BIN := $(BENCHES:%.c=$B/%)

all: $B/quietmind ## build the program, build/quietmind

# One short line for each command, or the whole of it with V=1.
Q    := $(if $V,,@)
line  = $(if $V,,@printf '  %-5s %s\n' $1 $@)

$B/quietmind: $B/src/app/main.o $(APP_OBJ) $B/libquietmind.a
	$(call line,link)
	$Q$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libquietmind.a $(LIBS)

# A stamp whose time moves when its text does: $(call stamp,TEXT)
stamp = mkdir -p $(@D); echo '$1' | cmp -s - $@ || echo '$1' > $@
$B/.flags: FORCE
	@$(call stamp,$(CC) $(BASE_FLAGS) $(CFLAGS) $(VERSION))
$B/.kernels: FORCE
	@$(call stamp,$(KERNELS))
$(KERNELS_SRC:%.c=$B/%.o): $B/.kernels
$B/.commit: FORCE
	@$(call stamp,$(COMMIT))
$(COMMIT_SRC:%.c=$B/%.o): $B/.commit
$B/.objects: FORCE
	@$(call stamp,$(sort $(LIB_OBJ)))

# q, not r: two members may share a base name.
$B/libquietmind.a: $(LIB_OBJ) $B/.objects
	$(call line,ar)
	@rm -f $@
	$Q$(AR) qcs $@ $(LIB_OBJ)

$B/%.o: %.c $B/.flags
	@mkdir -p $(@D)
	$(call line,cc)
	$Q$(CC) $(BASE_FLAGS) -DQM_VERSION='"$(VERSION)"' $(if $(filter $(KERNELS_SRC),$<),-DQM_KERNELS='"$(KERNELS)"') $(if $(filter $(COMMIT_SRC),$<),-DQM_COMMIT='"$(COMMIT)"') -MMD -MP $(CFLAGS) $(INCS) $(call isa_flags,$<) -c -o $@ $<

$(TEST_BIN): $B/%: $B/%.o $(TEST_LIB_OBJ) $(APP_OBJ) $B/libquietmind.a
	$(call line,link)
	$Q$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libquietmind.a -lcmocka $(LIBS)

$(FUZZ_BIN): $B/%: $B/%.o $(APP_OBJ) $B/libquietmind.a
	$(call line,link)
	$Q$(CC) -fsanitize=fuzzer $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libquietmind.a $(LIBS)

$(BENCH_BIN): $B/%: $B/%.o $(APP_OBJ) $B/libquietmind.a
	$(call line,link)
	$Q$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libquietmind.a $(LIBS)

-include $(patsubst %.c,$B/%.d,$(LIB_SRC) $(APP_SRC) $(TEST_LIB_SRC) $(TESTS) $(FUZZ) $(BENCHES) src/app/main.c)

include tests/check.mk

# The manual page is the help text in another dress.
$B/quietmind.1: $B/quietmind
	$B/quietmind help --man > $@
$B/completion.bash $B/completion.zsh: $B/completion.%: $B/quietmind
	$B/quietmind help --completion $* > $@
# The unit that docs/batch.md shows, for the program as it is installed.
$B/night-shift.service: docs/batch.md $B/.flags
	sed -n '/^    \[Unit\]/,/^    WantedBy/s/^    //p' $< | sed 's|^ExecStart=quietmind |ExecStart=$(PREFIX)/bin/quietmind |' > $@

DEMO_FILES := $(wildcard data/demo/*.json data/demo/*.safetensors data/demo/LICENSE data/demo/README.md)
SHARE      := $(DESTDIR)$(PREFIX)/share
install: $B/quietmind $B/quietmind.1 $B/completion.bash $B/completion.zsh $B/night-shift.service ## install below DESTDIR and PREFIX (/usr/local)
	install -D -m 755 $B/quietmind $(DESTDIR)$(PREFIX)/bin/quietmind
	install -D -m 644 $B/quietmind.1 $(SHARE)/man/man1/quietmind.1
	install -d $(SHARE)/quietmind/demo/demo $(SHARE)/quietmind/machines $(SHARE)/doc/quietmind
	install -m 644 $(DEMO_FILES) $(SHARE)/quietmind/demo
	install -m 644 $(wildcard data/demo/demo/*) $(SHARE)/quietmind/demo/demo
	install -m 644 $(wildcard bench/machines/*.json) $(SHARE)/quietmind/machines
	install -m 644 LICENSE README.md $B/night-shift.service $(SHARE)/doc/quietmind
	install -d $(SHARE)/doc/quietmind/docs
	install -m 644 $(wildcard docs/*.md) $(SHARE)/doc/quietmind/docs
	install -D -m 644 $B/completion.bash $(SHARE)/bash-completion/completions/quietmind
	install -D -m 644 $B/completion.zsh $(SHARE)/zsh/site-functions/_quietmind

clean: ## remove what was built
	rm -rf build

format: ## format the sources in place
	find src simd numa $(wildcard offload) tests bench -name '*.[ch]' -exec clang-format -i {} +

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

FORCE:
.PHONY: all install clean format help FORCE
.SECONDARY:
.DELETE_ON_ERROR:
