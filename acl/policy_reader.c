/*
 * policy_reader.c - the keys of a section, one after the other.
 *
 * Sections that say the same about ports, protocol and sources share one scope, found by the
 * values as they are written: 10,000 sections "from = payments" resolve the group once.
 */
#include "acl/policy_reader.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>

#include "acl/cidrs.h"
#include "acl/host.h"
#include "acl/values.h"

#define SHOWN 80                       /* bytes of a value that a message repeats */
#define REFILL_MAX 3153600000000000000 /* nanoseconds: 100 years */

static const struct {
	const char *name;
	bool in[N_KINDS];
} keys[N_KEYS] = {
	[HOSTS] = {"hosts", {[PARTNER] = true, [BLOCK] = true}},
	[HOSTS_FILE] = {"hosts-file", {[PARTNER] = true, [BLOCK] = true}},
	[CIDR] = {"cidr", {[PARTNER] = true, [BLOCK] = true, [GROUP] = true}},
	[CIDR_FILE] = {"cidr-file", {[PARTNER] = true, [BLOCK] = true, [GROUP] = true}},
	[PORTS] = {"ports", {[PARTNER] = true, [BLOCK] = true}},
	[PROTOCOL] = {"protocol", {[PARTNER] = true, [BLOCK] = true}},
	[FROM] = {"from", {[PARTNER] = true, [BLOCK] = true}},
	[MODE] = {"mode", {[PARTNER] = true, [BLOCK] = true}},
	[EGRESS_IP] = {"egress-ip", {[PARTNER] = true}},
	[SPREAD] = {"spread", {[PARTNER] = true}},
	[NAT] = {"nat", {[PARTNER] = true}},
	[SOURCE_CONNECTIONS] = {"source-connections", {[PARTNER] = true}},
	[RATE] = {"rate", {[PARTNER] = true}},
	[BURST] = {"burst", {[PARTNER] = true}},
	[RATE_PER] = {"rate-per", {[PARTNER] = true}},
	[CACHE] = {"cache", {[PARTNER] = true}},
	[CACHE_PER] = {"cache-per", {[PARTNER] = true}},
	[CACHE_MIN_LIFETIME] = {"cache-min-lifetime", {[PARTNER] = true}},
	[CACHE_MAX_LIFETIME] = {"cache-max-lifetime", {[PARTNER] = true}},
	[CACHE_IGNORE_QUERY] = {"cache-ignore-query", {[PARTNER] = true}},
	[CACHE_SURROGATE] = {"cache-surrogate", {[PARTNER] = true}},
	[CAPTURE] = {"capture", {[GROUP] = true}},
};

struct scope_name {
	const char *text;
	uint32_t scope;
};

int heading_order(const void *left, const void *right)
{
	const struct heading *a = left, *b = right;

	return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcasecmp(a->name, b->name);
}

int reader_no_memory(struct reader *r, int error)
{
	return error_set(
		r->e, error, "%s:%d: %s: %s", r->file, r->line, r->section, strerror(-error));
}

int reader_refuse(struct reader *r, struct text value, const char *want)
{
	char shown[SHOWN + 1];
	size_t i, n = value.length < SHOWN ? value.length : SHOWN;

	for (i = 0; i < n; i++)
		shown[i] = value.at[i] > 0x1f && value.at[i] < 0x7f ? value.at[i] : '?';
	shown[n] = '\0';
	return error_set(r->e, -EINVAL, "%s:%d: %s: %s = %s%s: want %s", r->file, r->line,
		r->section, r->key, shown, n < value.length ? "..." : "", want);
}

int reader_refuse_section(struct reader *r, const char *want)
{
	return error_set(r->e, -EINVAL, "%s:%d: %s: want %s", r->file, r->line, r->section, want);
}

static int collect(struct reader *r, struct collected *c, const void *element, size_t size)
{
	if (c->n == c->max) {
		size_t max = c->max ? 2 * c->max : 64;
		void *at = realloc(c->at, max * size);

		if (!at)
			return reader_no_memory(r, -ENOMEM);
		c->at = at;
		c->max = max;
	}
	memcpy((char *)c->at + c->n++ * size, element, size);
	return 0;
}

/* Sorts the keys of a section into `draft`. */
int reader_keys(struct reader *r, struct draft *d)
{
	char want[400] = "a key of: ";
	enum kind kind = d->heading->kind;
	size_t i, key;

	for (i = 0; i < d->heading->ini->n_keys; i++) {
		const struct ini_key *given = &d->heading->ini->keys[i];

		for (key = 0; key < N_KEYS; key++) {
			if (keys[key].in[kind] && strcmp(given->name, keys[key].name) == 0)
				break;
		}
		r->line = given->line;
		r->key = given->name;
		if (key < N_KEYS && *given->value) {
			d->keys[key] = given;
			continue;
		}
		if (key < N_KEYS)
			return reader_refuse(r, TEXT(""), "a value");
		for (key = 0; key < N_KEYS; key++) {
			if (keys[key].in[kind])
				snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s%s",
					key == HOSTS || (kind == GROUP && key == CIDR) ? "" : ", ",
					keys[key].name);
		}
		return reader_refuse(r, text_of(given->value), want);
	}
	r->line = d->heading->ini->line;
	return 0;
}

/* ---- lists ---- */

struct text reader_value(struct reader *r, const struct draft *d, enum key key)
{
	const struct ini_key *found = d->keys[key];

	if (!found)
		return (struct text){0};
	r->line = found->line;
	r->key = found->name;
	return text_of(found->value);
}

int reader_each_item(struct reader *r, struct draft *d, struct text value, take_item *take)
{
	const struct text whole = value;
	struct text item;
	int error = 0;

	while (!error && list_take(&value, &item)) {
		if (item.length == 0)
			return reader_refuse(r, whole, "something before and behind each comma");
		error = take(r, d, item);
	}
	return error;
}

char *reader_path(struct reader *r, struct text name)
{
	struct text dir = name.at[0] == '/' ? (struct text){0} : r->dir;
	char *path = arena_alloc(&r->policy->arena, dir.length + name.length + 1);

	if (path)
		snprintf(path, dir.length + name.length + 1, "%.*s%.*s", (int)dir.length, dir.at,
			(int)name.length, name.at);
	return path;
}

static int each_line(
	struct reader *r, struct draft *d, struct text name, const char *key, take_item *take)
{
	const char *path = reader_path(r, name), *file = r->file;
	struct text rest, line;
	struct error why;
	int error, back = r->line;

	if (!path)
		return reader_no_memory(r, -ENOMEM);
	error = files_get(r->files, path, &rest, &why);
	if (error)
		return error_set(r->e, error, "%s:%d: %s: %s = %.*s: %.200s", r->file, r->line,
			r->section, r->key, SHOWN, name.at, why.text);
	r->file = path;
	r->key = key;
	for (r->line = 1; !error && line_take(&rest, &line); r->line++) {
		line = line_strip(line);
		if (line.length > 0)
			error = take(r, d, line);
	}
	r->file = file;
	r->line = back;
	return error;
}

/* What a key lists and what the file of its -file key does. */
static int each_entry(
	struct reader *r, struct draft *d, enum key key, enum key file_key, take_item *take)
{
	struct text value = reader_value(r, d, key);
	int error = 0;

	if (value.at)
		error = reader_each_item(r, d, value, take);
	if (error)
		return error;
	value = reader_value(r, d, file_key);
	return value.at ? each_line(r, d, value, keys[key].name, take) : 0;
}

/* ---- networks ---- */

static int take_cidr(struct reader *r, struct draft *d, struct text item)
{
	struct cidr cidr;

	(void)d;
	if (!cidr_parse(&cidr, item))
		return reader_refuse(r, item,
			"an address, or a network such as 10.42.0.0/16 or 2001:db8::/32, "
			"its host bits zero");
	return collect(r, &r->nets, &cidr, sizeof(cidr));
}

/* Moves the collected networks to `list`. */
static int keep_nets(struct reader *r, struct cidr_list *list)
{
	list->n = cidrs_sort(r->nets.at, r->nets.n);
	list->at = arena_copy(&r->policy->arena, r->nets.at, list->n * sizeof(struct cidr));
	r->nets.n = 0;
	return list->at ? 0 : reader_no_memory(r, -ENOMEM);
}

static bool is_everything(const struct cidr *cidr)
{
	return cidr->bits == (cidr_is_v4(cidr) ? 96 : 0);
}

/* Moves the collected networks to the section's lists: all of them, and those that lift the guard.
 */
static int keep_section_nets(struct reader *r, struct draft *d)
{
	const struct cidr *all = r->nets.at;
	struct cidr *named = arena_alloc(&r->policy->arena, r->nets.n * sizeof(*named));
	size_t i, n = 0;
	int error;

	if (!named)
		return reader_no_memory(r, -ENOMEM);
	for (i = 0; i < r->nets.n; i++) {
		if (!is_everything(&all[i]))
			named[n++] = all[i];
	}
	d->part->named = (struct cidr_list){named, cidrs_sort(named, n)};
	error = keep_nets(r, &d->section->cidrs);
	for (i = 0; i < d->section->cidrs.n && !error; i++) {
		error = netset_add(&r->policy->nets, &d->section->cidrs.at[i], d->section->index);
		if (error)
			reader_no_memory(r, error);
	}
	return error;
}

/* ---- hosts ---- */

/* Cuts the pattern's *. or . off `item`. */
static enum hostset_match match_of(struct text *item)
{
	enum hostset_match match = HOSTSET_EXACT;
	size_t cut = 0;

	if (item->length >= 2 && memcmp(item->at, "*.", 2) == 0) {
		match = HOSTSET_BELOW;
		cut = 2;
	} else if (item->at[0] == '.') {
		match = HOSTSET_TREE;
		cut = 1;
	}
	*item = (struct text){item->at + cut, item->length - cut};
	return match;
}

static int add_host(struct reader *r, struct text item, uint32_t section)
{
	struct hostset *hosts = &r->policy->hosts;
	enum hostset_match match;
	enum host_kind kind;
	char name[HOST_MAX];
	struct addr addr;

	if (text_equal(item, TEXT("*")))
		return hostset_add(hosts, HOSTSET_BELOW, (struct text){0}, section);
	match = match_of(&item);
	if (memchr(item.at, ':', item.length) && addr_parse(&addr, item))
		kind = HOST_ADDRESS; /* IPv6 without its brackets */
	else
		kind = host_canonical(item, name, &addr);
	if (kind == HOST_NAME)
		return hostset_add(hosts, match, text_of(name), section);
	if (kind == HOST_ADDRESS && match == HOSTSET_EXACT)
		return hostset_add_address(hosts, &addr, section);
	return -EINVAL;
}

static int take_host(struct reader *r, struct draft *d, struct text item)
{
	int error = add_host(r, item, d->section->index);

	if (error == -EINVAL)
		return reader_refuse(r, item,
			"a name, *.NAME for all below it, .NAME for both, an address, or *");
	if (error)
		return reader_no_memory(r, error);
	return d->section->resolve ? reader_resolvable(r, d, item) : 0;
}

/* ---- scopes ---- */

static const struct group *group_of(struct reader *r, struct text name)
{
	char copy[NAME_MAX_LENGTH + 1];
	struct heading wanted = {.kind = GROUP, .name = copy};
	struct heading *const *found;

	if (name.length >= sizeof(copy))
		return NULL;
	memcpy(copy, name.at, name.length);
	copy[name.length] = '\0';
	found = tfind(&wanted, &r->headings_by_name, heading_order);
	return found && strcmp((*found)->name, copy) == 0 ? (*found)->group : NULL;
}

/* The networks that one item of `from` stands for; *one is room for a single one. */
static bool sources_of(
	struct reader *r, struct text item, struct cidr *one, struct cidr_list *sources)
{
	static struct cidr everybody[] = {
		{.addr = {{[10] = 0xff, [11] = 0xff}}, .bits = 96},
		{.bits = 0},
	};
	const struct group *group;

	if (text_equal(item, TEXT("pods"))) {
		*sources = r->policy->pods;
	} else if (text_equal(item, TEXT("any"))) {
		*sources = (struct cidr_list){everybody, COUNT_OF(everybody)};
	} else if (cidr_parse(one, item)) {
		*sources = (struct cidr_list){one, 1};
	} else {
		group = group_of(r, item);
		if (!group)
			return false;
		*sources = group->cidrs;
	}
	return true;
}

static int take_source(struct reader *r, struct draft *d, struct text item)
{
	struct cidr_list sources;
	struct cidr one;
	size_t i;
	int error = 0;

	(void)d;
	if (!sources_of(r, item, &one, &sources))
		return reader_refuse(r, item,
			"a [group] that is defined, a network with host bits zero, pods or any");
	for (i = 0; i < sources.n && !error; i++)
		error = collect(r, &r->nets, &sources.at[i], sizeof(sources.at[i]));
	return error;
}

static int read_from(struct reader *r, struct draft *d, struct text value, struct cidr_list *from)
{
	struct cidr one;
	int error;

	/* A group alone is not copied: large ones are used often. */
	if (sources_of(r, value, &one, from) && from->at != &one)
		return 0;
	error = reader_each_item(r, d, value, take_source);
	return error ? error : keep_nets(r, from);
}

static int take_ports(struct reader *r, struct draft *d, struct text item)
{
	struct ports ports;

	(void)d;
	if (!ports_parse(&ports, item))
		return reader_refuse(r, item, "ports and LOW-HIGH, 1-65535");
	return collect(r, &r->ports, &ports, sizeof(ports));
}

static int read_ports(struct reader *r, struct draft *d, struct scope *scope)
{
	struct text value = reader_value(r, d, PORTS);
	int error;

	r->ports.n = 0;
	scope->connect_443 = !value.at && d->heading->kind == PARTNER;
	if (!value.at)
		return 0;
	error = reader_each_item(r, d, value, take_ports);
	if (error)
		return error;
	scope->n_ports = ports_sort(r->ports.at, r->ports.n);
	scope->ports =
		arena_copy(&r->policy->arena, r->ports.at, scope->n_ports * sizeof(struct ports));
	return scope->ports ? 0 : reader_no_memory(r, -ENOMEM);
}

static int read_scope(struct reader *r, struct draft *d, struct scope *scope)
{
	struct text value = reader_value(r, d, PROTOCOL);
	int error;

	scope->protocol = PROTOCOL_ANY;
	if (value.at && !protocol_parse(&scope->protocol, value))
		return reader_refuse(r, value, "tcp, udp or any");
	error = read_ports(r, d, scope);
	if (error)
		return error;
	value = reader_value(r, d, FROM);
	if (!value.at)
		value = d->heading->kind == PARTNER ? TEXT("pods") : TEXT("any");
	return read_from(r, d, value, &scope->from);
}

static int by_text(const void *left, const void *right)
{
	const struct scope_name *a = left, *b = right;

	return strcmp(a->text, b->text);
}

static const char *written(const struct draft *d, enum key key)
{
	return d->keys[key] ? d->keys[key]->value : "";
}

static struct scope_name *name_scope(struct reader *r, const struct draft *d)
{
	const char *ports = written(d, PORTS), *protocol = written(d, PROTOCOL);
	const char *from = written(d, FROM);
	size_t size = strlen(ports) + strlen(protocol) + strlen(from) + 5;
	struct scope_name *name = arena_alloc(&r->policy->arena, sizeof(*name) + size);

	if (!name)
		return NULL;
	name->scope = (uint32_t)r->policy->n_scopes;
	name->text = (char *)(name + 1);
	snprintf((char *)(name + 1), size, "%c\n%s\n%s\n%s", "pb"[d->heading->kind], ports,
		protocol, from);
	return name;
}

/* Finds or makes the scope of a section. */
static int read_scope_once(struct reader *r, struct draft *d)
{
	struct scope_name *name = name_scope(r, d);
	struct scope_name **known = NULL;
	struct scope *scope;
	int error = 0;

	if (name)
		known = tsearch(name, &r->scopes_by_text, by_text);
	if (!known)
		return reader_no_memory(r, -ENOMEM);
	scope = &r->policy->scopes[(*known)->scope];
	if (*known == name) {
		r->policy->n_scopes++;
		error = read_scope(r, d, scope);
	}
	d->part->scope = (*known)->scope;
	d->section->protocol = scope->protocol;
	d->section->ports = scope->ports;
	d->section->n_ports = scope->n_ports;
	d->section->from = scope->from;
	return error;
}

/* ---- groups, partners and blocks ---- */

static int take_capture(struct reader *r, struct draft *d, struct text item)
{
	static const char *const names[N_CAPTURES] = {
		[CAPTURE_HTTP] = "http", [CAPTURE_HTTPS] = "https"};

	for (size_t i = 0; i < N_CAPTURES; i++) {
		if (!text_equal(item, text_of(names[i])))
			continue;
		d->group->captures[i] = true;
		return 0;
	}
	return reader_refuse(r, item, "http, https or both");
}

static int read_capture(struct reader *r, struct draft *d)
{
	struct text value = reader_value(r, d, CAPTURE);

	if (!value.at)
		return 0;
	d->group->file = r->file;
	d->group->line = r->line;
	return reader_each_item(r, d, value, take_capture);
}

int reader_group(struct reader *r, struct draft *d, struct group *group)
{
	int error;

	if (!d->keys[CIDR] && !d->keys[CIDR_FILE])
		return reader_refuse_section(r, "cidr or cidr-file in it");
	d->group = group;
	error = read_capture(r, d);
	if (!error)
		error = each_entry(r, d, CIDR, CIDR_FILE, take_cidr);
	return error ? error : keep_nets(r, &group->cidrs);
}

int reader_captured(struct reader *r)
{
	struct policy *policy = r->policy;
	int error = 0;

	for (size_t what = 0; what < N_CAPTURES && !error; what++) {
		r->nets.n = 0;
		for (size_t i = 0; i < policy->n_groups && !error; i++) {
			const struct group *group = &policy->groups[i];

			for (size_t j = 0; group->captures[what] && j < group->cidrs.n && !error;
				j++)
				error = collect(
					r, &r->nets, &group->cidrs.at[j], sizeof(struct cidr));
		}
		if (!error)
			error = keep_nets(r, &policy->captured[what]);
	}
	return error;
}

static int read_destination(struct reader *r, struct draft *d)
{
	int error;

	r->line = d->heading->ini->line;
	if (!d->keys[HOSTS] && !d->keys[HOSTS_FILE] && !d->keys[CIDR] && !d->keys[CIDR_FILE])
		return reader_refuse_section(r, "hosts, hosts-file, cidr or cidr-file in it");
	d->section->has_hosts = d->keys[HOSTS] || d->keys[HOSTS_FILE];
	d->part->first_host = r->policy->hosts.n_patterns;
	error = each_entry(r, d, HOSTS, HOSTS_FILE, take_host);
	if (error)
		return error;
	d->part->n_hosts = r->policy->hosts.n_patterns - d->part->first_host;
	error = each_entry(r, d, CIDR, CIDR_FILE, take_cidr);
	return error ? error : keep_section_nets(r, d);
}

static int read_mode(struct reader *r, struct draft *d)
{
	struct text value = reader_value(r, d, MODE);

	if (value.at && !mode_parse(&d->section->report, value))
		return reader_refuse(r, value, "enforce or report");
	if (d->section->kind == SECTION_PARTNER && d->section->report)
		r->policy->has_report_partner = true;
	return 0;
}

static int read_burst(struct reader *r, struct draft *d, uint64_t tokens)
{
	struct text value = reader_value(r, d, BURST);
	uint64_t refill, burst = tokens;

	if (value.at && !number_parse(&burst, value, 1, 1000000000))
		return reader_refuse(r, value, "a number of requests, 1-1000000000");
	if (__builtin_mul_overflow(burst, d->section->rate_ns, &refill) || refill > REFILL_MAX)
		return reader_refuse(r, value.at ? value : reader_value(r, d, RATE),
			"a bucket that is full again within 100 years");
	d->section->rate_burst = (uint32_t)burst;
	return 0;
}

static int read_rate(struct reader *r, struct draft *d)
{
	struct text value = reader_value(r, d, d->keys[BURST] ? BURST : RATE_PER);
	uint64_t tokens, period;

	if (!d->keys[RATE])
		return value.at ? reader_refuse(r, value, "a rate beside it") : 0;
	value = reader_value(r, d, RATE);
	if (!rate_parse(&tokens, &period, value))
		return reader_refuse(r, value,
			"requests per period, such as 100/1m: 1-1000000000, in s, m, h or d");
	d->section->rate_ns = (period + tokens - 1) / tokens;
	d->section->rate_text = arena_string(&r->policy->arena, value);
	if (!d->section->rate_text)
		return reader_no_memory(r, -ENOMEM);
	value = reader_value(r, d, RATE_PER);
	if (value.at && !rate_per_parse(&d->section->rate_per, value))
		return reader_refuse(r, value, "partner, source or source+host");
	return read_burst(r, d, tokens);
}

/* Notes a partner with networks as one that a name has to be looked up for, unless an earlier one
 * of the same scope stops every walk that would reach it. */
static int note_lookup(struct reader *r, const struct draft *d)
{
	struct policy *policy = r->policy;
	struct scope *scope = &policy->scopes[d->part->scope];
	const struct section *section = d->section;
	bool first_report = section->report && !r->has_report_lookup;
	int error;

	if (section->kind != SECTION_PARTNER || section->cidrs.n == 0)
		return 0;
	if (scope->has_networks && !first_report)
		return 0;
	scope->has_networks = true;
	r->has_report_lookup |= section->report;
	error = chain_append(&policy->lookup_chains, &policy->lookups, section->index);
	return error ? reader_no_memory(r, error) : 0;
}

int reader_section(struct reader *r, struct draft *d)
{
	int error = reader_nat(r, d);

	if (!error)
		error = read_destination(r, d);
	if (!error)
		error = read_scope_once(r, d);
	if (!error)
		error = read_mode(r, d);
	if (!error)
		error = reader_egress(r, d);
	if (!error)
		error = read_rate(r, d);
	if (!error)
		error = reader_cache(r, d);
	return error ? error : note_lookup(r, d);
}
