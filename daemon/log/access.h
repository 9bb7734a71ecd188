/*
 * access.h - the access log of one worker: a line an exchange.
 *
 * Lines are gathered and written together: at `full`, and every second by access_flush().
 * The fd is opened by the gate; a target that cannot take lines (a full pipe, a full disk) loses them, counted, and
 * never stops the worker.
 */
#pragma once

#include <stddef.h>

#include "daemon/log/record.h"

enum access_format { ACCESS_JSON, ACCESS_SQUID, ACCESS_COMBINED };

struct access;

/* fd -1: no access log.  The fd stays the caller's.  `buffer`: bytes gathered, at least 64 KiB. */
struct access *access_new(int fd, enum access_format format, size_t buffer);
void access_free(struct access *access); /* flushes once; accepts NULL */
void access_write(struct access *access, const struct record *record);
void access_flush(struct access *access);
void access_set_format(struct access *access, enum access_format format);
void access_set_fd(struct access *access, int fd); /* flushes to the old one first */
uint64_t access_lost(const struct access *access); /* lines */

/* Pure, for tests: one line without its newline; returns its length, at most size. */
size_t access_format(enum access_format format, const struct record *record, char *out, size_t size);
