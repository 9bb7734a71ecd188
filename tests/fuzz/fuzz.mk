# Fuzzing, for a bounded time each.  Needs Debian's clang and libclang-rt-14-dev (its libFuzzer), which `make test` does
# not install.

FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZED  := $(wildcard daemon/http/*.c) acl/host.c base/addr.c

build/fuzz/%: tests/fuzz/%.c $(FUZZED) $(wildcard daemon/http/*.h acl/host.h base/*.h)
	@mkdir -p $(@D)
	clang -std=c11 -D_GNU_SOURCE -I. -Wall -Wextra -g -O1 -fno-sanitize-recover=undefined \
		-fsanitize=fuzzer,address,undefined -o $@ $(filter %.c,$^)

.PHONY: fuzz
fuzz: $(FUZZERS) ## fuzz the parsers, FUZZ_SECONDS each (needs clang)
	@set -e; for f in $(FUZZERS); do \
		mkdir -p $$f.corpus; \
		$$f -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=512 -max_len=2048 -print_final_stats=1 \
			-dict=tests/fuzz/http.dict -artifact_prefix=$$f. $$f.corpus; \
	done
