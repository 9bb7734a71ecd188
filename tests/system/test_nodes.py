"""The cluster of several nodes by itself, without egret: what test_agents.py relies on is so.

At the end the recipe of steering, made by hand on a worker, with egretd on a gateway.
"""
import contextlib

import pytest

import wireguard
from cluster import (CLUSTER, FLAVOURS, LOCAL_NODE_PORT, NODE_PORT, POD_PORT, SERVICE, Cluster, Site)
from daemon import Daemons
from judge import Judge, Server, Traffic
from nodes import BACKENDS, DEVICE, MTU, Nodes
from origin import Origin
from stage import BANK, BANK_NETWORKS, ELSEWHERE, EXCLUDED, PORT, tasks
from test_snat import seen_from
from world import EGRESS, EGRESS_BANK, PARTNER1, PARTNER2, PREFIX

VERSIONS = pytest.mark.parametrize("version", (4, 6))
FORMS = [(flavour, "vxlan") for flavour in FLAVOURS] + [("nft", "host-gw")]


def forms(*which):
    return pytest.mark.parametrize("nodes", which, indirect=True, ids="-".join)


EVERY_FORM = forms(*FORMS, wireguard.FORM)
EVERY_BACKEND = forms(FORMS[0], FORMS[-1], wireguard.FORM)


@pytest.fixture(scope="module")
def nodes(request, nothing_is_left):
    flavour, backend = getattr(request, "param", FORMS[0])
    with contextlib.ExitStack() as clean:
        made = Nodes(f"{PREFIX}{FLAVOURS.index(flavour)}{BACKENDS.index(backend)}-", backend)
        clean.callback(made.remove)
        for node in made.all:
            Cluster(node.gw, flavour, site=Site(node.pods, node.node,
                                                made.w1.pod_addresses[0])).install()
        for server in (Origin(made.partner1), Origin(made.partner2),
                       Origin(made.w1.pod1, POD_PORT), Origin(made.gw2.pod1, POD_PORT)):
            clean.callback(server.close)
        yield made


@EVERY_FORM
@pytest.mark.parametrize("rp_filter", (0, 1, 2))
@VERSIONS
def test_pods_reach_partners_as_their_node(nodes, version, rp_filter):
    for node in nodes.all:
        node.rp_filter(rp_filter)
        assert seen_from(node.pod1, PARTNER1[version]) == node.node[version]


@EVERY_FORM
@VERSIONS
def test_pods_reach_each_other_as_themselves(nodes, version):
    for node in nodes.all:
        for server in (nodes.w1, nodes.gw2):
            seen = seen_from(node.pod2, server.pod_addresses[0][version], POD_PORT)
            assert seen == node.pod_addresses[1][version]


@EVERY_FORM
@pytest.mark.parametrize("bridged", (0, 1))
@VERSIONS
def test_services_and_node_ports(nodes, version, bridged):
    """The endpoint is a pod of w1."""
    for node in nodes.all:
        node.bridge_netfilter(bridged)
    w1, gw1 = nodes.w1, nodes.gw1
    if bridged:
        assert seen_from(w1.pod2, SERVICE[version]) == w1.pod_addresses[1][version]
    assert seen_from(gw1.pod1, SERVICE[version]) == gw1.pod_addresses[0][version]
    assert seen_from(nodes.partner2, w1.node[version], NODE_PORT) == w1.cni0[version]
    assert seen_from(nodes.partner2, w1.node[version], LOCAL_NODE_PORT) == PARTNER2[version]
    between = gw1.towards_pods
    assert seen_from(nodes.partner2, gw1.node[version], NODE_PORT) == between[version]


@VERSIONS
def test_vxlan_made_again_is_whole(nodes, version):
    w1 = nodes.w1
    before = _of_flannel(w1)
    w1.delete_vxlan()
    assert "flannel" not in _of_flannel(w1)
    w1.make_vxlan(nodes.others(w1))
    assert _of_flannel(w1) == before
    assert seen_from(w1.pod1, nodes.gw2.pod_addresses[0][version], POD_PORT) == \
        w1.pod_addresses[0][version]


def _of_flannel(node):
    """Routes, neighbours and forwarding entries."""
    return "\n".join(sorted(
        line for args in (("ip", "route"), ("ip", "-6", "route"), ("ip", "neigh"),
                          ("ip", "-6", "neigh"), ("bridge", "fdb"))
        for line in node.gw.run(*args).stdout.splitlines()
        if any(f"dev {device}" in line for device in DEVICE.values()) and "fe80" not in line
        and "ff00" not in line))


def test_vxlan_is_as_flannel_makes_it(nodes):
    for node in nodes.all:
        for version, device in DEVICE.items():
            shown = node.gw.run("ip", "-d", "link", "show", device).stdout
            assert all(word in shown for word in (
                "vxlan id 1 ", "dstport 8472", "nolearning", f"mtu {MTU[version]}"))


@EVERY_BACKEND
def test_the_judge_sees_a_pods_address_that_leaks(nodes):
    """From a worker, without masquerade; and frames between nodes do not concern it."""
    with Judge(nodes, (("bank", ("45.0.2.0/24", "2a00:0:0:2::/64"), ("45.0.0.4", "2a00::4")),
                       ("rest", ("0.0.0.0/0", "::/0"), ELSEWHERE))) as judge, \
            Traffic(nodes.w1.pod2, *tasks(PARTNER2, PORT, ping=100)) as traffic, \
            Traffic(nodes.w2.pod2, *tasks(nodes.w1.pod_addresses[1], PORT, ping=100)) as inside:
        inside.flows(50)
        traffic.flows(50)
        judge.verify()
        nodes.w1.gw.nft("""table inet raw { chain out { type filter hook prerouting priority raw;
                            iifname "cni0" notrack; }; }""")
        traffic.more(50)
        leaked = judge.sources("bank") & set(nodes.w1.pod_addresses[1].values())
        nodes.w1.gw.nft("delete table inet raw")
        assert len(leaked) == 2 and judge.leaks() > 10


BY_HAND = """
table inet byhand {
	chain prerouting {
		type filter hook prerouting priority mangle;
		iifname "cni0" ct direction original ip daddr != 10.42.0.0/15 meta mark set 0x02000000
		iifname "cni0" ct direction original ip6 daddr != fd42::/15 meta mark set 0x02000000
		iifname != "cni0" ct mark 0x02000000 meta mark set 0x02000000
		meta mark 0x02000000 ct mark set 0x02000000
	}
	chain forward {
		type filter hook forward priority filter - 10;
		meta mark set 0
	}
	chain postrouting {
		type nat hook postrouting priority srcnat - 10;
		ct mark 0x02000000 ip saddr 10.42.0.0/16 snat ip to ip saddr
		ct mark 0x02000000 ip6 saddr fd42::/48 snat ip6 to ip6 saddr
	}
}
"""


@contextlib.contextmanager
def steered_by_hand(worker, gateway):
    """Everything that the worker's pods send beyond the cluster goes to the gateway."""
    if worker.backend == "vxlan":
        via = {v: f"via {gateway.flannel[v]} dev {DEVICE[v]} onlink" for v in (4, 6)}
    elif worker.backend == "wireguard":
        via = {v: f"via {gateway.flannel[v]} dev {wireguard.DEVICE[v]} onlink" for v in (4, 6)}
        wireguard.lead(worker, gateway)
    else:
        via = {v: f"via {gateway.node[v]} dev eth0" for v in (4, 6)}
    worker.gw.nft(BY_HAND)
    for version in (4, 6):
        for words in ("rule add pref 5219 fwmark 0x02000000 lookup 7007",
                      f"route add throw {CLUSTER[version]} table 7007",
                      f"route add default {via[version]} table 7007"):
            worker.gw.run("ip", f"-{version}", *words.split(), check=True)
    worker.sysctl(**{"net.ipv4.conf.all.src_valid_mark": 1})
    try:
        yield
    finally:
        worker.gw.nft("delete table inet byhand")
        for version in ("-4", "-6"):
            worker.gw.run("ip", version, "rule", "del", "pref", "5219")
            worker.gw.run("ip", version, "route", "flush", "table", "7007")
        if worker.backend == "wireguard":
            wireguard.lead_no_more(worker, gateway)


@pytest.fixture
def gateway(nodes, tmp_path_factory):
    """egretd on gw1, which has the addresses."""
    nodes.gw1.add_egress(EGRESS, EGRESS_BANK)
    daemons = Daemons(nodes.gw1, tmp_path_factory)
    yield daemons(BANK, nat=True, config={"gateway": {"exclude-cidr": EXCLUDED}})
    daemons.close()
    nodes.gw1.remove_egress(EGRESS, EGRESS_BANK)


@EVERY_BACKEND
@pytest.mark.parametrize("rp_filter", (0, 1, 2))
@VERSIONS
def test_a_gateway_translates_pods_of_other_nodes(nodes, gateway, version, rp_filter):
    nodes.w1.rp_filter(rp_filter)
    nodes.gw1.rp_filter(rp_filter)
    with steered_by_hand(nodes.w1, nodes.gw1):
        assert seen_from(nodes.w1.pod1, PARTNER1[version]) == EGRESS[version]
        assert seen_from(nodes.w1.pod2, PARTNER2[version]) == EGRESS_BANK[version]
        assert seen_from(nodes.w1.pod2, nodes.gw2.pod_addresses[0][version], POD_PORT) == \
            nodes.w1.pod_addresses[1][version]
    assert gateway.running()


def echo(pod, address, size):
    """Sends so much to the partner's server, block by block, and gets all of it back."""
    block = b"x" * 50000
    with pod.connect(address, PORT, timeout=20) as s:
        for _ in range(size // len(block)):
            s.sendall(block)
            got = 0
            while got < len(block):
                part = s.recv(len(block))
                assert part
                got += len(part)


@contextlib.contextmanager
def narrow_partner(nodes):
    """Towards partner2 packets may have 1300 bytes, which the router says; back they may have all."""
    def route(*mtu):
        for version, network in zip((4, 6), BANK_NETWORKS):
            nodes.net.run("ip", f"-{version}", "route", "replace", network, "dev", "to2",
                          *(("metric", "256") if version == 6 else ()), *mtu, check=True)
    route("mtu", "lock", "1300")
    try:
        yield
    finally:
        route()


def path_mtu(pod, address):
    """What the pod's kernel knows of it after a transfer."""
    version = "-6" if ":" in address else "-4"
    pod.run("ip", version, "route", "flush", "cache")
    echo(pod, address, 100000)
    words = pod.run("ip", version, "route", "get", address).stdout.split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else None


@EVERY_BACKEND
@pytest.mark.parametrize("rp_filter", (0, 1))
@VERSIONS
def test_path_mtu_errors_come_back_by_the_gateway(nodes, gateway, version, rp_filter):
    nodes.w1.rp_filter(rp_filter)
    nodes.gw1.rp_filter(rp_filter)
    with Server(nodes.partner2, PORT), steered_by_hand(nodes.w1, nodes.gw1), \
            narrow_partner(nodes):
        assert path_mtu(nodes.w1.pod1, PARTNER2[version]) == 1300
    assert gateway.running()
