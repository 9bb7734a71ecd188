/*
 * peer_message.c - one datagram between nodes, encoded and decoded.
 *
 *      0  "EGRT"   4  version   5  type   6  number of addresses (16 bits)
 *      8  id      16  instance 24  serial   (64 bits each)
 *     32  digest  48  64 addresses of 16 bytes; those beyond the number are zero
 *
 * Big-endian.  There is one encoding for each message, and the decoder takes nothing else: the test
 * encodes again whatever random bytes it took.
 */
#include "daemon/peers/peer_message.h"

#include <string.h>

#define VERSION 1

enum {
	AT_VERSION = 4,
	AT_TYPE = 5,
	AT_N = 6,
	AT_ID = 8,
	AT_INSTANCE = 16,
	AT_SERIAL = 24,
	AT_DIGEST = 32,
	AT_OWNED = 48
};

static const uint8_t magic[4] = {'E', 'G', 'R', 'T'};

static void put64(uint8_t *at, uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		at[i] = (uint8_t)value;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | at[i];
	return value;
}

static bool is_sorted(const struct peer_message *m)
{
	for (size_t i = 1; i < m->n_owned; i++)
		if (memcmp(&m->owned[i - 1], &m->owned[i], sizeof(m->owned[i])) >= 0)
			return false;
	return true;
}

static bool are_egress(const struct peer_message *m)
{
	for (size_t i = 0; i < m->n_owned; i++) {
		enum addr_class class = addr_classify(&m->owned[i]);

		if (class == ADDR_UNSPECIFIED || class == ADDR_MULTICAST ||
			class == ADDR_LOOPBACK || class == ADDR_LINK_LOCAL)
			return false;
	}
	return true;
}

static bool is_zero(const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < n; i++)
		if (at[i] != 0)
			return false;
	return true;
}

static bool is_valid(const struct peer_message *m)
{
	if (m->id == 0 || !is_sorted(m) || !are_egress(m))
		return false;
	if (m->type == PEER_PROBE)
		return m->instance == 0 && m->serial == 0 && m->n_owned == 0 &&
		       is_zero(m->digest, sizeof(m->digest));
	return (m->type == PEER_ANSWER || m->type == PEER_CHANGE) && m->instance != 0;
}

void peer_message_encode(const struct peer_message *m, uint8_t out[PEER_MESSAGE_SIZE])
{
	CHECK(m->n_owned <= PEER_OWNED_MOST && is_valid(m));
	memset(out, 0, PEER_MESSAGE_SIZE);
	memcpy(out, magic, sizeof(magic));
	out[AT_VERSION] = VERSION;
	out[AT_TYPE] = (uint8_t)m->type;
	out[AT_N + 1] = (uint8_t)m->n_owned;
	put64(out + AT_ID, m->id);
	put64(out + AT_INSTANCE, m->instance);
	put64(out + AT_SERIAL, m->serial);
	memcpy(out + AT_DIGEST, m->digest, sizeof(m->digest));
	memcpy(out + AT_OWNED, m->owned, m->n_owned * sizeof(m->owned[0]));
}

bool peer_message_decode(struct peer_message *m, const uint8_t *bytes, size_t length)
{
	size_t used;

	memset(m, 0, sizeof(*m));
	if (length != PEER_MESSAGE_SIZE || memcmp(bytes, magic, sizeof(magic)) != 0 ||
		bytes[AT_VERSION] != VERSION || bytes[AT_N] != 0 ||
		bytes[AT_N + 1] > PEER_OWNED_MOST)
		return false;
	m->type = bytes[AT_TYPE];
	m->n_owned = bytes[AT_N + 1];
	used = m->n_owned * sizeof(m->owned[0]);
	m->id = get64(bytes + AT_ID);
	m->instance = get64(bytes + AT_INSTANCE);
	m->serial = get64(bytes + AT_SERIAL);
	memcpy(m->digest, bytes + AT_DIGEST, sizeof(m->digest));
	memcpy(m->owned, bytes + AT_OWNED, used);
	return is_zero(bytes + AT_OWNED + used, length - AT_OWNED - used) && is_valid(m);
}
