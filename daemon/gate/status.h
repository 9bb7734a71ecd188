/*
 * status.h - what the gate says of itself: JSON for `egretctl status`.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "daemon/channel.h"
#include "daemon/gate/edition.h"
#include "daemon/flows/flows.h"
#include "daemon/peers/peers.h"
#include "daemon/datapath/released.h"

struct status {
	const struct edition *edition; /* in force */
	const struct gate_counts *counts;
	pid_t gate, proxy;         /* 0: none runs */
	size_t learnt;             /* addresses that NAT follows names to */
	bool reloading;            /* the proxy has been handed a later one */
	const struct flows *flows; /* NULL: no NAT */
	enum role role;
	const struct peers *peers;       /* NULL: no other nodes */
	const struct released *released; /* NULL: nothing */
};

/* NULL: no memory. */
json_t *status_json(const struct status *status);
