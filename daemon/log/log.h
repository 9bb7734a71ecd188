/*
 * log.h - the daemon's own log: one line an event, to stderr.
 *
 * "2026-11-23T08:02:21.123Z warn gate: acl.ini:14: ...".  Control characters, other bytes
 * that strangers sent, and the backslash are escaped (\x1b, \\), so a line is printable ASCII.
 * Thread-safe: one write a line, of at most PIPE_BUF bytes.  A stderr that takes nothing loses
 * lines (a later line says how many) and never stops the daemon.  errno is kept.
 */
#pragma once

#include <stdarg.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level); /* at first LOG_LEVEL_INFO */
enum log_level log_get_level(void);
void log_set_process(const char *name); /* "gate" or "proxy"; static.  Before there are threads */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
