/*
 * policy_parse.c - acl.ini, acl.d/ and their lists become a policy.
 *
 * All ini files are split first, so that every heading is known: names are checked for
 * duplicates and groups can be used before they are defined.  Then groups are read, then partners
 * and blocks in file order (policy_reader.c), which fills the indexes as it goes.
 */
#include <errno.h>
#include <search.h>

#include "acl/policy_reader.h"

/* ---- headings ---- */

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
	static const char *const kind_names[] = {
		[PARTNER] = "partner", [BLOCK] = "block", [GROUP] = "group"};
	enum kind kind = 0;

	while (kind < N_KINDS && !text_equal(word, text_of(kind_names[kind])))
		kind++;
	if (kind == N_KINDS || !*space)
		return reader_refuse_section(r, "[partner NAME], [block NAME] or [group NAME]");
	heading->kind = kind;
	heading->name = space + 1;
	if (!is_name(heading->name))
		return reader_refuse_section(
			r, "a NAME of letters, digits, _ . and -, at most 64 of them");
	if (kind == GROUP && from_reads_otherwise(heading->name))
		return reader_refuse_section(
			r, "another NAME: in `from` this one means something else");
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
	known = tsearch(heading, &r->headings_by_name, heading_order);
	if (!known)
		return reader_no_memory(r, -ENOMEM);
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

/* ---- partners, blocks and groups ---- */

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
	error = reader_keys(r, &d);
	if (error)
		return error;
	group->name = arena_string(&r->policy->arena, text_of(heading->name));
	if (!group->name)
		return reader_no_memory(r, -ENOMEM);
	heading->group = group;
	return reader_group(r, &d, group);
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
		return reader_no_memory(r, -ENOMEM);
	error = reader_keys(r, &d);
	return error ? error : reader_section(r, &d);
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
	if (!error)
		error = reader_captured(r);
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
	dir = reader_path(r, TEXT("acl.d"));
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
