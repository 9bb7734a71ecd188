"""No packet of a pod leaves with another source than its partner knows, whatever happens.

Each test disturbs a gateway under traffic; the judge sees every packet that leaves.
"""
import itertools
import os
import signal
import socket
import threading
import time

import pytest

from cluster import FLAVOURS
from judge import Judge, Traffic
from stage import (BANK, ELSEWHERE, NODE_SOURCES, OUTSIDE, POD_NETWORKS, PORT, SINK, Stage,
                   UNTRANSLATED,
                   bank, delete_table, flush_routing, has_routing, sources, tasks)
from world import EGRESS, EGRESS_BANK, EGRESS_OTHER, NODE, PARTNER2, wait_for


# Those that depend on how the others' rules are made.
EVERY_FLAVOUR = pytest.mark.parametrize("stage_of_module", FLAVOURS, indirect=True)


@pytest.fixture(scope="module")
def stage_of_module(request, nothing_is_left, tmp_path_factory):
    made = Stage(tmp_path_factory, "leak", getattr(request, "param", FLAVOURS[0]))
    yield made
    made.close()


@pytest.fixture
def stage(stage_of_module):
    yield stage_of_module
    stage_of_module.restore()


def flush_ruleset(stage, scene):
    """As a reload of nftables.conf or firewalld does it; Flannel comes back later."""
    with scene.judge.instant(stage.daemon.running(), *UNTRANSLATED):
        stage.world.gw.nft("flush ruleset")
    scene.more()
    stage.cluster.install()
    scene.more()


# The daemon's own life.

@EVERY_FLAVOUR
def test_start_under_traffic_cuts_what_flannel_masqueraded(stage):
    stage.daemon.stop()
    assert stage.daemon.command("--remove").returncode == 0
    everyone = [*OUTSIDE, *POD_NETWORKS]
    with stage.scene(bank_sources=everyone, web_sources=everyone) as scene:
        scene.judge.allow("rest", *everyone)
        assert set(NODE_SOURCES) <= scene.judge.sources("bank")
        stage.daemon.start()
        scene.judge.allow("bank", *sources(EGRESS_BANK))
        scene.judge.allow("web", *sources(EGRESS))
        scene.judge.allow("rest", *ELSEWHERE)
        scene.flows()


def test_stop(stage):
    with stage.scene() as scene:
        stage.daemon.stop()
        scene.more()
        scene.flows()
        assert scene.resets(scene.bank) == scene.resets(scene.web) == 0


def test_kill(stage):
    with stage.scene() as scene:
        stage.daemon.kill()
        scene.more()
        scene.flows()
        assert scene.resets(scene.bank) == scene.resets(scene.web) == 0


def test_restarts(stage):
    with stage.scene() as scene:
        for _ in range(3):
            stage.daemon.stop()
            stage.daemon.start()
        scene.flows()
        assert scene.resets(scene.bank) == scene.resets(scene.web) == 0


def test_kills_amid_reloads(stage):
    """Whatever of an update is done when the gate dies, the next one finishes."""
    both = sources(EGRESS_BANK, EGRESS_OTHER)
    with stage.scene() as scene:
        for n, address in zip(range(6), itertools.cycle((EGRESS_OTHER, EGRESS_BANK))):
            scene.judge.allow("bank", *both)
            stage.daemon.write("acl.ini", bank(address))
            time.sleep(n / 400)  # not a synchronisation: another moment of the update each time
            stage.daemon.kill()
            stage.daemon.start()
            scene.judge.allow("bank", *sources(address))
            scene.more(60)
        assert scene.resets(scene.web) == 0


def test_a_storm_of_reloads_that_move_the_partner(stage):
    moves = (EGRESS_OTHER, EGRESS, EGRESS_BANK)
    with stage.scene() as scene:
        now = EGRESS_BANK
        for _, address in zip(range(15), itertools.cycle(moves)):
            with scene.judge.change("bank", sources(now), sources(address)):
                stage.daemon.reload(bank(address))
            now = address
            scene.more(20)
        scene.flows()
        assert scene.resets(scene.web) == 0


def test_a_partner_that_comes_and_goes(stage):
    """Without the section the gateway's address is right."""
    with stage.scene() as scene:
        for _ in range(5):
            with scene.judge.change("bank", sources(EGRESS_BANK), sources(EGRESS)):
                stage.daemon.reload("; nobody\n")
            scene.more(60)
            with scene.judge.change("bank", sources(EGRESS), sources(EGRESS_BANK)):
                stage.daemon.reload(BANK)
            scene.more(60)


def test_a_block_lets_nothing_pass_from_its_acknowledgement_on(stage):
    with stage.scene() as scene:
        stage.daemon.reload(BANK.replace("[partner", "[block").replace("egress-ip", ";"))
        scene.judge.allow("bank")
        scene.more(400)


# What others do to the kernel.

@EVERY_FLAVOUR
@pytest.mark.parametrize("running", (True, False), ids=("running", "stopped"))
def test_flush_ruleset(stage, running):
    """Without a gate there is no NAT hook left in the kernel, and the node answered the streams'
    partners itself: they are lost, and pod1's may take long to find out, as its stray packets
    confuse conntrack."""
    with stage.scene() as scene:
        if not running:
            stage.daemon.stop()
        flush_ruleset(stage, scene)
        if not running:
            stage.daemon.start()
        scene.flows(streams=running)


@EVERY_FLAVOUR
@pytest.mark.parametrize("running", (True, False), ids=("running", "stopped"))
def test_the_table_is_deleted(stage, running):
    with stage.scene() as scene:
        if not running:
            stage.daemon.stop()
        with scene.judge.instant(running, *UNTRANSLATED):
            delete_table(stage)
        scene.more()
        if not running:
            stage.daemon.start()
        scene.flows()


@pytest.mark.parametrize("running", (True, False), ids=("running", "stopped"))
def test_the_table_is_flushed(stage, running):
    """Chains and sets are there, and every rule is gone."""
    with stage.scene() as scene:
        if not running:
            stage.daemon.stop()
        with scene.judge.instant(running, *UNTRANSLATED):
            stage.world.gw.nft("flush table inet egret")
        scene.more()
        if not running:
            stage.daemon.start()
        scene.flows()


@pytest.mark.parametrize("running", (True, False), ids=("running", "stopped"))
def test_the_routing_guard_is_flushed(stage, running):
    with stage.scene() as scene:
        if not running:
            stage.daemon.stop()
        flush_routing(stage)
        scene.more()
        if not running:
            stage.daemon.start()
        wait_for("the rules to be back", lambda: has_routing(stage))
        scene.flows()


def test_sysctls_are_changed(stage):
    with stage.scene() as scene:
        stage.world.sysctl(**{"net.ipv4.conf.all.src_valid_mark": 0,
                              "net.netfilter.nf_conntrack_tcp_loose": 0})
        stage.world.rp_filter(1)
        scene.more()
        stage.world.rp_filter(0)
        stage.world.sysctl(**{"net.netfilter.nf_conntrack_tcp_loose": 1})


def test_conntrack_is_flushed(stage):
    with stage.scene() as scene:
        for _ in range(5):
            stage.world.gw.run("conntrack", "-F")
            scene.more(60)
        scene.flows()


@EVERY_FLAVOUR
def test_flannel_and_kube_proxy_write_their_rules_again_and_again(stage):
    with stage.scene() as scene:
        for n in range(6):
            stage.cluster.install()
            stage.daemon.reload(BANK + f"; {n}\n")
            scene.more(40)
        assert scene.resets(scene.bank) == scene.resets(scene.web) == 0


# Addresses and devices.

def test_an_egress_address_that_somebody_else_manages_goes_and_comes(stage):
    with stage.scene() as scene:
        stage.world.remove_egress(EGRESS_BANK)
        scene.silent("bank")
        stage.world.add_egress(EGRESS_BANK)
        scene.flows()


def test_the_bridge_is_made_again(stage):
    with stage.scene() as scene:
        stage.world.gw.ip("link del cni0")
        scene.more(60)
        stage.world.make_cni0()
        scene.flows()


def test_the_uplink_is_made_again(stage):
    with stage.scene() as scene:
        stage.world.gw.ip("link del eth0")
        scene.more(60)
        stage.world.egress = False
        stage.world.make_uplink()
        scene.more()
        stage.world.egress = True
        stage.world.add_egress(EGRESS, EGRESS_BANK, EGRESS_OTHER)
        scene.flows()


class FirstPackets:
    """Sends from a pod as soon as it can, and on."""

    def __init__(self, pod, version):
        self._socket = pod.socket(socket.AF_INET6 if version == 6 else socket.AF_INET,
                                  socket.SOCK_DGRAM)
        self._to = (PARTNER2[version], PORT)
        self._end = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self):
        while not self._end.is_set():
            try:
                self._socket.sendto(b"hello", self._to)
                self.sent += 1
            except OSError:  # no address yet
                pass

    def close(self):
        self._end.set()
        self._thread.join(10)
        self._socket.close()


def test_a_new_pods_first_packet(stage):
    with stage.scene() as scene:
        for n in range(2):
            pod = stage.world.add_pod(f"new{n}")
            senders = [FirstPackets(pod, version) for version in (4, 6)]
            try:
                stage.world.set_pod_address(pod, {4: f"10.42.0.{100 + n}", 6: f"fd42::{100 + n}"})
                wait_for("the first packets", lambda s=senders: all(one.sent > 50 for one in s))
            finally:
                for sender in senders:
                    sender.close()
                stage.world.remove_pod(pod)


@pytest.mark.parametrize("version, forged", (
    (4, "45.0.0.77"), (6, "2a00::77"), (6, NODE[6]), (6, EGRESS[6])))
def test_a_source_that_a_pod_forges(stage, version, forged):
    """A pod may have CAP_NET_RAW.  IPv4 has rp_filter against it, and drops the node's own."""
    with stage.judge() as judge:
        with Traffic(stage.world.pod1, ("flood", PARTNER2[version], PORT, 200, forged)) as forger:
            forger.more(50)
        judge.verify()


# What conntrack makes of it.

def test_packets_that_conntrack_calls_invalid(special):
    """Without kube-proxy, which would drop them."""
    stage = special(kube_proxy=False)
    with stage.scene() as scene, \
            Traffic(stage.world.pod1, *tasks(PARTNER2, PORT, invalid=600)) as stray:
        stray.more(1200)
        assert scene.resets(scene.bank) == 0
    wait_for("them to be counted",
             lambda: stage.daemon.metric("egret_leaks_prevented_total") > 0)


def test_exhausted_ports(special):
    """One pod has used every port of the egress address; what another sends stays here."""
    stage = special()
    world = stage.world
    world.gw.run("sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=600", check=True)
    with world.partner2.socket(kind=socket.SOCK_DGRAM) as sink, \
            Judge(world, (("flood", ("45.0.2.0/24",), sources(EGRESS_BANK), 17, SINK),
                          ("rest", ("0.0.0.0/0", "::/0"), ELSEWHERE))) as judge:
        sink.bind((PARTNER2[4], SINK))
        with Traffic(world.pod1, ("flood", PARTNER2[4], SINK, 40000)) as one, \
                Traffic(world.pod2, ("flood", PARTNER2[4], SINK, 3000)) as two:
            wait_for("all ports to be used", lambda: one.total("sent") == 64512, 60)
            before = judge.seen("flood")
            two.more(3000)
            assert 64000 < before + 500 and judge.seen("flood") - before < 1000
        judge.verify()


# Addresses of egretd's own.

def test_a_managed_egress_address_comes_back(special):
    stage = special(egress=False, config={"nat": {"manage-address": "yes"}})
    world = stage.world

    def there():
        return all(address in world.gw.run("ip", "addr", "show", "dev", "eth0").stdout
                   for address in sources(EGRESS, EGRESS_BANK))
    assert there()
    with stage.scene() as scene:
        world.remove_egress(EGRESS_BANK)
        gone = time.monotonic()
        wait_for("the address to be back", there)
        took = time.monotonic() - gone
        print(f"the address was back after {took * 1000:.0f} ms")
        assert took < 2
        scene.flows()
        world.gw.ip("link del eth0")
        world.make_uplink()
        wait_for("the addresses to be on the new uplink", there)
        scene.flows()


def test_the_boot_guard_holds_before_the_first_start(special):
    stage = special(start=False)
    done = stage.daemon.command("--guard")
    assert done.returncode == 0, done.stderr
    with stage.judge() as judge, \
            Traffic(stage.world.pod1, *tasks(PARTNER2, PORT, tcp=60, stream=60, udp=60, ping=20,
                                             invalid=60)) as traffic:
        traffic.more(500)
        assert judge.seen("bank") == 0
        stage.daemon.start()
        traffic.flows(20, kind="stream")
        traffic.flows(20, kind="udp")
        judge.verify()


# Each guard is needed, and each one alone is enough.

@pytest.fixture
def frozen(stage):
    """The gate does not mend what the test breaks."""
    gate = stage.daemon.gate
    os.kill(gate, signal.SIGSTOP)
    yield stage
    if stage.daemon.running():
        os.kill(gate, signal.SIGCONT)


def mutate(stage, translate=False, guard=False, table=False, routing=False, backstop=False):
    """Takes away what is named; the backstop is with the gate."""
    if backstop:
        stage.daemon.kill()
    for chain, wanted in (("translate", translate), ("guard", guard)):
        if wanted:
            stage.world.gw.nft(f"flush chain inet egret {chain}")
    if table:
        delete_table(stage)
    if routing:
        flush_routing(stage)


@EVERY_FLAVOUR
@pytest.mark.parametrize("mutation, leaks", (
    ({"translate": True}, False),
    ({"translate": True, "guard": True}, False),
    ({"translate": True, "backstop": True}, False),
    ({"translate": True, "guard": True, "backstop": True}, True),
    ({"translate": True, "routing": True}, False),
    ({"routing": True}, False),
    ({"table": True}, False),
    ({"table": True, "routing": True}, True),
), ids=lambda value: "+".join(value) if isinstance(value, dict) else "")
def test_each_guard_holds_alone_and_is_needed(frozen, mutation, leaks):
    with frozen.judge() as judge, \
            Traffic(frozen.world.pod1, *tasks(PARTNER2, PORT, tcp=60, stream=60, udp=60, fixed=60,
                                              ping=20, invalid=60)) as traffic:
        traffic.flows(50)
        mutate(frozen, **mutation)
        traffic.more(400)
        if leaks:
            wait_for("packets to leak", lambda: judge.leaks() > 10)
        else:
            judge.verify()
