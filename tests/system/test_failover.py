"""The egress addresses move from one gateway to the other: by hand, and by keepalived.

Whoever has an address owns its traffic.  While it moves nothing leaves with another source, new
flows are let in after a moment, and connections go on, as they keep their source ports.
"""
import contextlib
import signal
import socket

import pytest

from failover import Conntrackd, Keepalived, Outages
from fleet import Fleet
from stage import BANK, sources
from world import EGRESS, EGRESS_BANK, PARTNER2, wait_for

TAKE_OVERS = 20
BOTH = (EGRESS, EGRESS_BANK)


@pytest.fixture(scope="module")
def fleet_of_module(nothing_is_left, tmp_path_factory):
    made = Fleet(tmp_path_factory, "failover", owners={"gw1": BOTH})
    yield made
    made.close()


@pytest.fixture
def fleet(fleet_of_module):
    yield fleet_of_module
    for node in (fleet_of_module.nodes.gw1, fleet_of_module.nodes.gw2):
        node.plug()
        has = node.name == "gw1"
        for one in BOTH:
            if here(node, one) != has:
                node.add_egress(one, action="add" if has else "del")
    fleet_of_module.nodes.gw1.announce(*BOTH)
    fleet_of_module.restore()


def here(node, egress):
    return f" {egress[4]}/" in node.gw.run("ip", "addr", "show", "dev", "eth0").stdout


def neighbour(fleet, addr):
    """The link-layer address that the partners' router has for it."""
    words = fleet.nodes.net.run("ip", "neigh", "show", addr).stdout.split()
    return words[words.index("lladdr") + 1]


def move(old, new, *egress):
    old.remove_egress(*egress)
    new.add_egress(*egress)
    new.announce(*egress)


# By hand.

def test_whoever_has_the_address_owns_the_traffic(fleet):
    """Streams survive on all nodes, those of a gateway's own pods too."""
    old, new = fleet.nodes.gw1, fleet.nodes.gw2
    with fleet.scene() as scene:
        outages = Outages(scene)
        for _ in range(6):
            with outages.one():
                move(old, new, *BOTH)
            scene.judge.verify()
            assert scene.resets() == []
            old, new = new, old
        outages.print("ip addr")


def test_one_of_two_addresses_moves(fleet):
    """The flows of the other one notice nothing."""
    with fleet.scene() as scene:
        move(fleet.nodes.gw1, fleet.nodes.gw2, EGRESS_BANK)
        scene.flows()
        assert scene.resets() == []
        assert scene.web["w1"].gap("stream") < 1.0


def test_agents_say_who_the_owner_is(fleet):
    w1 = fleet.egret["w1"]
    w1.wait_metric("egret_gateway_owned_addresses", 4, gateway="gw1")
    move(fleet.nodes.gw1, fleet.nodes.gw2, EGRESS_BANK)
    for gateway in ("gw1", "gw2"):
        w1.wait_metric("egret_gateway_owned_addresses", 2, gateway=gateway)
        for version in (4, 6):
            labels = {"gateway": gateway, "ip_version": version}
            assert w1.metric("egret_gateway_up", **labels) == 1
            assert 0 < w1.metric("egret_gateway_rtt_seconds", **labels) < 5


def test_two_that_claim_one_address_are_told(fleet):
    """The one that had it first keeps the traffic; nobody is ready until one gives way."""
    gw2, w1 = fleet.nodes.gw2, fleet.egret["w1"]
    with fleet.scene() as scene:
        gw2.add_egress(EGRESS_BANK)
        w1.wait_log("(?s)error[^\n]*45.0.0.20")
        fleet.egret["gw1"].wait_log("egress address 2a00::20 is on this node and on another one")
        wait_for("w1 not to be ready", lambda: not w1.ready())
        before = neighbour(fleet, EGRESS_BANK[6])
        for _ in range(4):
            scene.more()
            assert neighbour(fleet, EGRESS_BANK[6]) == before  # nobody is led astray by questions
        assert scene.resets() == []
        gw2.remove_egress(EGRESS_BANK)
        wait_for("w1 to be ready", w1.ready)
        scene.flows()
        assert scene.resets() == []


def test_a_former_owner_that_comes_back_does_not_get_the_traffic(fleet):
    """It was cut off with the address, which somebody gave to the other one meanwhile."""
    gw1, gw2 = fleet.nodes.gw1, fleet.nodes.gw2
    with fleet.scene() as scene:
        gw1.unplug()
        scene.silent("bank")
        gw2.add_egress(*BOTH)
        gw2.announce(*BOTH)
        scene.flows()
        gw1.plug()
        scene.more(300)
        gw2.announce(*BOTH)
        scene.flows()
        assert scene.resets("w1", "w2") == []
        wait_for("it to be told", lambda: not fleet.egret["w1"].ready())


def test_an_egretd_that_was_dead_meanwhile_claims_nothing(fleet):
    gw1 = fleet.egret["gw1"]
    with fleet.scene() as scene:
        gw1.kill()
        move(fleet.nodes.gw1, fleet.nodes.gw2, *BOTH)
        scene.flows()
        fleet.start("gw1")
        scene.more()
        scene.flows()
        assert not here(fleet.nodes.gw1, EGRESS_BANK)


def test_a_policy_changes_while_the_address_moves(fleet):
    old, new = fleet.nodes.gw1, fleet.nodes.gw2
    with fleet.scene() as scene:
        for n in range(4):
            fleet.reload(BANK + f"[partner p{n}]\ncidr = 60.{n}.0.0/16\negress-ip = "
                         f"{EGRESS_BANK[4]}\n", "w1", old.name)
            move(old, new, *BOTH)
            fleet.reload(BANK + f"; {n}\n", "w2", new.name)
            scene.flows()
            old, new = new, old
        assert scene.resets() == []


# With conntrackd.

def keep_flows(fleet, value):
    for name in ("gw1", "gw2"):
        fleet.egret[name].config["nat"]["flow-sync"] = value
        fleet.egret[name].write_config()
        fleet.egret[name].reload()


@pytest.fixture
def synced(fleet, tmp_path):
    """conntrackd on both gateways."""
    gw1, gw2 = fleet.nodes.gw1, fleet.nodes.gw2
    made = [Conntrackd(gw1, gw2, tmp_path, BOTH), Conntrackd(gw2, gw1, tmp_path, BOTH)]
    keep_flows(fleet, "yes")
    try:
        for program in made:
            program.start()
        yield made
    finally:
        for program in made:
            program.stop()
        keep_flows(fleet, "no")
        for node in (gw1, gw2):
            node.sysctl(**{"net.netfilter.nf_conntrack_tcp_be_liberal": 0})


def patient_socket(pod, family):
    made = pod.socket(family)
    made.settimeout(20)
    return made


@contextlib.contextmanager
def two_from_one_port(fleet, version):
    """Pods of both workers are connected to a partner from the same port: one's is changed.  Each
    as its own end and the partner's."""
    nodes = fleet.nodes
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nodes.partner2.socket(family))
        server.bind((PARTNER2[version], 0))
        server.listen()
        ends = []
        for node in (nodes.w1, nodes.w2):
            pod = stack.enter_context(patient_socket(node.pod1, family))
            pod.bind((node.pod_addresses[0][version], 33333))
            pod.connect(server.getsockname()[:2])
            partner, peer = server.accept()
            stack.enter_context(partner)
            partner.settimeout(20)
            ends.append((pod, partner, peer[1]))
        assert {port for _, _, port in ends} > {33333}
        yield [(pod, partner) for pod, partner, _ in ends]


def passes(sender, receiver, size):
    """So many bytes, a bit at a time."""
    while size > 0:
        part = min(size, 30000)
        sender.sendall(b"x" * part)
        size -= part
        while part > 0:
            got = receiver.recv(part)
            assert got
            part -= len(got)


@pytest.mark.parametrize("version", (4, 6))
def test_conntrackd_keeps_ports_and_lets_the_partner_speak_first(fleet, synced, version):
    """Neither would survive without: the new owner would not know whose a packet of the partner is,
    nor which of both had the port.  Much passes at each gateway, so that windows that a former
    owner remembers have long gone by."""
    old, new = fleet.nodes.gw1, fleet.nodes.gw2

    def knows(node):
        return node.gw.run("conntrack", "-L", "-f", f"ipv{version}", "-p", "tcp", "--orig-port-src",
                           "33333").stdout.count("ESTABLISHED") == 2
    with fleet.judge() as judge, two_from_one_port(fleet, version) as ends:
        for _ in range(4):
            for pod, partner in ends:
                passes(pod, partner, 1000000)
                passes(partner, pod, 1000000)
            wait_for(f"{new} to know both", lambda: knows(new))
            move(old, new, *BOTH)
            for pod, partner in ends:
                passes(partner, pod, 1)
            old, new = new, old
        judge.verify()


# By keepalived.

@pytest.fixture(params=(False, True), ids=("without conntrackd", "with conntrackd"))
def pair(request, fleet, tmp_path):
    """keepalived on both gateways; the master first."""
    gw1, gw2 = fleet.nodes.gw1, fleet.nodes.gw2
    leave = [None, None]
    if request.param:
        leave = [one.leave for one in request.getfixturevalue("synced")]
    gw1.remove_egress(*BOTH)
    made = [Keepalived(gw1, tmp_path, 100, BOTH, leave[0]),
            Keepalived(gw2, tmp_path, 90, BOTH, leave[1])]
    try:
        for program in made:
            program.start()
        wait_for("one to be master", lambda: any(one.owns() for one in made))
        yield sorted(made, key=lambda one: not one.owns())
    finally:
        for program in made:
            program.stop()
        gw1.plug()
        gw2.plug()


def stops(master):
    """Its operator stops it."""
    master.signal(signal.SIGTERM)


def is_unplugged(master):
    master.node.unplug()


def comes_back(former, how):
    """And is a backup, as the other one has the address."""
    before = former.log().count("BACKUP STATE")
    if how is stops:
        former.stop()
        former.start()
    else:
        former.node.plug()
    wait_for(f"{former.node} to be backup", lambda: former.log().count("BACKUP STATE") > before)


def test_take_overs_by_keepalived(fleet, pair):
    master, backup = pair
    with fleet.scene() as scene:
        outages = Outages(scene)
        for n in range(TAKE_OVERS):
            how = (stops, is_unplugged)[n % 2]
            # The pods of a node without a network wait for it to come back.
            with outages.one(*(("w1", "w2") if how is is_unplugged else ())):
                how(master)
                wait_for(f"{backup.node} to take over", backup.owns)
            scene.judge.verify()
            comes_back(master, how)
            assert backup.owns() and master.owns_nothing()
            assert scene.resets("w1", "w2") == [], f"after {n + 1} take-overs"
            master, backup = backup, master
        outages.print("keepalived")
        assert scene.judge.sources("bank") <= set(sources(EGRESS_BANK))
