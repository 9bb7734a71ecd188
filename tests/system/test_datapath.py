"""The gateway's datapath beside others who program the kernel: what leaves how, what stays alone."""
import errno
import itertools
import signal
import time

import pytest

from cluster import (FLAVOURS, NODE_PORT, PARTNER_SERVICE, POD_PORT, SERVICE)
from judge import Traffic
from origin import Listener, Origin, UdpWhoami
from stage import (BANK, PORT, Stage, bank, delete_table, flush_routing, has_routing, sources,
                   tasks)
from test_snat import seen_from
from wire import Wire
from world import (EGRESS, EGRESS_BANK, EGRESS_OTHER, GATEWAY, NODE, NODE_NETWORK, PARTNER1,
                   PARTNER2, POD1, POD2, wait_for)

VERSIONS = pytest.mark.parametrize("version", (4, 6))
OTHER_NODES_POD = {4: "10.42.9.9", 6: "fd42:0:0:9::9"}
UDP_PORT = 5000


@pytest.fixture(scope="module", params=FLAVOURS)
def beside(request, nothing_is_left, tmp_path_factory):
    """A stage with the others' rules in each flavour, and servers that tell whom they see."""
    stage = Stage(tmp_path_factory, f"beside-{FLAVOURS.index(request.param)}", request.param)
    world = stage.world
    world.net.ip(f"addr add {OTHER_NODES_POD[4]}/32 dev lo",
                 f"addr add {OTHER_NODES_POD[6]}/128 dev lo nodad")
    servers = [Origin(world.partner1), Origin(world.partner2), Origin(world.pod1, POD_PORT),
               Origin(world.net), UdpWhoami(world.partner2, UDP_PORT)]
    yield stage
    for server in servers:
        server.close()
    stage.close()


@pytest.fixture(scope="module")
def stage_of_module(nothing_is_left, tmp_path_factory):
    stage = Stage(tmp_path_factory, "path")
    servers = [Origin(stage.world.partner1), Origin(stage.world.partner2)]
    yield stage
    for server in servers:
        server.close()
    stage.close()


@pytest.fixture
def stage(stage_of_module):
    yield stage_of_module
    stage_of_module.restore()


@pytest.fixture
def served(special):
    """special(), with servers at the partners."""
    servers = []

    def make(**options):
        stage = special(**options)
        servers.extend((Origin(stage.world.partner1), Origin(stage.world.partner2)))
        return stage
    make.made = special.made
    yield make
    for server in servers:
        server.close()


def udp_seen_from(pod, address):
    """The source of a datagram, as partner2 sees it."""
    with pod.connect(address, UDP_PORT, datagrams=True) as s:
        s.send(b"who am I?")
        return s.recv(100).decode()


# Beside Flannel and kube-proxy, in every form.

@pytest.mark.parametrize("rp_filter, bridged", itertools.product((0, 1, 2), (0, 1)))
def test_it_wins_over_the_others_nat(beside, rp_filter, bridged):
    world = beside.world
    world.rp_filter(rp_filter)
    world.bridge_netfilter(bridged)
    for version in (4, 6):
        assert seen_from(world.pod1, PARTNER2[version]) == EGRESS_BANK[version]
        assert seen_from(world.pod2, PARTNER1[version]) == EGRESS[version]
        assert udp_seen_from(world.pod2, PARTNER2[version]) == EGRESS_BANK[version]
        assert seen_from(world.pod1, PARTNER_SERVICE[version]) == EGRESS_BANK[version]


def test_the_others_rules_are_no_collision(beside):
    assert "writes bits" not in beside.daemon.log()


@pytest.mark.parametrize("rp_filter", (0, 1))
def test_the_cluster_is_left_alone(beside, rp_filter):
    world = beside.world
    world.rp_filter(rp_filter)
    world.bridge_netfilter(1)
    for version in (4, 6):
        assert seen_from(world.pod2, POD1[version], POD_PORT) == POD2[version]
        assert seen_from(world.pod2, SERVICE[version]) == POD2[version]
        assert seen_from(world.pod1, SERVICE[version]) == GATEWAY[version]  # hairpin
        assert seen_from(world.pod1, OTHER_NODES_POD[version]) == POD1[version]
        assert seen_from(world.gw, SERVICE[version]) == NODE[version]


@VERSIONS
def test_the_nodes_own_traffic_and_host_network_pods_are_left_alone(beside, version):
    assert seen_from(beside.world.gw, PARTNER1[version]) == NODE[version]
    assert seen_from(beside.world.gw, PARTNER2[version]) == NODE[version]
    assert seen_from(beside.world.gw, PARTNER_SERVICE[version]) == NODE[version]


@VERSIONS
@pytest.mark.parametrize("rp_filter", (0, 1))
def test_node_port_answers_are_left_alone(beside, version, rp_filter):
    """The answers of a pod to its partner, who called it."""
    beside.world.rp_filter(rp_filter)
    for caller in (beside.world.partner2, beside.world.partner1):
        assert seen_from(caller, NODE[version], NODE_PORT) == GATEWAY[version]


def test_excluded_networks_are_reached_as_if_egret_were_not_there(beside):
    with Listener(beside.world.partner2, PORT + 1) as listener, \
            beside.world.pod1.connect(NODE_NETWORK, PORT + 1):
        wire = listener.accept()
        assert wire.peer == NODE[4]
        wire.close()


def test_what_others_have_in_the_kernel_is_not_touched(beside):
    gw, daemon = beside.world.gw, beside.daemon
    gw.ip("rule add pref 100 fwmark 0x40000/0xff0000 lookup 52",
          "rule add pref 5221 from 192.0.2.1 lookup 53",
          "route add unreachable 198.51.100.0/24 table 52",
          "route add 198.51.101.0/24 via 45.0.0.1 protocol 186")

    def others():
        rules = [line for line in gw.run("ip", "rule").stdout.splitlines()
                 if "proto 230" not in line]
        routes = [line for line in gw.run("ip", "route", "show", "table", "all").stdout.splitlines()
                  if "table 7099" not in line]
        return beside.cluster.text(), rules, routes
    before = others()
    daemon.reload(bank(EGRESS_OTHER))
    daemon.reload(BANK)
    delete_table(beside)
    wait_for("the table to be back", lambda: "egret" in gw.run("nft", "list", "tables").stdout)
    flush_routing(beside)
    wait_for("the rules to be back", lambda: has_routing(beside))
    assert others() == before
    daemon.stop()
    assert others() == before
    assert daemon.command("--remove").returncode == 0
    assert others() == before
    assert "egret" not in gw.run("nft", "list", "tables").stdout and not has_routing(beside)
    daemon.start()
    assert others() == before
    gw.ip("rule del pref 100", "rule del pref 5221", "route flush table 52",
          "route del 198.51.101.0/24")


MARKS = """
table inet others {
	counter ours { }
	counter theirs { }
	counter ct_theirs { }
	chain early {
		type filter hook prerouting priority mangle;
		iifname "cni0" meta mark set 0x00040021
		iifname "cni0" ct mark set ct mark or 0x00000123
	}
	chain late {
		type filter hook forward priority filter;
		meta mark & 0xff000000 != 0 counter name ours
	}
	chain last {
		type nat hook postrouting priority srcnat + 1;
		oifname "eth0" meta mark & 0xff000000 != 0 counter name ours
	}
	chain out {
		type filter hook postrouting priority srcnat + 60;
		oifname "eth0" meta mark & 0xff000000 != 0 counter name ours
		oifname "eth0" meta mark & 0x00ffffff == 0x00040021 counter name theirs
		oifname "eth0" ct mark & 0x00000fff == 0x00000123 counter name ct_theirs
	}
}
"""


def test_no_mark_bits_are_left_for_others_and_theirs_are_kept(stage):
    gw = stage.world.gw
    gw.nft(MARKS)

    def counted(name):
        listed = gw.run("nft", "list", "counter", "inet", "others", name).stdout.split()
        return int(listed[listed.index("packets") + 1])
    try:
        for version in (4, 6):
            assert seen_from(stage.world.pod1, PARTNER2[version]) == EGRESS_BANK[version]
            assert seen_from(stage.world.pod1, PARTNER1[version]) == EGRESS[version]
        assert counted("ours") == 0
        assert counted("theirs") > 10 and counted("ct_theirs") > 10
    finally:
        gw.nft("delete table inet others")


# Everything else: default-egress, and blocks.

PROHIBITED = {4: errno.EHOSTUNREACH, 6: errno.EACCES}  # what Linux makes of admin-prohibited


def refused(pod, address, port=80):
    """The error that a connection from the pod ends in."""
    try:
        pod.connect(address, port, timeout=5).close()
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("default, seen", (("gateway", EGRESS), ("local", NODE), ("deny", None)))
def test_default_egress(served, default, seen):
    stage = served(config={"gateway": {"default-egress": default}})
    world = stage.world
    for version in (4, 6):
        assert seen_from(world.pod1, PARTNER2[version]) == EGRESS_BANK[version]
        if seen:
            assert seen_from(world.pod1, PARTNER1[version]) == seen[version]
        else:
            assert refused(world.pod1, PARTNER1[version]) == PROHIBITED[version]
        assert seen_from(world.gw, PARTNER1[version]) == NODE[version]


def test_default_egress_deny_is_counted(served):
    stage = served(config={"gateway": {"default-egress": "deny"}})
    for _ in range(3):
        refused(stage.world.pod1, PARTNER1[4])
    wait_for("three to be counted",
             lambda: stage.daemon.metric("egret_nat_denied_total") >= 3)


@VERSIONS
def test_a_block_rejects_with_admin_prohibited(stage, version):
    stage.daemon.reload(f"[block bank]\ncidr = {PARTNER2[version]}\nports = 80\n")
    assert refused(stage.world.pod1, PARTNER2[version]) == PROHIBITED[version]
    assert seen_from(stage.world.pod1, PARTNER1[version]) == EGRESS[version]
    assert seen_from(stage.world.gw, PARTNER2[version]) == NODE[version]


# From outside.

@VERSIONS
def test_an_egress_address_does_not_expose_the_node(stage, version):
    world = stage.world
    with Listener(world.gw, 7100):
        world.partner2.connect(NODE[version], 7100).close()
        for address in (EGRESS, EGRESS_BANK):
            with pytest.raises(TimeoutError):
                world.partner2.connect(address[version], 7100, timeout=0.5)


@VERSIONS
def test_inbound_ports_open_it(served, version):
    stage = served(config={"nat": {"inbound-ports": "7100, 7200-7300"}})
    world = stage.world
    with Listener(world.gw, 7100), Listener(world.gw, 7250), Listener(world.gw, 7000):
        for port in (7100, 7250):
            world.partner2.connect(EGRESS_BANK[version], port).close()
        with pytest.raises(TimeoutError):
            world.partner2.connect(EGRESS_BANK[version], 7000, timeout=0.5)


# Several addresses, and caps.

def test_spread_source_gives_each_pod_one_address(stage):
    stage.daemon.reload(BANK.replace(EGRESS_BANK[4], f"{EGRESS_BANK[4]}, {EGRESS_OTHER[4]}"))
    pod = stage.world.pod1
    pods = [f"10.42.0.{n}" for n in range(150, 170)]
    pod.ip(*(f"addr add {address}/24 dev eth0" for address in pods))
    seen = {}
    with Listener(stage.world.partner2, PORT + 1) as listener:
        for address in pods * 3:
            with pod.connect(PARTNER2[4], PORT + 1, source=address):
                wire = listener.accept()
                seen.setdefault(address, set()).add(wire.peer)
                wire.close()
    pod.ip(*(f"addr del {address}/24 dev eth0" for address in pods))
    assert all(len(addresses) == 1 for addresses in seen.values())
    assert set().union(*seen.values()) == {EGRESS_BANK[4], EGRESS_OTHER[4]}


def test_spread_connection_uses_all_addresses(stage):
    stage.daemon.reload(BANK.replace(EGRESS_BANK[4], f"{EGRESS_BANK[4]}, {EGRESS_OTHER[4]}")
                        + "spread = connection\n")
    seen = [seen_from(stage.world.pod1, PARTNER2[4]) for _ in range(24)]
    assert set(seen) == {EGRESS_BANK[4], EGRESS_OTHER[4]}
    assert {seen_from(stage.world.pod1, PARTNER2[6]) for _ in range(3)} == {EGRESS_BANK[6]}


@VERSIONS
def test_source_connections_caps_each_source(stage, version):
    stage.daemon.reload(BANK + "source-connections = 3\n")
    world, address = stage.world, PARTNER2[version]
    held = []
    with Listener(world.partner2, PORT + 1):
        try:
            held += [world.pod1.connect(address, PORT + 1) for _ in range(3)]
            with pytest.raises(OSError):
                held.append(world.pod1.connect(address, PORT + 1, timeout=1))
            held.append(world.pod2.connect(address, PORT + 1))
            Wire(held.pop(0)).reset()
            wait_for("room for another", lambda: refused(world.pod1, address, PORT + 1) == 0)
        finally:
            for s in held:
                s.close()


# Established flows.

def test_200_reloads_under_load_reset_nothing(stage):
    with stage.scene() as scene:
        for n in range(200):
            stage.daemon.reload(BANK + f"[partner p{n}]\ncidr = 60.{n}.0.0/16\nports = 443\n"
                                f"egress-ip = {EGRESS_OTHER[4]}\n"
                                + ("[block b]\ncidr = 61.0.0.0/8\n" if n % 2 else ""))
        scene.flows()
        assert scene.resets(scene.bank) == scene.resets(scene.web) == 0
        for traffic in (scene.bank, scene.web):
            assert traffic.total("refused", kind="tcp") == traffic.total("lost", kind="tcp") == 0


def test_flows_whose_address_changed_are_cut(stage):
    with stage.scene() as scene:
        with scene.judge.change("bank", sources(EGRESS_BANK), sources(EGRESS_OTHER)):
            stage.daemon.reload(bank(EGRESS_OTHER))
        wait_for("both streams to be cut", lambda: scene.resets(scene.bank) >= 2)
        scene.flows()
        assert scene.resets(scene.web) == 0


def test_flows_whose_permission_was_withdrawn_are_cut(stage):
    with stage.scene() as scene:
        stage.daemon.reload(BANK.replace("[partner", "[block").replace("egress-ip", ";"))
        scene.judge.allow("bank")
        before = scene.bank.total("answered")
        scene.more()
        assert scene.bank.total("answered") <= before + 20  # those under way
        assert scene.resets(scene.web) == 0


def test_a_section_that_takes_some_flows_over_cuts_only_those(stage):
    """The streams go to one port, and a partner of that port alone comes before."""
    with stage.scene() as scene, \
            Traffic(stage.world.pod2, *tasks(PARTNER2, PORT, stream=60)) as kept:
        kept.flows(10)
        scene.judge.allow("bank", *sources(EGRESS_BANK, EGRESS_OTHER))
        stage.daemon.reload(
            f"[group first]\ncidr = {POD1[4]}, {POD1[6]}\n"
            + bank(EGRESS_OTHER).replace("bank", "some") + "from = first\n" + BANK)
        wait_for("pod1's streams to be cut", lambda: scene.resets(scene.bank) >= 2)
        kept.flows(20)
        assert kept.total("resets") == 0
        scene.flows()


# Healing.

DAMAGE = {
    "flush ruleset": lambda gw: gw.nft("flush ruleset"),
    "delete table": lambda gw: gw.nft("delete table inet egret"),
    "flush table": lambda gw: gw.nft("flush table inet egret"),
    "a chain flushed": lambda gw: gw.nft("flush chain inet egret guard"),
    "a rule added": lambda gw: gw.nft("insert rule inet egret translate accept"),
    "a chain added": lambda gw: gw.nft("add chain inet egret intruder"),
    "a chain within a rule": lambda gw: gw.nft(
        "insert rule inet egret forward ip saddr 10.42.0.0/16 jump { counter; accept; }"),
    "a chain with a chain within a rule": lambda gw: gw.nft(
        "add chain inet egret intruder { type filter hook forward priority -20; }\n"
        "add rule inet egret intruder ip saddr 10.42.0.0/16 jump { counter; accept; }"),
    "a set flushed": lambda gw: gw.nft("flush set inet egret ok4"),
    "a rule of routing": lambda gw: gw.ip("rule del pref 5220"),
    "routes": lambda gw: gw.run("ip", "route", "flush", "table", "7099", check=True),
    "routes of IPv6": lambda gw: gw.run("ip", "-6", "route", "flush", "table", "7099", check=True),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_mended_at_once(stage, damage):
    whole = stage.kernel()
    repairs = stage.daemon.metric("egret_nat_repairs_total")
    DAMAGE[damage](stage.world.gw)
    begun = time.monotonic()
    wait_for("the kernel to be whole again", lambda: stage.kernel() == whole)
    took = time.monotonic() - begun
    print(f"{damage}: whole again after at most {took * 1000:.0f} ms")
    wait_for("it to be counted",
             lambda: stage.daemon.metric("egret_nat_repairs_total") > repairs)
    wait_for("egretd to be ready", stage.daemon.ready)


def test_a_sysctl_is_set_again(stage):
    name = "net.ipv4.conf.all.src_valid_mark"
    assert stage.world.gw.run("sysctl", "-n", name).stdout.strip() == "1"
    stage.world.sysctl(**{name: 0})
    stage.daemon.reload(BANK + "; look again\n")  # nobody tells of it: else once a minute
    wait_for("the sysctl to be set again",
             lambda: stage.world.gw.run("sysctl", "-n", name).stdout.strip() == "1")


def test_refused_packets_are_counted_by_partner_and_source(served):
    """Without kube-proxy, which drops what conntrack calls invalid."""
    stage = served(kube_proxy=False)
    with Traffic(stage.world.pod1, *tasks(PARTNER2, PORT, invalid=300)) as stray:
        stray.more(200)
    for version in (4, 6):
        wait_for("they are counted", lambda v=version: stage.daemon.metric(
            "egret_leaks_prevented_total", partner="bank", source=POD1[v]) > 0)
    assert stage.daemon.wait_log(f"(?s)warn.*{POD1[4]}.*bank|warn.*bank.*{POD1[4]}")


# Names, numbers and collisions.

OTHER_NUMBERS = {"nat": {
    "table": "gatekeeper", "mark-mask": "0x00f00000", "ct-mark-mask": "0xffff0000",
    "route-table": 8123, "rule-priority": 4321, "prerouting-priority": -95,
    "forward-priority": -20, "translate-priority": 80, "guard-priority": 160}}


def test_names_and_numbers_are_the_operators(served):
    stage = served(config=OTHER_NUMBERS)
    world = stage.world
    assert world.gw.run("nft", "list", "table", "inet", "gatekeeper").returncode == 0
    assert "4321:" in world.gw.run("ip", "rule").stdout
    assert "unreachable default" in world.gw.run("ip", "route", "show", "table", "8123").stdout
    world.rp_filter(1)
    for version in (4, 6):
        assert seen_from(world.pod1, PARTNER2[version]) == EGRESS_BANK[version]
        assert seen_from(world.pod1, PARTNER1[version]) == EGRESS[version]
    world.gw.nft("delete table inet gatekeeper")
    wait_for("the table to be back", lambda: world.gw.run(
        "nft", "list", "chain", "inet", "gatekeeper", "guard").returncode == 0)
    assert seen_from(world.pod1, PARTNER2[4]) == EGRESS_BANK[4]


def test_numbers_that_change_leave_nothing_behind(served):
    """Of the old numbers, at a restart; of any, with --remove."""
    stage = served()
    gw, daemon = stage.world.gw, stage.daemon

    def ours(*what):
        return [line for version in ("-4", "-6")
                for line in gw.run("ip", version, *what).stdout.splitlines() if "proto 230" in line]
    assert len(ours("rule")) == 4 and ours("route", "show", "table", "7099")
    daemon.stop()
    daemon.config["nat"].update({"route-table": 7300, "rule-priority": 5400,
                                 "mark-mask": "0x00ff0000"})
    daemon.write_config()
    daemon.start()
    wait_for("egretd to be ready", daemon.ready)
    rules = ours("rule")
    assert len(rules) == 4 and all(rule.startswith(("5399:", "5400:")) for rule in rules)
    assert not ours("route", "show", "table", "7099")
    for version in (4, 6):
        assert seen_from(stage.world.pod1, PARTNER2[version]) == EGRESS_BANK[version]
        assert seen_from(stage.world.pod1, PARTNER1[version]) == EGRESS[version]
    daemon.stop()
    for key in ("route-table", "rule-priority", "mark-mask"):
        del daemon.config["nat"][key]
    daemon.write_config()
    assert daemon.command("--remove").returncode == 0
    assert not ours("rule") and not ours("route", "show", "table", "all")


COLLISIONS = {
    "a table": (lambda gw: gw.nft("table inet egret { chain theirs { accept; }; }"), "egret"),
    "a rule": (lambda gw: gw.ip("rule add pref 5220 from 192.0.2.1 lookup 53"), "5220"),
    "a route": (lambda gw: gw.ip("route add unreachable 198.51.100.0/24 table 7099"), "7099"),
    "a mark": (lambda gw: gw.ip("rule add pref 90 fwmark 0x1000000/0xff000000 lookup 53"),
               "0x1000000"),
}


@pytest.mark.parametrize("collision", COLLISIONS)
def test_a_collision_at_start_is_an_error_that_says_with_whom(special, collision):
    make, named = COLLISIONS[collision]
    stage = special(start=False)
    make(stage.world.gw)
    done = stage.daemon.command(timeout=10)
    assert done.returncode not in (0, -signal.SIGKILL)
    assert named in done.stderr
