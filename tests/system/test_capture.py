"""Pods that know of no proxy: what they send to ports 80 and 443 goes through it all the same."""
import contextlib
import datetime
import errno
import os
import socket
import struct
import time

import pytest

from daemon import Curl
from fleet import Fleet
from origin import Listener, Origin, UdpWhoami
from stage import EXCLUDED
from wire import Wire
from world import (EGRESS, EGRESS_BANK, EGRESS_OTHER, GATEWAY, NODE, PARTNER1, PARTNER2, POD1,
                   wait_for)

PORT = 15001
NODES = {4: "45.0.0.0/29", 6: "2a00::/125"}
VERSIONS = pytest.mark.parametrize("version", (4, 6))
ACCESS_DENIED, DECODE_ERROR, UNRECOGNIZED_NAME = 49, 50, 112

ACL = f"""
[group forced]
cidr = {POD1[4]}, {POD1[6]}
capture = http, https
[block never]
hosts = never.partner1.test
[partner own]
hosts = other.partner1.test
egress-ip = {EGRESS_OTHER[4]}, {EGRESS_OTHER[6]}
[partner slow]
hosts = slow.partner1.test
rate = 1/1h
[partner one]
hosts = partner1.test, *.partner1.test
ports = 80, 443
[partner any]
hosts = any.partner2.test
ports = 80
[partner bank]
cidr = {PARTNER2[4]}, {PARTNER2[6]}
ports = 443
egress-ip = {EGRESS_BANK[4]}, {EGRESS_BANK[6]}
"""
CONFIG = {"proxy": {"capture-listen": f"0.0.0.0:{PORT}, [::]:{PORT}", "header-timeout": "2s"},
          "log": {"access-log": "access.log"}}
NAMES = ("never", "other", "slow")


@pytest.fixture(scope="module")
def capture(egretd_module, dns):
    for name in NAMES:
        dns.set(f"{name}.partner1.test", PARTNER1[4])
    dns.set("any.partner2.test", PARTNER2[4])
    dns.set("away.partner1.test", "45.0.1.99")
    return egretd_module(ACL, nat=True, config=CONFIG)


@pytest.fixture
def log(capture):
    """A function: the records of what began since the test did, as soon as there are so many."""
    time.sleep(0.002)  # what began before is of another millisecond
    began = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")

    def records(count=1):
        def found():
            since = began.replace("+00:00", "Z")  # each worker writes when it likes
            return sorted((r for r in capture.records(0) if r["time"] >= since),
                          key=lambda r: r["time"])
        return wait_for(f"{count} records", lambda: len(found()) >= count and found())
    return records


def curl(world, *args, namespace=None):
    return Curl(namespace or world.pod1, *args)


def to(name, address, port):
    """For curl: it takes this address for the name."""
    return "--resolve", f"{name}:{port}:{f'[{address}]' if ':' in address else address}"


def pod_wire(world, address, port, namespace=None):
    return Wire((namespace or world.pod1).connect(address, port))


def get(wire, path, host, *fields):
    wire.send("\r\n".join((f"GET {path} HTTP/1.1", f"Host: {host}", *fields)) + "\r\n\r\n")
    return wire.response()


def alert_of(wire):
    """The alert that ends the connection."""
    kind, _, length, level, alert = struct.unpack("!BHHBB", wire.read(7))
    assert (kind, length, level) == (21, 2, 2)
    assert wire.ended()
    return alert


def hello(name=None):
    """A small ClientHello."""
    extensions = b""
    if name is not None:
        host = name.encode()
        names = b"\0" + struct.pack("!H", len(host)) + host
        server_name = struct.pack("!H", len(names)) + names
        extensions += struct.pack("!HH", 0, len(server_name)) + server_name
    body = (b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
            + struct.pack("!H", len(extensions)) + extensions)
    message = b"\1" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\3\1" + struct.pack("!H", len(message)) + message


# Port 80.

@VERSIONS
def test_a_request_goes_through_the_proxy(world, capture, origin1, log, version):
    done = curl(world, *to("partner1.test", PARTNER1[version], 80), "http://partner1.test/whoami")
    assert (done.status, done.text) == (200, EGRESS[version]), done.error
    record, = log()
    assert record["target"] == "http://partner1.test/whoami"
    assert (record["captured"], record["client"], record["partner"], record["origin"]) == \
        (True, POD1[version], "one", f"{'[' * (version == 6)}{PARTNER1[version]}"
         f"{']' * (version == 6)}:80")


def test_by_the_pods_own_resolver(world, capture, origin1):
    assert curl(world, "--connect-to", f"partner1.test:80:{PARTNER1[4]}:80",
                "http://partner1.test/whoami").text == EGRESS[4]


def test_the_origin_gets_an_ordinary_request(world, capture, origin1):
    with pod_wire(world, PARTNER1[4], 80) as wire:
        response = get(wire, "/echo?x=1", "partner1.test", "Connection: close", "X-Own: 7")
    assert response.text.startswith("GET /echo?x=1 HTTP/1.1\r\nHost: partner1.test\r\n")
    assert "X-Own: 7" in response.text and "Connection: close" not in response.text


def test_each_request_of_a_connection_is_judged(world, capture, origin1, log):
    with pod_wire(world, PARTNER1[4], 80) as wire:
        seen = [(lambda r: (r.status, r.text))(get(wire, "/whoami", host)) for host in (
            "partner1.test", "other.partner1.test", "never.partner1.test", "denied.example",
            "other.partner1.test:80", "PARTNER1.test.")]
    assert [status for status, _ in seen] == [200, 200, 403, 403, 200, 200]
    assert [text for status, text in seen if status == 200] == \
        [EGRESS[4], EGRESS_OTHER[4], EGRESS_OTHER[4], EGRESS[4]]
    records = log(6)
    assert [r["partner"] for r in records] == ["one", "own", "never", None, "own", "one"]
    assert records[2]["policy"].startswith("acl.ini:")


def test_pipelined_requests_are_answered_in_order(world, capture, origin1):
    with pod_wire(world, PARTNER1[4], 80) as wire:
        wire.send("".join(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n" for path, host in (
            ("whoami", "partner1.test"), ("whoami", "never.partner1.test"),
            ("whoami", "other.partner1.test"))))
        assert [wire.response().status for _ in range(3)] == [200, 403, 200]


@pytest.mark.parametrize("host", ("partner1.test", "any.partner2.test"))
def test_a_wrong_address_for_the_name_is_misdirected(world, capture, origin1, origin2, log, host):
    """No fronting: an allowed name does not lead to another place."""
    wrong = PARTNER2[4] if host == "partner1.test" else PARTNER1[4]
    origin1.forget()
    origin2.forget()
    done = curl(world, "-i", *to(host, wrong, 80), f"http://{host}/whoami")
    assert done.status == 421
    assert "destination_ip_prohibited" in done.text and wrong in done.text
    assert origin1.connections + origin2.connections == 0
    record, = log()
    assert (record["verdict"], record["reason"], record["origin"]) == \
        ("deny", "original-address", None)
    assert record["policy"]


def test_a_pooled_connection_to_another_address_is_not_taken(world, capture, origin1, dns, log):
    """The name has two addresses; each client keeps to the one that it chose."""
    addresses = (PARTNER1[4], "45.0.1.77")
    dns.set("two.partner1.test", *addresses)
    world.partner1.ip(f"addr add {addresses[1]}/24 dev eth0")
    try:
        for address in addresses * 8:
            with pod_wire(world, address, 80) as wire:
                assert get(wire, "/whoami", "two.partner1.test").status == 200
    finally:
        world.partner1.ip(f"addr del {addresses[1]}/24 dev eth0")
    records = log(16)
    assert [sum(r["origin"] == f"{address}:80" for r in records) for address in addresses] == [8, 8]
    assert any(r["pooled"] for r in records)


@pytest.mark.parametrize("request_head, status", (
    ("GET http://partner1.test/whoami HTTP/1.1\r\nHost: partner1.test", 200),
    ("GET http://partner1.test:80/whoami HTTP/1.1\r\nHost: partner1.test", 200),
    ("GET http://other.partner1.test/whoami HTTP/1.1\r\nHost: partner1.test", 400),
    ("GET https://partner1.test/whoami HTTP/1.1\r\nHost: partner1.test", 400),
    ("CONNECT partner1.test:443 HTTP/1.1\r\nHost: partner1.test", 400),
    ("GET /whoami HTTP/1.1\r\nHost: ", 400),
    ("GET /whoami HTTP/1.1", 400),
    ("GET /whoami HTTP/1.0", 400),
    ("GET /whoami HTTP/1.0\r\nHost: partner1.test", 200),
    ("GET /whoami HTTP/1.1\r\nHost: partner1.test:8080", 403),
    ("GET /whoami HTTP/1.1\r\nHost: other.partner1.test:8080", 421),
    ("GET /whoami HTTP/1.1\r\nHost: egret.internal", 403),
    (f"GET /whoami HTTP/1.1\r\nHost: {PARTNER1[4]}", 403),
    ("GET whoami HTTP/1.1\r\nHost: partner1.test", 400),
))
def test_what_names_the_target(world, capture, origin1, request_head, status):
    with pod_wire(world, PARTNER1[4], 80) as wire:
        wire.send(request_head + "\r\n\r\n")
        assert wire.response().status == status


def test_a_request_that_comes_back_is_a_loop(world, capture, origin1):
    with pod_wire(world, PARTNER1[4], 80) as wire:
        assert get(wire, "/whoami", "partner1.test", "Via: 1.1 egret").status == 403


def test_a_captured_request_may_switch_protocols(world, capture, origin1, log):
    def switch(exchange):
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                      f"Upgrade: {exchange.request.get('Upgrade')}\r\n\r\nhello")
        exchange.send(exchange.read(2))
        exchange.file.read()
        exchange.close()
    origin1.paths["/switch"] = switch
    with pod_wire(world, PARTNER1[4], 80) as wire:
        wire.send("GET /switch HTTP/1.1\r\nHost: partner1.test\r\nConnection: Upgrade\r\n"
                  "Upgrade: websocket\r\n\r\n")
        assert wire.response().status == 101 and wire.read(5) == b"hello"
        wire.send("hi")
        assert wire.read(2) == b"hi"
    record, = log()
    assert (record["method"], record["status"], record["tunnel"], record["captured"]) == \
        ("GET", 101, True, True)


# Port 443.

@VERSIONS
def test_tls_goes_through_by_its_server_name(world, capture, nginx, log, version):
    data = os.urandom(1 << 20)
    nginx.write("large", data)
    done = curl(world, "--cacert", nginx.ca, *to("partner1.test", PARTNER1[version], 443),
                "https://partner1.test/large", "https://partner1.test/whoami")
    assert done.body == data + EGRESS[version].encode(), done.error
    record, = log()
    assert (record["method"], record["target"], record["captured"], record["tunnel"],
            record["partner"], record["end"], record["egress"]) == \
        ("TLS", "partner1.test:443", True, True, "one", "done", EGRESS[version])
    assert record["bytes_out"] > 1 << 20


@pytest.mark.parametrize("options", (
    ("-tls1_2",), ("-tls1_3",), ("-tls1_3", "-groups", "P-521:X25519"), ("-no_ticket",),
    ("-alpn", "h2,http/1.1"),
))
def test_openssl_of_several_versions(world, capture, nginx, options):
    done = world.pod1.run("openssl", "s_client", "-connect", f"{PARTNER1[4]}:443", "-servername",
                          "partner1.test", "-CAfile", nginx.ca, "-verify_return_error", *options,
                          input="")
    assert "Verify return code: 0" in done.stdout, done.stderr


@pytest.mark.parametrize("name, address, alert, reason, partner", (
    ("never.partner1.test", PARTNER1[4], ACCESS_DENIED, "matched", "never"),
    ("denied.example", PARTNER1[4], ACCESS_DENIED, "no-match", None),
    ("partner1.test", PARTNER2[4], UNRECOGNIZED_NAME, "original-address", "one"),
    (None, PARTNER1[4], ACCESS_DENIED, "no-match", None),
    ("not a name", PARTNER1[4], UNRECOGNIZED_NAME, None, None),
    ("45.0.1.10", PARTNER1[4], UNRECOGNIZED_NAME, None, None),
))
def test_a_refused_client_gets_an_alert(world, capture, nginx, log, name, address, alert, reason,
                                        partner):
    with pod_wire(world, address, 443) as wire:
        wire.send(hello(name))
        assert alert_of(wire) == alert
    record, = log()
    assert (record["method"], record["reason"], record["partner"], record["tunnel"]) == \
        ("TLS", reason, partner, False)


def test_without_a_name_only_networks_let_pass(world, capture, log):
    with Listener(world.partner2, 443) as listener:
        for name in (None, "any.partner2.test"):
            with pod_wire(world, PARTNER2[4], 443) as wire:
                wire.send(hello(name))
                with listener.accept() as origin:
                    assert origin.peer == EGRESS_BANK[4]
                    assert origin.read(len(hello(name))) == hello(name)
                    origin.send("answer")
                    assert wire.read(6) == b"answer"
    records = log(2)
    assert {r["target"] for r in records} == {f"{PARTNER2[4]}:443", "any.partner2.test:443"}
    assert {r["partner"] for r in records} == {"bank"}


def test_a_hello_in_pieces(world, capture, log):
    """Over packets, and over records of one byte."""
    whole = hello("any.partner2.test")
    small = b"".join(b"\x16\3\1\0\1" + whole[i:i + 1] for i in range(5, len(whole)))
    with Listener(world.partner2, 443) as listener:
        for sent in (whole, small):
            with pod_wire(world, PARTNER2[4], 443) as wire:
                wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for i in range(0, len(sent), 3):
                    wire.send(sent[i:i + 3])
                with listener.accept() as origin:
                    assert origin.read(len(sent)) == sent


@pytest.mark.parametrize("sent, alert", (
    (b"GET / HTTP/1.1\r\n\r\n", DECODE_ERROR),
    (b"\x16\3\1\0\0", DECODE_ERROR),
    (hello("a.test")[:20], DECODE_ERROR),  # and no more: header-timeout
    (b"\x16\3\1\x40\0\1\0\x3f\xfc" + bytes(16380), DECODE_ERROR),
))
def test_what_is_no_hello_is_told_so(world, capture, log, sent, alert):
    with pod_wire(world, PARTNER1[4], 443) as wire:
        wire.send(sent)
        assert alert_of(wire) == alert
    record, = log()
    assert record["end"] in ("bad-request", "client-timeout")


def test_rates_count(world, capture, log):
    with Listener(world.partner1, 444):
        alerts = []
        for _ in range(2):
            with pod_wire(world, PARTNER1[4], 443) as wire:
                wire.send(hello("slow.partner1.test"))
                wire.finish()
                alerts.append(wire.file.read(7)[-1:])
    assert alerts[1] == bytes([ACCESS_DENIED])
    assert {r["reason"] for r in log(2)} == {"matched", "rate-limited"}


# What is not captured.

@VERSIONS
def test_a_direct_connection_to_the_port_is_refused(world, capture, log, version):
    for namespace in (world.pod1, world.pod2):
        with contextlib.suppress(ConnectionResetError), \
                Wire(namespace.connect(GATEWAY[version], PORT)) as wire:
            assert wire.ended()
    records = log(2)
    assert [r["reason"] for r in records] == ["loop", "loop"]


def test_a_direct_connection_is_refused_on_a_captured_port_too(world, egretd):
    """Where the port alone does not tell."""
    egretd(ACL.replace("capture", ";"), config={"proxy": {"capture-listen": f"{GATEWAY[4]}:80"}})
    with contextlib.suppress(ConnectionResetError), \
            pod_wire(world, GATEWAY[4], 80, namespace=world.pod2) as wire:
        wire.send("GET / HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
        assert wire.ended()


@VERSIONS
def test_other_pods_and_ports_are_left_alone(world, capture, origin1, nginx, log, version):
    url = f"http://[{PARTNER1[6]}]" if version == 6 else f"http://{PARTNER1[4]}"
    assert curl(world, f"{url}/whoami", namespace=world.pod2).text == EGRESS[version]
    assert curl(world, f"{url}:8080/1k").body == b"k" * 1024
    assert curl(world, f"{url}/whoami").status == 403
    assert len(log()) == 1


def test_the_cluster_and_the_node_are_left_alone(world, capture):
    with Listener(world.pod2, 80) as listener, Listener(world.gw, 80) as node:
        with world.pod1.connect("10.42.0.12", 80), listener.accept() as wire:
            assert wire.peer == POD1[4]
        with world.pod1.connect(NODE[4], 80), node.accept() as wire:
            assert wire.peer == POD1[4]


@VERSIONS
def test_quic_is_rejected_and_counted(world, capture, version):
    with UdpWhoamiAt(world, 443), world.pod1.connect(PARTNER1[version], 443, datagrams=True) as s, \
            world.pod2.connect(PARTNER1[version], 443, datagrams=True) as other:
        s.settimeout(5)
        s.send(b"Initial")
        with pytest.raises(OSError) as refused:
            s.recv(100)
        assert refused.value.errno in (errno.EHOSTUNREACH, errno.EACCES)
        other.settimeout(5)
        other.send(b"who am I?")
        assert other.recv(100).decode() == EGRESS[version]
    wait_for("the rejection to be counted",
             lambda: capture.metric("egret_nat_denied_total", reason="quic") > 0)


class UdpWhoamiAt:
    def __init__(self, world, port):
        self._server = UdpWhoami(world.partner1, port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.close()


@pytest.mark.parametrize("rp_filter, bridged", ((0, 0), (1, 0), (1, 1), (2, 1)))
def test_whatever_the_kernels_settings(world, capture, origin1, rp_filter, bridged):
    world.rp_filter(rp_filter)
    world.bridge_netfilter(bridged)
    try:
        for version in (4, 6):
            with pod_wire(world, PARTNER1[version], 80) as wire:
                assert get(wire, "/whoami", "partner1.test").text == EGRESS[version]
    finally:
        world.rp_filter(0)
        world.bridge_netfilter(0)


# Coming and going.

def test_groups_come_and_go_with_the_policy(world, capture, origin1):
    url = f"http://{PARTNER1[4]}/whoami"
    try:
        capture.reload(ACL.replace("capture = http, https", "capture = https"))
        assert curl(world, url).text == EGRESS[4]
    finally:
        capture.reload(ACL)
    assert curl(world, url).status == 403


@pytest.mark.parametrize("nat, says", ((True, "capture-listen"), (False, "enable = yes")))
def test_capture_without_its_listener_is_an_error(egretd, nat, says):
    daemon = egretd(ACL, nat=nat, start=False)
    done = daemon.command("-t")
    assert done.returncode != 0
    assert "acl.ini:4: group forced: capture: want" in done.stderr and says in done.stderr


# On nodes without a proxy.

EVERYWHERE = """
[group all]
cidr = 10.42.0.0/16, fd42::/48
capture = http, https
[partner one]
hosts = partner1.test
"""


@pytest.fixture(params=("vxlan", "host-gw"))
def fleet(request, nothing_is_left, tmp_path_factory):
    with contextlib.ExitStack() as clean:
        made = Fleet(tmp_path_factory, "capture", backend=request.param, acl=EVERYWHERE,
                     start=False, config={
                         "gateway": {"exclude-cidr": f"{EXCLUDED}, {NODES[4]}, {NODES[6]}"},
                         "proxy": {"capture-listen": f"0.0.0.0:{PORT}, [::]:{PORT}"},
                         "dns": {"hosts-file": "hosts"}, "log": {"access-log": "access.log"}})
        clean.callback(made.close)
        for daemon in made.egret.values():
            daemon.write("hosts", "".join(f"{PARTNER1[v]} partner1.test\n" for v in (4, 6)))
        made.start()
        for server in (Origin(made.nodes.partner1), UdpWhoami(made.nodes.partner1, 443)):
            clean.callback(server.close)
        yield made


def test_pods_of_every_node_are_captured_where_the_gateways_address_is(fleet):
    for node in fleet.nodes.all:
        for version in (4, 6):
            with pod_wire(None, PARTNER1[version], 80, namespace=node.pod1) as wire:
                assert get(wire, "/whoami", "partner1.test").text == EGRESS[version]
                assert get(wire, "/whoami", "denied.example").status == 403
            with node.pod1.connect(PARTNER1[version], 443, datagrams=True) as s:
                s.send(b"Initial")
                with pytest.raises(OSError) as rejected:
                    s.recv(100)
                assert rejected.value.errno in (errno.EHOSTUNREACH, errno.EACCES)
    pods = {node.pod_addresses[0][v] for node in fleet.nodes.all for v in (4, 6)}
    records = fleet.egret["gw1"].records(2 * len(pods))
    assert {r["client"] for r in records} == pods
    assert all(r["captured"] for r in records)
    assert os.path.getsize(fleet.egret["w1"].path("access.log")) == 0
