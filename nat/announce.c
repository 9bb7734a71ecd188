#include "nat/announce.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat/frames.h"
#include "nat/sysctl.h"

/* Linux takes a reply as an announcement only when its target hardware address is the sender's, and
 * other systems only look at requests: hence both. */
static int announce_arp(
	int fd, uint32_t device, const uint8_t mac[ETH_ALEN], const struct addr *addr)
{
	int error = frame_send_arp(fd, device, mac, ARPOP_REQUEST, addr, addr);

	return error ? error : frame_send_arp(fd, device, mac, ARPOP_REPLY, addr, addr);
}

/* A node that forwards says so: a neighbour that has it as router would forget that otherwise. */
static bool is_router(const char *device)
{
	char path[64], value[SYSCTL_VALUE];

	snprintf(path, sizeof(path), "net/ipv6/conf/%s/forwarding", device);
	return sysctl_read(path, value, NULL) == 0 && strcmp(value, "0") != 0;
}

static int announce_ndp(
	int fd, uint32_t device, const uint8_t mac[ETH_ALEN], bool router, const struct addr *addr)
{
	static const struct in6_addr all_nodes = {{{0xff, 0x02, [15] = 1}}};
	struct in6_addr from;

	memcpy(&from, addr->bytes, sizeof(from));
	return frame_send_ndp(fd, device, mac, ND_NEIGHBOR_ADVERT,
		ND_NA_FLAG_OVERRIDE | (router ? ND_NA_FLAG_ROUTER : 0), &from, &all_nodes, addr);
}

int announce_send(const char *device, const struct addr *addr, struct error *e)
{
	/* Protocol 0: it receives nothing. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int error = fd < 0 ? -errno : 0;
	uint32_t index = error ? 0 : if_nametoindex(device);
	uint8_t mac[ETH_ALEN];
	char text[ADDR_TEXT];

	if (!error && index == 0)
		error = -errno;
	if (!error)
		error = frame_find_mac(fd, index, mac);
	if (!error)
		error = addr_is_v4(addr) ? announce_arp(fd, index, mac, addr)
					 : announce_ndp(fd, index, mac, is_router(device), addr);
	if (fd >= 0)
		close(fd);
	return error && error != -ENOTSUP
		       ? error_set(e, error, "announcing %s on %s: %s", addr_print(addr, text),
				 device, strerror(-error))
		       : 0;
}
