/*
 * gate_parts.h - the gate's state, for the files that together are the gate and for no others.
 */
#pragma once

#include <ev.h>

#include "daemon/channel.h"
#include "daemon/gate/child.h"
#include "daemon/gate/control.h"
#include "daemon/gate/edition.h"
#include "daemon/flows/flows.h"
#include "daemon/gate/gate.h"
#include "daemon/datapath/keeper.h"
#include "daemon/datapath/leaks.h"
#include "daemon/datapath/learning.h"
#include "daemon/gate/listen.h"
#include "daemon/datapath/nat_page.h"
#include "daemon/peers/peers.h"
#include "daemon/datapath/released.h"
#include "daemon/peers/rivals.h"
#include "daemon/gate/watch.h"

/* What a client of the control socket has asked of the proxy. */
struct gate_question {
	struct gate *gate;
	struct control_client *client; /* NULL: free */
	uint64_t number;
	ev_timer timer;
	char *with; /* a field of the gate's own, as JSON text, for the answer; or NULL */
};

struct gate {
	const struct gate_options *options;
	struct ev_loop *loop;
	struct edition *now, *next;
	struct config *started; /* the first edition's: listeners, workers and uid are as it says */
	uint64_t number;        /* of the edition offered last */
	struct gate_counts counts;
	char refused[ERROR_TEXT]; /* why the last edit was; "": it is in force */
	/* the edition that a proxy ended with, which is not to be started with */
	char fatal[FILES_DIGEST_TEXT];
	bool follows; /* the proxy follows `now` */
	bool served;  /* some proxy did */
	bool stopping;
	int status;

	int access_log;      /* -1: off */
	int cache_file;      /* for the proxy; -1: in memory, or none */
	int next_access_log; /* for `next`; -1: as it is */
	struct listener_list listeners;
	unsigned workers;
	struct child *child;
	struct keeper *keeper;
	struct learning *learning; /* addresses of names, for NAT */
	struct nat_page *nat_page;
	struct leaks *leaks;
	struct flows *flows;            /* NULL: no NAT */
	struct peers *peers;            /* other nodes */
	struct rivals *rivals;          /* others on the link with the same address */
	struct control_client *purging; /* who waits for the end of the purge; NULL: nobody */
	ev_timer purge_patience;        /* runs as long */
	uint64_t purge;                 /* number of the last one */
	struct released released;       /* egress addresses that are not to be here */
	struct gate_question asked[CONTROL_CLIENTS];
	uint64_t question; /* number of the last one */
	struct watch *watch;
	struct control *control;

	ev_tstamp reload_began;
	bool again; /* another reload was asked for while `next` is there */
	struct control_client *waiting[CONTROL_CLIENTS]; /* for a reload's end */
	size_t n_waiting, n_served; /* the first n_served: for the end of this one */

	ev_signal hup, term, interrupt;
	ev_timer patience, tell, last, facts, look_for_leaks;
	ev_timer hear_out;     /* runs while addresses wait for the other gateways' word */
	bool facts_due;        /* to be looked at when `next` is in force, or not any more */
	bool refused_by_facts; /* the last edit, by what the node is, and not by the files */
	bool by_itself;        /* the reload that begins, by what the node is */
	bool replan_due;       /* when `next` is in force, or not any more */
	ev_timer replan;       /* runs while another datapath for `now` could not come into force */
	bool without_backstop; /* it is tried again */
};

/* reload.c: an edition's life. */
void reload(struct gate *g); /* reads the files again, now or after the reload that is under way */
void reload_init(struct gate *g); /* its timers */
struct edition *reload_read(
	struct gate *g, struct error *e) WARN_UNUSED; /* and watches what it is made from */
void reload_reopen_access_log(struct gate *g);
void reload_fill_counts(struct gate *g);
void reload_send_counts(struct gate *g);
void reload_on_proxy_start(void *gate);
void reload_on_proxy_message(void *gate, const struct message *message, int fd);
void reload_on_proxy_end(void *gate, const char *how);

/* gate_nat.c: facts that change, flows, numbers. */
int gate_nat_init(struct gate *g, struct error *e) WARN_UNUSED;
int gate_nat_open(struct gate *g, struct error *e) WARN_UNUSED; /* `now` comes into force */
void gate_nat_fini(struct gate *g);
void gate_nat_follow(struct gate *g); /* another edition is `now` */
void gate_nat_replan(struct gate *g); /* another datapath for the edition in force, by the facts */
/* The same, and 0 or -errno: then it is tried again. */
int gate_nat_plan_again(struct gate *g, struct error *e) WARN_UNUSED;
void gate_nat_catch_up(struct gate *g); /* there is no `next` any more */
void gate_nat_reopen_log(struct gate *g);
struct edition_facts gate_nat_facts(const struct gate *g);
uint64_t gate_nat_repairs(const struct gate *g);

/* gate_peers.c: other nodes. */
int gate_peers_init(struct gate *g, struct error *e) WARN_UNUSED;
void gate_peers_fini(struct gate *g);
void gate_peers_hear_out(struct gate *g); /* at the begin: the others are asked from now on */
void gate_peers_follow(struct gate *g);   /* another edition is `now` */
void gate_peers_look(struct gate *g);     /* addresses of the node came or went */
void gate_peers_owned(struct gate *g);    /* another datapath is in force */
const char *gate_peers_owner(
	void *gate, const struct addr *addr); /* its name; NULL: unknown, or here */
void gate_peers_command(
	struct gate *g, struct control_client *client, bool release, const char *which);
const char *gate_peers_trouble(struct gate *g); /* NULL: all is well */
void gate_peers_leave(struct gate *g);          /* the end begins */

/* gate_cache.c */
void gate_cache_open(struct gate *g); /* its file, where one is wanted */
void gate_cache_purge(struct gate *g, struct control_client *client, const char *what);
void gate_cache_purged(struct gate *g, const struct message *message);
void gate_cache_proxy_ended(struct gate *g);

/* gate_ask.c: what the proxy knows. */
void gate_ask_init(struct gate *g);
/* `text` is for inquiry.h; `with` (may be NULL, else becomes the gate's) is put into the answer as
 * the field "nat". */
void gate_ask(struct gate *g, struct control_client *client, const char *text, json_t *with);
void gate_ask_told(struct gate *g, const struct message *message, int fd);
void gate_ask_proxy_ended(struct gate *g);

/* gate_control.c: requests of the control socket. */
void gate_control_on_request(
	void *gate, struct control_client *client, const struct control_request *request);

/* gate_nat_tell.c: the kernel's part, for the control socket. */
json_t *gate_nat_show(const struct gate *g);
json_t *gate_nat_verify(const struct gate *g);
json_t *gate_nat_counts(const struct gate *g); /* by section */

/* gate.c */
void gate_end(struct gate *g, int status); /* kills the proxy and leaves the loop */
