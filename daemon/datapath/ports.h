/*
 * ports.h - how many ports of an egress address are in use towards an endpoint.
 *
 * The kernel can give one source port to many flows, but to one flow only for each destination
 * address, port and protocol: so ports run out for each of these on its own.  Pure: no kernel, no
 * clock.  An endpoint is kept while it has a flow, so there are never more than flows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/check.h"

/* Ports that NAT chooses from: 1024-65535.  (A source port below 1024 is translated to one below
 * 1024; such flows are not counted here.) */
#define PORTS_FIRST 1024
#define PORTS_RANGE 64512

#define PORTS_HIGH 80 /* percent in use: worth a warning ... */
#define PORTS_LOW 70  /* ... and a new one only after it was below this */

struct port_use {
	struct addr egress, partner;
	uint16_t port;    /* of the partner */
	uint8_t protocol; /* IPPROTO_TCP ... */
	uint32_t used;
};

struct ports;
struct ports_endpoint;

/* `range`: ports there are.  `on_high` is called when an endpoint passes PORTS_HIGH. */
struct ports *ports_new(
	unsigned range, void (*on_high)(void *arg, const struct port_use *use), void *arg);
void ports_free(struct ports *ports); /* accepts NULL */

/* One more flow to the endpoint that `use` names.  NULL: no memory, it is not counted.  Each flow
 * is released once. */
struct ports_endpoint *ports_take(struct ports *ports, const struct port_use *use);
void ports_release(struct ports *ports, struct ports_endpoint *endpoint); /* accepts NULL */

size_t ports_count(const struct ports *ports); /* endpoints */
unsigned ports_range(const struct ports *ports);

/* The busiest endpoints, busiest first, at most `max`.  How many there are in `out`. */
size_t ports_busiest(const struct ports *ports, struct port_use *out, size_t max);
