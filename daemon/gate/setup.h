/*
 * setup.h - what the gate asks of the node for itself and for the proxy process: files, limits,
 * CPUs.
 */
#pragma once

#include <sys/types.h>

#include "base/check.h"
#include "base/error.h"
#include "daemon/gate/listen.h"

/* Opens "off" (*fd is -1), "stdout", "stderr" or a path to append to.  `what` it is, for the error:
 * "access log".  0 or -errno. */
int setup_log_file(const char *what, const char *target, int *fd, struct error *e) WARN_UNUSED;
int setup_access_log(const char *target, int *fd, struct error *e) WARN_UNUSED;

/* Raises RLIMIT_NOFILE of process `pid` (0: this one, and what it forks) to what so many
 * connections need; a warning where the hard limit is lower. */
void setup_open_files(pid_t pid, size_t max_connections);

/* `configured`, or for 0 the number of CPUs that this process may use. */
unsigned setup_workers(unsigned configured);

/* Opens "cache.store" of `size` bytes in `directory` (made when it is not there) for the proxy, and
 * locks it while anybody has it open.  An fd, or -errno with `e` set. */
int setup_cache_file(const char *directory, size_t size, struct error *e) WARN_UNUSED;

/* In the new process: its name, no fd but 0 to 2, `channel`, `file` (-1: none) and the listeners,
 * and no variable of the environment. */
void setup_proxy_process(int channel, int file, const struct listener_list *listeners);
