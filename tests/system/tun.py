"""A tunnel between nodes that has no next hops and is not the kernel's: TUN devices, and a relay.

As WireGuard in user space does it: packets go to the peer whose allowed networks have their
destination, by UDP between the nodes' addresses, and of what a peer sends only the packets are
taken whose source is in its own allowed networks.  Nothing is encrypted.
"""
import fcntl
import ipaddress
import os
import select
import socket
import struct
import threading

DEVICE = {4: "flannel-tun", 6: "flannel-tun-v6"}
MTU = 1420
_PORT = {4: 51820, 6: 51821}
_TUNSETIFF = 0x400454CA
_TUN, _NO_PI = 0x0001, 0x1000
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


class Tun:
    """The devices of one node; `peers` is set when all nodes have theirs."""

    def __init__(self, node):
        self.node = node
        self.device, self.socket = {}, {}
        for version in (4, 6):
            self.device[version] = self._make_device(version)
            self.socket[version] = node.gw.socket(_FAMILY[version], socket.SOCK_DGRAM)
            self.socket[version].bind((node.node[version], _PORT[version]))
            self.socket[version].setblocking(False)

    def _make_device(self, version):
        node, name = self.node, DEVICE[version]
        with node.gw.inside():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN | _NO_PI))
        length = 32 if version == 4 else 128
        network = {4: "10.42.0.0/16", 6: "fd42::/48"}[version]
        node.gw.ip(f"link set {name} mtu {MTU}",
                   f"addr add {node.flannel[version]}/{length} dev {name}"
                   + (" nodad" if version == 6 else ""),
                   f"link set {name} up",
                   f"route add {network} dev {name} scope link")
        return fd

    def close(self):
        for version in (4, 6):
            os.close(self.device[version])
            self.socket[version].close()


def _address(packet, version, source):
    at, size = (12, 4) if version == 4 else (8, 16)
    at += 0 if source else size
    return ipaddress.ip_address(packet[at:at + size])


class Relay:
    """Carries the packets of all nodes' devices, until close()."""

    TURN = 64  # packets of one device or socket before the others have their turn

    def __init__(self, nodes):
        self.refused = {4: 0, 6: 0}  # packets of a peer whose source is not in its networks
        self._ends = []
        self._stop, self._wake = os.pipe2(os.O_CLOEXEC)
        try:
            for node in nodes:
                self._ends.append(Tun(node))
        except BaseException:
            self._close_ends()
            raise
        self._peers = {v: [(ipaddress.ip_network(node.pods[v]), node.node[v]) for node in nodes]
                       for v in (4, 6)}
        self._poll = select.epoll()
        self._on = {}
        for end in self._ends:
            for version in (4, 6):
                self._watch(end.device[version], self._to_peer, end, version)
                self._watch(end.socket[version].fileno(), self._from_peer, end, version)
        self._poll.register(self._stop, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        os.close(self._wake)
        self._thread.join(10)
        self._poll.close()
        os.close(self._stop)
        self._close_ends()

    def _close_ends(self):
        while self._ends:
            self._ends.pop().close()

    def _watch(self, fd, move, end, version):
        self._on[fd] = (move, end, version)
        self._poll.register(fd, select.EPOLLIN)

    def _run(self):
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._stop:
                    return
                move, end, version = self._on[fd]
                try:
                    for _ in range(self.TURN):
                        move(end, version)
                except BlockingIOError:
                    pass
                except OSError:
                    pass  # no way to the peer now: the packet is lost

    def _to_peer(self, end, version):
        packet = os.read(end.device[version], 2048)
        if packet[0] >> 4 != version:
            return
        to = _address(packet, version, source=False)
        for network, at in self._peers[version]:
            if to in network and at != end.node.node[version]:
                end.socket[version].sendto(packet, (at, _PORT[version]))

    def _from_peer(self, end, version):
        packet, (at, *_) = end.socket[version].recvfrom(2048)
        source = _address(packet, version, source=True)
        if any(source in network for network, peer in self._peers[version] if peer == at):
            os.write(end.device[version], packet)
        else:
            self.refused[version] += 1
