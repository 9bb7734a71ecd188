/*
 * sealed.h - a text in a memfd that nobody can change any more: how one process hands another more
 * than a message holds.
 */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/text.h"

/* `name` is seen in /proc only.  The caller closes the fd.  -errno. */
int sealed_new(const char *name, struct text text) WARN_UNUSED;

/* Copies the text: malloc()ed, NUL-terminated, the caller's; *length without the NUL.  -EFBIG: over
 * `most` bytes; -EPERM: it is not sealed; -EINVAL: it is no memfd; other -errno. */
int sealed_read(int fd, size_t most, char **text, size_t *length) WARN_UNUSED;
