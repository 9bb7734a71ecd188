/*
 * files.h - egret.ini and its policy, read without egretd.
 */
#pragma once

#include "base/error.h"
#include "daemon/gate/edition.h"

/* `path` is an egret.ini, or a directory with one.  `role` NULL: as the file says.  NULL with `e`.
 */
struct edition *files_edition(const char *path, const enum role *role, struct error *e);
