"""CONNECT: tunnels by real curl, their ends, and where they may go."""
import threading

import pytest

from origin import Listener
from world import PARTNER1, wait_for

ACL = """
[partner named]
hosts = named.partner1.test
ports = 443, 7000-7003
[partner unnamed]
hosts = *.partner1.test, partner1.test
"""


@pytest.fixture(scope="module")
def tunnels(egretd_module, dns):
    dns.set("named.partner1.test", PARTNER1[4])
    return egretd_module(ACL)


@pytest.fixture
def far(world):
    with Listener(world.partner1, 7000) as listener:
        yield listener


def open_tunnel(proxy, far, target="named.partner1.test:7000"):
    wire = proxy.wire()
    assert wire.connect(target).status == 200
    return wire, far.accept()


def test_curl_tunnels_tls(tunnels, nginx):
    done = tunnels.curl("--cacert", nginx.ca, "https://partner1.test/whoami")
    assert done.status == 200, done.error
    assert done.connect_status == 200
    assert done.text in ("45.0.0.10", "2a00::10")


def test_curl_proxytunnel_carries_plain_http(egretd, origin1):
    proxy = egretd()
    done = proxy.curl("--proxytunnel", "http://partner1.test/whoami")
    assert (done.status, done.connect_status) == (200, 200), done.error


@pytest.mark.parametrize("target, status", (
    ("named.partner1.test:7000", 200),
    ("named.partner1.test:8443", 403),
    ("named.partner1.test:7004", 403),
    ("partner1.test:443", 200),
    ("partner1.test:80", 403),
    ("partner1.test:8443", 403),
    ("denied.example:443", 403),
))
def test_connect_only_to_443_unless_a_partner_names_the_port(tunnels, nginx, far, target, status):
    with tunnels.wire() as wire:
        response = wire.connect(target)
        assert response.status == status
        if status == 403:
            assert "Proxy-Status" in response.raw.decode()


def test_connect_to_8443_where_it_is_named(egretd, nginx):
    proxy = egretd("[partner one]\nhosts = partner1.test\nports = 8443\n")
    done = proxy.curl("--cacert", nginx.ca, "https://partner1.test:8443/1k")
    assert done.body == b"k" * 1024, done.error
    with proxy.wire() as wire:  # a list of ports is the whole list
        assert wire.connect("partner1.test:443").status == 403


def test_response_to_connect_has_no_body_fields(tunnels, far):
    wire, origin = open_tunnel(tunnels, far)
    with wire, origin:
        origin.send("x")
        assert wire.read(1) == b"x"
    with tunnels.wire() as wire:
        response = wire.connect("named.partner1.test:7000")
        assert response.get("Content-Length") is None
        assert response.get("Transfer-Encoding") is None


def test_bytes_sent_together_with_connect_are_the_tunnels(tunnels, far):
    with tunnels.wire() as wire:
        wire.send("CONNECT named.partner1.test:7000 HTTP/1.1\r\nHost: a\r\n\r\nearly")
        with far.accept() as origin:
            assert origin.read(5) == b"early"
            origin.send("late")
            assert wire.head().status == 200
            assert wire.read(4) == b"late"


def test_the_server_may_speak_first(tunnels, far):
    wire, origin = open_tunnel(tunnels, far)
    with wire, origin:
        origin.send("220 welcome\r\n")
        assert wire.line() == "220 welcome"


def test_half_close_by_the_client(tunnels, far):
    wire, origin = open_tunnel(tunnels, far)
    with wire, origin:
        wire.send("question")
        wire.finish()
        assert origin.file.read() == b"question"  # to the end
        for _ in range(3):
            origin.send("answer")
            assert wire.read(6) == b"answer"
        origin.finish()
        assert wire.ended()


def test_half_close_by_the_origin(tunnels, far):
    wire, origin = open_tunnel(tunnels, far)
    with wire, origin:
        origin.send("all I say")
        origin.finish()
        assert wire.file.read() == b"all I say"
        for _ in range(3):
            wire.send("heard")
            assert origin.read(5) == b"heard"
        wire.finish()
        assert origin.ended()


def test_large_transfer_after_a_half_close(tunnels, far):
    """What waits in pipes and buffers when one side ends is not lost."""
    wire, origin = open_tunnel(tunnels, far)
    with wire, origin:
        data = bytes(range(256)) * 16384  # 4 MiB
        wire.socket.settimeout(20)
        origin.finish()
        assert wire.ended()
        got = []
        reader = threading.Thread(target=lambda: got.append(origin.file.read()))
        reader.start()
        wire.send(data)
        wire.finish()
        reader.join(20)
        assert got == [data]


@pytest.mark.parametrize("side", ("client", "origin"))
def test_a_reset_passes_through(tunnels, far, side):
    wire, origin = open_tunnel(tunnels, far)
    failing, other = (wire, origin) if side == "client" else (origin, wire)
    failing.reset()
    with other:
        other.socket.settimeout(10)
        with pytest.raises(ConnectionResetError):
            while other.socket.recv(100):
                pass
            raise AssertionError("a clean end after a reset")


def test_both_directions_at_once(tunnels, far):
    wire, origin = open_tunnel(tunnels, far)
    data = bytes(range(256)) * 32768  # 8 MiB
    with wire, origin:
        got = {}
        threads = []
        for name, side in (("client", wire), ("origin", origin)):
            side.socket.settimeout(30)
            threads += [threading.Thread(target=side.send, args=(data,)),
                        threading.Thread(target=lambda n=name, s=side:
                                         got.__setitem__(n, s.read(len(data))))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        assert got == {"client": data, "origin": data}


def test_a_stalled_reader_stops_the_writer(tunnels, far):
    """Back-pressure: what is on the way is bounded."""
    wire, origin = open_tunnel(tunnels, far)
    with wire, origin:
        origin.socket.setblocking(False)
        sent, block, full = 0, b"x" * 65536, 0

        def stuck():
            nonlocal sent, full
            try:
                sent += origin.socket.send(block)
                full = 0
            except BlockingIOError:
                full += 1
            return full > 100
        wait_for("the writer to be stopped", stuck, 30)
        assert sent < 32 << 20
        wire.socket.settimeout(20)
        assert wire.read(sent) == b"x" * sent


def test_idle_tunnels_are_closed(egretd, far, dns):
    dns.set("named.partner1.test", PARTNER1[4])
    proxy = egretd(ACL, config={"proxy": {"tunnel-timeout": "1s"}})
    wire, origin = open_tunnel(proxy, far)
    with wire, origin:
        wire.send("x")
        assert origin.read(1) == b"x"
        assert wire.ended() and origin.ended()


def test_tunnels_over_ipv6(tunnels, nginx):
    with tunnels.wire(version=6) as wire:
        assert wire.connect("v6.partner1.test:443").status == 200


def test_refused_connections_are_502(tunnels):
    with tunnels.wire() as wire:
        response = wire.connect("named.partner1.test:7003")
        assert response.status == 502
        assert "error=connection_refused" in response.get("Proxy-Status")
