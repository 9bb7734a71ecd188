/*
 * multipart.c - several ranges of one body.
 */
#include "daemon/cache/multipart.h"

#include "daemon/cache/writer.h"

static uint64_t digits_of(uint64_t number)
{
	uint64_t digits = 1;
	while (number /= 10)
		digits++;
	return digits;
}

#define LENGTH(literal) (sizeof(literal) - 1)

static uint64_t head_length(const struct multipart *m, const struct range *range, bool first)
{
	uint64_t length = LENGTH("--\r\nContent-Range: bytes -/\r\n\r\n") + m->boundary.length +
			  digits_of(range->first) + digits_of(range->last) + digits_of(m->length);
	if (m->type.length)
		length += LENGTH("Content-Type: \r\n") + m->type.length;
	return first ? length : length + 2;
}

uint64_t multipart_length(const struct multipart *m)
{
	uint64_t length = LENGTH("\r\n----\r\n") + m->boundary.length;
	for (size_t i = 0; i < m->n_ranges; i++)
		length += head_length(m, &m->ranges[i], i == 0) + m->ranges[i].last -
			  m->ranges[i].first + 1;
	return length;
}

size_t multipart_head(char *out, size_t size, const struct multipart *m, size_t i)
{
	struct writer w = {out, out + size, false};

	if (i > 0)
		PUT(&w, "\r\n");
	PUT(&w, "--");
	put_text(&w, m->boundary);
	if (i == m->n_ranges) {
		PUT(&w, "--\r\n");
		return writer_finish(&w, out);
	}
	PUT(&w, "\r\n");
	if (m->type.length)
		put_field(&w, TEXT("Content-Type"), m->type);
	PUT(&w, "Content-Range: bytes ");
	put_number(&w, m->ranges[i].first);
	PUT(&w, "-");
	put_number(&w, m->ranges[i].last);
	PUT(&w, "/");
	put_number(&w, m->length);
	PUT(&w, "\r\n\r\n");
	return writer_finish(&w, out);
}
