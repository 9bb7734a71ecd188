/*
 * net.h - what load.c, origin.c and relay.c share: loopback sockets and an end with a reason.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

double now(void); /* monotonic seconds */

/* Prints a line to stderr, and exits with 1. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The number in `text`, from `least` to `most`; dies with `what` otherwise. */
uint64_t number(const char *text, uint64_t least, uint64_t most, const char *what);

/* A listening socket at 127.0.0.1:port, non-blocking. */
int listen_at(uint16_t port);

/* A connection to 127.0.0.1:port, TCP_NODELAY and blocking: on loopback the kernel makes it at
 * once. */
int connect_to(uint16_t port);

/* As many file descriptors as `want`, or as many as there are. */
void raise_files(size_t want);
