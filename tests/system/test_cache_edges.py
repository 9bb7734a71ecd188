"""The cache where things meet: memory that is used again, requests on their way, and the rest."""
import hashlib
import os
import signal
import socket
import threading

import pytest

from test_cache import ctl
from wire import Closed, Wire
from world import POD1, POD2, wait_for

SO_RCVBUFFORCE = 33
ONE = "http://partner1.test"

ACL = """
[partner one]
hosts = partner1.test
ports = 80
cache = yes
"""


@pytest.fixture(scope="module")
def cached(egretd_module):
    return egretd_module(ACL, config={"cache": {"size": "16m"}, "proxy": {"workers": 1}})


@pytest.fixture(autouse=True)
def fresh(origin1):
    origin1.drop_idle()
    origin1.forget()


def get(daemon, path, *fields, method="GET", body=b""):
    with daemon.wire() as client:
        return client.get(ONE + path, *fields, method=method, body=body)


def is_hit(response):
    return response.get("Cache-Status").startswith("egret; hit")


def bytes_of(name, size):
    return hashlib.shake_128(name.encode()).digest(size)


def serve(origin, path, body, *fields, status=200):
    def answer(exchange):
        exchange.take_body()
        exchange.reply(status, body, *fields)
    origin.paths[path] = answer


def send_chunked(exchange, body, *fields):
    exchange.send("\r\n".join(["HTTP/1.1 200 OK", *fields, "Transfer-Encoding: chunked"]),
                  "\r\n\r\n")
    for at in range(0, len(body), 100_000):
        part = body[at:at + 100_000]
        exchange.send(f"{len(part):x}\r\n", part, "\r\n")
    exchange.send("0\r\n\r\n")


def on_file(daemon, path):
    with open(daemon.path("store/cache.store"), "rb") as file:
        return (ONE + path).encode() in file.read()


def slow_wire(daemon):
    """A client with room for a megabyte that it has not read."""
    s = daemon.world.pod1.socket()
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4_000_000)
    s.settimeout(20)
    s.connect((daemon.world.cni0[4], daemon.port))
    return Wire(s)


@pytest.mark.parametrize("where", ("memory", "disk"))
def test_bytes_on_their_way_stay_what_they_were_when_their_room_is_used_again(
        egretd, origin1, where):
    settings = {"size": "16m"} | ({"directory": "store"} if where == "disk" else {})
    daemon = egretd(ACL, config={"cache": settings, "proxy": {"workers": 1}})
    body = bytes_of("slow", 300_000)
    serve(origin1, "/slow", body, "Cache-Control: max-age=600")
    get(daemon, "/slow")
    for i in range(200):  # what is on disk is sent from the file
        serve(origin1, f"/before/{i}", bytes_of(f"{i}", 40_000), "Cache-Control: max-age=600")
        get(daemon, f"/before/{i}")
    before = daemon.metric("egret_cache_requests_total")
    with slow_wire(daemon) as slow:
        slow.send(f"GET {ONE}/slow HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
        wait_for("all of it to be on its way",
                 lambda: daemon.metric("egret_cache_requests_total") > before)
        for i in range(800):
            serve(origin1, f"/after/{i}", bytes_of(f"a{i}", 60_000), "Cache-Control: max-age=600")
            get(daemon, f"/after/{i}")
        assert slow.response().body == body


def test_what_was_too_large_does_not_keep_its_room(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "16m", "max-object": "4m"}})
    body = bytes_of("large", 5_000_000)
    for i in range(8):
        origin1.paths[f"/large/{i}"] = \
            lambda exchange: send_chunked(exchange, body, "Cache-Control: max-age=60")
        assert get(daemon, f"/large/{i}").body == body
    serve(origin1, "/small", b"small", "Cache-Control: max-age=60")
    assert "stored" in get(daemon, "/small").get("Cache-Status")
    assert is_hit(get(daemon, "/small"))


def test_a_head_request_refreshes_what_is_stored(cached, origin1):
    serve(origin1, "/head", b"body", 'ETag: "1"', "Cache-Control: max-age=0")
    assert get(cached, "/head").body == b"body"
    serve(origin1, "/head", b"body", 'ETag: "1"', "Cache-Control: max-age=60", "X-New: yes")
    assert "fwd=" in get(cached, "/head", method="HEAD").get("Cache-Status")
    now = get(cached, "/head")
    assert is_hit(now) and now.body == b"body" and now.get("X-New") == "yes"


def test_an_upgrade_passes_the_cache(cached, origin1):
    def answer(exchange):
        if exchange.request.get("Upgrade"):
            exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                          "Upgrade: websocket\r\n\r\n")
            exchange.send(exchange.read(4))
        else:
            exchange.reply(200, b"plain", "Cache-Control: max-age=60")
    origin1.paths["/upgrade"] = answer
    assert get(cached, "/upgrade").body == b"plain"
    with cached.wire() as client:
        client.send(f"GET {ONE}/upgrade HTTP/1.1\r\nHost: partner1.test\r\n"
                    "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.head().status == 101
        client.send(b"ping")
        assert client.read(4) == b"ping"


def test_what_is_fetched_in_the_background_may_be_announced_by_early_hints(cached, origin1):
    serve(origin1, "/hints", b"old", "Cache-Control: max-age=0, stale-while-revalidate=60")
    assert get(cached, "/hints").body == b"old"

    def answer(exchange):
        exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        exchange.reply(200, b"new", "Cache-Control: max-age=60")
    origin1.paths["/hints"] = answer
    wait_for("the new one to be served", lambda: get(cached, "/hints").body == b"new")


def test_a_failing_origin_is_not_asked_in_the_background_for_each_client(cached, origin1):
    serve(origin1, "/failing", b"old", "Cache-Control: max-age=0, stale-while-revalidate=60")
    get(cached, "/failing")
    serve(origin1, "/failing", b"", status=500)
    origin1.forget()
    for _ in range(20):
        assert get(cached, "/failing").body == b"old"
    wait_for("a request", lambda: origin1.seen("/failing"))
    assert len(origin1.seen("/failing")) <= 2


@pytest.mark.parametrize("how", ("unsafe", "purge"))
def test_what_was_on_its_way_when_it_was_invalidated_is_not_kept(cached, origin1, how):
    path, go = f"/way-{how}", threading.Event()
    old = b"old" * 10_000

    def answer(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                      f"Content-Length: {len(old)}\r\n\r\n", old[:10_000])
        go.wait(20)
        exchange.send(old[10_000:])
    origin1.paths[path] = answer
    results = []
    first = threading.Thread(target=lambda: results.append(get(cached, path).body))
    first.start()
    wait_for("the first request", lambda: origin1.seen(path))
    serve(origin1, path, b"new", "Cache-Control: max-age=60")
    if how == "unsafe":
        get(cached, path, method="POST", body=b"x")
    else:
        assert ctl(cached, "purge", "url", ONE + path).returncode == 0
    assert get(cached, path).body == b"new"  # and does not follow the old one
    go.set()
    first.join(20)
    assert results == [old]
    assert get(cached, path).body == b"new"


def test_a_purge_that_was_answered_outlasts_a_kill(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "16m", "directory": "store"}})
    for _ in range(5):
        serve(origin1, "/purged", b"x", "Cache-Control: max-age=600")
        get(daemon, "/purged")
        wait_for("the file to have it", lambda: on_file(daemon, "/purged"))
        assert ctl(daemon, "purge", "prefix", ONE + "/purged").stdout == "1\n"
        pid = daemon.proxy
        os.kill(pid, signal.SIGKILL)
        wait_for("another proxy", lambda p=pid: daemon.proxies() not in ([], [p]) and
                 daemon.ready())
        wait_for("all to be read", lambda: daemon.metric("egret_cache_loading") == 0)
        assert not is_hit(get(daemon, "/purged"))


def test_requests_in_the_background_are_bounded(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "16m"}, "proxy": {"workers": 1}})
    go = threading.Event()

    def hang(exchange):
        go.wait(30)
        exchange.close()
    for i in range(300):
        serve(origin1, f"/many/{i}", b"x", "Cache-Control: max-age=0, stale-while-revalidate=60")
        get(daemon, f"/many/{i}")
        origin1.paths[f"/many/{i}"] = hang
    with daemon.wire() as client:
        for i in range(300):
            assert client.get(f"{ONE}/many/{i}").body == b"x"
        assert 0 < daemon.metric("egret_origin_connections") <= 150
    go.set()


def test_a_body_that_nobody_reads_any_more_is_not_fetched_on(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "16m"}, "proxy": {"workers": 2}})
    hung_up = threading.Event()

    def answer(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                      "Content-Length: 4000000\r\n\r\n", b"x" * 100_000)
        exchange.socket.settimeout(30)
        if exchange.socket.recv(1) == b"":
            hung_up.set()
    origin1.paths["/left"] = answer
    clients = [daemon.wire() for _ in range(2)]
    for client in clients:
        client.send(f"GET {ONE}/left HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
        assert client.head().status == 200
    assert len(origin1.seen("/left")) == 1
    for client in clients:
        client.reset()
    assert hung_up.wait(20)


def pin_all(daemon, origin1):
    """Clients that do not read hold all the room there is.  Their connections."""
    holders = []
    for i in range(40):
        serve(origin1, f"/hold/{i}", bytes_of(f"hold{i}", 3_900_000), "Cache-Control: max-age=600")
        holder = daemon.wire()
        holder.send(f"GET {ONE}/hold/{i} HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
        holders.append(holder)
        if "stored" not in holder.head().get("Cache-Status").split("; "):
            return holders
    raise AssertionError("there was always room")


def test_a_range_of_what_found_no_room_is_that_range(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "16m", "max-object": "4m"},
                                 "proxy": {"workers": 1}})
    body = bytes_of("ranged", 3_000_000)
    serve(origin1, "/ranged", b"old", 'ETag: "1"', "Cache-Control: max-age=0")
    assert get(daemon, "/ranged").body == b"old"
    go = threading.Event()

    def answer(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"2\"\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n", body[:100_000])
        go.wait(20)
        exchange.send(body[100_000:])
    origin1.paths["/ranged"] = answer
    with daemon.wire() as client:
        client.send(f"GET {ONE}/ranged HTTP/1.1\r\nHost: partner1.test\r\n"
                    "Range: bytes=2500000-2500009\r\n\r\n")
        head = client.head()
        assert (head.status, head.get("Content-Length")) == (206, "10")
        holders = pin_all(daemon, origin1)
        go.set()
        try:
            got = client.read(10)
        except (Closed, ConnectionResetError):
            got = None  # to be seen to be missing is as good
        assert got in (None, body[2_500_000:2_500_010])
        for holder in holders:
            holder.reset()


@pytest.mark.parametrize("framing", ("counted", "chunked", "empty", "304"))
def test_bytes_behind_a_response_are_nobodys_response(cached, origin1, framing):
    path = f"/behind-{framing}"
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\nevil"

    def answer(exchange):
        head = 'HTTP/1.1 200 OK\r\nETag: "1"\r\nCache-Control: max-age=0\r\n'
        if exchange.request.get("If-None-Match"):
            exchange.send('HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n', evil)
        elif framing == "chunked":
            exchange.send(head, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", evil)
        elif framing == "empty":
            exchange.send(head, "Content-Length: 0\r\n\r\n", evil)
        else:
            exchange.send(head, "Content-Length: 5\r\n\r\nhello", evil)
    origin1.paths[path] = answer
    serve(origin1, "/good", b"good", "Cache-Control: no-store")
    for _ in range(3):
        assert get(cached, path).body == (b"" if framing == "empty" else b"hello")
        assert get(cached, "/good").body == b"good"


def test_a_field_that_is_for_one_hop_makes_no_variant(cached, origin1):
    def answer(exchange):
        exchange.reply(200, exchange.request.get("X-Kind", "none"), "Vary: X-Kind",
                       "Cache-Control: max-age=60")
    origin1.paths["/hop"] = answer
    assert get(cached, "/hop", "X-Kind: a", "Connection: X-Kind").body == b"none"
    assert get(cached, "/hop", "X-Kind: a").body == b"a"
    assert is_hit(get(cached, "/hop"))
    assert get(cached, "/hop").body == b"none"


def test_who_is_not_allowed_any_more_gets_nothing_that_is_stored(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "16m"}})
    serve(origin1, "/allowed", b"x", "Cache-Control: max-age=60")
    get(daemon, "/allowed")
    assert is_hit(get(daemon, "/allowed"))
    daemon.reload(ACL + f"from = {POD2[4]}\n")
    assert get(daemon, "/allowed").status == 403
    daemon.reload(ACL.replace("cache = yes", "cache = no"))
    assert get(daemon, "/allowed").get("Cache-Status") is None
    for source, status in ("any", 403), (POD2[4], 200), (f"{POD1[4]}, {POD2[4]}", 403):
        daemon.reload("[block them]\ncidr = 45.0.1.0/24, 2a00:0:0:1::/64\n"
                      f"from = {source}\n" + ACL)
        assert get(daemon, "/allowed").status == status
    daemon.reload(ACL)
    assert is_hit(get(daemon, "/allowed"))


def test_trailers_are_not_stored_nor_asked_for_together(cached, origin1):
    """What is asked for all says nothing of what one client wants."""
    def answer(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n"
                      "Cache-Control: max-age=60\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
    origin1.paths["/trailers"] = answer
    for _ in range(2):
        with cached.wire() as client:
            client.send(f"GET {ONE}/trailers HTTP/1.1\r\nHost: partner1.test\r\n"
                        "TE: trailers\r\nConnection: TE\r\n\r\n")
            response = client.response()
            assert response.body == b"abc" and response.get("Trailer") is None
    asked = origin1.seen("/trailers")
    assert len(asked) == 1
    assert asked[0].get("TE") is None and asked[0].get("Connection") is None


def test_trailers_of_what_is_not_stored_go_to_who_wants_them(cached, origin1):
    want = b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"

    def answer(exchange):
        exchange.take_body()
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n"
                      "\r\n", want)
    origin1.paths["/trailers-2"] = answer
    with cached.wire() as client:
        client.send(f"POST {ONE}/trailers-2 HTTP/1.1\r\nHost: partner1.test\r\n"
                    "Content-Length: 0\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        assert client.head().get("Trailer") == "X-T"
        assert client.read(len(want)) == want
