/*
 * body.c - bodies that came in ranges, with bytes missing between them.
 *
 * A range's parts have the places that they have in the whole body, and ranges of one body share
 * its id, so they are united without copying: an object names the parts of all.  Where ranges
 * overlap, the later part's beginning is left out: a part always ends where its slot does.
 */
#include "daemon/cache/store_parts.h"

#define SMALL_PARTS 64         /* so many are united whatever they hold, then ... */
#define PART_WORTH (16 * 1024) /* ... another for so many bytes */
#define GENERATION_SHIFT 40    /* of ids */

static uint64_t end_of(const struct part *part)
{
	return part->position + part->length;
}

bool body_holds(const struct extents *extents, uint64_t first, uint64_t last)
{
	const struct part *part = extents_at(extents, first);
	const struct part *end = extents->parts + extents->count;
	uint64_t at = first;

	for (; part < end && part->position <= at && at < end_of(part); part++) {
		at = end_of(part);
		if (at > last)
			return true;
	}
	return false;
}

bool body_is_whole(const struct extents *extents)
{
	return !extents || !(extents->body & BODY_OF_RANGES) ||
	       body_holds(extents, 0, extents->length - 1);
}

bool store_holds(const struct stored *stored, uint64_t first, uint64_t last)
{
	return last < stored->length &&
	       (!stored->ranges || body_holds(stored->ranges, first, last));
}

uint64_t body_id(const struct fill *fill)
{
	const uint64_t words[] = {fill->hash, fill->vary, fill->stored.length, fill->validator,
		fill->removals, fill->id >> GENERATION_SHIFT};

	return siphash(&fill->store->key, words, sizeof(words)).words[0] | BODY_OF_RANGES;
}

uint64_t body_append(struct extents *extents, const struct part *part, uint64_t end)
{
	uint64_t cut = part->position < end ? end - part->position : 0;
	struct part *to = &extents->parts[extents->count];

	if (cut >= part->length)
		return end;
	*to = (struct part){.position = part->position + cut,
		.segment = part->segment,
		.offset = (uint32_t)(part->offset + cut),
		.length = (uint32_t)(part->length - cut),
		.slot = part->slot};
	atomic_init(&to->verified, atomic_load(&part->verified));
	extents->count++;
	return end_of(to);
}

static bool is_worth_it(const struct extents *extents)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < extents->count; i++)
		bytes += extents->parts[i].length;
	return extents->count <= SMALL_PARTS + bytes / PART_WORTH;
}

struct extents *body_unite(const struct extents *a, const struct extents *b)
{
	struct extents *both = extents_new(a->count + b->count);
	uint32_t i = 0, j = 0;
	uint64_t end = 0;

	if (!both)
		return NULL;
	both->count = 0;
	both->body = a->body;
	both->length = a->length;
	while (i < a->count || j < b->count) {
		bool from_a = j == b->count ||
			      (i < a->count && a->parts[i].position <= b->parts[j].position);

		end = body_append(both, from_a ? &a->parts[i++] : &b->parts[j++], end);
	}
	if (is_worth_it(both))
		return both;
	extents_put(both);
	return NULL;
}
