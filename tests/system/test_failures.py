"""Origins and name servers that fail, clients that are slow: clear answers, nothing stuck."""
import hashlib
import threading

import pytest

from daemon import SANITIZED, resident
from origin import Listener
from wire import Closed
from world import PARTNER1, wait_for

ONE = "http://partner1.test"
ACL = """
[partner one]
hosts = *.test, nowhere.example
ports = 80, 443, 8080, 7000-7009
"""
SHORT = {"proxy": {"workers": 1, "connect-timeout": "1s", "response-timeout": "1s",
                   "relay-timeout": "2s", "header-timeout": "1s", "idle-timeout": "1s"},
         "dns": {"timeout": "1s"}}


@pytest.fixture(scope="module")
def proxy(egretd_module):
    """One whose patience is short."""
    return egretd_module(ACL, config=SHORT)


def both_ways(proxy, host):
    """The answers to GET and to CONNECT."""
    yield proxy.get(f"http://{host}/")
    with proxy.wire() as wire:
        yield wire.connect(f"{host}:443")


@pytest.mark.parametrize("host, status, error", (
    ("nowhere.test", 502, "dns_error"),
    ("nowhere.example", 502, "dns_error"),
    ("servfail.test", 502, "dns_error"),
    ("silent.test", 504, "dns_timeout"),
))
def test_dns_failures(proxy, host, status, error):
    for response in both_ways(proxy, host):
        assert response.status == status, response.text
        assert f"error={error}" in response.get("Proxy-Status")
        assert host in response.text


def test_nxdomain_says_so(proxy):
    assert 'rcode="NXDOMAIN"' in proxy.get("http://nowhere.test/").get("Proxy-Status")


def test_a_silent_name_server_does_not_hold_up_other_names(proxy, origin1):
    with proxy.wire() as waiting:
        waiting.send("GET http://silent2.silent.test/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert proxy.get(ONE + "/whoami").status == 200
        assert waiting.response().status == 504


def test_failures_are_remembered_only_briefly(egretd, dns, origin1):
    proxy = egretd(ACL, config={"dns": {"negative-ttl": "1s"}})
    assert proxy.get("http://born.test/whoami").status == 502
    dns.set("born.test", PARTNER1[4])
    wait_for("the name to be found",
             lambda: proxy.get("http://born.test/whoami").status == 200)


def test_no_name_server_at_all(egretd):
    proxy = egretd(ACL, config={"dns": {"servers": "45.0.0.1:54", "timeout": "1s"}})
    assert proxy.get(ONE + "/").status in (502, 504)


def test_hosts_file_comes_before_dns(egretd, origin1, dns):
    proxy = egretd(ACL, files={"hosts": f"{PARTNER1[4]} filed.test # comment\n"},
                   config={"dns": {"hosts-file": "hosts"}})
    assert proxy.get("http://filed.test/whoami").status == 200
    assert dns.asked("filed.test") == 0


def test_answers_are_kept_for_their_ttl(egretd, origin1, dns):
    proxy = egretd(ACL, config={"dns": {"min-ttl": "60s"}, "proxy": {"workers": 1}})
    for _ in range(5):
        assert proxy.get("http://v4.partner1.test/whoami").status == 200
        origin1.drop_idle()
    before = dns.asked("v4.partner1.test")
    for _ in range(5):
        proxy.get("http://v4.partner1.test/whoami")
        origin1.drop_idle()
    assert dns.asked("v4.partner1.test") == before


def test_v4_is_tried_when_v6_does_not_answer(world, egretd, origin1):
    """RFC 8305: a dead path costs a quarter of a second, not the request."""
    world.partner1.nft("add table ip6 dead; add chain ip6 dead in { type filter hook input "
                       "priority 0; }; add rule ip6 dead in tcp dport 80 drop")
    try:
        proxy = egretd(ACL)
        assert proxy.get(ONE + "/whoami").text == "45.0.0.10"
    finally:
        world.partner1.nft("delete table ip6 dead")


def test_a_refused_connection_is_502(proxy):
    response = proxy.get(ONE + ":7009/")
    assert response.status == 502
    assert "error=connection_refused" in response.get("Proxy-Status")


def test_an_origin_that_drops_packets_is_504(world, proxy):
    world.partner1.nft("add table inet dead; add chain inet dead in { type filter hook input "
                       "priority 0; }; add rule inet dead in tcp dport 7008 drop")
    try:
        response = proxy.get(ONE + ":7008/")
        assert response.status == 504, response.text
        assert "error=connection_timeout" in response.get("Proxy-Status")
    finally:
        world.partner1.nft("delete table inet dead")


def test_an_origin_that_never_answers_is_504(world, proxy):
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(f"GET {ONE}:7001/ HTTP/1.1\r\nHost: a\r\n\r\n")
        with far.accept() as origin:
            origin.head()
            response = wire.response()
            assert response.status == 504
            assert "error=http_response_timeout" in response.get("Proxy-Status")
            assert origin.ended()


def test_an_origin_that_closes_without_an_answer_is_502(world, proxy):
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(f"POST {ONE}:7001/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        far.accept().close()
        assert wire.response().status == 502


@pytest.mark.parametrize("ending", ("close", "reset"))
@pytest.mark.parametrize("framing", ("Content-Length: 1000", "Transfer-Encoding: chunked"))
def test_a_cut_body_is_seen_as_cut(world, proxy, framing, ending):
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(f"GET {ONE}:7001/ HTTP/1.1\r\nHost: a\r\n\r\n")
        origin = far.accept()
        origin.head()
        origin.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n")
        head = wire.head()
        assert head.status == 200
        getattr(origin, ending)()
        with pytest.raises((Closed, OSError, ValueError)):
            wire.body(head)


@pytest.mark.parametrize("minor", (0, 1))
def test_a_reset_of_a_body_until_close_is_not_a_clean_end(world, proxy, minor):
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(f"GET {ONE}:7001/ HTTP/1.{minor}\r\nHost: a\r\n\r\n")
        origin = far.accept()
        origin.head()
        origin.send("HTTP/1.0 200 OK\r\n\r\nhello")
        head = wire.head()
        data = wire.chunks() if head.get("Transfer-Encoding") else iter(lambda: wire.read(1), b"")
        assert next(data)
        origin.reset()
        with pytest.raises(OSError if minor == 0 else (OSError, Closed)):
            list(data)


def test_curl_reports_a_cut_body(world, proxy):
    far = Listener(world.partner1, 7001)

    def serve():
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    thread = threading.Thread(target=serve)
    thread.start()
    done = proxy.curl(ONE + ":7001/")
    thread.join(10)
    far.close()
    assert done.exit in (18, 56), done.error  # partial file, or receive failure


def test_a_stalled_origin_is_cut_off(world, proxy):
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(f"GET {ONE}:7001/ HTTP/1.1\r\nHost: a\r\n\r\n")
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            head = wire.head()
            with pytest.raises((Closed, OSError)):
                wire.body(head)


def test_a_client_that_leaves_ends_the_exchange_at_the_origin(world, proxy):
    with Listener(world.partner1, 7001) as far:
        wire = proxy.wire()
        wire.send(f"GET {ONE}:7001/ HTTP/1.1\r\nHost: a\r\n\r\n")
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            wire.head()
            wire.reset()
            with pytest.raises(OSError):
                origin.socket.settimeout(10)
                while True:
                    origin.send(b"x" * 65536)


def test_a_request_cut_by_the_client_is_never_whole_at_the_origin(world, proxy):
    with Listener(world.partner1, 7001) as far:
        wire = proxy.wire()
        wire.send(f"PUT {ONE}:7001/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "5\r\nhello\r\n")
        with far.accept() as origin:
            request = origin.head()
            wire.close()
            with pytest.raises((Closed, OSError, ValueError)):
                origin.body(request)


def test_a_slow_head_is_408_and_a_silent_client_is_closed(proxy):
    with proxy.wire() as slow, proxy.wire() as silent:
        slow.send("GET http://partner1.test/ HTTP/1.1\r\n")
        assert slow.response().status == 408
        assert silent.ended()


def test_an_idle_client_is_closed(proxy, origin1):
    with proxy.wire() as wire:
        assert wire.get(ONE + "/whoami").status == 200
        assert wire.ended()


def test_a_slow_client_costs_little_memory_and_nobody_else(egretd, nginx, origin1):
    """It stalls in a large body: buffers are bounded, others are served, all of it arrives."""
    proxy = egretd(ACL, config={"proxy": {"workers": 1}})
    data = hashlib.shake_128(b"slow").digest(32 << 20)
    nginx.write("32m", data)
    assert proxy.get(ONE + "/whoami").status == 200
    before = resident(proxy.proxy)
    clients = [proxy.wire(timeout=30) for _ in range(8)]
    for client in clients:
        client.send(f"GET {ONE}:8080/32m HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head().status == 200
    for _ in range(20):
        assert proxy.get(ONE + "/whoami").status == 200
    if not SANITIZED:
        assert resident(proxy.proxy) - before < 8 << 20
    assert clients[0].read(len(data)) == data
    for client in clients:
        client.close()
    wait_for("clients to be gone", lambda: proxy.metric("egret_client_connections") <= 1)


def test_a_slow_upload_waits_for_a_slow_origin(world, proxy):
    """The origin stops reading: the client is stopped too, and goes on when it does."""
    body = b"u" * (16 << 20)
    with Listener(world.partner1, 7001) as far, proxy.wire(timeout=30) as wire:
        wire.send(f"PUT {ONE}:7001/ HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n")
        sender = threading.Thread(target=wire.send, args=(body,))
        sender.start()
        with far.accept() as origin:
            origin.head()
            assert sender.is_alive()
            origin.socket.settimeout(30)
            assert origin.read(len(body)) == body
            sender.join(30)
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert wire.response().status == 200
