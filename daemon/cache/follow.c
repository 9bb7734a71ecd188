/*
 * follow.c - reading what is still being written.
 */
#include "daemon/cache/store_parts.h"

const struct stored *fill_stored(const struct fill *fill)
{
	return &fill->stored;
}

void fill_lost(struct fill *fill)
{
	pthread_mutex_lock(&fill->lock);
	fill->lost = true;
	pthread_mutex_unlock(&fill->lock);
}

const struct fill_part *fill_part_at(const struct fill *fill, uint64_t offset)
{
	uint32_t low = 0, high = fill->n_parts;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (fill->parts[middle].position <= offset)
			low = middle;
		else
			high = middle;
	}
	return &fill->parts[low];
}

/* Under its lock.  Are its bytes `in_memory` for certain? */
static enum store_result locate(
	const struct fill *fill, uint64_t offset, struct piece *piece, bool *in_memory)
{
	const struct segments *s = &fill->store->segments;
	const struct fill_part *part;

	*piece = (struct piece){NULL, 0};
	*in_memory = true;
	if (fill->lost)
		return STORE_FAILED;
	if (offset < fill->first)
		return STORE_FAILED;
	if (offset - fill->first >= fill->length)
		return fill->state == FILL_OPEN   ? STORE_LATER
		       : fill->state == FILL_DONE ? STORE_READY
						  : STORE_FAILED;
	part = fill_part_at(fill, offset);
	offset -= part->position;
	piece->at = segments_at(s, part->room.segment, part->room.offset + offset);
	piece->length = part->used - offset;
	*in_memory = segments_in_memory(s, part->room.segment);
	return STORE_READY;
}

/* Written just now it is in memory; of what a slow reader left behind long ago nobody knows. */
static enum store_result check_resident(struct piece *piece)
{
	uint64_t length = piece->length;

	if (!store_resident(piece->at, &length))
		return STORE_LATER;
	piece->length = length;
	return STORE_READY;
}

enum store_result fill_read(struct fill *fill, uint64_t offset, struct piece *piece)
{
	enum store_result result;
	bool in_memory;

	pthread_mutex_lock(&fill->lock);
	result = locate(fill, offset, piece, &in_memory);
	pthread_mutex_unlock(&fill->lock);
	return result == STORE_READY && !in_memory ? check_resident(piece) : result;
}

bool fill_wait(struct fill *fill, uint64_t offset, struct store_waiter *waiter)
{
	struct store *store = fill->store;
	struct piece piece;
	enum store_result result;
	bool in_memory;

	pthread_mutex_lock(&fill->lock);
	waiter->at = offset;
	waiter->what = fill;
	waiter->of_fill = true;
	result = locate(fill, offset, &piece, &in_memory);
	if (result == STORE_LATER)
		bell_add(&store->bell, &fill->waiters, waiter);
	pthread_mutex_unlock(&fill->lock);
	if (result == STORE_LATER)
		return true;
	if (result == STORE_FAILED || in_memory || check_resident(&piece) == STORE_READY)
		return false;
	bell_add(&store->bell, &store->jobs, waiter);
	wake_up(&store->wake_reader);
	return true;
}
