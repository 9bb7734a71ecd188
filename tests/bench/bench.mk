# make bench: what a request, a tunnel and a byte cost, beside the peers of Debian and a bare relay.

BENCH_PACKAGES := haproxy squid nginx-light libnginx-mod-stream iproute2 util-linux strace python3
BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,load origin relay)

$(BUILD)/bench/%: tests/bench/%.c tests/bench/net.c tests/bench/net.h
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(CFLAGS) -o $@ $(filter %.c,$^)

.PHONY: bench
bench: deps ## CPU and memory beside HAProxy, nginx, Squid and a bare relay (QUICK=1: once, coarse)
	$(call install,$(BENCH_PACKAGES))
	@$(MAKE) --no-print-directory all $(BENCH_PROGRAMS)
	$(PYTHON) tests/bench/bench.py $(if $(QUICK),--quick) $(BUILD)
