/*
 * log.h - the daemon's own log: one line an event, to stderr.
 *
 * "2026-11-23T08:02:21.123Z warn gate: acl.ini:14: ...".  Control characters and other bytes
 * that strangers sent are escaped.  Thread-safe: one write(2) a line.
 */
#pragma once

#include <stdarg.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_set_process(const char *name); /* "gate" or "proxy"; static */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
