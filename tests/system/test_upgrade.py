"""Upgrade through a plain request (RFC 9110 7.8): what WebSocket does where it has no TLS."""
import pytest

from origin import Listener

URL = "http://partner1.test:7001/chat"
ACL = """
[partner one]
hosts = partner1.test
ports = 80, 7001
"""
SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.fixture(scope="module")
def proxy(egretd_module):
    return egretd_module(ACL, config={"proxy": {"workers": 1}})


@pytest.fixture
def far(world):
    with Listener(world.partner1, 7001) as listener:
        yield listener


def ask(wire, *fields, start=f"GET {URL} HTTP/1.1", behind=""):
    lines = [start, "Host: partner1.test:7001", *fields]
    wire.send("\r\n".join(lines) + "\r\n\r\n", behind)


def ask_websocket(wire, behind=""):
    ask(wire, "Connection: keep-alive, Upgrade, X-Hop", "Upgrade: websocket", "X-Hop: 1",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", behind=behind)


def test_a_101_makes_a_tunnel_of_the_exchange(proxy, far):
    with proxy.wire() as wire:
        ask_websocket(wire)
        with far.accept() as origin:
            request = origin.head()
            assert request.start == ["GET", "/chat", "HTTP/1.1"]
            assert request.all("Connection") == ["Upgrade"]
            assert request.all("Upgrade") == ["websocket"]
            assert request.get("Sec-WebSocket-Key") == "dGhlIHNhbXBsZSBub25jZQ=="
            assert request.get("X-Hop") is None
            origin.send(SWITCH, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            answer = wire.response()
            assert answer.status == 101
            assert answer.all("Connection") == ["Upgrade"]
            assert answer.all("Upgrade") == ["websocket"]
            assert answer.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            for _ in range(3):
                wire.send(b"\x81\x85\0\0\0\0hello")
                assert origin.read(11) == b"\x81\x85\0\0\0\0hello"
                origin.send(b"\x81\x05world")
                assert wire.read(7) == b"\x81\x05world"
            wire.finish()
            assert origin.ended()
            origin.send("last")
            origin.finish()
            assert wire.read(4) == b"last" and wire.ended()


@pytest.mark.parametrize("size", (1, 100, 60_000))
def test_what_either_side_says_at_once_belongs_to_the_tunnel(proxy, far, size):
    """The origin's first bytes come in the packet of its 101, the client's before it."""
    with proxy.wire() as wire:
        ask_websocket(wire, behind=b"c" * 100)
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 103 Early Hints\r\n\r\n", SWITCH, "\r\n", b"o" * size)
            answer = wire.response()
            assert [m.status for m in answer.interim] == [103] and answer.status == 101
            assert wire.read(size) == b"o" * size
            assert origin.read(100) == b"c" * 100
            wire.send("more")
            assert origin.read(4) == b"more"


def test_a_pooled_connection_can_switch(proxy, far):
    with proxy.wire() as wire, proxy.wire() as other:
        ask(wire)
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert wire.response().status == 200
            ask_websocket(other)
            origin.head()
            origin.send(SWITCH, "\r\n")
            assert other.response().status == 101
            origin.send("x")
            assert other.read(1) == b"x"


@pytest.mark.parametrize("asked, answer", (
    (("Connection: Upgrade", "Upgrade: websocket"), SWITCH.replace("websocket", "other")),
    (("Connection: Upgrade", "Upgrade: websocket"), SWITCH.replace("websocket", "websocket, x")),
    (("Connection: Upgrade", "Upgrade: websocket"), SWITCH.replace("Upgrade: websocket\r\n", "")),
    (("Connection: Upgrade", "Upgrade: websocket"), SWITCH.replace("Connection: Upgrade\r\n", "")),
    (("Connection: Upgrade", "Upgrade: websocket"), SWITCH + "Content-Length: 4\r\n"),
    ((), SWITCH),
    (("Upgrade: websocket",), SWITCH),
    (("Connection: Upgrade", "Upgrade: h2c"), SWITCH.replace("websocket", "h2c")),
))
def test_a_101_that_was_not_asked_for_is_refused(proxy, far, asked, answer):
    with proxy.wire() as wire:
        ask(wire, *asked)
        with far.accept() as origin:
            origin.head()
            origin.send(answer, "\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray")
            response = wire.response()
            assert response.status == 502
            assert "error=http_protocol_error" in response.get("Proxy-Status")
            assert wire.ended() and origin.ended()


@pytest.mark.parametrize("start, fields", (
    (f"GET {URL} HTTP/1.1", ("Upgrade: websocket",)),
    (f"GET {URL} HTTP/1.0", ("Connection: Upgrade", "Upgrade: websocket")),
    (f"HEAD {URL} HTTP/1.1", ("Connection: Upgrade", "Upgrade: websocket")),
    (f"GET {URL} HTTP/1.1", ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
                             "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")),
    (f"GET {URL} HTTP/1.1", ("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0",
                             "Upgrade: x")),
))
def test_an_upgrade_that_does_not_count_stays_here(proxy, far, start, fields):
    with proxy.wire() as wire:
        ask(wire, *fields, start=start)
        with far.accept() as origin:
            request = origin.head()
            for name in ("Connection", "Upgrade", "HTTP2-Settings"):
                assert request.get(name) is None
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert wire.response(start.split()[0]).status == 200


def test_an_origin_may_go_on_as_if_nobody_had_asked(proxy, far):
    """What the client says too early is then no request (RFC 9931)."""
    with proxy.wire() as wire:
        ask_websocket(wire, behind=f"GET {URL}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nConnection: upgrade\r\n"
                        "Content-Length: 2\r\n\r\nno")
            response = wire.response()
            assert (response.status, response.body) == (426, b"no")
            assert response.all("Upgrade") == ["other"]
            assert sorted(response.all("Connection")) == ["Upgrade", "close"]
            assert wire.ended()
            with proxy.wire() as other:
                ask(other)
                assert origin.head().start[1] == "/chat"


def test_a_refusal_ends_the_connection(proxy):
    with proxy.wire() as wire:
        wire.send("GET http://denied.example/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                  "Upgrade: websocket\r\n\r\n",
                  "GET http://egret.internal/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.response().status == 403
        assert wire.ended()


def test_it_is_a_tunnel_to_the_log_the_metrics_and_the_next_policy(world, egretd):
    proxy = egretd(ACL, config={"log": {"access-log": "access.log"}, "proxy": {"workers": 1}})
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        ask_websocket(wire)
        with far.accept() as origin:
            origin.head()
            origin.send(SWITCH, "\r\nhello")
            assert wire.response().status == 101 and wire.read(5) == b"hello"
            wire.send("hi")
            assert origin.read(2) == b"hi"
            assert proxy.metric("egret_tunnels") == 1
            proxy.reload(ACL.replace("7001", "7002"))
            assert origin.ended()
    record, = proxy.records(1)
    assert record["tunnel"] is True and record["status"] == 101
    assert record["method"] == "GET" and record["end"] == "policy-changed"
    assert (record["bytes_out"], record["bytes_in"]) == (5, 2)
    proxy.wait_metric("egret_tunnels", 0)
    proxy.wait_metric("egret_origin_connections", 0)
