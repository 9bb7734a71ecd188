#include "acl/chain.h"

#include <errno.h>

static int grow(struct chains *chains)
{
	uint32_t max = chains->max ? 2 * chains->max : 64;
	struct link *at;

	if (max <= chains->max)
		return -ENOMEM;
	at = realloc(chains->at, max * sizeof(*at));
	if (!at)
		return -ENOMEM;
	chains->at = at;
	chains->max = max;
	if (chains->n == 0)
		chains->at[chains->n++] = (struct link){0, 0}; /* number 0 means none */
	return 0;
}

int chain_append(struct chains *chains, uint32_t *chain, uint32_t section)
{
	uint32_t link = chains->n;
	int error;

	if (*chain && chains->at[*chain].section == section)
		return 0;
	if (chains->n == chains->max) {
		error = grow(chains);
		if (error)
			return error;
		link = chains->n;
	}
	chains->n++;
	chains->at[link].section = section;
	chains->at[link].next = *chain ? chains->at[*chain].next : link;
	if (*chain)
		chains->at[*chain].next = link;
	*chain = link;
	return 0;
}

void chains_trim(struct chains *chains)
{
	struct link *at;

	if (chains->n == 0 || chains->n == chains->max)
		return;
	at = realloc(chains->at, chains->n * sizeof(*at));
	if (!at)
		return;
	chains->at = at;
	chains->max = chains->n;
}

void chains_fini(struct chains *chains)
{
	free(chains->at);
	*chains = (struct chains){0};
}
