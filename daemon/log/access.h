/*
 * access.h - the access log of one worker: a line an exchange.
 *
 * Lines are gathered and written together: when `buffer` is full, and every second by
 * access_flush().  The fd is opened by the gate; a target that cannot take lines (a full pipe, a
 * full disk) loses them, counted, and never stops the worker.  Workers share one fd, and
 * their lines never mix.  docs/metrics.md tells the fields of each format.
 *
 * All but access_lost() is for the worker's own thread.  SIGPIPE must be ignored.
 */
#pragma once

#include <limits.h>
#include <stddef.h>

#include "daemon/log/record.h"

enum access_format { ACCESS_JSON, ACCESS_SQUID, ACCESS_COMBINED };

/* Longest line with its newline: what a pipe takes whole.  Long texts are cut to keep to it. */
#define ACCESS_LINE PIPE_BUF

struct access;

/* fd -1: no access log.  The fd stays the caller's.  `buffer`: bytes gathered, at least 64 KiB.
 * NULL: no memory. */
struct access *access_new(int fd, enum access_format format, size_t buffer);
void access_free(struct access *access); /* flushes once; accepts NULL */
void access_write(struct access *access, const struct record *record);
void access_flush(struct access *access);
void access_set_format(struct access *access, enum access_format format);

/* Flushes to the old one first; whole lines that it does not take go to the new one. */
void access_set_fd(struct access *access, int fd);
uint64_t access_lost(const struct access *access); /* lines; from any thread */

/* Pure: one line without its newline; returns its length, or 0 when it does not fit (ACCESS_LINE -
 * 1 always suffices). */
size_t access_format(
	enum access_format format, const struct record *record, char *out, size_t size);
