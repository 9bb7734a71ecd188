"""Every node: pods of workers leave with the egress address of the gateway that has it.

As test_leaks.py for one gateway: a disturbance of a node under traffic, and every packet that
leaves the cluster is judged.
"""
import contextlib
import itertools
import json
import os
import signal
import socket

import pytest

import wireguard
from cluster import FLAVOURS, LOCAL_NODE_PORT, NODE_PORT, POD_PORT, SERVICE
from fleet import Fleet, delete_table, flush_routing, flush_steering
from judge import Traffic
from nodes import ROUTER
from origin import Origin, UdpWhoami
from stage import (BANK, ELSEWHERE, OUTSIDE, POD_NETWORKS, PORT, bank, sources,
                   tasks)
from test_datapath import PROHIBITED, refused
from test_leaks import FirstPackets
from test_nodes import echo, narrow_partner, path_mtu
from test_snat import seen_from
from world import EGRESS, EGRESS_BANK, EGRESS_OTHER, PARTNER1, PARTNER2, wait_for

VERSIONS = pytest.mark.parametrize("version", (4, 6))
FORMS = [(flavour, "vxlan") for flavour in FLAVOURS] + [("nft", "host-gw")]


def forms(*which):
    return pytest.mark.parametrize("fleet_of_module", which, indirect=True, ids="-".join)


# Those that depend on how the others do it, and on how packets get to the gateway.
EVERY_FORM = forms(*FORMS, wireguard.FORM)
EVERY_BACKEND = forms(FORMS[0], FORMS[-1], wireguard.FORM)
UDP_PORT = 5000


@pytest.fixture(scope="module")
def fleet_of_module(request, nothing_is_left, tmp_path_factory):
    flavour, backend = getattr(request, "param", FORMS[0])
    with contextlib.ExitStack() as clean:
        made = Fleet(tmp_path_factory, "agents", flavour, backend,
                     config={"nat": {"flow-log": "flow.log"}})
        clean.callback(made.close)
        nodes = made.nodes
        for server in (Origin(nodes.partner1), Origin(nodes.partner2),
                       Origin(nodes.w1.pod1, POD_PORT), UdpWhoami(nodes.partner2, UDP_PORT)):
            clean.callback(server.close)
        yield made


@pytest.fixture
def fleet(fleet_of_module):
    yield fleet_of_module
    fleet_of_module.restore()


def udp_seen_from(pod, address):
    with pod.connect(address, UDP_PORT, datagrams=True) as s:
        s.send(b"who am I?")
        return s.recv(100).decode()


# Steering.

@EVERY_FORM
@pytest.mark.parametrize("rp_filter", (0, 1, 2))
def test_pods_of_every_node_leave_with_the_egress_address(fleet, rp_filter):
    for node in fleet.nodes.all:
        node.rp_filter(rp_filter)
        node.bridge_netfilter(rp_filter % 2)
    for node, version in itertools.product(fleet.nodes.all, (4, 6)):
        assert seen_from(node.pod1, PARTNER2[version]) == EGRESS_BANK[version]
        assert seen_from(node.pod2, PARTNER1[version]) == EGRESS[version]
        assert udp_seen_from(node.pod2, PARTNER2[version]) == EGRESS_BANK[version]


def test_two_owners_at_the_same_time(fleet):
    """gw2 has the bank's address now; each gateway steers to the other what is not its own."""
    fleet.reload(bank(EGRESS_OTHER))
    for node, version in itertools.product(fleet.nodes.all, (4, 6)):
        assert seen_from(node.pod1, PARTNER2[version]) == EGRESS_OTHER[version]
        assert seen_from(node.pod2, PARTNER1[version]) == EGRESS[version]


@VERSIONS
def test_the_gateway_sees_the_pod(fleet, version):
    w1, gw1 = fleet.nodes.w1, fleet.egret["gw1"]
    with Traffic(w1.pod1, (("tcp", PARTNER2[version], PORT, 50))) as traffic:
        traffic.flows(10)

    def logged():
        with open(gw1.path("flow.log"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file.read().splitlines()]
        return [line for line in lines if w1.pod_addresses[0][version] in json.dumps(line)]
    line = json.dumps(wait_for("a line of the pod in the gateway's flow log", logged)[0])
    assert EGRESS_BANK[version] in line


@EVERY_FORM
@pytest.mark.parametrize("rp_filter", (0, 1))
def test_the_cluster_and_node_ports_are_left_alone(fleet, rp_filter):
    """A partner calls a pod: what the pod answers is not steered."""
    w1, gw1 = fleet.nodes.w1, fleet.nodes.gw1
    for node in fleet.nodes.all:
        node.rp_filter(rp_filter)
    for version in (4, 6):
        for caller, address in ((fleet.nodes.partner2, PARTNER2), (fleet.nodes.partner1, PARTNER1)):
            assert seen_from(caller, w1.node[version], LOCAL_NODE_PORT) == address[version]
            assert seen_from(caller, w1.node[version], NODE_PORT) == w1.cni0[version]
        between = gw1.towards_pods
        assert seen_from(fleet.nodes.partner2, gw1.node[version], NODE_PORT) == between[version]
        for node in fleet.nodes.all:
            seen = seen_from(node.pod2, w1.pod_addresses[0][version], POD_PORT)
            assert seen == node.pod_addresses[1][version]
        assert seen_from(gw1.pod2, SERVICE[version]) == gw1.pod_addresses[1][version]


@VERSIONS
def test_nodes_themselves_are_left_alone(fleet, version):
    for node in fleet.nodes.all:
        assert seen_from(node.gw, PARTNER1[version]) == node.node[version]
        assert seen_from(node.gw, PARTNER2[version]) == node.node[version]


# The policy means the same on every node.

@VERSIONS
def test_a_block_rejects_on_every_node(fleet, version):
    fleet.reload(f"[block bank]\ncidr = {PARTNER2[version]}\nports = 80\n")
    for node in fleet.nodes.all:
        assert refused(node.pod1, PARTNER2[version]) == PROHIBITED[version]
        assert seen_from(node.pod1, PARTNER1[version]) == EGRESS[version]


def test_the_first_match_in_file_order_on_every_node(fleet):
    nodes = fleet.nodes
    some = ", ".join(sources(nodes.w1.pod_addresses[0], nodes.gw1.pod_addresses[0]))
    fleet.reload(f"[group first]\ncidr = {some}\n"
                 + bank(EGRESS_OTHER).replace("bank", "some") + "from = first\n" + BANK)
    for node, version in itertools.product(nodes.all, (4, 6)):
        special = EGRESS_OTHER if node in (nodes.w1, nodes.gw1) else EGRESS_BANK
        assert seen_from(node.pod1, PARTNER2[version]) == special[version]
        assert seen_from(node.pod2, PARTNER2[version]) == EGRESS_BANK[version]


@pytest.mark.parametrize("default", ("local", "deny"))
def test_default_egress_on_every_node(fleet, default):
    def put(value):
        for daemon in fleet.egret.values():
            daemon.config["gateway"]["default-egress"] = value
            daemon.write_config()
            daemon.reload()
    put(default)
    try:
        for node, version in itertools.product(fleet.nodes.all, (4, 6)):
            assert seen_from(node.pod1, PARTNER2[version]) == EGRESS_BANK[version]
            if default == "local":
                assert seen_from(node.pod1, PARTNER1[version]) == node.node[version]
            else:
                assert refused(node.pod1, PARTNER1[version]) == PROHIBITED[version]
    finally:
        put("gateway")


# Path MTU.

@EVERY_BACKEND
@pytest.mark.parametrize("rp_filter", (0, 1))
def test_path_mtu_errors_from_beyond_the_gateway_reach_the_pod(fleet, rp_filter):
    nodes = fleet.nodes
    for node in nodes.all:
        node.rp_filter(rp_filter)
    with narrow_partner(nodes):
        for node, version in itertools.product((nodes.w1, nodes.gw2), (4, 6)):
            assert path_mtu(node.pod2, PARTNER2[version]) == 1300


@VERSIONS
def test_large_transfers_fit_into_the_tunnel(fleet, version):
    """flannel-v6.1 takes less than the pods' links do."""
    echo(fleet.nodes.w2.pod2, PARTNER1[version], 200000)


# An agent's own life, under traffic.

def test_before_the_first_start_of_an_agent_nothing_leaves(fleet):
    agent, w1 = fleet.egret["w1"], fleet.nodes.w1
    agent.stop()
    assert agent.command("--remove").returncode == 0
    assert seen_from(w1.pod1, PARTNER2[4]) == w1.node[4]
    done = agent.command("--guard")
    assert done.returncode == 0, done.stderr
    w1.gw.run("conntrack", "-F")
    with fleet.judge() as judge, \
            Traffic(w1.pod1, *tasks(PARTNER2, PORT, tcp=60, stream=60, udp=60, ping=20,
                                    invalid=60)) as traffic:
        traffic.more(300)
        assert judge.seen("bank") == 0
        fleet.start("w1")
        traffic.flow_again()
        judge.verify()


@EVERY_BACKEND
def test_start_under_traffic_cuts_what_flannel_masqueraded(fleet):
    agent = fleet.egret["w1"]
    agent.stop()
    assert agent.command("--remove").returncode == 0
    everyone = [*OUTSIDE, *POD_NETWORKS]
    with fleet.scene(bank_sources=everyone, web_sources=everyone) as scene:
        scene.judge.allow("rest", *everyone)
        assert set(fleet.nodes.w1.node.values()) <= scene.judge.sources("bank")
        fleet.start("w1")
        scene.judge.allow("bank", *sources(EGRESS_BANK))
        scene.judge.allow("web", *sources(EGRESS))
        scene.judge.allow("rest", *ELSEWHERE)
        scene.flows()


@pytest.mark.parametrize("how", ("stop", "kill"))
def test_an_agent_that_ends_leaves_all_in_force(fleet, how):
    with fleet.scene() as scene:
        for name in ("w1", "w2"):
            getattr(fleet.egret[name], how)()
        scene.more()
        scene.flows()
        fleet.start("w1", "w2")
        scene.flows()
        assert scene.resets() == []


def test_kills_amid_reloads(fleet):
    """Whatever of an update is done when the agent dies, the next one finishes."""
    agent = fleet.egret["w1"]
    moves = itertools.cycle((EGRESS_OTHER, EGRESS_BANK))
    both = sources(EGRESS_BANK, EGRESS_OTHER)
    with fleet.scene(bank_sources=both) as scene:
        for _, address in zip(range(4), moves):
            agent.write("acl.ini", bank(address))
            agent.signal(signal.SIGHUP)
            scene.more(10)
            agent.kill()
            scene.more(20)
            fleet.start("w1")
        scene.flows()


# What others do to a worker's kernel.

@EVERY_FORM
def test_flush_ruleset(fleet):
    flush_ruleset(fleet, running=True)


def test_flush_ruleset_without_an_agent(fleet):
    flush_ruleset(fleet, running=False)


def flush_ruleset(fleet, running):
    with fleet.scene() as scene:
        if not running:
            fleet.egret["w1"].stop()
        fleet.nodes.w1.gw.nft("flush ruleset")
        scene.more()
        fleet.rules["w1"].install()
        scene.more()
        if not running:
            fleet.start("w1")
        scene.flows(streams=False)


DAMAGE = {
    "table": delete_table,
    "rules": lambda node: node.gw.nft("flush table inet egret"),
    "guard": flush_routing,
    "steering": flush_steering,
    "translate": lambda node: node.gw.nft("flush chain inet egret translate"),
}


@pytest.mark.parametrize("running", (True, False), ids=("running", "stopped"))
@pytest.mark.parametrize("damage", DAMAGE)
def test_something_is_taken_away(fleet, damage, running):
    with fleet.scene() as scene:
        if not running:
            fleet.egret["w1"].stop()
        DAMAGE[damage](fleet.nodes.w1)
        scene.more()
        if not running:
            fleet.start("w1")
        scene.flows()


@pytest.mark.parametrize("running", (True, False), ids=("running", "stopped"))
def test_vxlan_is_deleted_and_made_again(fleet, running):
    """As by a restart of flanneld; its routes come back with it."""
    w1 = fleet.nodes.w1
    with fleet.scene() as scene:
        if not running:
            fleet.egret["w1"].stop()
        w1.delete_vxlan()
        scene.more()
        w1.make_vxlan(fleet.nodes.others(w1))
        scene.more()
        if not running:
            fleet.start("w1")
        scene.flows()


def test_the_gateways_vxlan_is_deleted_and_made_again(fleet):
    gw1 = fleet.nodes.gw1
    with fleet.scene() as scene:
        gw1.delete_vxlan()
        scene.more()
        gw1.make_vxlan(fleet.nodes.others(gw1))
        scene.flows()


@EVERY_BACKEND
def test_conntrack_is_flushed(fleet):
    with fleet.scene() as scene:
        for name in ("w1", "gw1", "w2", "gw2"):
            getattr(fleet.nodes, name).gw.run("conntrack", "-F")
            scene.more(40)
        scene.flows()


def late(daemon):
    return daemon.metric("egret_nat_denied_total", reason="late-answer")


@EVERY_BACKEND
@pytest.mark.parametrize("near", (False, True), ids=("beyond the router", "on the nodes' link"))
def test_an_answer_to_a_flow_that_is_forgotten(fleet, near):
    """It comes before the pod's next packet, and must not be taken for the beginning of a flow
    from outside, which the pod would answer with its own address."""
    nodes, w1 = fleet.nodes, fleet.nodes.w1
    where, addresses = (nodes.net, ROUTER) if near else (nodes.partner2, PARTNER2)
    before = late(fleet.egret["w1"])
    fleet.reload(f"{BANK}[partner near]\ncidr = {', '.join(ROUTER.values())}\n")
    for version, address in addresses.items():
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        with fleet.judge() as judge, where.socket(family, socket.SOCK_DGRAM) as partner:
            partner.bind((address, UDP_PORT + 1))
            partner.settimeout(10)
            with w1.pod1.connect(address, UDP_PORT + 1, datagrams=True) as pod:
                pod.send(b"hello")
                _, peer = partner.recvfrom(100)
                w1.gw.run("conntrack", "-F")
                for _ in range(3):
                    partner.sendto(b"hello yourself", peer)
                    with contextlib.suppress(TimeoutError):
                        pod.settimeout(0.3)
                        pod.recv(100)
                    pod.send(b"again")
                    assert partner.recvfrom(100)[1] == peer
            judge.verify()
    wait_for("it to be counted", lambda: late(fleet.egret["w1"]) >= before + 2)


@EVERY_BACKEND
@VERSIONS
def test_a_connection_that_is_forgotten_goes_on_with_the_pods_next_packet(fleet, version):
    """What the partner sends before is not answered with a reset, and sent again."""
    nodes, w1 = fleet.nodes, fleet.nodes.w1
    before = late(fleet.egret["w1"])
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with fleet.judge() as judge, nodes.partner2.socket(family) as listener:
        listener.bind((PARTNER2[version], UDP_PORT + 1))
        listener.listen()
        listener.settimeout(10)
        with w1.pod1.connect(PARTNER2[version], UDP_PORT + 1, timeout=30) as pod:
            partner, peer = listener.accept()
            with partner:
                partner.settimeout(30)
                assert peer[0] == EGRESS_BANK[version]
                w1.gw.run("conntrack", "-F")
                partner.send(b"hello")
                wait_for("it to be counted", lambda: late(fleet.egret["w1"]) > before)
                pod.send(b"and you")
                assert partner.recv(100) == b"and you"
                assert pod.recv(100) == b"hello"
        judge.verify()


def datagram_service(node):
    """Of the node's own address, with externalTrafficPolicy: Local."""
    pod = node.pod_addresses[0]
    return f"""table inet service {{
        chain prerouting {{
            type nat hook prerouting priority dstnat;
            ip daddr {node.node[4]} udp dport {UDP_PORT} dnat ip to {pod[4]}
            ip6 daddr {node.node[6]} udp dport {UDP_PORT} dnat ip6 to {pod[6]}
        }}
    }}"""


@EVERY_BACKEND
@pytest.mark.parametrize("rp_filter", (0, 1))
def test_what_others_send_to_pods_begins_flows(fleet, rp_filter):
    """Nodes, whom the router brings straight to a pod's address (TCP, and ping), and clients of a
    service that this node's DNAT leads to the pod."""
    nodes, w1 = fleet.nodes, fleet.nodes.w1
    for node in nodes.all:
        node.rp_filter(rp_filter)
    server = UdpWhoami(w1.pod1, UDP_PORT)
    w1.gw.nft(datagram_service(w1))
    try:
        for version, pod in w1.pod_addresses[0].items():
            for node in (nodes.gw1, nodes.gw2, nodes.w2):
                own = node.towards_pods
                assert seen_from(node.gw, pod, POD_PORT) == own[version]
                assert udp_seen_from(node.gw, pod) == own[version]
            for partner, address in ((nodes.partner1, PARTNER1), (nodes.partner2, PARTNER2)):
                assert seen_from(partner, pod, POD_PORT) == address[version]
                with Traffic(partner, ("ping", pod, POD_PORT, 20)) as traffic:
                    traffic.flows(5)
                assert udp_seen_from(partner, w1.node[version]) == address[version]
    finally:
        w1.gw.nft("delete table inet service")
        server.close()


@EVERY_BACKEND
def test_datagrams_that_a_router_brings_to_pods(fleet):
    """By the device of the nodes' own link they may be late answers, but for excluded networks."""
    nodes, w1, agent = fleet.nodes, fleet.nodes.w1, fleet.egret["w1"]
    server = UdpWhoami(w1.pod1, UDP_PORT)

    def exclude(value):
        agent.config["gateway"]["exclude-cidr"] = value
        agent.write_config()
        agent.reload()
    before = agent.config["gateway"]["exclude-cidr"]
    try:
        if w1.backend == "host-gw":
            for pod in w1.pod_addresses[0].values():
                counted = late(agent)
                with nodes.partner1.connect(pod, UDP_PORT, datagrams=True) as s:
                    s.send(b"who am I?")
                    wait_for("it to be refused", lambda c=counted: late(agent) > c)
            exclude(", ".join((before, *PARTNER1.values())))
        for version, pod in w1.pod_addresses[0].items():
            assert udp_seen_from(nodes.partner1, pod) == PARTNER1[version]
    finally:
        if agent.config["gateway"]["exclude-cidr"] != before:
            exclude(before)
        server.close()


@EVERY_BACKEND
def test_flannel_and_kube_proxy_write_their_rules_again_and_again(fleet):
    with fleet.scene() as scene:
        for n in range(4):
            fleet.rules["w1"].install()
            fleet.rules["gw1"].install()
            fleet.reload(BANK + f"; {n}\n", "w1", "gw1")
            scene.more(30)
        scene.flows()
        assert scene.resets() == []


# The way to the gateway, and the gateway.

def test_a_gateway_that_is_cut_off(fleet):
    """Its traffic stops: nobody else's address is taken instead."""
    with fleet.scene() as scene:
        fleet.nodes.gw1.unplug()
        scene.silent("bank")
        wait_for("the agent to know it", lambda: fleet.egret["w1"].metric(
            "egret_gateway_up", gateway="gw1") == 0)
        for version in (4, 6):
            assert fleet.egret["w1"].metric("egret_gateway_up", gateway="gw2",
                                            ip_version=version) == 1
        scene.more()
        fleet.nodes.gw1.plug()
        scene.flows()
    fleet.egret["w1"].wait_log("gw1")


def test_a_worker_that_is_cut_off(fleet):
    with fleet.scene() as scene:
        fleet.nodes.w1.unplug()
        scene.more()
        fleet.nodes.w1.plug()
        scene.flows()


def test_a_gateway_whose_egretd_starts_again(fleet):
    with fleet.scene() as scene:
        for how in ("stop", "kill"):
            getattr(fleet.egret["gw1"], how)()
            scene.more(50)
            fleet.start("gw1")
            scene.flows()


def test_an_egress_address_that_is_nowhere(fleet):
    with fleet.scene() as scene:
        fleet.nodes.gw1.remove_egress(EGRESS_BANK)
        scene.silent("bank")
        fleet.nodes.gw1.add_egress(EGRESS_BANK)
        scene.flows()


@pytest.mark.parametrize("order", (("gw1", "gw2", "w1", "w2"), ("w2", "w1", "gw2", "gw1")),
                         ids=("gateways first", "workers first"))
def test_policies_change_on_one_node_after_the_other(fleet, order):
    """Any mixture of the old and the new means one of their addresses, or nothing."""
    both = sources(EGRESS_BANK, EGRESS_OTHER)
    with fleet.scene() as scene:
        scene.judge.allow("bank", *both)
        for name in order:
            fleet.reload(bank(EGRESS_OTHER), name)
            scene.more(40)
        scene.judge.allow("bank", *sources(EGRESS_OTHER))
        scene.flows()
        scene.judge.allow("bank", *both)
        for name in reversed(order):
            fleet.reload(BANK, name)
            scene.more(40)
        scene.judge.allow("bank", *sources(EGRESS_BANK))
        scene.flows()
        for traffic in scene.web.values():
            assert traffic.total("resets", kind="stream") == 0


def test_a_block_holds_where_it_is_known_already(fleet):
    """On a gateway alone: also what agents steer there."""
    with fleet.scene() as scene:
        fleet.reload(BANK.replace("[partner", "[block").replace("egress-ip", ";"), "gw1")
        scene.judge.allow("bank")
        scene.more()


# Pods.

def test_a_new_pods_first_packet(fleet):
    w1 = fleet.nodes.w1
    with fleet.scene():
        for n in range(2):
            pod = w1.add_pod(f"new{n}")
            senders = [FirstPackets(pod, version) for version in (4, 6)]
            try:
                w1.set_pod_address(pod, {4: f"10.42.2.{100 + n}", 6: f"fd42:0:0:2::{100 + n}"})
                wait_for("the first packets", lambda s=senders: all(one.sent > 50 for one in s))
            finally:
                for sender in senders:
                    sender.close()
                w1.remove_pod(pod)


@pytest.mark.parametrize("version, forged", ((4, "45.0.0.77"), (6, "2a00::77"), (6, "2a00::4"),
                                             (6, EGRESS[6])))
def test_a_source_that_a_pod_forges(fleet, version, forged):
    with fleet.judge() as judge:
        with Traffic(fleet.nodes.w1.pod1, ("flood", PARTNER2[version], PORT, 200,
                                           forged)) as forger:
            forger.more(50)
        judge.verify()


# Each guard is needed, and each one alone is enough.

@pytest.fixture
def frozen(fleet):
    """The agent of w1 does not mend what the test breaks."""
    gate = fleet.egret["w1"].gate
    os.kill(gate, signal.SIGSTOP)
    yield fleet
    os.kill(gate, signal.SIGCONT)


def mutate(node, steering=False, guard=False, table=False, routing=False):
    """Takes away what is named."""
    if guard:
        node.gw.nft("flush chain inet egret guard")
    if table:
        delete_table(node)
    if steering:
        flush_steering(node)
    if routing:
        flush_routing(node)


@pytest.mark.parametrize("mutation", (
    {"steering": True}, {"guard": True}, {"routing": True}), ids="+".join)
def test_one_guard_alone_is_enough(frozen, mutation):
    mutated(frozen, mutation, leaks=False)


@EVERY_FORM
@pytest.mark.parametrize("mutation, leaks", (
    ({"steering": True, "guard": True}, True),
    ({"table": True}, False),
    ({"table": True, "routing": True}, True),
), ids=lambda value: "+".join(value) if isinstance(value, dict) else "")
def test_each_guard_is_needed(frozen, mutation, leaks):
    mutated(frozen, mutation, leaks)


def mutated(frozen, mutation, leaks):
    with frozen.judge() as judge, \
            Traffic(frozen.nodes.w1.pod1, *tasks(PARTNER2, PORT, tcp=60, stream=60, udp=60,
                                                 fixed=60, ping=20, invalid=60)) as traffic:
        traffic.flows(50)
        mutate(frozen.nodes.w1, **mutation)
        traffic.more(300)
        if leaks:
            wait_for("packets to leak", lambda: judge.leaks() > 10)
        else:
            judge.verify()
