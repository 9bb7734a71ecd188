/*
 * capture.h - connections that a client made to an origin, and that were redirected here.
 *
 * To port 80: requests, as exchange.c has them, whose Host names the target.  To port 443: TLS, of
 * which the first message is read and nothing is decrypted; then it is a tunnel, as if the client
 * had asked for it by CONNECT.  A refusal is an alert.
 */
#pragma once

#include "daemon/proxy/client.h"

/* Learns where the connection was made to.  The client's first state. */
enum client_state capture_begin(struct client *client);

enum next capture_read_hello(struct client *client);
enum next capture_refuse(struct client *client);

/* The alert that says what an answer with this status would.  0, or -1: no memory. */
ssize_t capture_put_alert(struct client *client, int status);

/* Of the addresses that were found for the target the one that the client had chosen is left.
 * False: it is none of them, or another port's. */
bool capture_agrees(struct client *client);
enum next capture_misdirected(struct client *client);
