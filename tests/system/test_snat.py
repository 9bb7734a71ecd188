"""SNAT as partners see it, with Flannel's masquerade in place."""
import json
import socket

import pytest

from daemon import Curl
from origin import Listener, UdpWhoami
from world import (EGRESS, EGRESS_BANK, NODE, NODE_NETWORK, PARTNER1, PARTNER2, POD1, POD2,
                   wait_for)

BANK = """
[partner bank]
cidr = 45.0.2.0/24, 2a00:0:0:2::/64
ports = 1-65535
protocol = any
egress-ip = 45.0.0.20, 2a00::20
"""
VERSIONS = pytest.mark.parametrize("version", (4, 6))


@pytest.fixture
def gateway(egretd):
    return egretd(BANK, nat=True, config={"gateway": {
        "exclude-cidr": "10.43.0.0/16, 192.168.77.0/24"}})


@pytest.fixture(autouse=True)
def clean_kernel(world):
    yield
    world.masquerade()


def seen_from(pod, address, port=80):
    """The source address that the server at `address` sees."""
    host = f"[{address}]" if ":" in address else address
    done = Curl(pod, f"http://{host}:{port}/whoami", timeout=5)
    assert done.exit == 0, done.error
    return done.text


def table(world):
    return world.gw.run("nft", "-s", "list", "table", "inet", "egret").stdout


@VERSIONS
def test_pods_leave_with_the_egress_address(world, origin1, gateway, version):
    assert seen_from(world.pod1, PARTNER1[version]) == EGRESS[version]
    assert seen_from(world.pod2, PARTNER1[version]) == EGRESS[version]


@VERSIONS
def test_a_partner_with_cidr_has_its_own_egress_address(world, origin2, gateway, version):
    assert seen_from(world.pod1, PARTNER2[version]) == EGRESS_BANK[version]


@VERSIONS
def test_datagrams_too(world, gateway, version):
    seen = {}
    for partner, address in ((world.partner1, PARTNER1), (world.partner2, PARTNER2)):
        server = UdpWhoami(partner, 5000)
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        try:
            with world.pod1.socket(family, socket.SOCK_DGRAM) as s:
                s.settimeout(5)
                s.connect((address[version], 5000))
                s.send(b"who am I?")
                seen[partner.short] = s.recv(100).decode()
        finally:
            server.close()
    assert seen == {"partner1": EGRESS[version], "partner2": EGRESS_BANK[version]}


def test_only_the_named_ports_protocols_and_sources_get_the_partners_address(
        world, origin2, nginx, egretd):
    egretd(f"""
[group second]
cidr = {POD2[4]}
[partner bank]
cidr = 45.0.2.0/24
ports = 80
protocol = tcp
from = second
egress-ip = 45.0.0.20
""", nat=True)
    assert seen_from(world.pod2, PARTNER2[4]) == EGRESS_BANK[4]
    assert seen_from(world.pod1, PARTNER2[4]) == EGRESS[4]
    with Listener(world.partner2, 81) as other, world.pod2.connect(PARTNER2[4], 81):
        wire = other.accept()
        assert wire.peer == EGRESS[4]
        wire.close()


def test_first_partner_decides_where_networks_overlap(world, origin2, egretd):
    egretd(f"""
[partner first]
cidr = {PARTNER2[4]}
ports = 80
egress-ip = {EGRESS[4]}
[partner second]
cidr = 45.0.2.0/24
ports = 1-65535
egress-ip = {EGRESS_BANK[4]}
""", nat=True)
    assert seen_from(world.pod1, PARTNER2[4]) == EGRESS[4]
    with Listener(world.partner2, 81) as other, world.pod1.connect(PARTNER2[4], 81):
        wire = other.accept()
        assert wire.peer == EGRESS_BANK[4]
        wire.close()


def test_excluded_networks_and_pods_are_untouched(world, gateway):
    world.gw.nft("delete table inet flannel")
    for server, client, address, seen in (
            (world.partner2, world.pod1, NODE_NETWORK, POD1[4]),
            (world.pod2, world.pod1, POD2[4], POD1[4]),
            (world.gw, world.pod1, NODE[4], POD1[4])):
        with Listener(server, 7000) as listener, client.connect(address, 7000):
            wire = listener.accept()
            assert wire.peer == seen
            wire.close()


def test_the_nodes_own_traffic_is_untouched(world, origin1, gateway):
    assert seen_from(world.gw, PARTNER1[4]) == NODE[4]
    assert seen_from(world.gw, PARTNER1[6]) == NODE[6]


def test_egress_ip_auto_is_the_address_that_faces_the_default_route(world, origin1, egretd):
    egretd(BANK, nat=True, config={"gateway": {"egress-ip": "auto"}})
    world.gw.nft("delete table inet flannel")
    assert seen_from(world.pod1, PARTNER1[4]) == NODE[4]
    assert seen_from(world.pod1, PARTNER1[6]) == NODE[6]


def test_the_table_survives_the_daemon_and_remove_takes_it_away(world, origin2, gateway):
    assert gateway.stop() == 0
    assert seen_from(world.pod1, PARTNER2[4]) == EGRESS_BANK[4]
    assert "egret" in world.gw.run("nft", "list", "tables").stdout
    for _ in range(2):  # nothing to remove is no error
        done = gateway.command("--remove")
        assert done.returncode == 0, done.stderr
        assert world.gw.run("nft", "list", "tables").stdout == "table inet flannel\n"
    assert seen_from(world.pod1, PARTNER2[4]) == NODE[4]


def test_killed_and_started_again_the_table_is_the_same(world, gateway):
    before = table(world)
    assert "snat" in before
    gateway.kill()
    assert table(world) == before
    gateway.start()
    assert table(world) == before


def test_a_changed_policy_changes_the_table(world, origin2, gateway):
    gateway.reload("[partner other]\nhosts = partner1.test\n")
    assert seen_from(world.pod1, PARTNER2[4]) == EGRESS[4]
    gateway.reload(BANK)
    assert seen_from(world.pod1, PARTNER2[4]) == EGRESS_BANK[4]


def test_established_connections_survive_a_reload(world, gateway):
    with Listener(world.partner2, 7000) as listener, \
            world.pod1.connect(PARTNER2[4], 7000) as pod:
        partner = listener.accept()
        for n in range(5):
            gateway.reload(BANK + f"; edit {n}\n[partner p{n}]\ncidr = 45.9.{n}.0/24\nports = 1\n")
            pod.sendall(b"ping")
            assert partner.read(4) == b"ping"
            partner.send(b"pong")
            assert pod.recv(4) == b"pong"
        assert partner.peer == EGRESS_BANK[4]
        partner.close()


@pytest.mark.parametrize("damage", (
    "flush ruleset",
    "delete table inet egret",
    "flush table inet egret",
    "add chain inet egret intruder",
))
def test_damage_by_others_is_healed(world, origin1, gateway, damage):
    before = table(world)
    world.gw.nft(damage)
    world.masquerade()
    wait_for("the table to be whole again", lambda: table(world) == before)
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS[4]
    gateway.wait_metric("egret_nat_repairs_total", 1)


@pytest.fixture
def blocking(egretd):
    """partner2's networks are blocked, but for its port 80."""
    return egretd("""
[partner web]
cidr = 45.0.2.0/24, 2a00:0:0:2::/64
ports = 80
[block rest]
cidr = 45.0.2.0/24, 2a00:0:0:2::/64
""", nat=True)


@VERSIONS
def test_what_a_block_names_is_refused_by_the_kernel_too(world, origin2, blocking, version):
    assert seen_from(world.pod1, PARTNER2[version]) == EGRESS[version]
    with Listener(world.partner2, 7000), pytest.raises(OSError):
        world.pod1.connect(PARTNER2[version], 7000, timeout=2)
    blocking.reload(BANK)
    with Listener(world.partner2, 7000) as listener, \
            world.pod1.connect(PARTNER2[version], 7000, timeout=5):
        listener.accept().close()


def test_without_an_egress_address_of_the_version_nothing_leaves(world, origin2, egretd):
    """The partner's address is IPv4 only: IPv6 must not leave with any other."""
    egretd(BANK.replace(", 2a00::20", ""), nat=True)
    assert seen_from(world.pod1, PARTNER2[4]) == EGRESS_BANK[4]
    with pytest.raises(OSError):
        world.pod1.connect(PARTNER2[6], 80, timeout=2)


def test_a_version_the_gateway_has_no_address_of_does_not_leave(world, origin1, egretd):
    daemon = egretd("", nat=True, config={"gateway": {"egress-ip": EGRESS[4]}})
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS[4]
    assert Curl(world.pod1, f"http://[{PARTNER1[6]}]/whoami", timeout=5).exit == 7
    assert daemon.wait_log("no IPv6 egress address")


def test_egress_interface_chooses_its_address(world, origin1, egretd):
    world.gw.run("ip", "link", "add", "spare", "type", "veth", "peer", "name", "beside")
    try:
        world.gw.run("ip", "addr", "add", f"{EGRESS_BANK[4]}/32", "dev", "spare")
        world.gw.run("ip", "link", "set", "spare", "up")
        egretd("", nat=True, config={"gateway": {"egress-ip": "auto", "egress-interface": "spare"}})
        assert seen_from(world.pod1, PARTNER1[4]) == EGRESS_BANK[4]
    finally:
        world.gw.run("ip", "link", "del", "spare")


def test_without_an_egress_address_it_says_that_nothing_leaves(world, egretd):
    world.gw.run("ip", "link", "add", "spare", "type", "veth", "peer", "name", "beside")
    try:
        daemon = egretd("[partner one]\nhosts = partner1.test\n" + BANK, nat=True, config={
            "gateway": {"egress-ip": "auto", "egress-interface": "spare"}})
        assert daemon.wait_log("ready: .* egress none, ")
        assert daemon.get("http://partner1.test/").status == 502
        assert "egress  none, so nothing leaves" in daemon.get("http://egret.internal/").text
        facts = json.loads(daemon.get("http://egret.internal/", "Accept: application/json").text)
        assert [partner.get("leaves") for partner in facts["partners"]] == [False, None]
    finally:
        world.gw.run("ip", "link", "del", "spare")


def test_remove_is_refused_while_the_daemon_runs(world, gateway):
    before = table(world)
    done = gateway.command("--remove")
    assert done.returncode != 0 and "running" in done.stderr
    assert table(world) == before


def test_plan_prints_what_the_kernel_has(world, gateway):
    plan = gateway.command("--plan")
    assert plan.returncode == 0
    world.net.nft(plan.stdout)
    try:
        printed = world.net.run("nft", "-s", "list", "table", "inet", "egret").stdout
    finally:
        world.net.nft("delete table inet egret")
    assert printed == table(world)


def test_other_tables_are_left_alone(world, gateway):
    def others():
        return world.gw.run("nft", "-s", "list", "table", "inet", "flannel").stdout
    before = others()
    gateway.reload("[partner other]\nhosts = partner1.test\n")
    gateway.stop()
    gateway.command("--remove")
    assert others() == before and "masquerade" in before


def test_policy_of_the_kernel_stays_when_an_edit_is_refused(world, gateway):
    before = table(world)
    gateway.reload(BANK.replace("45.0.2.0/24", "45.0.2.0/33"), good=False)
    assert table(world) == before


def test_a_thousand_partners_fit_the_kernel(world, origin2, gateway):
    partners = "".join(f"[partner p{n}]\ncidr = 60.{n // 256}.{n % 256}.0/24\nports = 443\n"
                       f"egress-ip = {EGRESS[4]}\n" for n in range(1000))
    gateway.reload(partners + BANK)
    assert seen_from(world.pod1, PARTNER2[4]) == EGRESS_BANK[4]
