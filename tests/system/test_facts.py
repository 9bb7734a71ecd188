"""What the node is changes while egretd runs, or ran not: addresses, devices, routes, gateways."""
import contextlib
import os
import signal
import socket

import pytest

from fleet import Fleet
from origin import Listener
from stage import BANK
from test_peers import known
from world import DNS, EGRESS, EGRESS_BANK, NODE, PARTNER1, PARTNER2, wait_for

MANAGED = {"nat": {"manage-address": "yes"}}
ELSEWHERE = "[partner elsewhere]\ncidr = 45.9.0.0/24\n"
MOVED_TO = "45.0.0.77"
PORT = 5000


@pytest.fixture
def fleet(nothing_is_left, tmp_path_factory):
    made = Fleet(tmp_path_factory, "facts")
    yield made
    made.close()


@contextlib.contextmanager
def stopped(process):
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def has(namespace, address):
    return f" {address}/" in namespace.run("ip", "addr").stdout


class Sources:
    """From which address a datagram of pod1's comes; None: from none."""

    def __init__(self, world):
        self._pod = world.pod1
        self._partners = {PARTNER1[4]: world.partner1.socket(kind=socket.SOCK_DGRAM),
                          PARTNER2[4]: world.partner2.socket(kind=socket.SOCK_DGRAM)}
        for one in self._partners.values():
            one.bind(("0.0.0.0", PORT))
            one.settimeout(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self._partners.values():
            one.close()

    def of(self, partner):
        with self._pod.connect(partner[4], PORT, datagrams=True) as pod:
            try:
                pod.send(b"x")
                return self._partners[partner[4]].recvfrom(10)[1][0]
            except OSError:
                return None


def test_addresses_are_followed_while_a_file_is_broken(special):
    """The node's own, which cannot be followed then, is not used any more."""
    stage = special(config={"gateway": {"egress-ip": "auto"}})
    with Sources(stage.world) as source:
        assert source.of(PARTNER1) == NODE[4]
        assert source.of(PARTNER2) == EGRESS_BANK[4]
        stage.daemon.write("acl.ini", BANK + "[partner\n")
        stage.daemon.wait_log("reload refused")
        stage.world.gw.ip(f"addr del {NODE[4]}/24 dev eth0", f"addr add {MOVED_TO}/24 dev eth0",
                          f"addr del {EGRESS_BANK[4]}/32 dev eth0",
                          f"route replace default via {DNS}")
        wait_for("the address that has left not to be used",
                 lambda: source.of(PARTNER2) is None)
        assert source.of(PARTNER1) is None
        stage.daemon.write("acl.ini", BANK)
        wait_for("the node's other address", lambda: source.of(PARTNER1) == MOVED_TO)


def test_an_edit_that_the_node_was_not_ready_for_is_tried_again(special):
    stage = special(config=MANAGED, egress=False)
    world, daemon = stage.world, stage.daemon
    world.gw.ip("route del default")
    world.gw.run("ip", "-6", "route", "del", "default", check=True)
    daemon.write("acl.ini", BANK + ELSEWHERE)
    daemon.wait_log("reload refused.*there is no default route")
    world.gw.ip(f"route add default via {DNS}")
    world.gw.run("ip", "-6", "route", "add", "default", "via", "2a00::1", check=True)
    daemon.wait_log("generation 2 in force")
    wait_for("egretd to be ready", daemon.ready)
    assert daemon.log().count("reload refused") == 1


def test_the_nodes_own_address_stays_open(special):
    """Also as a partner's egress-ip, where egretd manages addresses."""
    stage = special(config=MANAGED, egress=False)
    with Listener(stage.world.gw, 2222):
        stage.daemon.reload(BANK + ELSEWHERE + f"egress-ip = {NODE[4]}\n")
        stage.world.partner1.connect(NODE[4], 2222).close()
        with pytest.raises(OSError):
            stage.world.partner1.connect(EGRESS[4], 2222, timeout=1)


def test_what_an_egretd_before_has_added_goes(special):
    stage = special(config=MANAGED, egress=False)
    world, daemon = stage.world, stage.daemon
    wait_for("the addresses", lambda: has(world.gw, EGRESS_BANK[4]) and has(world.gw, EGRESS[4]))
    assert daemon.stop() == 0
    daemon.write("acl.ini", ELSEWHERE)
    daemon.start()
    wait_for("the bank's to go",
             lambda: not has(world.gw, EGRESS_BANK[4]) and not has(world.gw, EGRESS_BANK[6]))
    assert has(world.gw, EGRESS[4]) and has(world.gw, EGRESS[6])


def test_an_address_without_its_device_is_not_present(special):
    stage = special(config={**MANAGED, "gateway": {"egress-interface": "up9"}}, egress=False,
                    start=False)
    world, daemon = stage.world, stage.daemon
    world.gw.ip(f"link add up9 type veth peer name other netns {world.net.name}",
                "link set up9 up")
    daemon.start()
    daemon.wait_metric("egret_nat_egress_address_present", 1, address=EGRESS[4])
    world.gw.ip("link del up9")
    daemon.wait_metric("egret_nat_egress_address_present", 0, address=EGRESS[4])


def test_another_node_is_noticed_on_the_device_that_the_address_is_on_now(special):
    stage = special()
    world = stage.world
    world.gw.ip(f"link add eth9 type veth peer name other netns {world.net.name}",
                "link set eth9 up")
    world.net.ip("link set other up")
    world.gw.ip(f"addr del {EGRESS[4]}/32 dev eth0", f"addr add {EGRESS[4]}/32 dev eth9")
    world.net.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", check=True)
    world.net.ip(f"addr add {EGRESS[4]}/32 dev other")
    wait_for("it to be noticed",
             lambda: f"{EGRESS[4]} is on another node" in stage.daemon.admin("/readyz").text, 60)


def test_an_address_that_leaves_during_a_reload_is_told(fleet):
    """The proxy hangs, so that the reload does not end."""
    gw1, w1 = fleet.egret["gw1"], fleet.egret["w1"]
    wait_for("w1 to know it", lambda: EGRESS[4] in known(w1).get("gw1", ()))
    with stopped(gw1.proxy):
        gw1.write("acl.ini", BANK + ELSEWHERE)
        wait_for("the reload", lambda: "45.9.0.0" in fleet.nodes.gw1.gw.run(
            "nft", "list", "table", "inet", "egret").stdout)
        fleet.nodes.gw1.remove_egress(EGRESS)
        wait_for("w1 to know that it left", lambda: EGRESS[4] not in known(w1).get("gw1", ()), 15)
    fleet.nodes.gw1.add_egress(EGRESS)
    wait_for("w1 to know it", lambda: EGRESS[4] in known(w1).get("gw1", ()))


def test_the_order_of_gateways_changes(fleet):
    """On an agent whose second process hangs: what is steered goes on to the same gateway."""
    w1 = fleet.egret["w1"]

    def ways():
        return fleet.nodes.w1.gw.run("ip", "route", "show", "table", "7101").stdout
    with fleet.scene() as scene:
        with stopped(w1.proxy):
            first, second = w1.config["gateway"]["gateways"].split(", ")
            w1.config["gateway"]["gateways"] = f"{second}, {first}"
            before = ways()
            w1.write_config()
            wait_for("the reload", lambda: ways() != before)
            scene.flows("w1")
        w1.settle()
        scene.flows("w1")


def test_ways_of_an_edit_that_is_rolled_back_go(fleet):
    w1 = fleet.egret["w1"]

    def rules():
        return fleet.nodes.w1.gw.run("ip", "rule").stdout
    before = rules()
    gateways = w1.config["gateway"]["gateways"]
    proxy = w1.proxy
    with contextlib.suppress(ProcessLookupError), stopped(proxy):
        w1.config["gateway"]["gateways"] = f"{gateways}, gw3 45.0.0.99 10.42.99.0"
        w1.write_config()
        wait_for("another way", lambda: rules() != before)
        os.kill(proxy, signal.SIGKILL)
        w1.wait_log("reload refused")
        w1.config["gateway"]["gateways"] = gateways
        w1.write_config()
    wait_for("the way to go", lambda: rules() == before, 5)
