# make install: programs, units and what comes with them, below DESTDIR.

PREFIX  ?= /usr/local
DATA    := $(DESTDIR)$(PREFIX)/share
LIB     := $(DESTDIR)$(PREFIX)/lib
CONFIG  := $(DESTDIR)/etc/egret
UNITS   := $(notdir $(wildcard systemd/*.service))
MANUALS  = $(notdir $(wildcard $(BUILD)/man/*.[1-8]))

.PHONY: install
install: all ## programs, units, configuration (PREFIX=/usr/local DESTDIR=); what is configured already stays
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/egretd $(BUILD)/egretctl
	install -d -m 755 $(LIB)/systemd/system
	set -e; for unit in $(UNITS); do \
		sed 's,/usr/bin,$(PREFIX)/bin,g' systemd/$$unit | install -m 644 /dev/stdin $(LIB)/systemd/system/$$unit; done
	install -D -m 644 systemd/egret.sysusers $(LIB)/sysusers.d/egret.conf
	install -D -m 644 systemd/egret.tmpfiles $(LIB)/tmpfiles.d/egret.conf
	set -e; for file in egret.ini acl.ini; do \
		test -e $(CONFIG)/$$file || install -D -m 644 etc/$$file $(CONFIG)/$$file; done
	set -e; for page in $(MANUALS); do \
		install -D -m 644 $(BUILD)/man/$$page $(DATA)/man/man$${page##*.}/$$page; done
	set -e; for file in $(wildcard ctl/egretctl.bash); do \
		install -D -m 644 $$file $(DATA)/bash-completion/completions/egretctl; done

.PHONY: uninstall
uninstall: ## what `make install` put there, but no configuration that was changed
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,egretd egretctl) $(addprefix $(LIB)/systemd/system/,$(UNITS)) \
		$(LIB)/sysusers.d/egret.conf $(LIB)/tmpfiles.d/egret.conf $(DATA)/bash-completion/completions/egretctl \
		$(foreach page,$(MANUALS),$(DATA)/man/man$(lastword $(subst ., ,$(page)))/$(page))
	for file in egret.ini acl.ini; do cmp -s etc/$$file $(CONFIG)/$$file && rm $(CONFIG)/$$file; done; \
		rmdir $(CONFIG) 2>/dev/null || true
