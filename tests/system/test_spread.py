"""Several egress addresses: which one a connection leaves from."""
import contextlib
import json

import pytest

from origin import Listener
from world import PARTNER1

MORE = {4: ["45.0.0.31", "45.0.0.32", "45.0.0.33"], 6: ["2a00::31", "2a00::32", "2a00::33"]}
LIST = ", ".join(MORE[4] + MORE[6])
HOSTS = "hosts = partner1.test, *.partner1.test\ncidr = 45.0.1.0/24\nports = 1-65535\n"

# The places that `jhash ip saddr mod 3 seed 0x65677265` of nftables gives to the pods.
POD1_HAS = {4: "45.0.0.32", 6: "2a00::32"}
POD2_HAS = {4: "45.0.0.31", 6: "2a00::31"}


@pytest.fixture(scope="module", autouse=True)
def addresses(world):
    """On the gateway, beside those it always has."""
    everything = [(a, 32) for a in MORE[4]] + [(a, 128) for a in MORE[6]]
    for address, bits in everything:
        nodad = " nodad preferred_lft 0" if bits == 128 else ""
        world.gw.ip(f"addr add {address}/{bits} dev eth0{nodad}")
    yield
    for address, bits in everything:
        world.gw.ip(f"addr del {address}/{bits} dev eth0")


@contextlib.contextmanager
def without(world, address):
    world.gw.ip(f"addr del {address}/32 dev eth0")
    try:
        yield
    finally:
        world.gw.ip(f"addr add {address}/32 dev eth0")


@pytest.fixture(params=("partner", "gateway"))
def spreading(request, egretd):
    """spreading("source"): a daemon with MORE, named by the partner or by [gateway]."""
    def make(spread, **proxy):
        config = {"proxy": proxy, "log": {"access-log": "access.log"}}
        acl = f"[partner one]\n{HOSTS}"
        if request.param == "partner":
            acl += f"egress-ip = {LIST}\nspread = {spread}\n"
        else:
            config["gateway"] = {"egress-ip": LIST, "spread": spread}
        return egretd(acl, config=config)
    return make


def whoami(daemon, namespace=None, version=4):
    response = daemon.get(f"http://v{version}.partner1.test/whoami", namespace=namespace)
    assert response.status == 200, response.text
    return response.text


def test_a_source_keeps_its_address_in_all_workers_and_after_a_restart(
        world, origin1, spreading):
    daemon = spreading("source", workers=3, **{"origin-connections": 0})
    for _ in range(2):
        for version in (4, 6):
            assert {whoami(daemon, None, version) for _ in range(12)} == {POD1_HAS[version]}
            assert {whoami(daemon, world.pod2, version) for _ in range(12)} == {POD2_HAS[version]}
        daemon.kill()
        daemon.start()


def test_each_connection_gets_one_of_them(origin1, spreading):
    daemon = spreading("connection", **{"origin-connections": 0})
    for version in (4, 6):
        assert {whoami(daemon, None, version) for _ in range(60)} == set(MORE[version])


def test_a_pooled_connection_is_found_by_those_whose_address_it_has(world, origin1, spreading):
    daemon = spreading("source", workers=1)
    origin1.forget()
    for _ in range(5):
        assert whoami(daemon) == POD1_HAS[4]
        assert whoami(daemon, world.pod2) == POD2_HAS[4]
    assert origin1.connections == 2
    records = daemon.records(10)
    assert [record["pooled"] for record in records] == [False] * 2 + [True] * 8
    assert [record["egress"] for record in records] == [POD1_HAS[4], POD2_HAS[4]] * 5


def test_any_pooled_connection_will_do_when_each_has_one_of_its_own(world, origin1, spreading):
    daemon = spreading("connection", workers=1)
    origin1.forget()
    seen = {whoami(daemon, namespace) for namespace in (None, world.pod2) * 5}
    assert origin1.connections == 1 and len(seen) == 1


def test_the_first_attempt_and_the_next_have_the_address_of_their_version(
        world, origin1, spreading):
    """partner1.test has both versions."""
    daemon = spreading("source", **{"origin-connections": 0})
    ask = ("http://partner1.test/whoami",)
    assert daemon.get(*ask).text in POD1_HAS.values()
    world.gw.ip("route add unreachable 2a00:0:0:1::/64")
    try:
        assert daemon.get(*ask).text == POD1_HAS[4]
    finally:
        world.gw.ip("route del unreachable 2a00:0:0:1::/64")


def test_an_address_that_left_the_node_is_not_replaced_by_another(world, origin1, spreading):
    daemon = spreading("source", workers=1, **{"origin-connections": 0})
    with without(world, POD1_HAS[4]):
        origin1.forget()
        response = daemon.get("http://v4.partner1.test/whoami")
        assert response.status == 502
        assert f"egress address {POD1_HAS[4]} is not on this node" in response.text
        with daemon.wire() as wire:
            assert wire.connect("v4.partner1.test:80").status == 502
        assert origin1.connections == 0
        assert whoami(daemon, world.pod2) == POD2_HAS[4]
    assert whoami(daemon) == POD1_HAS[4]
    for record in daemon.records(4)[:2]:
        assert record["end"] == "connect-failed" and record["egress"] == POD1_HAS[4]
        assert "is not on this node" in record["detail"]


def test_an_address_without_a_free_port_says_so(world, spreading):
    daemon = spreading("source", workers=1)
    name = "net.ipv4.ip_local_port_range"
    before = world.gw.run("sysctl", "-n", name, check=True).stdout.strip()
    with contextlib.ExitStack() as stack:
        stack.callback(world.gw.run, "sysctl", "-qw", f"{name}={before}", check=True)
        world.gw.run("sysctl", "-qw", f"{name}=40000 40001", check=True)
        stack.enter_context(Listener(world.partner1, 7000))
        for n in range(3):
            wire = stack.enter_context(daemon.wire())
            answer = wire.connect(f"{PARTNER1[4]}:7000")
            assert answer.status == (200 if n < 2 else 503), answer.text
        assert f"all ports of egress address {POD1_HAS[4]} are in use" in answer.text
        with daemon.wire(world.pod2) as wire:
            assert wire.connect(f"{PARTNER1[4]}:7000").status == 200


def test_the_info_page_shows_the_address_in_use(spreading):
    ask = "http://egret.internal/"
    daemon = spreading("source")
    assert f"egress  {POD1_HAS[4]}, {POD1_HAS[6]}\n" in daemon.get(ask).text
    partner, = json.loads(daemon.get(ask, "Accept: application/json").text)["partners"]
    assert partner["egress"] == list(POD1_HAS.values()) and "spread" not in partner
    daemon = spreading("connection")
    assert f"egress  {LIST}\n    spread  each" in daemon.get(ask).text
    partner, = json.loads(daemon.get(ask, "Accept: application/json").text)["partners"]
    assert partner["egress"] == MORE[4] + MORE[6] and partner["spread"] == "connection"


def test_a_tunnel_goes_on_while_its_address_is_in_the_list(world, egretd):
    def acl(*addresses):
        return f"[partner one]\n{HOSTS}egress-ip = {', '.join(addresses)}\n"
    daemon = egretd(acl(*MORE[4]))
    with Listener(world.partner1, 7000) as listener, daemon.wire() as wire:
        assert wire.connect(f"{PARTNER1[4]}:7000").status == 200
        partner = listener.accept()
        assert partner.peer == POD1_HAS[4]
        daemon.reload(acl(POD1_HAS[4], "45.0.0.20"))
        wire.send(b"ping")
        assert partner.read(4) == b"ping"
        daemon.reload(acl("45.0.0.31", "45.0.0.33"))
        assert wire.ended()
        partner.close()
