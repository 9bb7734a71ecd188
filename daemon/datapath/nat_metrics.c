/*
 * nat_metrics.c - one table of families, and a stream that is not written to when it is full.
 */
#include "daemon/datapath/nat_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/admin/metrics_text.h"

#define LABELS_MOST 4
#define VALUE_MOST 256 /* bytes of a label's value; a longer one is cut */
#define A_DAY 86400    /* seconds: what is longer is a time of day, and exact to the millisecond */
#define RESERVE 8192   /* for the longest line with its family, and the last family */

static const struct {
	const char *name, *type, *help;
	const char *labels[LABELS_MOST + 1];
} families[NAT_FAMILIES] = {
	[NAT_LEAKS_PREVENTED] = {"egret_leaks_prevented_total", "counter",
		"Packets that would have left with another source than their own, dropped.",
		{"partner", "source"}},
	[NAT_DENIED] = {"egret_nat_denied_total", "counter",
		"Packets that the kernel refused by policy, by section and reason.",
		{"section", "reason"}},
	[NAT_REPAIRS] = {"egret_nat_repairs_total", "counter",
		"Times that somebody else changed what egret keeps in the kernel, put right.",
		{"kind"}},
	[NAT_EGRESS_ADDRESS_PRESENT] = {"egret_nat_egress_address_present", "gauge",
		"Whether the egress address is on this node.", {"address"}},
	[NAT_PORTS_USED] = {"egret_nat_ports_used", "gauge",
		"Ports of an egress address in use towards an endpoint.",
		{"address", "destination", "port", "protocol"}},
	[NAT_PORTS_AVAILABLE] = {"egret_nat_ports_available", "gauge",
		"Ports of an egress address that are free towards an endpoint.",
		{"address", "destination", "port", "protocol"}},
	[NAT_CONNTRACK_ENTRIES] = {"egret_nat_conntrack_entries", "gauge",
		"Flows that the kernel tracks.", {NULL}},
	[NAT_CONNTRACK_LIMIT] = {"egret_nat_conntrack_entries_limit", "gauge", "nf_conntrack_max.",
		{NULL}},
	[NAT_CONNTRACK_INSERT_FAILED] = {"egret_nat_conntrack_insert_failed_total", "counter",
		"Flows that could not be tracked, for want of a free port among others.", {NULL}},
	[NAT_CONNTRACK_DROP] = {"egret_nat_conntrack_drop_total", "counter",
		"Packets dropped because their flow could not be tracked.", {NULL}},
	[NAT_CONNTRACK_EARLY_DROP] = {"egret_nat_conntrack_early_drop_total", "counter",
		"Tracked flows that were dropped to make room.", {NULL}},
	[NAT_FLOWS] = {"egret_nat_flows", "gauge", "Translated flows of pods.", {NULL}},
	[NAT_FLOWS_STARTED] = {"egret_nat_flows_started_total", "counter",
		"Translated flows of pods that began.", {NULL}},
	[NAT_FLOWS_ENDED] = {"egret_nat_flows_ended_total", "counter",
		"Translated flows of pods that are over.", {NULL}},
	[NAT_FLOW_EVENTS_LOST] = {"egret_nat_flow_events_lost_total", "counter",
		"Times that the kernel told of flows faster than they could be read.", {NULL}},
	[NAT_FLOW_LINES_LOST] = {"egret_nat_flow_log_lines_lost_total", "counter",
		"Lines of the flow log that were not written.", {NULL}},
	[NAT_LEARNT_ADDRESSES] = {"egret_nat_learnt_addresses", "gauge",
		"Addresses that NAT follows names of a partner to.", {"partner"}},
	[NAT_GATEWAY_UP] = {"egret_gateway_up", "gauge",
		"Whether the gateway answers over the IP version, or is this node.",
		{"gateway", "ip_version"}},
	[NAT_GATEWAY_OWNED] = {"egret_gateway_owned_addresses", "gauge",
		"Egress addresses that are on the gateway.", {"gateway"}},
	[NAT_GATEWAY_RTT] = {"egret_gateway_rtt_seconds", "gauge",
		"How long the gateway's last answer took.", {"gateway", "ip_version"}},
	[NAT_GATEWAY_CHANGE] = {"egret_gateway_last_change_timestamp_seconds", "gauge",
		"Unix time when the gateway came up or went down for this node.",
		{"gateway", "ip_version"}},
	[NAT_GATEWAY_CONFLICTS] = {"egret_gateway_conflicts", "gauge",
		"Egress addresses that two nodes claim.", {NULL}},
	[NAT_PLAN_TIME] = {"egret_nat_plan_last_success_timestamp_seconds", "gauge",
		"Unix time when the kernel was last brought to a plan.", {NULL}},
};

static const char complete[] = "egret_nat_metrics_complete";

struct nat_metrics {
	FILE *out;
	char *text;
	size_t length, most;
	int family; /* the last one that was printed; -1: none */
	bool full;
};

struct nat_metrics *nat_metrics_begin(size_t most)
{
	struct nat_metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->most = most;
	m->family = -1;
	m->out = open_memstream(&m->text, &m->length);
	if (m->out)
		return m;
	free(m);
	return NULL;
}

static void print_labels(FILE *out, const char *const *names, const char *const *values)
{
	for (size_t i = 0; names[i]; i++) {
		char value[VALUE_MOST + 1];

		CHECK(values[i]);
		snprintf(value, sizeof(value), "%s", values[i]);
		fprintf(out, "%s%s=\"", i ? "," : "{", names[i]);
		metrics_text_label(out, value);
		fputc('"', out);
	}
	if (names[0])
		fputc('}', out);
}

/* Everything of a line but its value.  False: the page is full. */
static bool begin_line(struct nat_metrics *m, enum nat_family family, const char *const *labels)
{
	CHECK(family < NAT_FAMILIES && (int)family >= m->family);
	m->full = m->full || (size_t)ftello(m->out) + RESERVE > m->most;
	if (m->full)
		return false;
	if ((int)family != m->family)
		metrics_text_family(m->out, families[family].name, families[family].type,
			families[family].help);
	m->family = (int)family;
	fputs(families[family].name, m->out);
	print_labels(m->out, families[family].labels, labels);
	return true;
}

void nat_metrics_value(
	struct nat_metrics *m, enum nat_family family, uint64_t value, const char *const *labels)
{
	if (begin_line(m, family, labels))
		fprintf(m->out, " %llu\n", (unsigned long long)value);
}

void nat_metrics_seconds(
	struct nat_metrics *m, enum nat_family family, double value, const char *const *labels)
{
	if (begin_line(m, family, labels))
		fprintf(m->out, " %.*f\n", value < A_DAY ? 6 : 3, isfinite(value) ? value : 0);
}

char *nat_metrics_finish(struct nat_metrics *m, size_t *length)
{
	char *text;

	metrics_text_family(
		m->out, complete, "gauge", "Whether everything about NAT had room on this page.");
	fprintf(m->out, "%s %d\n", complete, !m->full);
	if ((ferror(m->out) | fclose(m->out)) != 0) {
		free(m->text);
		m->text = NULL;
	}
	text = m->text;
	*length = m->length;
	free(m);
	return text;
}

static bool starts_with(struct text line, struct text prefix)
{
	return line.length >= prefix.length && memcmp(line.at, prefix.at, prefix.length) == 0;
}

static bool is_line(struct text line)
{
	for (size_t i = 0; i < line.length; i++)
		if ((unsigned char)line.at[i] < ' ' && line.at[i] != '\t')
			return false;
	return starts_with(line, TEXT("egret_nat_")) || starts_with(line, TEXT("egret_leaks_")) ||
	       starts_with(line, TEXT("egret_gateway_")) || starts_with(line, TEXT("#"));
}

bool nat_metrics_is_page(struct text page)
{
	if (page.length > NAT_METRICS_MOST)
		return false;
	while (page.length > 0) {
		const char *end = memchr(page.at, '\n', page.length);
		struct text line = {page.at, end ? (size_t)(end - page.at) : 0};

		if (!end || !is_line(line))
			return false;
		page.at = end + 1;
		page.length -= line.length + 1;
	}
	return true;
}
