# quietmind. `make help` lists the targets.
#
# One build tree per variant: build/ (the program), build/<variant>/ for check's others, chosen by
#   CC=clang  SAN=address,undefined|thread  B=build/name
CC      := gcc
B       := build
SAN     :=
PREFIX  := /usr/local
DESTDIR :=
LONG    :=

VERSION := 0.1.0
PKGS    := jansson libpcre2-8 libutf8proc hwloc libedit
CFLAGS  ?= -O2 -g
# -ffp-contract=off: a product and a sum stay two roundings unless a kernel asks for one FMA, so the
# bits of a result do not depend on the compiler.
BASE_FLAGS := -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wvla \
              -fno-math-errno -ffp-contract=off -fPIC -pthread -I. -Isrc -DQM_VERSION='"$(VERSION)"' -MMD -MP
LIBS    = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lnuma -lm -pthread
INCS    = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
ifneq ($(SAN),)
BASE_FLAGS += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS    += -fsanitize=$(SAN)
endif

# Instruction sets by folder: never #if inside bodies.
ISA_avx2       := -mavx2 -mfma -mf16c -mbmi2
ISA_avx512     := $(ISA_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
ISA_avx512bf16 := $(ISA_avx512) -mavx512bf16
isa_flags       = $(ISA_$(notdir $(patsubst %/,%,$(dir $1))))

LIB_SRC := $(filter-out src/app/%,$(shell find src -name '*.c')) $(shell find simd numa -name '*.c')
APP_SRC := $(shell find src/app -name '*.c' ! -name main.c)
TESTS   := $(shell find tests -name 'test_*.c')
FUZZ    := $(shell find tests/fuzz -name 'fuzz_*.c' 2>/dev/null)
BENCHES := $(shell find bench -name 'bench_*.c')
TEST_LIB_SRC := $(shell find tests/support -name '*.c' 2>/dev/null)

LIB_OBJ := $(LIB_SRC:%.c=$B/%.o)
APP_OBJ := $(APP_SRC:%.c=$B/%.o)
TEST_LIB_OBJ := $(TEST_LIB_SRC:%.c=$B/%.o)
TEST_BIN := $(TESTS:%.c=$B/%)
BENCH_BIN := $(BENCHES:%.c=$B/%)

all: $B/quietmind ## build the program, build/quietmind

$B/quietmind: $B/src/app/main.o $(APP_OBJ) $B/libquietmind.a
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libquietmind.a $(LIBS)

$B/libquietmind.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BASE_FLAGS) $(CFLAGS) $(INCS) $(call isa_flags,$<) -c -o $@ $<

$(TEST_BIN): $B/%: $B/%.o $(TEST_LIB_OBJ) $(APP_OBJ) $B/libquietmind.a
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libquietmind.a -lcmocka $(LIBS)

$(BENCH_BIN): $B/%: $B/%.o $B/libquietmind.a
	$(CC) $(LDFLAGS) -o $@ $< $B/libquietmind.a $(LIBS)

tests: $(TEST_BIN) ## build the unit tests

-include $(shell find $B -name '*.d' 2>/dev/null)

include tests/check.mk

clean: ## remove what was built
	rm -rf build

format: ## format the sources in place
	clang-format -i $$(git ls-files '*.[ch]' '*.cu')

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: all tests clean format help
.SECONDARY:
.DELETE_ON_ERROR:
