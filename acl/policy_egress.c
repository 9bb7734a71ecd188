/*
 * policy_egress.c - the keys of a partner that say how it is left for: from which addresses, and
 * what NAT does beyond its `cidr`.
 */
#include <errno.h>

#include "acl/policy_reader.h"
#include "acl/values.h"

#define RESOLVED_MAX 1000 /* names of a section that are looked up for NAT */

int reader_nat(struct reader *r, struct draft *d)
{
	struct text value = reader_value(r, d, SOURCE_CONNECTIONS);
	uint64_t connections = 0;

	if (value.at && !number_parse(&connections, value, 1, 1000000))
		return reader_refuse(r, value, "a number of connections, 1-1000000");
	d->section->source_connections = (uint32_t)connections;
	value = reader_value(r, d, NAT);
	if (!value.at)
		return 0;
	if (!text_equal(value, TEXT("resolve")))
		return reader_refuse(r, value, "resolve, or no such line");
	if (!d->keys[HOSTS] && !d->keys[HOSTS_FILE])
		return reader_refuse(r, value, "hosts or hosts-file beside it");
	d->section->resolve = true;
	return 0;
}

static bool is_plain_name(const char *pattern)
{
	struct addr addr;

	return pattern[0] != '*' && pattern[0] != '.' && !addr_parse(&addr, text_of(pattern));
}

int reader_resolvable(struct reader *r, const struct draft *d, struct text item)
{
	const struct hostset *hosts = &r->policy->hosts;

	if (!is_plain_name(hostset_pattern(hosts, hosts->n_patterns - 1)))
		return reader_refuse(
			r, item, "a name without * or dot before it, as nat = resolve looks it up");
	if (hosts->n_patterns - d->part->first_host > RESOLVED_MAX)
		return reader_refuse(r, item, "at most 1000 names with nat = resolve");
	return 0;
}

/* How many of the section's addresses are of `like`'s version. */
static size_t count_like(const struct section *section, const struct addr *like)
{
	size_t i, n = 0;

	for (i = 0; i < section->n_egress; i++)
		n += addr_is_v4(&section->egress[i]) == addr_is_v4(like);
	return n;
}

static int take_egress(struct reader *r, struct draft *d, struct text item)
{
	struct section *section = d->section;
	struct addr addr;
	enum addr_class class;
	size_t i;

	if (!addr_parse(&addr, item))
		return reader_refuse(r, item, "an IPv4 or IPv6 address");
	class = addr_classify(&addr);
	if (class == ADDR_UNSPECIFIED || class == ADDR_MULTICAST)
		return reader_refuse(r, item, "an address that a host can have");
	for (i = 0; i < section->n_egress; i++) {
		if (addr_equal(&section->egress[i], &addr))
			return reader_refuse(r, item, "each address once");
	}
	if (count_like(section, &addr) == EGRESS_MAX)
		return reader_refuse(r, item, "at most 16 IPv4 and 16 IPv6 addresses");
	section->egress[section->n_egress++] = addr;
	return 0;
}

static bool has_several(const struct section *section)
{
	size_t i;

	for (i = 0; i < section->n_egress; i++) {
		if (count_like(section, &section->egress[i]) > 1)
			return true;
	}
	return false;
}

static int read_spread(struct reader *r, struct draft *d)
{
	struct text value = reader_value(r, d, SPREAD);

	if (!value.at)
		return 0;
	if (!spread_parse(&d->section->spread, value))
		return reader_refuse(r, value, "source or connection");
	if (!has_several(d->section))
		return reader_refuse(
			r, value, "several addresses of a version in egress-ip beside it");
	return 0;
}

/* The list grows in a buffer and is copied: most have one address. */
int reader_egress(struct reader *r, struct draft *d)
{
	struct text value = reader_value(r, d, EGRESS_IP);
	struct section *section = d->section;
	struct addr list[2 * EGRESS_MAX];
	int error;

	if (value.at) {
		section->egress = list;
		error = reader_each_item(r, d, value, take_egress);
		section->egress = error ? NULL
					: arena_copy(&r->policy->arena, list,
						  section->n_egress * sizeof(*list));
		if (error)
			return error;
		if (!section->egress)
			return reader_no_memory(r, -ENOMEM);
	}
	return read_spread(r, d);
}
