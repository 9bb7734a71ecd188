/*
 * files.h - the exact bytes that one generation is made from.
 *
 * The gate reads egret.ini, acl.ini, acl.d/ and the lists they name once, and
 * packs them into a sealed memfd; the proxy unpacks it and parses the same
 * bytes with the same code.  A parser asks for files by name only, so parsing
 * stays pure: it never sees whether bytes came from disk or from the gate.
 */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/error.h"
#include "base/text.h"

#define FILES_DIGEST_TEXT 65 /* SHA-256 in hex, with its NUL */

struct files;

/* An empty set whose relative names mean paths below `dir`.  NULL: no memory. */
struct files *files_new(const char *dir);
void files_free(struct files *files); /* accepts NULL */

/* The text of `name`, read from disk at the first call and kept.  The text
 * lives as long as the set.  An unpacked set only finds what was packed.
 * Errors: -ENOENT, -EACCES ..., -EFBIG (over 256 MiB together). */
int files_get(struct files *files, const char *name, struct text *out, struct error *e) WARN_UNUSED;

/* Where relative `name` is on disk: "dir/name", or `name` itself when it is absolute or the
 * set was unpacked.  The caller frees it.  NULL: no memory. */
char *files_path(const struct files *files, const char *name) WARN_UNUSED;

/* Gives the set a text that is not on disk (facts, or a test's policy).  -EEXIST when
 * it has that name already. */
int files_put(struct files *files, const char *name, struct text text) WARN_UNUSED; /* copies */

/* Calls `each` with "dir/x.ini" for every *.ini in `dir`, in name order; a missing directory has
 * none.  Stops at and returns the first non-zero answer.  Hidden names (".x.ini") do not count.
 * Listing reads them all; later calls answer from the set. */
int files_each_ini(struct files *files, const char *dir,
	int (*each)(void *arg, const char *name, struct error *e), void *arg,
	struct error *e) WARN_UNUSED;

/* A sealed memfd with everything read so far.  The caller closes it. */
int files_pack(const struct files *files, struct error *e) WARN_UNUSED;

/* Maps and checks a packed set (the fd stays the caller's).  NULL with `e` set. */
struct files *files_unpack(int fd, struct error *e);

/* SHA-256 over names and texts, in hex. */
void files_digest(const struct files *files, char out[FILES_DIGEST_TEXT]);
