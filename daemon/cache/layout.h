/*
 * layout.h - what stands where in the store's file, and in its memory alike.
 *
 * A block with the file_header, then segments of equal size.  A segment begins with its header and
 * items of data behind it; from its end downwards grows its directory, one slot an item.  A slot
 * has the checksums of its item and one of its own, which tells too whether it was written for
 * this segment's present sequence.  So a restart reads directories only.
 *
 *   | header | record key vary tags head body | body | ... free ... | slot 2 | slot 1 | slot 0 |
 *
 * Numbers are in the machine's own order: a file from another machine is begun anew.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/siphash.h"
#include "daemon/cache/store.h"

#define LAYOUT_VERSION 2
#define LAYOUT_BLOCK 4096            /* the file's header; segments are whole pages */
#define LAYOUT_ALIGN 8               /* of items */
#define LAYOUT_FIRST 64              /* where a segment's first item is */
#define LAYOUT_HEAD_MAX (256 * 1024) /* bytes of a record with key, vary, tags and head */

struct file_header {
	char magic[8];
	uint32_t version;
	uint32_t segment_size;
	uint64_t size;
	uint64_t generation; /* counts the openings: the upper bits of every id */
	struct siphash_key key;
	uint64_t check;
};

struct segment_header {
	char magic[8];
	uint64_t sequence;
	uint32_t queue;
	uint32_t slots;
	uint64_t check;
};

enum slot_kind {
	SLOT_EMPTY,
	SLOT_RECORD, /* an object: its record and the part of its body directly behind */
	SLOT_PART,   /* a part of a body */
};

struct slot {
	uint64_t hash;  /* of the key */
	uint64_t id;    /* of the object; later is newer */
	uint64_t body;  /* the body's id: parts of equal id belong together */
	uint64_t total; /* a record: the whole body's length; a part: where in the body it begins */
	uint64_t head_check, body_check;
	uint32_t vary;   /* digest of the vary text; 0: none */
	uint32_t offset; /* in the segment */
	uint32_t head;   /* bytes of the record; 0 for a part */
	uint32_t length; /* bytes of body behind that */
	_Atomic uint32_t kind;
	uint32_t check;
};

/* Followed by key, vary, tags and head. */
struct record {
	uint32_t key, vary, tags, head; /* lengths */
	struct cache_meta meta;
};

static inline uint64_t layout_align(uint64_t n)
{
	return (n + LAYOUT_ALIGN - 1) / LAYOUT_ALIGN * LAYOUT_ALIGN;
}

/* Where slot `index` of a segment of this size is in it. */
static inline uint64_t layout_slot(uint32_t segment_size, uint32_t index)
{
	return segment_size - (index + 1) * (uint64_t)sizeof(struct slot);
}

uint32_t layout_segment_size(uint64_t size);

/* What a record takes, aligned. */
uint64_t record_size(struct text key, struct text vary, struct text tags, struct text head);
void record_write(char *at, struct text key, struct text vary, struct text tags, struct text head,
	const struct cache_meta *meta);
/* Points into `at`.  False: it cannot be `size` bytes of a record. */
bool record_parse(const char *at, uint64_t size, struct stored *out);

uint64_t layout_check(const void *bytes, size_t length);
uint32_t slot_check(const struct slot *slot, uint64_t sequence, uint32_t segment, uint32_t index);
/* Is it whole, of this sequence and place, and does it lie inside the segment? */
bool slot_valid(const struct slot *slot, uint64_t sequence, uint32_t segment, uint32_t index,
	uint32_t segment_size);
void slot_copy(struct slot *to, const struct slot *from);

void file_header_init(struct file_header *h, uint64_t size, const struct siphash_key *key);
void file_header_seal(struct file_header *h);
bool file_header_valid(const struct file_header *h, uint64_t size);

void segment_header_init(struct segment_header *h, uint32_t segment, uint64_t sequence,
	uint32_t queue, uint32_t slots);
bool segment_header_valid(const struct segment_header *h, uint32_t segment, uint32_t segment_size);
