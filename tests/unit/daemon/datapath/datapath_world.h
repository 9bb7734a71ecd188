/*
 * datapath_world.h - datapaths from the texts of egret.ini and acl.ini, in egress_world.h's
 * gateway.
 */
#pragma once

#include "../../nat/egress_world.h"

#include "daemon/datapath/datapath.h"

struct made {
	struct config *config;
	struct policy *policy;
	struct datapath *datapath;
};

static inline struct config *config_of(const char *more)
{
	struct files *files = files_new("/nonexistent");
	struct config *config;
	char *text = NULL;
	struct error e;

	assert_true(asprintf(&text,
			    "[gateway]\npod-cidr = 10.42.0.0/16, fd42::/56\n"
			    "exclude-cidr = 10.43.0.0/16, fd43::/112\n%s",
			    more) > 0);
	assert_non_null(files);
	assert_int_equal(files_put(files, "egret.ini", text_of(text)), 0);
	config = config_new(files, "egret.ini", &e);
	if (!config)
		fail_msg("%s", e.text);
	files_free(files);
	free(text);
	return config;
}

static inline struct datapath_ask ask_of(const struct made *m)
{
	return (struct datapath_ask){.config = m->config,
		.running = m->config,
		.policy = m->policy,
		.egress = m->config->egress_ip.at,
		.n_egress = m->config->egress_ip.n};
}

/* `config`: more of [gateway], and other sections. */
static inline struct made make_datapath(const char *config, const char *acl)
{
	struct made m = {.config = config_of(config), .policy = policy_of(acl, &dual_stack)};
	struct datapath_ask ask = ask_of(&m);
	struct error e = {""};

	m.datapath = datapath_new(&ask, &e);
	if (!m.datapath)
		fail_msg("%s", e.text);
	return m;
}

static inline void free_made(struct made *m)
{
	datapath_free(m->datapath);
	policy_put(m->policy);
	config_free(m->config);
	*m = (struct made){0};
}

static inline bool has_address(const char *text)
{
	struct address_list list = {0};
	struct addr addr = addr_of(text);
	bool present;

	assert_int_equal(address_list_load(&list, NULL), 0);
	present = address_is_present(&list, &addr);
	address_list_fini(&list);
	return present;
}
