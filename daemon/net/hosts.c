/*
 * hosts.c - a line is cut at its comment and into words; the first is an address.
 */
#include "daemon/net/hosts.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>

#include "daemon/net/resolver.h"

/* Cuts off what is before the first of `delimiters` or the end. */
static struct text cut(struct text *rest, const char *delimiters)
{
	struct text part = {rest->at, 0};

	while (part.length < rest->length && !strchr(delimiters, part.at[part.length]))
		part.length++;
	rest->at += part.length;
	rest->length -= part.length;
	return part;
}

static void skip(struct text *rest, const char *bytes)
{
	while (rest->length > 0 && *rest->at && strchr(bytes, *rest->at)) {
		rest->at++;
		rest->length--;
	}
}

/* An empty word: the line is over. */
static struct text next_word(struct text *line)
{
	skip(line, " \t\r");
	return cut(line, " \t\r");
}

static bool has_addr(const struct name *name, const struct addr *addr)
{
	for (size_t i = 0; i < name->n_addrs; i++)
		if (addr_equal(&name->addrs[i], addr))
			return true;
	return false;
}

static bool append_addr(struct name *name, const struct addr *addr)
{
	struct addr all[RESOLVER_ADDRS];
	size_t n = name->n_addrs;

	if (n == RESOLVER_ADDRS || has_addr(name, addr))
		return true;
	if (n > 0)
		memcpy(all, name->addrs, n * sizeof(all[0]));
	all[n] = *addr;
	return name_set_addrs(name, all, n + 1);
}

static bool add(struct names *names, struct text word, const struct addr *addr)
{
	char lower[NAME_LENGTH];
	struct text text = {lower, word.length};
	struct name *name;

	for (size_t i = 0; i < word.length; i++)
		lower[i] = (char)tolower((unsigned char)word.at[i]);
	name = names_find(names, text);
	if (!name)
		name = names_add(names, text);
	if (!name)
		return false;
	name->status = RESOLVER_OK;
	name->expires = INFINITY;
	return append_addr(name, addr);
}

static int add_line(
	struct names *names, const char *file, struct text line, size_t number, struct error *e)
{
	struct text word = next_word(&line);
	struct addr addr;

	if (word.length == 0 || memchr(word.at, '%', word.length))
		return 0;
	if (!addr_parse(&addr, word))
		return error_set(e, -EINVAL, "%s:%zu: %.*s: want an address, then names", file,
			number, (int)word.length, word.at);
	word = next_word(&line);
	if (word.length == 0)
		return error_set(e, -EINVAL, "%s:%zu: want names after the address", file, number);
	for (; word.length > 0; word = next_word(&line)) {
		if (word.length > 1 && word.at[word.length - 1] == '.')
			word.length--;
		if (word.length > NAME_LENGTH)
			return error_set(e, -EINVAL, "%s:%zu: %.*s...: want at most %d characters",
				file, number, 40, word.at, NAME_LENGTH);
		if (!add(names, word, &addr))
			return error_set(e, -ENOMEM, "%s: out of memory", file);
	}
	return 0;
}

int hosts_add(struct names *names, const char *file, struct text text, struct error *e)
{
	for (size_t number = 1; text.length > 0; number++) {
		struct text line = cut(&text, "\n");
		int r = add_line(names, file, cut(&line, "#"), number, e);

		if (r < 0)
			return r;
		if (text.length > 0) {
			text.at++;
			text.length--;
		}
	}
	return 0;
}
