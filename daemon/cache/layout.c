/*
 * layout.c - checks and records of the store's file.
 *
 * The checksum is XXH3: it reads memory as fast as memcpy writes it, and what it has to find is
 * damage, not malice (who can write the cache's file needs no collision).
 */
#include "daemon/cache/layout.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"

#define KIB UINT64_C(1024)

static const char file_magic[8] = "egretCF";
static const char segment_magic[8] = "egretCS";

uint32_t layout_segment_size(uint64_t size)
{
	uint64_t segment = size / 64;

	if (segment < 256 * KIB)
		segment = 256 * KIB;
	if (segment > 8192 * KIB)
		segment = 8192 * KIB;
	return (uint32_t)(segment / LAYOUT_BLOCK * LAYOUT_BLOCK);
}

/* ---- records ---- */

uint64_t record_size(struct text key, struct text vary, struct text tags, struct text head)
{
	if (key.length > LAYOUT_HEAD_MAX || vary.length > LAYOUT_HEAD_MAX ||
		tags.length > LAYOUT_HEAD_MAX || head.length > LAYOUT_HEAD_MAX)
		return UINT64_MAX;
	return layout_align(
		sizeof(struct record) + key.length + vary.length + tags.length + head.length);
}

static char *put_text(char *at, struct text text)
{
	if (text.length)
		memcpy(at, text.at, text.length);
	return at + text.length;
}

void record_write(char *at, struct text key, struct text vary, struct text tags, struct text head,
	const struct cache_meta *meta)
{
	struct record record = {.key = (uint32_t)key.length,
		.vary = (uint32_t)vary.length,
		.tags = (uint32_t)tags.length,
		.head = (uint32_t)head.length,
		.meta = *meta};
	char *end = at + record_size(key, vary, tags, head);

	memcpy(at, &record, sizeof(record));
	at = put_text(at + sizeof(record), key);
	at = put_text(at, vary);
	at = put_text(at, tags);
	at = put_text(at, head);
	memset(at, 0, (size_t)(end - at));
}

static struct text take_text(const char **at, uint32_t length)
{
	struct text text = {*at, length};

	*at += length;
	return text;
}

bool record_parse(const char *at, uint64_t size, struct stored *out)
{
	struct record record;
	uint64_t lengths;

	if (size < sizeof(record))
		return false;
	memcpy(&record, at, sizeof(record));
	lengths = (uint64_t)record.key + record.vary + record.tags + record.head;
	if (layout_align(sizeof(record) + lengths) != size)
		return false;
	at += sizeof(record);
	out->meta = record.meta;
	out->key = take_text(&at, record.key);
	out->vary = take_text(&at, record.vary);
	out->tags = take_text(&at, record.tags);
	out->head = take_text(&at, record.head);
	return true;
}

/* ---- checks ---- */

uint64_t layout_check(const void *bytes, size_t length)
{
	return XXH3_64bits(bytes, length);
}

void slot_copy(struct slot *to, const struct slot *from)
{
	memcpy(to, from, offsetof(struct slot, kind));
	to->check = from->check;
	atomic_store_explicit(&to->kind, atomic_load_explicit(&from->kind, memory_order_acquire),
		memory_order_release);
}

uint32_t slot_check(const struct slot *slot, uint64_t sequence, uint32_t segment, uint32_t index)
{
	struct slot copy;
	uint64_t seed = sequence ^ (uint64_t)segment << 32 ^ index;

	slot_copy(&copy, slot);
	copy.check = 0;
	return (uint32_t)XXH3_64bits_withSeed(&copy, sizeof(copy), seed);
}

bool slot_valid(const struct slot *slot, uint64_t sequence, uint32_t segment, uint32_t index,
	uint32_t segment_size)
{
	uint32_t kind = atomic_load_explicit(&slot->kind, memory_order_relaxed);
	uint64_t end = (uint64_t)slot->offset + slot->head + slot->length;

	if (slot_check(slot, sequence, segment, index) != slot->check)
		return false;
	return (kind == SLOT_RECORD || kind == SLOT_PART) && slot->offset >= LAYOUT_FIRST &&
	       slot->offset % LAYOUT_ALIGN == 0 && slot->head % LAYOUT_ALIGN == 0 &&
	       slot->head <= LAYOUT_HEAD_MAX && slot->length <= LAYOUT_HEAD_MAX &&
	       (slot->head != 0) == (kind == SLOT_RECORD) &&
	       end <= layout_slot(segment_size, index);
}

void file_header_seal(struct file_header *h)
{
	h->check = layout_check(h, offsetof(struct file_header, check));
}

void file_header_init(struct file_header *h, uint64_t size, const struct siphash_key *key)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, file_magic, sizeof(h->magic));
	h->version = LAYOUT_VERSION;
	h->segment_size = layout_segment_size(size);
	h->size = size;
	h->generation = 1;
	h->key = *key;
	file_header_seal(h);
}

bool file_header_valid(const struct file_header *h, uint64_t size)
{
	return memcmp(h->magic, file_magic, sizeof(h->magic)) == 0 &&
	       h->version == LAYOUT_VERSION && h->size == size &&
	       h->segment_size == layout_segment_size(size) &&
	       h->check == layout_check(h, offsetof(struct file_header, check));
}

static uint64_t segment_check(const struct segment_header *h, uint32_t segment)
{
	return XXH3_64bits_withSeed(h, offsetof(struct segment_header, check), segment);
}

void segment_header_init(struct segment_header *h, uint32_t segment, uint64_t sequence,
	uint32_t queue, uint32_t slots)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, segment_magic, sizeof(h->magic));
	h->sequence = sequence;
	h->queue = queue;
	h->slots = slots;
	h->check = segment_check(h, segment);
}

bool segment_header_valid(const struct segment_header *h, uint32_t segment, uint32_t segment_size)
{
	return memcmp(h->magic, segment_magic, sizeof(h->magic)) == 0 && h->queue < 2 &&
	       h->sequence != 0 &&
	       h->slots <= (segment_size - LAYOUT_FIRST) / sizeof(struct slot) &&
	       h->check == segment_check(h, segment);
}
