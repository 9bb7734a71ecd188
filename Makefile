# egret: build, test, run.  `make help` lists the targets.

CC      ?= gcc
SAN     ?=
PYTHON  := /usr/bin/python3
BUILD   := build$(if $(SAN),/$(SAN))

VERSION := 0.1.0
PKGS    := libnftnl libmnl libcares jansson libmd libseccomp libcap-ng
CPPFLAGS += -D_GNU_SOURCE -DEGRET_VERSION='"$(VERSION)"' -I. $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS  ?= -O2 -g
CFLAGS  += -std=c11 -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
           -Wformat=2 -Wno-format-nonliteral -fno-strict-aliasing -fno-common -fstack-protector-strong -pthread
LDLIBS  += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lev -lm -pthread
ifneq ($(SAN),)
CFLAGS  += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=$(SAN)
else
CPPFLAGS += -D_FORTIFY_SOURCE=2
LDFLAGS += -Wl,-z,relro,-z,now
endif

SOURCES := $(filter-out daemon/main.c,$(wildcard base/*.c acl/*.c nat/*.c daemon/*.c daemon/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
CTL_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard ctl/*.c))
TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(shell find tests/unit -name '*_test.c'))

.PHONY: all
all: $(BUILD)/egretd $(BUILD)/egretctl ## build egretd and egretctl

$(BUILD)/egretd: $(BUILD)/daemon/main.o $(BUILD)/libegret.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/egretctl: $(CTL_OBJECTS) $(BUILD)/libegret.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/libegret.a: $(OBJECTS)
	@rm -f $@
	@$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libegret.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $(filter %.c %.o %.a,$^) $(LDLIBS) -lcmocka -liniparser

-include tests/unit/daemon/http/oracle.mk tests/fuzz/fuzz.mk tests/bench/bench.mk tests/system/system.mk \
	tests/conformance/conformance.mk docs/man.mk image/image.mk systemd/install.mk

# ---- what a newcomer types ----------------------------------------------------------------

.PHONY: run
run: deps ## install what it needs (Debian, as root), build, run in the foreground on etc/
	@$(MAKE) --no-print-directory all
	@cat docs/try.txt
	exec $(BUILD)/egretd -c etc/egret.ini

.PHONY: demo
demo: test-deps ## a pod, a gateway and two partners in network namespaces, shown with curl
	@$(MAKE) --no-print-directory all
	$(PYTHON) tests/demo.py

# ---- tests --------------------------------------------------------------------------------

PARALLEL := $(shell nproc)
# System tests wait more than they compute.
WORLDS   := $(shell expr 2 \* $(PARALLEL))

.PHONY: test
test: test-deps ## everything that CI runs
	$(MAKE) -j$(PARALLEL) check
	$(MAKE) conformance
	$(MAKE) -j$(PARALLEL) valgrind
	$(MAKE) -j$(PARALLEL) check SAN=address,undefined

.PHONY: check
check: all unit $(SYSTEM_PROGRAMS) ## unit and system tests of one build (SAN=address,undefined for the other)
	EGRETD=$(BUILD)/egretd $(PYTHON) -m pytest -q -rR -p no:cacheprovider -n $(WORLDS) --dist loadfile tests/system

# Runs a test; says more than its name if it fails, also of what another thread than its first finds.
run_test = @CMOCKA_TEST_ABORT=1 $(1) $< >$@.log 2>&1 || { cat $@.log; echo "== $@ failed"; exit 1; }; echo "== $@"

.PHONY: unit
unit: $(TESTS:%=%.run) ## unit tests
$(TESTS:%=%.run): %.run: %
	$(call run_test,)

VALGRIND := EGRET_SLOW=1 valgrind -q --error-exitcode=9 --leak-check=full \
	--show-leak-kinds=definite,indirect,possible --errors-for-leak-kinds=definite,indirect
# valgrind cannot follow a process that gives up execve(2).
.PHONY: valgrind
valgrind: $(patsubst %,%.valgrind,$(filter-out %/sandbox_test,$(TESTS))) ## unit tests under valgrind
$(TESTS:%=%.valgrind): %.valgrind: %
	$(call run_test,$(VALGRIND))

# ---- packages -----------------------------------------------------------------------------

BUILD_PACKAGES := gcc libc6-dev make pkg-config libev-dev libnftnl-dev libmnl-dev \
	libc-ares-dev libjansson-dev libmd-dev libseccomp-dev libcap-ng-dev libxxhash-dev
TEST_PACKAGES := libcmocka-dev libiniparser-dev python3 python3-pytest python3-pytest-xdist python3-pytest-rerunfailures nftables iproute2 iptables conntrack curl \
	python3-yaml python3-jsonschema $(if $(shell command -v kubectl),,kubernetes-client) \
	nginx-light openssl dnsmasq-base node-llhttp valgrind procps util-linux strace keepalived conntrackd wireguard-tools \
	nodejs ca-certificates lowdown mandoc binutils umoci skopeo runc buildah systemd

# Installs what is missing, where it can: as root on Debian.
define install
@missing=$$(for p in $(1); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "missing packages (install them as root):" $$missing >&2; exit 1; fi; \
		apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install -y --no-install-recommends $$missing >/dev/null; fi
endef

.PHONY: deps test-deps
deps: ## install what the build needs
	$(call install,$(BUILD_PACKAGES))
test-deps: deps ## install what the tests need
	$(call install,$(TEST_PACKAGES))
	@modprobe -qa nf_conntrack br_netfilter 2>/dev/null || true # the tests set parameters of these

# ---- housekeeping -------------------------------------------------------------------------

.PHONY: format
format: ## clang-format over the tree
	clang-format -i $$(git ls-files '*.c' '*.h')

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t16

.PHONY: clean
clean: ## remove what was built
	rm -rf build

-include $(OBJECTS:.o=.d) $(BUILD)/daemon/main.d $(CTL_OBJECTS:.o=.d) $(TESTS:=.d)
