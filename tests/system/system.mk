# Programs of the system tests: what judges packets, and what sends them.

SYSTEM_PROGRAMS := $(addprefix $(BUILD)/system/,judge traffic)

$(BUILD)/system/%: tests/system/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(CFLAGS) $(LDFLAGS) -o $@ $<

.PHONY: soak
soak: test-deps ## policy edits, flushes and kills under traffic, for SECONDS=3600 (SEED=1 repeats a run; NODES=4 is a cluster)
	@$(MAKE) --no-print-directory all $(SYSTEM_PROGRAMS)
	$(PYTHON) tests/system/soak.py --seconds $(or $(SECONDS),3600) $(if $(SEED),--seed $(SEED)) $(if $(NODES),--nodes $(NODES))
