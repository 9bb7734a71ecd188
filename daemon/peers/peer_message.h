/*
 * peer_message.h - what nodes ask gateways, and what gateways say of themselves: one datagram.
 *
 * A plain value and its bytes; no socket.  Every message has the same size, so that an answer is
 * never larger than what it answers: nobody can make a gateway send more than was sent to it.
 */
#pragma once

#include <stdint.h>

#include "base/addr.h"
#include "base/check.h"

#define PEER_OWNED_MOST 64 /* egress addresses in a message */
#define PEER_DIGEST 16     /* bytes, the first of a generation's */
#define PEER_MESSAGE_SIZE (48 + PEER_OWNED_MOST * 16)

enum peer_message_type {
	PEER_PROBE = 1, /* are you there? */
	PEER_ANSWER,    /* yes, and this is what is here */
	PEER_CHANGE,    /* unasked, to who has probed lately: what is here has changed */
};

struct peer_message {
	enum peer_message_type type;
	uint64_t id; /* random, not 0: a probe's, and of what answers it; of a change: the last
			probe's */
	/* of answers and changes; zero in a probe */
	uint64_t instance;                  /* random, not 0: another one after each start */
	uint64_t serial;                    /* grows within an instance when `owned` changes */
	uint8_t digest[PEER_DIGEST];        /* of the generation in force */
	struct addr owned[PEER_OWNED_MOST]; /* egress addresses that are here: sorted, each once */
	size_t n_owned;
};

/* `message` must be as above. */
void peer_message_encode(const struct peer_message *message, uint8_t out[PEER_MESSAGE_SIZE]);

/* False for everything that peer_message_encode() does not write. */
bool peer_message_decode(
	struct peer_message *message, const uint8_t *bytes, size_t length) WARN_UNUSED;
