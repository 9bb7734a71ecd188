/*
 * policy_parse.c - acl.ini, acl.d/ and their lists become a policy.
 *
 * All ini files are split first, so that every heading is known: names are checked for
 * duplicates and groups can be used before they are defined.  Then groups are read, then partners
 * and blocks in file order, each into a `draft` that fills the indexes as it goes.
 *
 * Sections that say the same about ports, protocol and sources share one scope, found by the
 * values as they are written: 10,000 sections "from = payments" resolve the group once.
 */
#include <errno.h>
#include <search.h>
#include <stdio.h>

#include "acl/cidrs.h"
#include "acl/host.h"
#include "acl/ini.h"
#include "acl/policy_parts.h"
#include "acl/values.h"

#define NAME_MAX_LENGTH 64
#define SHOWN 80                       /* bytes of a value that a message repeats */
#define REFILL_MAX 3153600000000000000 /* nanoseconds: 100 years */

enum kind { PARTNER, BLOCK, GROUP, N_KINDS };
static const char *const kind_names[] = {"partner", "block", "group"};

enum key {
	HOSTS,
	HOSTS_FILE,
	CIDR,
	CIDR_FILE,
	PORTS,
	PROTOCOL,
	FROM,
	MODE,
	EGRESS_IP,
	RATE,
	BURST,
	RATE_PER,
	N_KEYS
};

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
	[RATE] = {"rate", {[PARTNER] = true}},
	[BURST] = {"burst", {[PARTNER] = true}},
	[RATE_PER] = {"rate-per", {[PARTNER] = true}},
};

/* One [section] of any file. */
struct heading {
	enum kind kind;
	const char *name; /* without the kind */
	const struct ini_section *ini;
	const char *file;
	const struct group *group; /* of a GROUP */
};

struct scope_name {
	const char *text;
	uint32_t scope;
};

/* Networks, ports or egress addresses while they are collected. */
struct collected {
	void *at;
	size_t n, max;
};

struct reader {
	struct policy *policy;
	struct files *files;
	struct error *e;
	struct text dir; /* of acl.ini, with its slash */
	struct ini *inis;
	size_t n_inis, max_inis;
	struct heading *headings;
	size_t n_headings;
	void *headings_by_name; /* tsearch(3) tree of struct heading */
	void *scopes_by_text;   /* tsearch(3) tree of struct scope_name */
	bool has_report_lookup;
	struct collected nets, ports;

	/* where the reader stands, for messages */
	const char *file;
	int line;
	const char *section, *key;
};

/* A section that is being read. */
struct draft {
	const struct heading *heading;
	const struct ini_key *keys[N_KEYS]; /* NULL: not there */
	struct section *section;            /* NULL in a group */
	struct part *part;
};

static int no_memory(struct reader *r, int error)
{
	return error_set(
		r->e, error, "%s:%d: %s: %s", r->file, r->line, r->section, strerror(-error));
}

/* "FILE:LINE: section: key = value: want what was wanted" */
static int refuse(struct reader *r, struct text value, const char *want)
{
	char shown[SHOWN + 1];
	size_t i, n = value.length < SHOWN ? value.length : SHOWN;

	for (i = 0; i < n; i++)
		shown[i] = value.at[i] > 0x1f && value.at[i] < 0x7f ? value.at[i] : '?';
	shown[n] = '\0';
	return error_set(r->e, -EINVAL, "%s:%d: %s: %s = %s%s: want %s", r->file, r->line,
		r->section, r->key, shown, n < value.length ? "..." : "", want);
}

static int refuse_section(struct reader *r, const char *want)
{
	return error_set(r->e, -EINVAL, "%s:%d: %s: want %s", r->file, r->line, r->section, want);
}

static int collect(struct reader *r, struct collected *c, const void *element, size_t size)
{
	if (c->n == c->max) {
		size_t max = c->max ? 2 * c->max : 64;
		void *at = realloc(c->at, max * size);

		if (!at)
			return no_memory(r, -ENOMEM);
		c->at = at;
		c->max = max;
	}
	memcpy((char *)c->at + c->n++ * size, element, size);
	return 0;
}

/* ---- headings ---- */

static int by_name(const void *left, const void *right)
{
	const struct heading *a = left, *b = right;

	return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcasecmp(a->name, b->name);
}

static bool is_name(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789_.-");

	return length > 0 && length <= NAME_MAX_LENGTH && name[length] == '\0';
}

static bool from_reads_otherwise(const char *name)
{
	struct cidr cidr;

	return strcasecmp(name, "pods") == 0 || strcasecmp(name, "any") == 0 ||
	       cidr_parse(&cidr, text_of(name));
}

static int read_heading(struct reader *r, struct heading *heading)
{
	const char *space = strchrnul(r->section, ' ');
	struct text word = {r->section, (size_t)(space - r->section)};
	enum kind kind = 0;

	while (kind < N_KINDS && !text_equal(word, text_of(kind_names[kind])))
		kind++;
	if (kind == N_KINDS || !*space)
		return refuse_section(r, "[partner NAME], [block NAME] or [group NAME]");
	heading->kind = kind;
	heading->name = space + 1;
	if (!is_name(heading->name))
		return refuse_section(
			r, "a NAME of letters, digits, _ . and -, at most 64 of them");
	if (kind == GROUP && from_reads_otherwise(heading->name))
		return refuse_section(r, "another NAME: in `from` this one means something else");
	return 0;
}

static int add_heading(struct reader *r, const char *file, const struct ini_section *ini)
{
	struct heading *heading = &r->headings[r->n_headings];
	struct heading **known;
	int error;

	r->file = file;
	r->line = ini->line;
	r->section = ini->name;
	*heading = (struct heading){.ini = ini, .file = file};
	error = read_heading(r, heading);
	if (error)
		return error;
	known = tsearch(heading, &r->headings_by_name, by_name);
	if (!known)
		return no_memory(r, -ENOMEM);
	if (*known != heading)
		return error_set(r->e, -EINVAL, "%s:%d: %s: want each section once, see %s:%d",
			file, ini->line, ini->name, (*known)->file, (*known)->ini->line);
	r->n_headings++;
	r->policy->n_groups += heading->kind == GROUP;
	r->policy->n_sections += heading->kind != GROUP;
	return 0;
}

static int add_headings(struct reader *r)
{
	size_t i, k, n = 0;
	int error = 0;

	for (i = 0; i < r->n_inis; i++)
		n += r->inis[i].n_sections;
	r->headings = calloc(n + 1, sizeof(*r->headings));
	if (!r->headings)
		return error_set(r->e, -ENOMEM, "%s: out of memory", r->inis[0].file);
	for (i = 0; i < r->n_inis; i++) {
		for (k = 0; k < r->inis[i].n_sections && !error; k++)
			error = add_heading(r, r->inis[i].file, &r->inis[i].sections[k]);
	}
	return error;
}

/* ---- lists ---- */

typedef int take_item(struct reader *r, struct draft *d, struct text item);

/* The value of a key, or no text when the section does not have it. */
static struct text value_of(struct reader *r, const struct draft *d, enum key key)
{
	const struct ini_key *found = d->keys[key];

	if (!found)
		return (struct text){0};
	r->line = found->line;
	r->key = found->name;
	return text_of(found->value);
}

static int each_item(struct reader *r, struct draft *d, struct text value, take_item *take)
{
	struct text item;
	int error = 0;

	while (!error && list_take(&value, &item)) {
		if (item.length == 0)
			return refuse(r, item, "something before and behind each comma");
		error = take(r, d, item);
	}
	return error;
}

/* The path of a list: relative to acl.ini, as the set of files knows it. */
static char *path_of(struct reader *r, struct text name)
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
	const char *path = path_of(r, name), *file = r->file;
	struct text rest, line;
	struct error why;
	int error, back = r->line;

	if (!path)
		return no_memory(r, -ENOMEM);
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
	struct text value = value_of(r, d, key);
	int error = 0;

	if (value.at)
		error = each_item(r, d, value, take);
	if (error)
		return error;
	value = value_of(r, d, file_key);
	return value.at ? each_line(r, d, value, keys[key].name, take) : 0;
}

/* ---- networks ---- */

static int take_cidr(struct reader *r, struct draft *d, struct text item)
{
	struct cidr cidr;

	(void)d;
	if (!cidr_parse(&cidr, item))
		return refuse(r, item,
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
	return list->at ? 0 : no_memory(r, -ENOMEM);
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
		return no_memory(r, -ENOMEM);
	for (i = 0; i < r->nets.n; i++) {
		if (!is_everything(&all[i]))
			named[n++] = all[i];
	}
	d->part->named = (struct cidr_list){named, cidrs_sort(named, n)};
	error = keep_nets(r, &d->section->cidrs);
	for (i = 0; i < d->section->cidrs.n && !error; i++) {
		error = netset_add(&r->policy->nets, &d->section->cidrs.at[i], d->section->index);
		if (error)
			no_memory(r, error);
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
		return refuse(r, item,
			"a name, *.NAME for all below it, .NAME for both, an address, or *");
	return error ? no_memory(r, error) : 0;
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
	found = tfind(&wanted, &r->headings_by_name, by_name);
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
		return refuse(r, item,
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
	error = each_item(r, d, value, take_source);
	return error ? error : keep_nets(r, from);
}

static int take_ports(struct reader *r, struct draft *d, struct text item)
{
	struct ports ports;

	(void)d;
	if (!ports_parse(&ports, item))
		return refuse(r, item, "ports, 1-65535");
	return collect(r, &r->ports, &ports, sizeof(ports));
}

static int read_ports(struct reader *r, struct draft *d, struct scope *scope)
{
	struct text value = value_of(r, d, PORTS);
	int error;

	r->ports.n = 0;
	scope->connect_443 = !value.at && d->heading->kind == PARTNER;
	if (!value.at)
		return 0;
	error = each_item(r, d, value, take_ports);
	if (error)
		return error;
	scope->n_ports = ports_sort(r->ports.at, r->ports.n);
	scope->ports =
		arena_copy(&r->policy->arena, r->ports.at, scope->n_ports * sizeof(struct ports));
	return scope->ports ? 0 : no_memory(r, -ENOMEM);
}

static int read_scope(struct reader *r, struct draft *d, struct scope *scope)
{
	struct text value = value_of(r, d, PROTOCOL);
	int error;

	scope->protocol = PROTOCOL_ANY;
	if (value.at && !protocol_parse(&scope->protocol, value))
		return refuse(r, value, "tcp, udp or any");
	error = read_ports(r, d, scope);
	if (error)
		return error;
	value = value_of(r, d, FROM);
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
	const char *form = "%s\n%s\n%s\n%s", *kind = kind_names[d->heading->kind];
	const char *ports = written(d, PORTS), *protocol = written(d, PROTOCOL);
	const char *from = written(d, FROM);
	size_t size = strlen(ports) + strlen(protocol) + strlen(from) + strlen(kind) + 4;
	struct scope_name *name = arena_alloc(&r->policy->arena, sizeof(*name) + size);

	if (!name)
		return NULL;
	name->scope = (uint32_t)r->policy->n_scopes;
	name->text = (char *)(name + 1);
	snprintf((char *)(name + 1), size, form, kind, ports, protocol, from);
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
		return no_memory(r, -ENOMEM);
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

/* ---- partners, blocks and groups ---- */

static int read_destination(struct reader *r, struct draft *d)
{
	uint32_t first = r->policy->hosts.n_patterns;
	int error;

	if (!d->keys[HOSTS] && !d->keys[HOSTS_FILE] && !d->keys[CIDR] && !d->keys[CIDR_FILE])
		return refuse_section(r, "hosts, hosts-file, cidr or cidr-file in it");
	d->section->has_hosts = d->keys[HOSTS] || d->keys[HOSTS_FILE];
	error = each_entry(r, d, HOSTS, HOSTS_FILE, take_host);
	if (error)
		return error;
	d->part->first_host = first;
	d->part->n_hosts = r->policy->hosts.n_patterns - first;
	error = each_entry(r, d, CIDR, CIDR_FILE, take_cidr);
	return error ? error : keep_section_nets(r, d);
}

static int read_mode(struct reader *r, struct draft *d)
{
	struct text value = value_of(r, d, MODE);

	if (value.at && !mode_parse(&d->section->report, value))
		return refuse(r, value, "enforce or report");
	if (d->section->kind == SECTION_PARTNER && d->section->report)
		r->policy->has_report_partner = true;
	return 0;
}

static int take_egress(struct reader *r, struct draft *d, struct text item)
{
	struct section *section = d->section;
	struct addr addr;
	enum addr_class class;

	if (!addr_parse(&addr, item))
		return refuse(r, item, "an IPv4 or IPv6 address");
	class = addr_classify(&addr);
	if (class == ADDR_UNSPECIFIED || class == ADDR_MULTICAST)
		return refuse(r, item, "an address that a host can have");
	if (section_egress(section, &addr))
		return refuse(r, item, "at most one IPv4 and one IPv6 address");
	section->egress[section->n_egress++] = addr;
	return 0;
}

static int read_egress(struct reader *r, struct draft *d)
{
	struct text value = value_of(r, d, EGRESS_IP);

	if (!value.at)
		return 0;
	d->section->egress = arena_alloc(&r->policy->arena, 2 * sizeof(struct addr));
	if (!d->section->egress)
		return no_memory(r, -ENOMEM);
	return each_item(r, d, value, take_egress);
}

static int read_burst(struct reader *r, struct draft *d, uint64_t tokens)
{
	struct text value = value_of(r, d, BURST);
	uint64_t refill, burst = tokens;

	if (value.at && !number_parse(&burst, value, 1, 1000000000))
		return refuse(r, value, "a number of requests, 1-1000000000");
	if (__builtin_mul_overflow(burst, d->section->rate_ns, &refill) || refill > REFILL_MAX)
		return refuse(r, value.at ? value : value_of(r, d, RATE),
			"a bucket that is full again within 100 years");
	d->section->rate_burst = (uint32_t)burst;
	return 0;
}

static int read_rate(struct reader *r, struct draft *d)
{
	struct text value = value_of(r, d, d->keys[BURST] ? BURST : RATE_PER);
	uint64_t tokens, period;

	if (!d->keys[RATE])
		return value.at ? refuse(r, value, "a rate beside it") : 0;
	value = value_of(r, d, RATE);
	if (!rate_parse(&tokens, &period, value))
		return refuse(r, value,
			"requests per period, such as 100/1m: 1-1000000000, in s, m, h or d");
	d->section->rate_ns = (period + tokens - 1) / tokens;
	d->section->rate_text = arena_string(&r->policy->arena, value);
	if (!d->section->rate_text)
		return no_memory(r, -ENOMEM);
	value = value_of(r, d, RATE_PER);
	if (value.at && !rate_per_parse(&d->section->rate_per, value))
		return refuse(r, value, "partner, source or source+host");
	return read_burst(r, d, tokens);
}

/* Sorts the keys of a section into `draft`. */
static int read_keys(struct reader *r, struct draft *d)
{
	char want[256] = "a key of: ";
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
			return refuse(r, TEXT(""), "a value");
		for (key = 0; key < N_KEYS; key++) {
			if (keys[key].in[kind])
				snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s%s",
					key == HOSTS || (kind == GROUP && key == CIDR) ? "" : ", ",
					keys[key].name);
		}
		return refuse(r, text_of(given->value), want);
	}
	r->line = d->heading->ini->line;
	return 0;
}

static void stand_at(struct reader *r, const struct heading *heading)
{
	r->file = heading->file;
	r->line = heading->ini->line;
	r->section = heading->ini->name;
	r->nets.n = 0;
}

static int read_group(struct reader *r, struct heading *heading, struct group *group)
{
	struct draft d = {.heading = heading};
	int error;

	stand_at(r, heading);
	error = read_keys(r, &d);
	if (error)
		return error;
	if (!d.keys[CIDR] && !d.keys[CIDR_FILE])
		return refuse_section(r, "cidr or cidr-file in it");
	error = each_entry(r, &d, CIDR, CIDR_FILE, take_cidr);
	if (error)
		return error;
	group->name = arena_string(&r->policy->arena, text_of(heading->name));
	if (!group->name)
		return no_memory(r, -ENOMEM);
	heading->group = group;
	return keep_nets(r, &group->cidrs);
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
	return error ? no_memory(r, error) : 0;
}

static int read_section(struct reader *r, const struct heading *heading, unsigned index)
{
	struct section *section = &r->policy->sections[index];
	struct draft d = {.heading = heading, .section = section, .part = &r->policy->parts[index]};
	int error;

	stand_at(r, heading);
	section->kind = heading->kind == PARTNER ? SECTION_PARTNER : SECTION_BLOCK;
	section->name = arena_string(&r->policy->arena, text_of(heading->name));
	section->file = heading->file;
	section->line = heading->ini->line;
	section->index = index;
	if (!section->name)
		return no_memory(r, -ENOMEM);
	error = read_keys(r, &d);
	if (!error)
		error = read_destination(r, &d);
	if (!error)
		error = read_scope_once(r, &d);
	if (!error)
		error = read_mode(r, &d);
	if (!error)
		error = read_egress(r, &d);
	if (!error)
		error = read_rate(r, &d);
	return error ? error : note_lookup(r, &d);
}

static int read_headings(struct reader *r)
{
	struct policy *policy = r->policy;
	size_t i, n = 0;
	int error = 0;

	policy->groups = calloc(policy->n_groups + 1, sizeof(*policy->groups));
	policy->sections = calloc(policy->n_sections + 1, sizeof(*policy->sections));
	policy->parts = calloc(policy->n_sections + 1, sizeof(*policy->parts));
	policy->scopes = calloc(policy->n_sections + 1, sizeof(*policy->scopes));
	if (!policy->groups || !policy->sections || !policy->parts || !policy->scopes)
		return error_set(r->e, -ENOMEM, "%s: out of memory", r->inis[0].file);
	for (i = 0; i < r->n_headings && !error; i++) {
		if (r->headings[i].kind == GROUP)
			error = read_group(r, &r->headings[i], &policy->groups[n++]);
	}
	for (i = 0, n = 0; i < r->n_headings && !error; i++) {
		if (r->headings[i].kind != GROUP)
			error = read_section(r, &r->headings[i], (unsigned)n++);
	}
	return error;
}

/* ---- files ---- */

static int read_ini(void *arg, const char *name, struct error *e)
{
	struct reader *r = arg;
	char *file = arena_string(&r->policy->arena, text_of(name));
	struct text text;
	int error;

	if (!file)
		return error_set(e, -ENOMEM, "%s: out of memory", name);
	error = files_get(r->files, file, &text, e);
	if (error)
		return error;
	if (r->n_inis == r->max_inis) {
		size_t max = r->max_inis ? 2 * r->max_inis : 8;
		struct ini *inis = realloc(r->inis, max * sizeof(*inis));

		if (!inis)
			return error_set(e, -ENOMEM, "%s: out of memory", name);
		r->inis = inis;
		r->max_inis = max;
	}
	return ini_parse(&r->inis[r->n_inis++], file, text, e);
}

static int read_inis(struct reader *r, const char *name)
{
	const char *slash = strrchr(name, '/');
	char *dir;
	int error = read_ini(r, name, r->e);

	if (error)
		return error;
	r->dir = (struct text){name, slash ? (size_t)(slash + 1 - name) : 0};
	dir = path_of(r, TEXT("acl.d"));
	if (!dir)
		return error_set(r->e, -ENOMEM, "%s: out of memory", name);
	return files_each_ini(r->files, dir, read_ini, r, r->e);
}

static void leave(void *node)
{
	(void)node;
}

static void reader_fini(struct reader *r)
{
	size_t i;

	tdestroy(r->headings_by_name, leave);
	tdestroy(r->scopes_by_text, leave);
	for (i = 0; i < r->n_inis; i++)
		ini_free(&r->inis[i]);
	free(r->inis);
	free(r->headings);
	free(r->nets.at);
	free(r->ports.at);
}

int policy_parse(struct policy *policy, struct files *files, const char *name, struct error *e)
{
	struct reader r = {.policy = policy, .files = files, .e = e};
	int error = hostset_init(&policy->hosts);

	if (!error)
		error = netset_init(&policy->nets);
	if (error) {
		error_set(e, error, "%s: out of memory", name);
		goto out;
	}
	error = read_inis(&r, name);
	if (!error)
		error = add_headings(&r);
	if (!error)
		error = read_headings(&r);
	if (error)
		goto out;
	hostset_trim(&policy->hosts);
	netset_trim(&policy->nets);
	chains_trim(&policy->lookup_chains);
out:
	reader_fini(&r);
	return error;
}
