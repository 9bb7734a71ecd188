# make conformance: the public suite for HTTP caches, through egret, and through its peers.

PEER_PACKAGES := trafficserver apache2 squid varnish nginx-light haproxy

.PHONY: conformance
conformance: test-deps ## the public suite for HTTP caches through egret; docs/conformance.md lists what fails
	@$(MAKE) --no-print-directory all
	$(PYTHON) tests/conformance/conformance.py $(BUILD)

.PHONY: conformance-peers
conformance-peers: test-deps ## the same, and through Debian's caches: a new table in docs/conformance.md
	$(call install,$(PEER_PACKAGES))
	@$(MAKE) --no-print-directory all
	$(PYTHON) tests/conformance/conformance.py --peers $(BUILD)
