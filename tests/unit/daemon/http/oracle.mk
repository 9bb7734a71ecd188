# llhttp, as Debian's node-llhttp ships it, strict: the second opinion of oracle_test.  Never part of egretd.

LLHTTP := $(patsubst %,$(BUILD)/llhttp/%.o,api http llhttp)

$(BUILD)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DLLHTTP_STRICT_MODE -isystem /usr/share/include/llhttp $(CFLAGS) -w -c -o $@ $<

$(BUILD)/unit/daemon/http/oracle_test: CPPFLAGS += -isystem /usr/share/include/llhttp
$(BUILD)/unit/daemon/http/oracle_test: $(LLHTTP)
