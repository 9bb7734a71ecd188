/*
 * A line is made in full on the stack and written at once, at most PIPE_BUF bytes, so that
 * lines of threads and of both processes never mix.  A stderr that takes nothing loses lines;
 * the first line after that says how many.
 */
#include "daemon/log/log.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log/line.h"
#include "daemon/log/sink.h"

#define MESSAGE 2048      /* bytes of a message before it is escaped */
#define MESSAGE_TEXT 3072 /* and after */

static _Atomic int threshold = LOG_LEVEL_INFO;
static _Atomic unsigned lost;
static const char *process = "egretd";

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

void log_set_process(const char *name)
{
	process = name;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static bool write_line(const char *level, struct text message)
{
	char out[PIPE_BUF];
	struct line line = {.at = out, .end = out + sizeof(out)};
	struct sink sink;

	line_time_rfc3339(&line, now());
	LINE_PUT(&line, " ");
	line_string(&line, level);
	LINE_PUT(&line, " ");
	line_string(&line, process);
	LINE_PUT(&line, ": ");
	line_escaped(&line, message, ESCAPE_LOG, MESSAGE_TEXT);
	LINE_PUT(&line, "\n");
	sink_init(&sink, STDERR_FILENO);
	return sink_write(&sink, out, (size_t)(line.at - out)) > 0;
}

static void report_lost(void)
{
	unsigned n = atomic_exchange_explicit(&lost, 0, memory_order_relaxed);
	char message[64];
	int length;

	if (n == 0)
		return;
	length = snprintf(message, sizeof(message), "%u lines of this log were lost", n);
	if (!write_line("warn", (struct text){message, (size_t)length}))
		atomic_fetch_add_explicit(&lost, n, memory_order_relaxed);
}

static __attribute__((format(printf, 2, 0))) void say(
	enum log_level level, const char *format, va_list args)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	char message[MESSAGE];
	struct text text = {message, 0};
	int saved = errno, length;

	if (level > log_get_level())
		return;
	length = vsnprintf(message, sizeof(message), format, args);
	if (length < 0)
		return;
	text.length = (size_t)length;
	if (text.length >= sizeof(message)) {
		text.length = sizeof(message) - 1;
		memcpy(message + text.length - 3, "...", 3);
	}
	report_lost();
	if (!write_line(names[level], text))
		atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
	errno = saved;
}

#define SAY(function, level)                                                                       \
	void function(const char *format, ...)                                                     \
	{                                                                                          \
		va_list args;                                                                      \
                                                                                                   \
		va_start(args, format);                                                            \
		say(level, format, args);                                                          \
		va_end(args);                                                                      \
	}

SAY(log_error, LOG_LEVEL_ERROR)
SAY(log_warn, LOG_LEVEL_WARN)
SAY(log_info, LOG_LEVEL_INFO)
SAY(log_debug, LOG_LEVEL_DEBUG)
