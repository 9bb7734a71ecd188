#include "daemon/admin/metrics_text.h"

void metrics_text_family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_text_label(FILE *out, const char *value)
{
	for (; *value; value++) {
		unsigned char byte = (unsigned char)*value;

		if (byte == '\n') {
			fputs("\\n", out);
		} else if (byte == '"' || byte == '\\') {
			fputc('\\', out);
			fputc(byte, out);
		} else if (byte < 0x80) {
			fputc(byte, out);
		} else {
			fputc(0xc0 | byte >> 6, out);
			fputc(0x80 | (byte & 0x3f), out);
		}
	}
}
