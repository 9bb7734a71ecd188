# make bench: what a request, a tunnel and a byte cost, beside the peers of Debian and a bare relay;
# what a hit of the cache costs, beside other caches; what translation costs, beside hand-written rules;
# what the way to another node costs.

BENCH_PACKAGES := haproxy squid nginx-light libnginx-mod-stream iproute2 util-linux strace python3
BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,load origin relay)

CACHE_BENCH_PACKAGES := haproxy squid nginx-light varnish trafficserver iproute2 util-linux python3
CACHE_BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,load origin)

NAT_BENCH_PACKAGES := nftables iproute2 conntrack ethtool util-linux strace python3

$(BUILD)/bench/%: tests/bench/%.c tests/bench/net.c tests/bench/net.h
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(CFLAGS) -o $@ $(filter %.c,$^)

.PHONY: bench
bench: deps ## CPU and memory beside HAProxy, nginx, Squid and a bare relay; bench-cache, -nat, -steered and -image (QUICK=1: once, coarse)
	$(call install,$(BENCH_PACKAGES))
	@$(MAKE) --no-print-directory all $(BENCH_PROGRAMS)
	$(PYTHON) tests/bench/bench.py $(if $(QUICK),--quick) $(BUILD)
	@$(MAKE) --no-print-directory bench-cache
	@$(MAKE) --no-print-directory bench-nat
	@$(MAKE) --no-print-directory bench-steered
	@$(MAKE) --no-print-directory bench-image

.PHONY: bench-cache
bench-cache: deps ## what a hit costs beside Debian's caches; memory, and a start with a full store of up to 10 GB (QUICK=1: once, coarse)
	$(call install,$(CACHE_BENCH_PACKAGES))
	@$(MAKE) --no-print-directory all $(CACHE_BENCH_PROGRAMS)
	$(PYTHON) tests/bench/cached.py $(if $(QUICK),--quick) $(BUILD)

.PHONY: bench-nat
bench-nat: deps ## what translation costs beside plain routing and hand-written rules (QUICK=1: once, coarse)
	$(call install,$(NAT_BENCH_PACKAGES))
	@$(MAKE) --no-print-directory all $(BUILD)/bench/through
	$(PYTHON) tests/bench/nat.py $(if $(QUICK),--quick) $(BUILD)

.PHONY: bench-steered
bench-steered: deps ## what a flow costs that is steered to another node, beside one that leaves from its own
	$(call install,$(NAT_BENCH_PACKAGES))
	@$(MAKE) --no-print-directory all $(BUILD)/bench/through $(SYSTEM_PROGRAMS)
	EGRETD=$(BUILD)/egretd $(PYTHON) tests/bench/steered.py $(if $(QUICK),--quick) $(BUILD)

.PHONY: compare-refusals
compare-refusals: test-deps ## the messages that must be refused, through egret and Debian's Squid, as a table
	$(call install,squid)
	@$(MAKE) --no-print-directory all
	EGRETD=$(BUILD)/egretd $(PYTHON) tests/bench/refusals.py

$(BUILD)/bench/evict: tests/bench/evict.c $(BUILD)/libegret.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: bench-evict
bench-evict: deps ## what the cache keeps beside LRU and the optimum, its speed and memory, restarts (QUICK=1: a smaller file)
	@$(MAKE) --no-print-directory $(BUILD)/bench/evict
	$(BUILD)/bench/evict ratios
	$(BUILD)/bench/evict speed
	$(BUILD)/bench/evict reopen $(BUILD)/bench/evict.cache $(if $(QUICK),1,10) 32768

.PHONY: bench-image
bench-image: deps ## the image under runc: start to first request, memory when idle (QUICK=1: three times)
	$(call install,$(IMAGE_PACKAGES) umoci skopeo runc dnsmasq-base nftables iproute2)
	@$(MAKE) --no-print-directory all
	EGRETD=$(BUILD)/egretd $(PYTHON) -B tests/bench/contained.py $(if $(QUICK),--quick)
