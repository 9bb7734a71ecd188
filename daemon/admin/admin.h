/*
 * admin.h - /metrics, /healthz and /readyz, on listeners of their own.
 */
#pragma once

#include "daemon/proxy/client.h"

/* Answers a request that came to an admin listener (origin-form targets). */
enum next admin_answer(struct client *client, const struct head *request);
