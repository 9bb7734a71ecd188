"""A tunnel of user space: what is between pods passes it, and answers of partners do not.

So nothing is steered to another node there; it is refused, and nothing leaves otherwise.
"""
import contextlib
import itertools
import os

import pytest

from cluster import POD_PORT
from fleet import Fleet
from judge import Traffic
from origin import Origin, UdpWhoami
from stage import PORT, tasks
from test_snat import seen_from
from tun import DEVICE
from world import EGRESS, EGRESS_BANK, PARTNER1, PARTNER2, wait_for

UDP_PORT = 5000
VERSIONS = pytest.mark.parametrize("version", (4, 6))


@pytest.fixture(scope="module")
def fleet(nothing_is_left, tmp_path_factory):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("no TUN devices here")
    with contextlib.ExitStack() as clean:
        made = Fleet(tmp_path_factory, "tun", backend="tun", start=False)
        clean.callback(made.close)
        nodes = made.nodes
        for server in (Origin(nodes.partner1), Origin(nodes.partner2),
                       Origin(nodes.w1.pod1, POD_PORT), UdpWhoami(nodes.partner2, UDP_PORT)):
            clean.callback(server.close)
        made.start("gw1", "gw2")
        for name in ("w1", "w2"):
            made.egret[name].start(ready=False)
            made.egret[name].wait_log("no way to gateway gw1 over IPv")
        yield made


@VERSIONS
def test_the_tunnel_carries_what_is_between_pods(fleet, version):
    w1 = fleet.nodes.w1
    for node in fleet.nodes.all:
        seen = seen_from(node.pod2, w1.pod_addresses[0][version], POD_PORT)
        assert seen == node.pod_addresses[1][version]


@VERSIONS
def test_pods_of_the_gateway_leave_with_the_egress_address(fleet, version):
    gw1 = fleet.nodes.gw1
    assert seen_from(gw1.pod1, PARTNER2[version]) == EGRESS_BANK[version]
    assert seen_from(gw1.pod2, PARTNER1[version]) == EGRESS[version]
    with gw1.pod2.connect(PARTNER2[version], UDP_PORT, datagrams=True) as s:
        s.send(b"who am I?")
        assert s.recv(100).decode() == EGRESS_BANK[version]


def test_the_proxy_serves_pods_of_all_nodes(fleet):
    for node in fleet.nodes.all:
        answer = fleet.egret["gw1"].get(f"http://{PARTNER2[4]}/whoami", namespace=node.pod1)
        assert answer.text == EGRESS_BANK[4]


@pytest.mark.parametrize("rp_filter", (0, 1, 2))
def test_what_would_be_steered_is_refused(fleet, rp_filter):
    """Not sent on a way that no answer comes back on, and never with another source: from pods
    that are known or new, and with the table flushed under them."""
    nodes, w1 = fleet.nodes, fleet.nodes.w1
    to_bank = tasks(PARTNER2, PORT, tcp=40, stream=20, udp=40, fixed=20, ping=10, invalid=20)
    to_web = tasks(PARTNER1, PORT, tcp=20, udp=20)
    for node in nodes.all:
        node.rp_filter(rp_filter)
    before = dict(nodes.relay.refused)
    new = None
    with contextlib.ExitStack() as stack:
        judge = stack.enter_context(fleet.judge())
        traffic = [stack.enter_context(Traffic(pod, *some)) for pod, some in (
            (w1.pod1, to_bank), (nodes.w2.pod2, to_web), (nodes.gw2.pod1, to_bank))]
        try:
            for one in traffic:
                one.more(200)
            new = w1.add_pod("new", {4: "10.42.2.100", 6: "fd42:0:0:2::100"})
            with Traffic(new, *to_bank) as more:
                more.more(100)
            w1.gw.nft("flush ruleset")
            fleet.rules["w1"].install()
            wait_for("the table to be back", lambda: "guard" in w1.gw.run(
                "nft", "list", "chain", "inet", "egret", "guard").stdout)
            for one in traffic:
                one.more(200)
            assert judge.seen("bank") == judge.seen("web") == 0
            judge.verify()
        finally:
            if new:
                w1.remove_pod(new)
    assert nodes.relay.refused == before


def test_it_is_told(fleet):
    for name, version in itertools.product(("w1", "w2"), (4, 6)):
        daemon = fleet.egret[name]
        assert not daemon.ready()
        assert "not ready: no way to gateway gw" in daemon.admin("/readyz").text
        daemon.wait_log(rf"error.*no way to gateway gw\d over IPv\d: {DEVICE[4]}")
        daemon.wait_metric("egret_gateway_up", 1, gateway="gw1", ip_version=version)
    assert fleet.egret["gw1"].ready() and fleet.egret["gw2"].ready()


def test_a_way_that_is_lost_later_is_told(fleet):
    """The pods' network comes to lead over the tunnel while egretd runs."""
    w1, agent = fleet.nodes.w1, fleet.egret["w1"]
    networks = [f"{network} dev {DEVICE[version]}"
                for version, network in ((4, "10.42.0.0/16"), (6, "fd42::/48"))]
    elsewhere = f"10.42.2.250/32 dev {DEVICE[4]}"

    def lost():
        return "no way to gateway" in agent.admin("/readyz").text
    w1.gw.ip(*(f"route del {network}" for network in networks), f"addr add {elsewhere}")
    wait_for("the way to be another", lambda: not lost())
    told = agent.log().count("nothing is steered there")
    w1.gw.ip(*(f"route add {network} scope link" for network in networks), f"addr del {elsewhere}")
    wait_for("readiness to follow", lost)
    assert agent.log().count("nothing is steered there") == told + 1
