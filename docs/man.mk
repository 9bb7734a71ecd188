# Man pages, from the pages in docs/.

MAN_PAGES := $(addprefix $(BUILD)/man/,egretd.8 egretctl.1 egret.ini.5 acl.ini.5)

.PHONY: man
man: $(MAN_PAGES) ## man pages, into build/man/

$(BUILD)/man/egretd.8: docs/egretd.md
$(BUILD)/man/egretctl.1: docs/egretctl.md
$(BUILD)/man/egret.ini.5: docs/egret.ini.md
$(BUILD)/man/acl.ini.5: docs/policy.md

$(MAN_PAGES): docs/man.awk docs/roff.awk
	@mkdir -p $(@D)
	@awk -f docs/man.awk $(filter %.md,$^) >$@.md
	@lowdown -s -tman --out-no-smart -m title=$(basename $(@F)) -m section=$(subst .,,$(suffix $(@F))) \
		-m source="egret $(VERSION)" -m date=$$(date -u -r $(filter %.md,$^) +%F) -o $@.roff $@.md
	awk -f docs/roff.awk $@.roff >$@
	@rm $@.md $@.roff

.PHONY: keys
keys: ## docs/egret.ini.md from etc/egret.ini, after a change of a key
	awk -f docs/keys.awk etc/egret.ini >docs/egret.ini.md
