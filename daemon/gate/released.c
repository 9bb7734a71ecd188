#include "daemon/gate/released.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct addr *find(const struct released *r, const struct addr *addr)
{
	for (size_t i = 0; i < r->n; i++)
		if (addr_equal(&r->at[i], addr))
			return &r->at[i];
	return NULL;
}

int released_add(struct released *r, const struct addr *addr)
{
	struct addr *grown;

	if (find(r, addr))
		return 0;
	grown = reallocarray(r->at, r->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	r->at = grown;
	r->at[r->n++] = *addr;
	return 0;
}

void released_remove(struct released *r, const struct addr *addr)
{
	struct addr *found = find(r, addr);

	if (found)
		*found = r->at[--r->n];
}

bool released_has(const struct released *r, const struct addr *addr)
{
	return r->all || find(r, addr);
}

void released_fini(struct released *r)
{
	free(r->at);
	memset(r, 0, sizeof(*r));
}
