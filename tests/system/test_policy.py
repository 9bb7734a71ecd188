"""Who may go where: denials that explain themselves, the address guard, loops."""
import re

import pytest

from origin import Origin
from world import GATEWAY, PARTNER1, POD2, wait_for

ACL = f"""
[group second]
cidr = {POD2[4]}

[block metadata]
cidr = 169.254.0.0/16

[block bad]
hosts = bad.partner1.test

[partner second-only]
hosts = only.partner1.test
ports = 80
from = second

[partner one]
hosts = partner1.test, *.partner1.test, *.one.test
ports = 80, 443

[partner below]
hosts = .below.test, egret-via.test
ports = 80

[partner by-address]
cidr = 45.0.2.0/24, 2a00:0:0:2::/64
ports = 80

[block some-of-it]
cidr = 45.0.3.0/24

[partner trying]
hosts = trying.test
ports = 80
mode = report
"""


def line_of(acl, text):
    return acl[:acl.index(text)].count("\n") + 1


@pytest.fixture(scope="module")
def ruled(egretd_module, dns):
    for name in ("bad.partner1.test", "only.partner1.test", "x.one.test", "one.test",
                 "below.test", "x.below.test", "xbelow.test", "trying.test"):
        dns.set(name, PARTNER1[4])
    return egretd_module(ACL, config={"log": {"access-log": "access.log"}})


@pytest.fixture(scope="module")
def canary(world):
    """Listens on every address of the gateway itself: nothing may ever reach it."""
    server = Origin(world.gw)
    world.gw.ip("addr add 169.254.169.254/32 dev lo", "addr add 10.9.9.9/32 dev lo",
                "addr add fd00::1/128 dev lo nodad")
    yield server
    world.gw.ip("addr del 169.254.169.254/32 dev lo", "addr del 10.9.9.9/32 dev lo",
                "addr del fd00::1/128 dev lo")
    server.close()


@pytest.fixture(autouse=True)
def nothing_reaches_the_gateway(canary):
    canary.forget()
    yield
    assert canary.connections == 0


# First match.

@pytest.mark.parametrize("url, status", (
    ("http://partner1.test/whoami", 200),
    ("http://PARTNER1.TEST./whoami", 200),
    ("http://x.one.test/whoami", 200),
    ("http://one.test/whoami", 403),
    ("http://below.test/whoami", 200),
    ("http://x.below.test/whoami", 200),
    ("http://xbelow.test/whoami", 403),
    ("http://bad.partner1.test/whoami", 403),
    ("http://partner1.test:8080/1k", 403),
    (f"http://{PARTNER1[4]}/whoami", 403),
    ("http://partner2.test/whoami", 200),  # all its addresses lie in by-address
    ("http://45.0.2.10/whoami", 200),
    ("http://[2a00:0:0:2::10]/whoami", 200),
    ("http://[::ffff:45.0.2.10]/whoami", 200),
    ("http://45.0.3.1/whoami", 403),
    ("http://denied.example/", 403),
    ("http://trying.test/whoami", 200),
))
def test_who_may_go_where(ruled, origin1, origin2, nginx, url, status):
    response = ruled.get(url)
    assert response.status == status, response.text


def test_sources_differ(world, ruled, origin1):
    url = "http://only.partner1.test/whoami"
    assert ruled.curl(url, namespace=world.pod2).status == 200
    # The walk goes on for the others: a later partner names it too.
    assert ruled.curl(url).status == 200
    assert ruled.get(url, namespace=world.gw).status == 403  # no pod at all


# Denials.

def test_a_denial_names_the_block_and_its_place(ruled):
    response = ruled.get("http://bad.partner1.test/")
    place = f"acl.ini:{line_of(ACL, '[block bad]')}"
    assert response.status == 403
    assert response.get("Content-Type").startswith("text/plain")
    assert "bad" in response.text and len(response.body) < 500
    assert re.search(r"egret\S*; error=http_request_denied", response.get("Proxy-Status"))
    wait_for("the place in the access log", lambda: any(
        record["policy"] == place for record in ruled.records(1)))


def test_a_denial_by_default_says_that_nothing_matches(ruled):
    response = ruled.get("http://denied.example/")
    assert response.status == 403
    assert "denied.example" in response.text
    assert "error=http_request_denied" in response.get("Proxy-Status")


def test_a_denial_keeps_the_connection(ruled):
    with ruled.wire() as wire:
        for _ in range(3):
            assert wire.get("http://denied.example/").status == 403


def test_a_denied_name_is_never_looked_up(egretd, dns):
    proxy = egretd("[partner one]\nhosts = partner1.test\n")
    for name in ("stolen-data.example", "below.partner1.test"):
        assert proxy.get(f"http://{name}/").status == 403
        assert dns.asked(name) == 0


def test_curl_shows_a_denial(ruled):
    done = ruled.curl("http://denied.example/")
    assert done.status == 403 and "denied.example" in done.text
    done = ruled.curl("https://denied.example/")
    assert done.exit == 56 and done.connect_status == 403


# The guard.

@pytest.mark.parametrize("name", (
    "loopback", "loopback6", "private", "pod", "metadata", "mapped", "nat64", "unique-local",
    "unspecified",
))
@pytest.mark.parametrize("how", ("GET", "CONNECT"))
def test_names_of_addresses_that_are_not_global_are_refused(ruled, name, how):
    host = f"{name}.partner1.test"
    with ruled.wire() as wire:
        response = wire.get(f"http://{host}/") if how == "GET" else wire.connect(f"{host}:443")
        assert response.status == 403, response.text
        assert "error=destination_ip_prohibited" in response.get("Proxy-Status")


@pytest.mark.parametrize("host", (
    "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "0.0.0.0", "[::]", "10.9.9.9",
    "169.254.169.254", "[fe80::1]", "[fd00::1]", "localhost", "10.42.0.1",
))
def test_literal_addresses_that_no_partner_names_are_refused(ruled, host):
    assert ruled.get(f"http://{host}/").status == 403


@pytest.mark.parametrize("host", (
    "2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1",
    "127.0.0.01", "0", "1.2.3.4.5", "256.0.0.1", "127.0.0.1..", "45.0.2", "0x2d.0.2.10",
    "[::1%25lo]", "[127.0.0.1]", "[::1", "::1",
))
@pytest.mark.parametrize("policy", ("ruled", "everything"))
def test_spellings_that_only_some_read_as_an_address_are_refused(request, host, policy):
    proxy = request.getfixturevalue(policy)
    response = proxy.get(f"http://{host}/")
    assert response.status in (400, 403), response.text
    with proxy.wire() as wire:
        assert wire.connect(f"{host}:80").status in (400, 403)


@pytest.fixture(scope="module")
def everything(egretd_module):
    """The widest policy that hosts can say."""
    return egretd_module("[partner all]\nhosts = *\nports = 1-65535\nfrom = 0.0.0.0/0, ::/0\n")


@pytest.mark.parametrize("host", (
    "loopback.partner1.test", "127.0.0.1", "[::1]", "private.partner1.test", "169.254.169.254"))
def test_all_hosts_does_not_mean_private_ones(everything, host):
    assert everything.get(f"http://{host}/").status == 403


def test_rebinding_only_the_allowed_address_is_dialled(ruled, origin1):
    origin1.forget()
    for _ in range(5):
        assert ruled.get("http://mixed.partner1.test/whoami").status == 200
    assert len(origin1.seen("/whoami")) == 5


def test_rebinding_later_is_refused(egretd, dns, origin1):
    proxy = egretd("[partner one]\nhosts = *.partner1.test\nports = 80\nfrom = 0.0.0.0/0\n",
                   config={"dns": {"min-ttl": "0s"}})
    dns.set("changing.partner1.test", PARTNER1[4])
    url = "http://changing.partner1.test/whoami"
    assert proxy.get(url).status == 200
    origin1.drop_idle()
    dns.set("changing.partner1.test", "127.0.0.1")
    wait_for("the new address to be refused", lambda: proxy.get(url).status == 403)


def test_a_partner_by_cidr_may_be_private(egretd, world, origin1):
    world.partner1.ip("addr add 10.9.0.1/32 dev lo")
    world.net.ip("route add 10.9.0.1 via 45.0.1.10")
    try:
        proxy = egretd("[partner inner]\ncidr = 10.9.0.0/24\nports = 80\nfrom = 0.0.0.0/0\n")
        assert proxy.get("http://10.9.0.1/whoami").status == 200
    finally:
        world.net.ip("route del 10.9.0.1")
        world.partner1.ip("addr del 10.9.0.1/32 dev lo")


def test_an_earlier_block_by_cidr_holds_for_names_too(egretd):
    proxy = egretd(f"[block b]\ncidr = {PARTNER1[4]}, {PARTNER1[6]}\n"
                   "[partner one]\nhosts = partner1.test\nports = 80\n",
                   config={"log": {"access-log": "access.log"}})
    response = proxy.get("http://partner1.test/")
    assert response.status == 403, response.text
    record, = proxy.records(1)
    assert record["policy"] == "acl.ini:1" and record["reason"] == "blocked-address"


# The source address.

def test_the_origin_sees_the_partners_egress_address(egretd, origin1, origin2):
    proxy = egretd("""
[partner one]
hosts = *.partner1.test
egress-ip = 45.0.0.20, 2a00::20
[partner two]
cidr = 45.0.2.0/24, 2a00:0:0:2::/64
""")
    for url, seen in (("http://v4.partner1.test", "45.0.0.20"),
                      ("http://v6.partner1.test", "2a00::20"),
                      ("http://45.0.2.10", "45.0.0.10"),
                      ("http://[2a00:0:0:2::10]", "2a00::10")):
        assert proxy.get(url + "/whoami").text == seen


def test_nothing_leaves_from_another_address_when_the_right_one_is_missing(egretd, origin1):
    proxy = egretd("""
[partner elsewhere]
hosts = v4.partner1.test
egress-ip = 45.0.0.77
[partner v4-only]
hosts = v6.partner1.test, partner1.test
egress-ip = 45.0.0.20
""")
    origin1.forget()
    for host in ("v4", "v6"):
        response = proxy.get(f"http://{host}.partner1.test/whoami")
        assert response.status in (502, 503), response.text
        with proxy.wire() as wire:
            assert wire.connect(f"{host}.partner1.test:443").status in (502, 503)
    assert origin1.connections == 0
    assert proxy.get("http://partner1.test/whoami").text == "45.0.0.20"  # by IPv4, then


# Loops.

def test_requests_to_our_own_listeners_are_loops(egretd):
    proxy = egretd("[partner self]\ncidr = 127.0.0.0/8, 10.42.0.0/16, fd42::/48\n"
                   "ports = 1-65535\n")
    for target in (f"127.0.0.1:{proxy.port}", f"{GATEWAY[4]}:{proxy.port}",
                   f"[{GATEWAY[6]}]:{proxy.port}", f"127.0.0.1:{proxy.admin_port}"):
        response = proxy.get(f"http://{target}/")
        assert response.status == 403, (target, response.text)
        assert "error=proxy_loop_detected" in response.get("Proxy-Status")
        with proxy.wire() as wire:
            assert wire.connect(target).status == 403, target
    assert proxy.metric("egret_client_connections_accepted_total") < 20


def test_a_request_that_comes_back_by_another_way_is_a_loop(egretd, origin1):
    proxy = egretd()
    via = proxy.get("http://partner1.test/echo").get("Via").split()[-1]
    response = proxy.get("http://partner1.test/echo", f"Via: 1.1 {via}")
    assert response.status == 403, response.text
    assert "error=proxy_loop_detected" in response.get("Proxy-Status")
