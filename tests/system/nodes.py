"""A cluster of namespaces: two gateways and two workers on one network, partners beyond it.

    gw1  45.0.0.2   pods 10.42.0.0/24  --+               +-- partner1
    gw2  45.0.0.3   pods 10.42.1.0/24  --+               |
                                         +-- lan -- net --
    w1   45.0.0.4   pods 10.42.2.0/24  --+               |
    w2   45.0.0.5   pods 10.42.3.0/24  --+               +-- partner2

Each node has what Flannel makes there: the bridge cni0 with two pods, and towards the other
nodes flannel.1 and flannel-v6.1 (backend vxlan), routes by node address (host-gw), flannel-wg and
flannel-wg-v6 (wireguard), or the devices of tun.py.
The outside is that of world.py, and what leaves anywhere passes the router `net`.
"""
import ipaddress
import socket
import struct

import tun
import wireguard
from world import (DNS, PREFIX, Host, Namespace, give_address, link, wire_partners)

NAMES = ("gw1", "gw2", "w1", "w2")
BACKENDS = ("vxlan", "host-gw", "wireguard", "tun")
ROUTER = {4: DNS, 6: "2a00::1"}
DEVICE = {4: "flannel.1", 6: "flannel-v6.1"}
MTU = {4: 1450, 6: 1430}  # of an uplink of 1500, less what vxlan adds
_IPV6_MULTICAST_HOPS = 18


class Node(Host):
    """One of them; for daemon.py and cluster.py it is like a World: gw, pod1, pod2."""

    pod_mtu = MTU[4]

    def __init__(self, name, number, backend, prefix):
        super().__init__(prefix)
        self.name, self.number, self.backend = name, number, backend
        self.node = {4: f"45.0.0.{2 + number}", 6: f"2a00::{2 + number}"}
        self.pods = {4: f"10.42.{number}.0/24", 6: f"fd42:0:0:{number}::/64"}
        self.cni0 = self._pod(1)
        self.flannel = self._pod(0)
        self.mac = {4: f"02:00:00:00:04:{number:02x}", 6: f"02:00:00:00:06:{number:02x}"}
        self.pod_addresses = (self._pod(11), self._pod(12))
        if backend == "wireguard":
            self.pod_mtu = wireguard.MTU
        if backend == "tun":
            self.pod_mtu = tun.MTU
        self.gw = Namespace(name, prefix)
        self.namespaces.append(self.gw)

    def __repr__(self):
        return self.name

    def _pod(self, host):
        return {4: f"10.42.{self.number}.{host}",
                6: str(ipaddress.ip_address(f"fd42:0:0:{self.number}::{host}"))}

    def wire(self, lan):
        self.no_dad(self.gw)
        self.route(self.gw)
        self.make_cni0()
        self.pod1, self.pod2 = (self.add_pod(f"{self.name}p{n}", addresses)
                                for n, addresses in enumerate(self.pod_addresses, 1))
        self._lan = lan
        link(self.gw, "eth0", lan, self.name)
        lan.ip(f"link set {self.name} master lan")
        give_address(self.gw, "eth0", self.node, ROUTER)

    def remove(self):
        while self.namespaces:
            self.namespaces.pop().remove()

    # What flanneld does.

    def join(self, others):
        """The way to the others' pods."""
        if self.backend == "vxlan":
            self.make_vxlan(others)
        if self.backend == "wireguard":
            wireguard.make(self, others)
        if self.backend != "host-gw":
            return
        for version in (4, 6):
            for other in others:
                self.gw.ip(f"route replace {other.pods[version]} via {other.node[version]} dev eth0")

    def make_vxlan(self, others):
        """Both devices, with what each other node is known by."""
        for version, device in DEVICE.items():
            length = 32 if version == 4 else 128
            self.gw.ip(
                f"link add {device} address {self.mac[version]} mtu {MTU[version]} type vxlan id 1 "
                f"dev eth0 local {self.node[version]} dstport 8472 nolearning",
                f"link set {device} up",
                f"addr add {self.flannel[version]}/{length} dev {device}"
                + (" nodad" if version == 6 else ""))
            for other in others:
                self._know(other, version)

    def delete_vxlan(self):
        """The kernel takes the routes with them."""
        self.gw.ip(*(f"link del {device}" for device in DEVICE.values()))

    def _know(self, other, version):
        device, mac, at = DEVICE[version], other.mac[version], other.flannel[version]
        self.gw.ip(f"neigh replace {at} lladdr {mac} dev {device} nud permanent",
                   f"route replace {other.pods[version]} via {at} dev {device} onlink")
        self.gw.run("bridge", "fdb", "append", mac, "dev", device, "dst", other.node[version],
                    "self", "permanent", check=True)

    @property
    def towards_pods(self):
        """The addresses that it speaks with to pods of other nodes."""
        return self.node if self.backend == "host-gw" else self.flannel

    # What happens to a node.

    def rp_filter(self, value):
        super().rp_filter(value)
        if self.backend != "host-gw":
            device = {"vxlan": DEVICE, "wireguard": wireguard.DEVICE, "tun": tun.DEVICE}[
                self.backend][4]
            self.sysctl(**{f"net/ipv4/conf/{device}/rp_filter": value})

    def unplug(self):
        """The uplink has no carrier; what the kernel knows of it stays."""
        self._lan.ip(f"link set {self.name} down")

    def plug(self):
        self._lan.ip(f"link set {self.name} up")

    def announce(self, *egress):
        """That these are here now: gratuitous ARP, unsolicited neighbour advertisement."""
        with self.gw.inside():
            for one in egress:
                announce_arp("eth0", one[4])
                announce_nd("eth0", one[6])


def _mac(device):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((device, 0))
        return s.getsockname()[4]


def announce_arp(device, address):
    mac, ip = _mac(device), socket.inet_aton(address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((device, 0))
        s.send(b"\xff" * 6 + mac + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
               + mac + ip + b"\0" * 6 + ip)


def announce_nd(device, address):
    override = struct.pack("!BBHI", 136, 0, 0, 0x20000000)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        s.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_HOPS, 255)
        s.bind((address, 0))
        s.sendto(override + socket.inet_pton(socket.AF_INET6, address) + b"\x02\x01"
                 + _mac(device), ("ff02::1", 0, 0, socket.if_nametoindex(device)))


class Nodes:
    """The namespaces of the picture above, wired: nodes.gw1 and so on, lan, net, partners."""

    def __init__(self, prefix=PREFIX, backend="vxlan"):
        self._made = []
        self.relay = None
        self.all = ()
        try:
            for name in ("lan", "net", "partner1", "partner2"):
                self._made.append(Namespace(name, prefix))
                setattr(self, name, self._made[-1])
            self._wire()
            for number, name in enumerate(NAMES):
                self._made.append(Node(name, number, backend, prefix))
                setattr(self, name, self._made[-1])
                self._made[-1].wire(self.lan)
            self.all = tuple(self._made[4:])
            for node in self.all:
                node.join(self.others(node))
                self.net.ip(*(f"route add {node.pods[v]} via {node.node[v]}" for v in (4, 6)))
            if backend == "tun":
                self.relay = tun.Relay(self.all)
        except BaseException:
            self.remove()
            raise

    def remove(self):
        if self.relay:
            self.relay.close()
            self.relay = None
        while self._made:
            self._made.pop().remove()

    def others(self, node):
        return [other for other in self.all if other is not node]

    def _wire(self):
        Host.no_dad(self.net, self.partner1, self.partner2)
        Host.route(self.net)
        self.lan.ip("link add lan type bridge", "link set lan up")
        link(self.net, "node", self.lan, "net")
        self.lan.ip("link set net master lan")
        give_address(self.net, "node", ROUTER)
        wire_partners(self.net, self.partner1, self.partner2)
