/*
 * info.h - http://egret.internal/: egret tells a client who it is and where it may go.
 */
#pragma once

#include "daemon/proxy/client.h"

/* Answers the request in text, or in JSON to a client that accepts application/json. */
enum next info_answer(struct client *client, const struct head *request);
