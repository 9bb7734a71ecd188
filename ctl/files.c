#include "ctl/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Absolute, and of the file; symbolic links stay as they are.  NULL with errno. */
static char *full_path(const char *path)
{
	char *cwd = path[0] == '/' ? strdup("") : getcwd(NULL, 0), *out = NULL;
	struct stat st;
	bool directory = stat(path, &st) == 0 && S_ISDIR(st.st_mode);

	if (cwd && asprintf(&out, "%s%s%s%s", cwd, path[0] == '/' ? "" : "/", path,
			   directory ? "/egret.ini" : "") < 0)
		out = NULL;
	free(cwd);
	return out;
}

struct edition *files_edition(const char *path, const enum role *role, struct error *e)
{
	const struct edition_facts facts = {.role = role};
	struct edition *edition = NULL;
	char *full = full_path(path);

	if (full)
		edition = edition_new(full, &facts, NULL, e);
	else
		error_set(e, -errno, "%s: %s", path, strerror(errno));
	free(full);
	return edition;
}
