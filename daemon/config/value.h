/*
 * value.h - one value of egret.ini: read into its field, described, compared, freed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acl/files.h"
#include "base/check.h"

enum value_kind {        /* the type of the field: */
	VALUE_NETWORKS,  /* struct cidr_list; do not overlap */
	VALUE_ADDRESSES, /* struct addr_list; each once, at most `max` a version */
	VALUE_ENDPOINTS, /* struct endpoint_list; each once */
	VALUE_PORTS,     /* struct port_list: sorted, disjoint */
	VALUE_UNSIGNED,  /* unsigned */
	VALUE_SIGNED,    /* int */
	VALUE_MASK,      /* uint32_t, in hex: adjacent bits, at least `min` */
	VALUE_COUNT,     /* size_t */
	VALUE_BYTES,     /* size_t, written with k, m or g */
	VALUE_DURATION,  /* double, seconds; written with ms, s, m, h or d */
	VALUE_NAME,      /* char *: letters, digits, . _ - */
	VALUE_FILE,      /* char *: a name in a set of files, not read here */
	VALUE_PATH,      /* char *: one of `choices`, or a path: files_path() */
	VALUE_CHOICE,    /* an enum that counts as `choices` do */
	VALUE_YES_NO,    /* bool */
	VALUE_GATEWAYS,  /* struct gateway_list */
};

struct value_spec {
	enum value_kind kind;
	int64_t min, max;           /* of numbers; durations in ms; the length of a name */
	const char *word;           /* stands for the field's zero ("auto"), or NULL */
	const char *const *choices; /* ends with NULL */
	uint16_t port;              /* of an endpoint written without; 0: it must be there */
};

/* Reads `text` into `field`, which is zero.  0, -EINVAL or -ENOMEM; value_fini() is due in each
 * case. */
int value_parse(const struct value_spec *spec, const struct files *files, const char *text,
	void *field) WARN_UNUSED;

/* What value_parse() takes: "auto, or a number, 1-256".  Returns `out`. */
const char *value_describe(const struct value_spec *spec, char *out, size_t size);

bool value_equal(const struct value_spec *spec, const void *a, const void *b);
void value_fini(const struct value_spec *spec, void *field); /* fine when zero */
