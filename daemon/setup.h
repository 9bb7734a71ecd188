/*
 * setup.h - what the gate asks of the node for itself and for the proxy process: files, limits,
 * CPUs.
 */
#pragma once

#include <sys/types.h>

#include "base/check.h"
#include "base/error.h"
#include "daemon/listen.h"

/* Opens "off" (*fd is -1), "stdout", "stderr" or a path to append to.  0 or -errno. */
int setup_access_log(const char *target, int *fd, struct error *e) WARN_UNUSED;

/* Raises RLIMIT_NOFILE of process `pid` (0: this one, and what it forks) to what so many
 * connections need; a warning where the hard limit is lower. */
void setup_open_files(pid_t pid, size_t max_connections);

/* `configured`, or for 0 the number of CPUs that this process may use. */
unsigned setup_workers(unsigned configured);

/* In the new process: its name, and no fd but 0 to 2, `channel` and the listeners. */
void setup_proxy_process(int channel, const struct listener_list *listeners);
