/*
 * client_hello.h - the first message of a TLS client, as far as it says whom it wants to speak to.
 *
 * Pure: bytes in, name out.  Nothing is decrypted; the name of an encrypted hello (ECH) is that of
 * its outer one.
 */
#pragma once

#include <stddef.h>

#include "base/text.h"

#define CLIENT_HELLO_NAME 255 /* longest server name that is read */

struct client_hello {
	char name[CLIENT_HELLO_NAME]; /* as it stands there: any bytes */
	size_t name_length;           /* 0: no server_name extension */
	const char *error;            /* HELLO_BAD: a static text for the log */
};

enum hello_result {
	HELLO_DONE,
	HELLO_MORE, /* so far it is one, and it goes on behind `in` */
	HELLO_BAD,
};

/* Reads a ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2) from the records (RFC 8446 5.1) at the
 * start of `in`, over which it may be spread; what is behind it is left alone.  TLS 1.0 to 1.3, and
 * versions to come that keep to this form. */
enum hello_result client_hello_read(struct text in, struct client_hello *hello);
