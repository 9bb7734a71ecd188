# egret: build, test, run.  `make help` lists the targets.

CC      ?= gcc
SAN     ?=
BUILD   := build$(if $(SAN),/$(SAN))
PKGS    := libnftnl libmnl libcares jansson libmd libseccomp libcap-ng
CPPFLAGS += -D_GNU_SOURCE -I. $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS  ?= -O2 -g
CFLAGS  += -std=c11 -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
           -Wformat=2 -Wno-format-nonliteral -fno-strict-aliasing -fno-common -fstack-protector-strong -pthread
LDLIBS  += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lev -liniparser -pthread
ifneq ($(SAN),)
CFLAGS  += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LDFLAGS += -fsanitize=$(SAN)
else
CPPFLAGS += -D_FORTIFY_SOURCE=2
LDFLAGS += -Wl,-z,relro,-z,now
endif

SOURCES := $(filter-out daemon/main.c,$(wildcard base/*.c acl/*.c nat/*.c daemon/*.c daemon/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(filter %_test.c,$(shell find tests/unit -name '*.c')))

.PHONY: all
all: $(BUILD)/egretd ## build egretd

$(BUILD)/egretd: $(BUILD)/daemon/main.o $(BUILD)/libegret.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/libegret.a: $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libegret.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libegret.a $(LDLIBS) -lcmocka

.PHONY: unit
unit: $(TESTS) ## build and run the unit tests
	@set -e; for t in $(TESTS); do echo "== $$t"; $$t; done

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t16

.PHONY: clean
clean: ## remove what was built
	rm -rf build

-include $(OBJECTS:.o=.d) $(BUILD)/daemon/main.d $(TESTS:=.d)
