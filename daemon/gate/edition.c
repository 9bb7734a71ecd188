/*
 * edition.c - from files on disk to everything that both processes need.
 *
 *   egret.ini ─ config ─┬─ acl.ini, acl.d, lists ─ policy ─┬─ plan
 *                       └─ egress addresses ───────────────┘
 *
 * All bytes come through one `struct files`, which is packed for the proxy at the end and then
 * let go: nothing here points into it.
 */
#include "daemon/gate/edition.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/net/hosts.h"
#include "nat/facts.h"

#define FOREIGN_TOLD 8 /* egress addresses that are not here, by name */

bool path_list_equal(const struct path_list *a, const struct path_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->at[i], b->at[i]) != 0)
			return false;
	return true;
}

void path_list_fini(struct path_list *paths)
{
	while (paths->n)
		free(paths->at[--paths->n]);
	free(paths->at);
	paths->at = NULL;
}

static int add_path(struct path_list *paths, const char *dir, struct text name, const char *end)
{
	char **at = reallocarray(paths->at, paths->n + 1, sizeof(*at));
	bool absolute = name.length && name.at[0] == '/';

	if (!at)
		return -ENOMEM;
	paths->at = at;
	if (asprintf(&at[paths->n], "%s%s%.*s%s", absolute ? "" : dir, absolute ? "" : "/",
		    (int)name.length, name.at, end) < 0)
		return -ENOMEM;
	paths->n++;
	return 0;
}

static struct text trim(struct text t)
{
	while (t.length && strchr(" \t\r\"'", t.at[t.length - 1]))
		t.length--;
	while (t.length && strchr(" \t\r\"'", t.at[0]))
		t.at++, t.length--;
	return t;
}

/* Takes the part of `*rest` before `separator` off it. */
static struct text cut(struct text *rest, char separator)
{
	const char *end = rest->length ? memchr(rest->at, separator, rest->length) : NULL;
	struct text part = {rest->at, end ? (size_t)(end - rest->at) : rest->length};
	size_t taken = part.length + (end != NULL);

	rest->at += taken;
	rest->length -= taken;
	return part;
}

/* The lists that a policy text names.  This reads lines, not ini: a path too many is only
 * watched in vain, and a list that is missing is named by no parser's result. */
static int add_lists(struct path_list *paths, const char *dir, struct text text)
{
	int error = 0;

	while (text.length && !error) {
		struct text line = cut(&text, '\n');
		struct text key = trim(cut(&line, '='));

		if (!text_equal_nocase(key, TEXT("hosts-file")) &&
			!text_equal_nocase(key, TEXT("cidr-file")))
			continue;
		line = cut(&line, ';');
		line = cut(&line, '#');
		while (line.length && !error) {
			struct text name = trim(cut(&line, ','));

			if (name.length)
				error = add_path(paths, dir, name, "");
		}
	}
	return error;
}

struct listing {
	struct path_list *paths;
	struct files *files;
	const char *dir;
};

static int list_one(void *arg, const char *name, struct error *e)
{
	struct listing *listing = arg;
	struct text text;
	int error = files_get(listing->files, name, &text, e);

	return error ? error : add_lists(listing->paths, listing->dir, text);
}

/* "a/b/c" gives "a/b", "/c" gives "/", "c" gives ".". */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* The name `name` in the directory of `path`. */
static char *beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	char *out;

	return asprintf(&out, "%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name) < 0 ? NULL
											     : out;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* As far as the files can be read: what a failed edit names has to be watched too. */
static int find_paths(
	struct path_list *paths, const char *path, const struct config *config, struct files *files)
{
	struct listing listing = {.paths = paths, .files = files};
	char *dir = directory_of(path), *acl_dir = NULL, *acl_d = NULL;
	int error = -ENOMEM;

	if (!dir || add_path(paths, "", text_of(path), ""))
		goto out;
	if (config && config->dns_hosts_file &&
		add_path(paths, dir, text_of(config->dns_hosts_file), ""))
		goto out;
	if (config) {
		if (add_path(paths, dir, text_of(config->acl), ""))
			goto out;
		acl_dir = directory_of(paths->at[paths->n - 1]);
		acl_d = beside(config->acl, "acl.d");
		if (!acl_dir || !acl_d || add_path(paths, acl_dir, TEXT("acl.d"), "/"))
			goto out;
		listing.dir = acl_dir;
		error = list_one(&listing, config->acl, NULL);
		if (!error)
			error = files_each_ini(files, acl_d, list_one, &listing, NULL);
		if (error != -ENOMEM)
			error = 0; /* policy_new() says what is wrong with it */
	} else
		error = 0;
out:
	free(acl_d);
	free(acl_dir);
	free(dir);
	return error;
}

static bool same_egress(const struct edition *a, const struct edition *b)
{
	return a->n_egress == b->n_egress &&
	       memcmp(a->egress, b->egress, a->n_egress * sizeof(*a->egress)) == 0;
}

/* As configured, else what the node says: only translated traffic needs one. */
static int find_egress(struct edition *edition, bool nat, struct error *e)
{
	const struct config *config = edition->config;
	struct nat_facts facts;
	int error;

	for (; edition->n_egress < config->egress_ip.n; edition->n_egress++)
		edition->egress[edition->n_egress] = config->egress_ip.at[edition->n_egress];
	if (edition->n_egress || !nat)
		return 0;
	if (config->role == ROLE_AGENT)
		return error_set(e, -EINVAL,
			"%s: [gateway] egress-ip = auto: want the addresses that the gateways "
			"have, for role = agent",
			edition->name);
	error = nat_facts(&facts, config->egress_interface, e);
	if (error)
		return error;
	edition->n_egress = facts.n_egress;
	memcpy(edition->egress, facts.egress, sizeof(facts.egress));
	return 0;
}

bool edition_egress_is_stale(const struct edition *edition)
{
	struct edition fresh = {.config = edition->config, .name = edition->name};

	if (!edition->datapath || edition->config->egress_ip.n > 0)
		return false;
	return find_egress(&fresh, true, NULL) == 0 && !same_egress(edition, &fresh);
}

static bool is_pod(const struct config *config, const struct addr *addr)
{
	for (size_t i = 0; i < config->pod_cidr.n; i++)
		if (cidr_contains(&config->pod_cidr.at[i], addr))
			return true;
	return false;
}

/* A source address that stays on the node, the link or in the cluster is none that a partner sees.
 */
static int check_egress(const struct addr *addrs, size_t n, const struct config *config, bool nat,
	const char *where, struct error *e)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < n; i++) {
		enum addr_class class = addr_classify(&addrs[i]);

		if (class == ADDR_LINK_LOCAL || (nat && class == ADDR_LOOPBACK))
			return error_set(e, -EINVAL,
				"%s: egress-ip = %s: want an address that reaches beyond this %s",
				where, addr_print(&addrs[i], text),
				class == ADDR_LOOPBACK ? "node" : "link");
		if (nat && is_pod(config, &addrs[i]))
			return error_set(e, -EINVAL,
				"%s: egress-ip = %s: want an address that is not in pod-cidr",
				where, addr_print(&addrs[i], text));
	}
	return 0;
}

static int check_all_egress(const struct edition *edition, bool nat, struct error *e)
{
	char where[256];
	int error;

	snprintf(where, sizeof(where), "%s: [gateway]", edition->name);
	error = check_egress(edition->egress, edition->n_egress, edition->config, nat, where, e);
	for (size_t i = 0; i < policy_n_sections(edition->policy) && !error; i++) {
		const struct section *s = policy_section(edition->policy, i);

		snprintf(where, sizeof(where), "%s:%d: partner %s", s->file, s->line, s->name);
		if (s->n_egress)
			error = check_egress(
				s->egress, s->n_egress, edition->config, nat, where, e);
	}
	return error;
}

static struct datapath_ask ask_of(const struct edition *edition, const struct edition_facts *facts)
{
	return (struct datapath_ask){
		.config = edition->config,
		.running = facts && facts->running ? facts->running : edition->config,
		.policy = edition->policy,
		.egress = edition->egress,
		.n_egress = edition->n_egress,
		.learnt = facts ? facts->learnt : NULL,
		.owner_of = facts ? facts->owner_of : NULL,
		.arg = facts ? facts->owner_arg : NULL,
		.released = facts ? facts->released : NULL,
	};
}

struct datapath *edition_replan(
	const struct edition *edition, const struct edition_facts *facts, struct error *e)
{
	struct datapath_ask ask = ask_of(edition, facts);

	return datapath_new(&ask, e);
}

bool edition_datapath_is_stale(const struct edition *edition, const struct edition_facts *facts)
{
	struct datapath_ask ask = ask_of(edition, facts);

	return edition->datapath && datapath_is_stale(edition->datapath, &ask);
}

/* Both are taken at the start only. */
static int check_capture(const struct policy *policy, const struct config *running, struct error *e)
{
	const char *file, *group;
	int line;

	if (running->nat && running->capture_listen.n > 0)
		return 0;
	group = policy_capturing_group(policy, &file, &line);
	if (!group)
		return 0;
	return error_set(e, -EINVAL, "%s:%d: group %s: capture: want %s, and a restart behind that",
		file, line, group,
		running->nat ? "[proxy] capture-listen = 0.0.0.0:15001, [::]:15001"
			     : "[nat] enable = yes");
}

/* The proxy parses it again; what is wrong with it has to be known before. */
static int check_hosts(const struct config *config, struct files *files, struct error *e)
{
	struct names names;
	struct text text;
	int error = 0;

	if (!config->dns_hosts_file)
		return 0;
	if (!names_init(&names, 0))
		return error_set(e, -ENOMEM, "%s: out of memory", config->dns_hosts_file);
	error = files_get(files, config->dns_hosts_file, &text, e);
	if (!error)
		error = hosts_add(&names, config->dns_hosts_file, text, e);
	names_fini(&names);
	return error;
}

static int fill(struct edition *edition, const char *path, const struct edition_facts *facts,
	struct files *files, struct error *e)
{
	const struct config *running;
	int error;

	if (access(path, F_OK) < 0) /* the parser knows only its last part */
		return error_set(e, -errno, "%s: %s", path, strerror(errno));
	edition->name = base_of(path);
	edition->config = config_new(files, edition->name, e);
	if (!edition->config)
		return -EINVAL;
	if (facts && facts->role)
		edition->config->role = *facts->role;
	edition->policy = policy_new(files, edition->config->acl, edition->config->pod_cidr.at,
		edition->config->pod_cidr.n, e);
	if (!edition->policy)
		return -EINVAL;
	error = check_hosts(edition->config, files, e);
	if (error)
		return error;
	running = facts && facts->running ? facts->running : edition->config;
	error = check_capture(edition->policy, running, e);
	if (!error)
		error = find_egress(edition, running->nat, e);
	if (!error)
		error = check_all_egress(edition, running->nat, e);
	if (error)
		return error;
	if (running->nat)
		edition->datapath = edition_replan(edition, facts, e);
	if (running->nat && !edition->datapath) {
		if (facts && facts->by_node)
			*facts->by_node = true;
		return -EINVAL;
	}
	files_digest(files, edition->digest);
	edition->fd = files_pack(files, e);
	return edition->fd < 0 ? edition->fd : 0;
}

struct edition *edition_new(const char *path, const struct edition_facts *facts,
	struct path_list *tried, struct error *e)
{
	struct edition *edition = calloc(1, sizeof(*edition));
	char *dir = directory_of(path);
	struct files *files = dir ? files_new(dir) : NULL;
	int error = -ENOMEM;

	if (edition)
		edition->fd = -1;
	if (!edition || !files) {
		error_set(e, error, "no memory for the files");
		goto out;
	}
	error = fill(edition, path, facts, files, e);
	if (find_paths(&edition->paths, path, edition->config, files) < 0 && !error)
		error = error_set(e, -ENOMEM, "no memory for the files' names");
out:
	files_free(files);
	free(dir);
	if (error && edition && tried) {
		*tried = edition->paths;
		edition->paths = (struct path_list){0};
	}
	if (error) {
		edition_free(edition);
		edition = NULL;
	}
	malloc_trim(0);
	return edition;
}

void edition_free(struct edition *edition)
{
	if (!edition)
		return;
	if (edition->fd >= 0)
		close(edition->fd);
	path_list_fini(&edition->paths);
	datapath_free(edition->datapath);
	policy_put(edition->policy);
	config_free(edition->config);
	free(edition);
	malloc_trim(0); /* a policy may be a million names */
}

bool edition_equal(const struct edition *a, const struct edition *b)
{
	return strcmp(a->digest, b->digest) == 0 && same_egress(a, b);
}

/* Each address once, and the first few only: thousands of partners may name them. */
struct foreign {
	struct address_list here;
	struct addr told[FOREIGN_TOLD];
	size_t n_told, n_more;
};

static void warn_foreign(struct foreign *f, const struct addr *addr, const char *whose)
{
	char text[ADDR_TEXT];

	if (address_is_present(&f->here, addr))
		return;
	for (size_t i = 0; i < f->n_told; i++)
		if (addr_equal(&f->told[i], addr))
			return;
	if (f->n_told == FOREIGN_TOLD) {
		f->n_more++;
		return;
	}
	f->told[f->n_told++] = *addr;
	log_warn("egress address %s of %s is on no interface of this node: nothing leaves with it "
		 "until it is",
		addr_print(addr, text), whose);
}

/* Pods that have a version which the gateway has no address of. */
static void warn_missing(const struct edition *edition)
{
	const struct config *config = edition->config;

	for (int version = 4; version <= 6; version += 2) {
		bool pods = false, egress = false;

		for (size_t i = 0; i < config->pod_cidr.n; i++)
			pods = pods || cidr_is_v4(&config->pod_cidr.at[i]) == (version == 4);
		for (size_t i = 0; i < edition->n_egress; i++)
			egress = egress || addr_is_v4(&edition->egress[i]) == (version == 4);
		if (pods && !egress)
			log_warn("no IPv%d egress address%s%s: what pods send beyond the cluster "
				 "over "
				 "IPv%d is refused, unless a partner has an egress-ip for it",
				version, config->egress_interface ? " on " : "",
				config->egress_interface ? config->egress_interface : "", version);
	}
}

void edition_warn_ways(const struct edition *edition)
{
	if (edition->datapath && edition->datapath->ways.trouble[0])
		log_error("%s: nothing is steered there", edition->datapath->ways.trouble);
}

void edition_warn_foreign(const struct edition *edition)
{
	/* Else it is normal: another gateway has it, and peers.c tells which. */
	bool alone = edition->config->role == ROLE_GATEWAY && edition->config->gateways.n == 0;
	struct foreign f = {0};

	if (edition->datapath)
		warn_missing(edition);
	if (address_list_load(&f.here, NULL) < 0 || edition->config->manage_address || !alone)
		goto out;
	for (size_t i = 0; i < edition->n_egress; i++)
		warn_foreign(&f, &edition->egress[i], "the gateway");
	for (size_t i = 0; i < policy_n_sections(edition->policy); i++) {
		const struct section *section = policy_section(edition->policy, i);

		for (size_t j = 0; j < section->n_egress; j++)
			warn_foreign(&f, &section->egress[j], section->name);
	}
	if (f.n_more)
		log_warn("and so it is with egress addresses of other partners (named %zu times)",
			f.n_more);
out:
	address_list_fini(&f.here);
}

static size_t count(const struct policy *policy, enum section_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < policy_n_sections(policy); i++)
		n += policy_section(policy, i)->kind == kind;
	return n;
}

const char *edition_print(const struct edition *edition, char out[EDITION_TEXT])
{
	size_t partners = count(edition->policy, SECTION_PARTNER);
	size_t blocks = count(edition->policy, SECTION_BLOCK);
	char egress[2][ADDR_TEXT] = {"chosen by the kernel", ""}, more[32] = "";

	if (edition->datapath)
		strcpy(egress[0], "none");
	for (size_t i = 0; i < edition->n_egress && i < COUNT_OF(egress); i++)
		addr_print(&edition->egress[i], egress[i]);
	if (edition->n_egress > COUNT_OF(egress))
		snprintf(more, sizeof(more), " and %zu more", edition->n_egress - COUNT_OF(egress));
	snprintf(out, EDITION_TEXT, "%zu partner%s, %zu block%s, egress %s%s%s%s, digest %.12s",
		partners, partners == 1 ? "" : "s", blocks, blocks == 1 ? "" : "s", egress[0],
		egress[1][0] ? " and " : "", egress[1], more, edition->digest);
	return out;
}
