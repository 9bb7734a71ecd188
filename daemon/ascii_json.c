#include "daemon/ascii_json.h"

#include <stdlib.h>
#include <string.h>

json_t *ascii_json_n(const char *bytes, size_t length)
{
	char *copy = strndup(bytes, length);
	json_t *string;

	for (char *at = copy; at && *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	string = copy ? json_string(copy) : NULL;
	free(copy);
	return string;
}

json_t *ascii_json(const char *bytes)
{
	return ascii_json_n(bytes, strlen(bytes));
}
