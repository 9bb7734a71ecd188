#include "acl/cidrs.h"

static int compare(bool a_is_v4, const struct addr *a, bool b_is_v4, const struct addr *b)
{
	return a_is_v4 != b_is_v4 ? b_is_v4 - a_is_v4
				  : memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

int cidrs_in_order(const void *left, const void *right)
{
	const struct cidr *a = left, *b = right;
	int order = compare(cidr_is_v4(a), &a->addr, cidr_is_v4(b), &b->addr);

	return order ? order : a->bits - b->bits;
}

size_t cidrs_sort(struct cidr *at, size_t n)
{
	size_t i, kept = 0;

	if (n > 1)
		qsort(at, n, sizeof(*at), cidrs_in_order);
	for (i = 0; i < n; i++) {
		if (kept == 0 || !cidr_contains(&at[kept - 1], &at[i].addr))
			at[kept++] = at[i];
	}
	return kept;
}

bool cidrs_contain(const struct cidr_list *list, const struct addr *addr)
{
	bool v4 = addr_is_v4(addr);
	size_t low = 0, high = list->n;

	if (list->n == 1)
		return cidr_contains(&list->at[0], addr);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct cidr *c = &list->at[middle];

		if (compare(cidr_is_v4(c), &c->addr, v4, addr) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && cidr_contains(&list->at[low - 1], addr);
}
