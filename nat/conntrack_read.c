/*
 * conntrack_read.c - from a message of ctnetlink to a struct flow.
 *
 * Attributes that are not known are passed over; one that is shorter than it should be reads as
 * zero.
 */
#include "nat/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* A number in network byte order, of any size up to 8 bytes. */
static uint64_t number_of(const struct nlattr *attr)
{
	const uint8_t *bytes = mnl_attr_get_payload(attr);
	uint64_t number = 0;

	for (size_t i = 0; i < mnl_attr_get_payload_len(attr) && i < sizeof(number); i++)
		number = number << 8 | bytes[i];
	return number;
}

static void read_address(struct addr *out, const struct nlattr *attr)
{
	static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};
	size_t length = mnl_attr_get_payload_len(attr);

	if (length == sizeof(struct in_addr)) {
		memcpy(out->bytes, v4_prefix, sizeof(v4_prefix));
		memcpy(out->bytes + 12, mnl_attr_get_payload(attr), length);
	} else if (length == sizeof(out->bytes)) {
		memcpy(out->bytes, mnl_attr_get_payload(attr), length);
	}
}

static void read_addresses(struct flow_tuple *tuple, const struct nlattr *nest)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, nest)
		switch (mnl_attr_get_type(attr)) {
		case CTA_IP_V4_SRC:
		case CTA_IP_V6_SRC:
			read_address(&tuple->src, attr);
			break;
		case CTA_IP_V4_DST:
		case CTA_IP_V6_DST:
			read_address(&tuple->dst, attr);
			break;
		}
}

static void read_protocol(struct flow_tuple *tuple, const struct nlattr *nest)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, nest) {
		uint16_t number = (uint16_t)number_of(attr);

		switch (mnl_attr_get_type(attr)) {
		case CTA_PROTO_NUM:
			tuple->protocol = (uint8_t)number;
			break;
		case CTA_PROTO_SRC_PORT:
		case CTA_PROTO_ICMP_ID:
		case CTA_PROTO_ICMPV6_ID:
			tuple->sport = number;
			break;
		case CTA_PROTO_DST_PORT:
			tuple->dport = number;
			break;
		case CTA_PROTO_ICMP_TYPE:
		case CTA_PROTO_ICMPV6_TYPE:
			tuple->type = (uint8_t)number;
			break;
		case CTA_PROTO_ICMP_CODE:
		case CTA_PROTO_ICMPV6_CODE:
			tuple->code = (uint8_t)number;
			break;
		}
	}
}

static void read_tuple(struct flow_tuple *tuple, const struct nlattr *nest)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, nest)
		if (mnl_attr_get_type(attr) == CTA_TUPLE_IP)
			read_addresses(tuple, attr);
		else if (mnl_attr_get_type(attr) == CTA_TUPLE_PROTO)
			read_protocol(tuple, attr);
}

static void keep_raw(struct flow *flow, const struct nlattr *nest)
{
	size_t length = mnl_attr_get_payload_len(nest);

	if (length > sizeof(flow->raw))
		return;
	memcpy(flow->raw, mnl_attr_get_payload(nest), length);
	flow->raw_length = (uint16_t)length;
}

static void read_counters(
	struct flow *flow, enum flow_direction direction, const struct nlattr *nest)
{
	const struct nlattr *attr;

	flow->counted = true;
	mnl_attr_for_each_nested (attr, nest)
		if (mnl_attr_get_type(attr) == CTA_COUNTERS_PACKETS)
			flow->packets[direction] = number_of(attr);
		else if (mnl_attr_get_type(attr) == CTA_COUNTERS_BYTES)
			flow->bytes[direction] = number_of(attr);
}

static void read_times(struct flow *flow, const struct nlattr *nest)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, nest)
		if (mnl_attr_get_type(attr) == CTA_TIMESTAMP_START)
			flow->start = (double)number_of(attr) / 1e9;
		else if (mnl_attr_get_type(attr) == CTA_TIMESTAMP_STOP)
			flow->stop = (double)number_of(attr) / 1e9;
}

static void read_tcp_state(struct flow *flow, const struct nlattr *nest)
{
	const struct nlattr *tcp, *attr;

	mnl_attr_for_each_nested (tcp, nest)
		if (mnl_attr_get_type(tcp) == CTA_PROTOINFO_TCP)
			mnl_attr_for_each_nested (attr, tcp)
				if (mnl_attr_get_type(attr) == CTA_PROTOINFO_TCP_STATE)
					flow->tcp_state = (uint8_t)number_of(attr);
}

static void read_attribute(struct flow *flow, const struct nlattr *attr)
{
	switch (mnl_attr_get_type(attr)) {
	case CTA_TUPLE_ORIG:
		read_tuple(&flow->original, attr);
		keep_raw(flow, attr);
		break;
	case CTA_TUPLE_REPLY:
		read_tuple(&flow->reply, attr);
		break;
	case CTA_STATUS:
		flow->status = (uint32_t)number_of(attr);
		break;
	case CTA_PROTOINFO:
		read_tcp_state(flow, attr);
		break;
	case CTA_MARK:
		flow->mark = (uint32_t)number_of(attr);
		break;
	case CTA_COUNTERS_ORIG:
		read_counters(flow, FLOW_ORIGINAL, attr);
		break;
	case CTA_COUNTERS_REPLY:
		read_counters(flow, FLOW_REPLY, attr);
		break;
	case CTA_ID:
		flow->id = (uint32_t)number_of(attr);
		break;
	case CTA_ZONE:
		flow->zone = (uint16_t)number_of(attr);
		break;
	case CTA_TIMESTAMP:
		read_times(flow, attr);
		break;
	}
}

bool flow_read(struct flow *flow, const struct nlmsghdr *message)
{
	const struct nfgenmsg *nfgen = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;

	if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_CTNETLINK ||
		mnl_nlmsg_get_payload_len(message) < sizeof(*nfgen) ||
		(nfgen->nfgen_family != AF_INET && nfgen->nfgen_family != AF_INET6))
		return false;
	*flow = (struct flow){
		.version = nfgen->nfgen_family == AF_INET ? 4 : 6, .portid = message->nlmsg_pid};
	mnl_attr_for_each (attr, message, sizeof(*nfgen))
		read_attribute(flow, attr);
	return flow->original.protocol != 0;
}

bool flow_has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	       protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

const char *flow_protocol_print(uint8_t protocol, char out[FLOW_PROTOCOL_TEXT])
{
	static const char *const names[256] = {
		[IPPROTO_TCP] = "tcp",
		[IPPROTO_UDP] = "udp",
		[IPPROTO_ICMP] = "icmp",
		[IPPROTO_ICMPV6] = "icmpv6",
		[IPPROTO_SCTP] = "sctp",
		[IPPROTO_DCCP] = "dccp",
		[IPPROTO_UDPLITE] = "udplite",
		[IPPROTO_GRE] = "gre",
		[IPPROTO_ESP] = "esp",
		[IPPROTO_AH] = "ah",
	};

	snprintf(out, FLOW_PROTOCOL_TEXT, "%u", protocol);
	return names[protocol] ? names[protocol] : out;
}
