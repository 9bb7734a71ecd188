#include "acl/egress.h"

#include "base/jhash.h"

static uint32_t hash_of(const struct addr *source)
{
	size_t skip = addr_is_v4(source) ? 12 : 0;

	return jhash(source->bytes + skip, sizeof(source->bytes) - skip, EGRESS_SEED);
}

const struct addr *egress_choose(const struct addr *at, size_t n, enum spread spread,
	const struct addr *like, const struct addr *source, uint32_t random)
{
	bool v4 = addr_is_v4(like);
	uint32_t n_like = 0, place;
	size_t i;

	for (i = 0; i < n; i++)
		n_like += addr_is_v4(&at[i]) == v4;
	place = n_like > 1 ? jhash_place(spread == SPREAD_SOURCE ? hash_of(source) : random, n_like)
			   : 0;
	for (i = 0; i < n; i++) {
		if (addr_is_v4(&at[i]) == v4 && place-- == 0)
			return &at[i];
	}
	return NULL;
}
