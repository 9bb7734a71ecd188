/*
 * uri_fuzz.c - any bytes as a target: what was taken, written again, means the same place.
 */
#include "base/check.h"
#include "daemon/http/uri.h"

#define TARGET_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct uri *uri, enum method method)
{
	static const char *const schemes[] = {"", "http://", "https://"};
	static char target[TARGET_MAX + HOST_MAX + 32];
	struct head_error error;
	struct uri again;

	size_t length = strlen(schemes[uri->scheme]);
	memcpy(target, schemes[uri->scheme], length);
	size_t field = uri_host_field(uri, target + length, HOST_MAX + 8);
	CHECK(field > 0);
	length += field;
	if (uri->path_slash)
		target[length++] = '/';
	if (uri->path.length && uri->path.at[0] != '*')
		memcpy(target + length, uri->path.at, uri->path.length);
	if (uri->path.length && uri->path.at[0] != '*')
		length += uri->path.length;

	struct head request = {.target = {target, length}, .method_id = method};
	CHECK(uri_parse(&request, &again, &error) == 0);
	CHECK(again.scheme == uri->scheme && again.port == uri->port);
	CHECK(again.is_address == uri->is_address && again.default_port == uri->default_port);
	CHECK(strcmp(again.host, uri->host) == 0 && strlen(uri->host) == uri->host_length);
	CHECK(again.path.length == uri->path.length + uri->path_slash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum method methods[] = {METHOD_GET, METHOD_CONNECT, METHOD_OPTIONS};
	struct head_error error;
	struct uri uri;
	if (size == 0 || size > TARGET_MAX)
		return 0;
	enum method method = methods[data[0] % 3];
	struct head request = {.target = {(const char *)data + 1, size - 1}, .method_id = method};
	if (uri_parse(&request, &uri, &error))
		CHECK(error.status == 400 && error.text);
	else
		check_again(&uri, method);
	return 0;
}
