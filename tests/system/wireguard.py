"""Flannel's backend wireguard-native, where the kernel has WireGuard: mode "separate", its default."""
import functools
import ipaddress
import subprocess

import pytest

DEVICE = {4: "flannel-wg", 6: "flannel-wg-v6"}
MTU = 1420
_PORT = {4: 51820, 6: 51821}
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


def _is_here():
    return subprocess.run(("unshare", "-n", "ip", "link", "add", "wg0", "type", "wireguard"),
                          capture_output=True, check=False).returncode == 0


NEEDED = pytest.mark.skipif(not _is_here(), reason="this kernel has no WireGuard")
FORM = pytest.param(("nft", "wireguard"), marks=NEEDED)


@functools.cache
def _keys(name):
    """Private and public."""
    private = subprocess.run(("wg", "genkey"), capture_output=True, check=True).stdout
    public = subprocess.run(("wg", "pubkey"), input=private, capture_output=True, check=True).stdout
    return private.decode(), public.decode().strip()


def make(node, others):
    for version, device in DEVICE.items():
        length = 32 if version == 4 else 128
        network = {4: "10.42.0.0/16", 6: "fd42::/48"}[version]
        node.gw.ip(f"link add {device} mtu {MTU} type wireguard")
        node.gw.run("wg", "set", device, "listen-port", str(_PORT[version]), "private-key",
                    "/dev/stdin", input=_keys(node.name)[0], check=True)
        node.gw.ip(f"addr add {node.flannel[version]}/{length} dev {device}"
                   + (" nodad" if version == 6 else ""),
                   f"link set {device} up", f"route add {network} dev {device} scope link")
        for other in others:
            add_peer(node, other, version)


def add_peer(node, other, version):
    """Also when it is there: as Flannel does, all that it is allowed anew."""
    at = other.node[version]
    node.gw.run("wg", "set", DEVICE[version], "peer", _keys(other.name)[1], "allowed-ips",
                other.pods[version], "endpoint",
                f"{at if version == 4 else f'[{at}]'}:{_PORT[version]}", check=True)


def delete(node):
    node.gw.ip(*(f"link del {device}" for device in DEVICE.values()))


def allowed(node, other, version):
    """The networks that `node` takes from and sends to `other`."""
    lines = node.gw.run("wg", "show", DEVICE[version], "allowed-ips", check=True).stdout
    for line in lines.splitlines():
        key, networks = line.split("\t")
        if key == _keys(other.name)[1]:
            return {str(ipaddress.ip_network(network)) for network in networks.split()}
    return set()


def lead(node, other):
    """What has no network of its own goes to `other`."""
    for version in (4, 6):
        node.gw.run("wg", "set", DEVICE[version], "peer", _keys(other.name)[1], "allowed-ips",
                    f"{other.pods[version]},{_EVERYTHING[version]}", check=True)


def lead_no_more(node, other):
    for version in (4, 6):
        add_peer(node, other, version)


def leads(node, other):
    """Whether all that has no network of its own goes to `other`, over both versions."""
    return all(allowed(node, other, version) == {_EVERYTHING[version], own(other, version)}
               for version in (4, 6))


def own(node, version):
    """The network of its pods, as allowed() has it."""
    return str(ipaddress.ip_network(node.pods[version]))
