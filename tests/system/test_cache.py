"""What is stored of a partner's responses, and what a client gets of it."""
import hashlib
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from daemon import EGRETD
from wire import Closed
from world import wait_for

ONE = "http://partner1.test"
SO_RCVBUFFORCE = 33  # asm-generic/socket.h

ACL = """
[partner one]
hosts = partner1.test
ports = 80
cache = yes
cache-ignore-query = utm_*

[partner surrogate]
hosts = v4.partner1.test
ports = 80
cache = yes
cache-surrogate = yes

[partner by-source]
hosts = partner2.test
from = any
cache = yes
cache-per = source
cache-min-lifetime = 60s
"""


@pytest.fixture(scope="module")
def cached(egretd_module):
    return egretd_module(ACL, config={"cache": {"size": "16m"},
                                      "log": {"access-log": "access.log"}})


@pytest.fixture(autouse=True)
def fresh(origin1):
    origin1.drop_idle()
    origin1.forget()


def get(daemon, url, *fields, method="GET", body=None):
    with daemon.wire() as client:
        client.send(f"{method} {url} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\n",
                    *(f"{field}\r\n" for field in fields), "\r\n", body or b"")
        return client.response(method)


def serve(origin, path, body=b"body", *fields, status=200):
    """The path answers so, whatever is asked.  Returns what was asked of it so far."""
    def answer(exchange):
        exchange.take_body()
        exchange.reply(status, body() if callable(body) else body, *fields)
    origin.paths[path] = answer
    return lambda: len(origin.seen(path))


def status_of(response):
    return response.get("Cache-Status")


def test_the_second_request_is_answered_from_the_cache(cached, origin1):
    asked = serve(origin1, "/second", b"x" * 1000, "Cache-Control: max-age=60", "X-Any: thing")
    first, second = get(cached, ONE + "/second"), get(cached, ONE + "/second")
    assert asked() == 1
    assert first.body == second.body == b"x" * 1000
    assert second.get("X-Any") == "thing"
    assert re.fullmatch(r"egret; fwd=uri-miss; fwd-status=200; ttl=60; stored", status_of(first))
    assert re.fullmatch(r"egret; hit; ttl=(60|59)", status_of(second))
    assert second.get("Age") in ("0", "1")
    assert second.get("Content-Length") == "1000"
    assert second.get("Via") == "1.1 egret"


def test_what_may_not_be_stored_is_not(cached, origin1):
    for i, field in enumerate(("Cache-Control: no-store", "Cache-Control: NO-STORE",
                               "Cache-Control: private", "Vary: *", "X-No: freshness")):
        asked = serve(origin1, f"/not{i}", b"x", field)
        for _ in range(2):
            response = get(cached, f"{ONE}/not{i}")
            assert "stored" not in status_of(response).split("; ")
        assert asked() == 2, field


def test_a_stale_response_is_validated(cached, origin1):
    def answer(exchange):
        if exchange.request.get("If-None-Match") == '"1"':
            exchange.reply(304, b"", 'ETag: "1"', "Cache-Control: max-age=60", "X-New: yes")
        else:
            exchange.reply(200, b"whole", 'ETag: "1"', "Cache-Control: max-age=0")
    origin1.paths["/stale"] = answer
    assert get(cached, ONE + "/stale").body == b"whole"
    second, third = get(cached, ONE + "/stale"), get(cached, ONE + "/stale")
    assert (second.status, second.body) == (200, b"whole")
    assert second.get("X-New") == third.get("X-New") == "yes"
    assert "fwd=stale; fwd-status=304" in status_of(second)
    assert status_of(third).startswith("egret; hit")
    assert len(origin1.seen("/stale")) == 2


def test_a_changed_response_takes_the_place_of_the_stale_one(cached, origin1):
    bodies = iter((b"one", b"two", b"three"))
    asked = serve(origin1, "/changed", lambda: next(bodies), 'ETag: "x"',
                  "Cache-Control: max-age=0, must-revalidate")
    assert [get(cached, ONE + "/changed").body for _ in range(3)] == [b"one", b"two", b"three"]
    assert asked() == 3


def test_the_clients_conditions_are_answered_from_the_cache(cached, origin1):
    asked = serve(origin1, "/conditions", b"0123456789", 'ETag: "a"',
                  "Cache-Control: max-age=60", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
                  "Content-Type: text/plain")
    url = ONE + "/conditions"
    assert get(cached, url, 'If-None-Match: "a"').status == 304  # the first: asked without it
    assert get(cached, url, 'If-None-Match: "b", W/"a"').status == 304
    assert get(cached, url, 'If-None-Match: "b"').status == 200
    assert get(cached, url, "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT").status == 304
    part = get(cached, url, "Range: bytes=2-4")
    assert (part.status, part.body, part.get("Content-Range")) == (206, b"234", "bytes 2-4/10")
    assert get(cached, url, "Range: bytes=-3").body == b"789"
    none = get(cached, url, "Range: bytes=10-")
    assert (none.status, none.get("Content-Range")) == (416, "bytes */10")
    whole = get(cached, url, "Range: bytes=2-4", 'If-Range: "b"')
    assert (whole.status, whole.body) == (200, b"0123456789")
    head = get(cached, url, method="HEAD")
    assert (head.status, head.get("Content-Length")) == (200, "10")
    assert asked() == 1
    assert "If-None-Match" not in dict(origin1.seen("/conditions")[0].fields)


@pytest.mark.parametrize("size", (10, 1_000_000))
def test_several_ranges_are_answered_from_the_cache(cached, origin1, size):
    body = hashlib.shake_128(b"ranges").digest(size)
    path = f"/ranges-{size}"
    serve(origin1, path, body, "Cache-Control: max-age=60", "Content-Type: text/x-any", "X-Any: y")
    get(cached, ONE + path)
    wanted = ((0, 0), (size // 2, size - 3), (size - 1, size - 1))
    for _ in range(2):
        answer = get(cached, ONE + path,
                     f"Range: bytes=0-0, {size // 2}-{size - 3}, -1")
        assert (answer.status, answer.get("X-Any")) == (206, "y")
        kind, _, boundary = answer.get("Content-Type").partition("; boundary=")
        assert kind == "multipart/byteranges" and len(answer.all("Content-Type")) == 1
        parts = b"".join(
            b"\r\n--%b\r\nContent-Type: text/x-any\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%b"
            % (boundary.encode(), first, last, size, body[first:last + 1])
            for first, last in wanted)
        assert answer.body == (parts + b"\r\n--%b--\r\n" % boundary.encode())[2:]
    assert len(origin1.seen(path)) == 1


@pytest.mark.parametrize("field", ("Connection: Upgrade\r\nUpgrade: websocket",
                                   "Range: bytes=9-1", 'If-None-Match: "x"',
                                   "X-HTTP-Method-Override: DELETE", "X-Original-URL: /other",
                                   "X-Forwarded-Host: evil.test", "Forwarded: host=evil.test"))
def test_what_one_client_says_is_in_no_answer_to_others(cached, origin1, field):
    name = re.sub(r"\W", "", field)
    said = field.split("\r\n")[-1].partition(":")[0]

    def answer(exchange):
        exchange.reply(404 if exchange.request.get(said) else 200,
                       (exchange.request.get(said) or "good").encode(), "Cache-Control: max-age=60")
    origin1.paths[f"/{name}"] = answer
    get(cached, f"{ONE}/{name}", field)
    assert (get(cached, f"{ONE}/{name}").status, get(cached, f"{ONE}/{name}").body) == (200, b"good")


def test_a_content_coding_is_for_those_who_asked_for_it(cached, origin1):
    def answer(exchange):
        if exchange.request.get("Accept-Encoding"):
            exchange.reply(200, b"coded", "Cache-Control: max-age=60", "Content-Encoding: gzip")
        else:
            exchange.reply(200, b"plain", "Cache-Control: max-age=60")
    origin1.paths["/coded"] = answer
    assert get(cached, ONE + "/coded", "Accept-Encoding: gzip").body == b"coded"
    assert get(cached, ONE + "/coded", "Accept-Encoding: gzip").body == b"coded"
    assert len(origin1.seen("/coded")) == 1
    assert get(cached, ONE + "/coded").body == b"plain"


def test_a_stored_error_has_an_age_and_one_date(cached, origin1):
    serve(origin1, "/gone", b"gone", "Cache-Control: max-age=60", status=410)
    get(cached, ONE + "/gone")
    response = get(cached, ONE + "/gone")
    assert (response.status, status_of(response).split(";")[1]) == (410, " hit")
    assert response.get("Age") in ("0", "1")
    assert len(response.all("Date")) == 1


def test_variants_are_kept_apart(cached, origin1):
    def answer(exchange):
        exchange.reply(200, exchange.request.get("Accept-Language", "none"),
                       "Vary: Accept-Language", "Cache-Control: max-age=60")
    origin1.paths["/vary"] = answer
    for _ in range(2):
        for language in ("de", "en", "fr"):
            got = get(cached, ONE + "/vary", f"Accept-Language: {language}")
            assert got.text == language
    assert len(origin1.seen("/vary")) == 3


def test_an_unsafe_request_invalidates(cached, origin1):
    bodies = iter((b"old", b"posted", b"new"))
    serve(origin1, "/unsafe", lambda: next(bodies), "Cache-Control: max-age=60")
    assert get(cached, ONE + "/unsafe").body == b"old"
    post = get(cached, ONE + "/unsafe", "Content-Length: 1", method="POST", body=b"x")
    assert post.body == b"posted" and "fwd=method" in status_of(post)
    assert get(cached, ONE + "/unsafe").body == b"new"


def test_only_if_cached(cached, origin1):
    asked = serve(origin1, "/only", b"x", "Cache-Control: max-age=60")
    assert get(cached, ONE + "/only", "Cache-Control: only-if-cached").status == 504
    assert asked() == 0
    get(cached, ONE + "/only")
    assert get(cached, ONE + "/only", "Cache-Control: only-if-cached").status == 200


def test_the_surrogate_of_an_origin_does_what_it_says_to_its_surrogate(cached, origin1):
    asked = serve(origin1, "/surrogate", b"x", "Cache-Control: no-store",
                  "Surrogate-Control: max-age=60;egret")
    for host, wanted in (("v4.partner1.test", 1), ("partner1.test", 2)):
        origin1.forget()
        for _ in range(2):
            assert get(cached, f"http://{host}/surrogate",
                       'Surrogate-Capability: pod="ESI/1.0"').body == b"x"
        assert asked() == wanted
        said = origin1.seen("/surrogate")[0].get("Surrogate-Capability")
        assert said == ('egret="Surrogate/1.0"' if wanted == 1 else 'pod="ESI/1.0"')


def test_query_keys_that_are_ignored(cached, origin1):
    asked = serve(origin1, "/query", b"x", "Cache-Control: max-age=60")
    get(cached, ONE + "/query?a=1&utm_source=x")
    assert status_of(get(cached, ONE + "/query?utm_medium=y&a=1")).startswith("egret; hit")
    get(cached, ONE + "/query?a=2")
    assert asked() == 2


def test_stale_while_revalidate(cached, origin1):
    bodies = iter((b"old", b"new"))
    asked = serve(origin1, "/swr", lambda: next(bodies),
                  "Cache-Control: max-age=0, stale-while-revalidate=60")
    assert get(cached, ONE + "/swr").body == b"old"
    assert get(cached, ONE + "/swr").body == b"old"
    wait_for("the new one", lambda: asked() == 2)
    origin1.paths["/swr"] = lambda exchange: exchange.reply(500, b"")
    wait_for("the new one to be served",
             lambda: get(cached, ONE + "/swr").body == b"new")


def test_stale_if_error(cached, origin1):
    serve(origin1, "/sie", b"good", "Cache-Control: max-age=0, stale-if-error=60")
    assert get(cached, ONE + "/sie").body == b"good"
    serve(origin1, "/sie", b"bad", status=503)
    served = get(cached, ONE + "/sie")
    assert (served.status, served.body) == (200, b"good")

    def hang_up(exchange):
        exchange.close()
    origin1.paths["/sie"] = hang_up
    assert get(cached, ONE + "/sie").body == b"good"


@pytest.mark.parametrize("size", (0, 1, 16384, 300_000, 3_000_000))
@pytest.mark.parametrize("framing", ("counted", "chunked", "closed"))
def test_bodies_of_any_size_and_framing(cached, origin1, size, framing):
    body = hashlib.shake_128(str(size).encode()).digest(size)
    path = f"/size-{size}-{framing}"

    def answer(exchange):
        head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
        if framing == "counted":
            exchange.send(head, f"Content-Length: {size}\r\n\r\n", body)
        elif framing == "chunked":
            exchange.send(head, "Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, size, 70_001):
                part = body[at:at + 70_001]
                exchange.send(f"{len(part):x}\r\n", part, "\r\n")
            exchange.send("0\r\n\r\n")
        else:
            exchange.send(head, "Connection: close\r\n\r\n", body)
            exchange.close()
    origin1.paths[path] = answer
    for i in range(3):
        got = get(cached, ONE + path)
        assert hashlib.sha256(got.body).digest() == hashlib.sha256(body).digest()
        if i and framing != "closed" or i > 1:
            assert got.get("Content-Length") == str(size)
    assert len(origin1.seen(path)) == 1


@pytest.mark.parametrize("framing", ("counted", "chunked"))
def test_a_response_that_is_cut_is_not_stored_and_is_seen_to_be_cut(cached, origin1, framing):
    def answer(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n")
        if framing == "counted":
            exchange.send("Content-Length: 100000\r\n\r\n", b"x" * 50000)
        else:
            exchange.send("Transfer-Encoding: chunked\r\n\r\n", "c350\r\n", b"x" * 50000, "\r\n")
        exchange.close()
    origin1.paths[f"/cut-{framing}"] = answer
    for _ in range(2):
        with pytest.raises((Closed, ConnectionResetError, ValueError)):
            get(cached, f"{ONE}/cut-{framing}")
    assert len(origin1.seen(f"/cut-{framing}")) == 2


def test_a_hundred_who_ask_at_once_are_one_request(cached, origin1):
    go = threading.Event()
    body = hashlib.shake_128(b"many").digest(1_000_000)

    def answer(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n", body[:500_000])
        go.wait(20)
        exchange.send(body[500_000:])
    origin1.paths["/many"] = answer
    results = []

    def client():
        results.append(get(cached, ONE + "/many"))
    threads = [threading.Thread(target=client) for _ in range(100)]
    for thread in threads:
        thread.start()
    wait_for("the request", lambda: origin1.seen("/many"))
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(results) == 100
    assert all(result.body == body for result in results)
    assert len(origin1.seen("/many")) == 1


def test_followers_of_what_cannot_be_stored_go_on_at_once(cached, origin1):
    begun = threading.Barrier(9)
    go = threading.Event()

    def answer(exchange):
        if len(origin1.seen("/private")) > 1:
            begun.wait(20)  # all eight at the same time
        else:
            go.wait(20)
        exchange.reply(200, b"mine", "Cache-Control: private")
    origin1.paths["/private"] = answer
    results = []
    threads = [threading.Thread(target=lambda: results.append(get(cached, ONE + "/private").body))
               for _ in range(9)]
    for thread in threads:
        thread.start()
    wait_for("nine connections", lambda: origin1.seen("/private"))
    time.sleep(0.2)
    go.set()
    begun.wait(20)
    for thread in threads:
        thread.join(30)
    assert results == [b"mine"] * 9


def test_one_of_those_who_wait_takes_the_place_of_a_leader_that_goes(cached, origin1):
    go = threading.Event()

    def answer(exchange):
        go.wait(20)
        exchange.reply(200, b"for all", "Cache-Control: max-age=60")
    origin1.paths["/reset"] = answer
    leader = cached.wire()
    leader.send(f"GET {ONE}/reset HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
    wait_for("the request", lambda: origin1.seen("/reset"))
    before = cached.metric("egret_client_connections")
    results = []
    threads = [threading.Thread(target=lambda: results.append(get(cached, ONE + "/reset").body))
               for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_for("all to be there", lambda: cached.metric("egret_client_connections") >= before + 20)
    time.sleep(0.2)
    leader.reset()
    wait_for("another request", lambda: len(origin1.seen("/reset")) > 1)
    go.set()
    for thread in threads:
        thread.join(30)
    assert results == [b"for all"] * 20
    assert len(origin1.seen("/reset")) == 2


def test_what_is_asked_for_nobody_is_counted_once_and_as_done(cached, origin1):
    go = threading.Event()

    def answer(exchange):
        if len(origin1.seen("/background")) > 1:
            go.wait(20)
        exchange.reply(200, b"x", "Cache-Control: max-age=0, stale-while-revalidate=60")
    origin1.paths["/background"] = answer
    get(cached, ONE + "/background")
    watched = (("egret_requests_total", {}), ("egret_requests_total", {"code": "none"}),
               ("egret_endings_total", {"end": "client-gone"}))
    before = [cached.metric(name, **labels) for name, labels in watched]
    for _ in range(10):
        assert get(cached, ONE + "/background").body == b"x"
    go.set()
    wait_for("ten requests, and one for nobody",
             lambda: cached.metric("egret_requests_total") >= before[0] + 11)
    assert [cached.metric(name, **labels) - was
            for (name, labels), was in zip(watched, before)] == [11, 0, 0]


def test_a_leader_that_goes_leaves_the_others_their_response(cached, origin1):
    go = threading.Event()
    body = b"y" * 3_000_000

    def answer(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n", body[:1_000_000])
        go.wait(20)
        exchange.send(body[1_000_000:])
    origin1.paths["/leader"] = answer
    leader = cached.wire()
    leader.send(f"GET {ONE}/leader HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
    leader.head()
    results = []
    follower = threading.Thread(target=lambda: results.append(get(cached, ONE + "/leader").body))
    follower.start()
    time.sleep(0.2)
    leader.reset()
    time.sleep(0.2)
    go.set()
    follower.join(30)
    assert results == [body]
    assert len(origin1.seen("/leader")) == 1


def test_what_grows_larger_than_allowed_is_relayed_and_not_stored(cached, origin1):
    body = hashlib.shake_128(b"large").digest(12_000_000)  # the limit is a quarter of 16m

    def answer(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 100_000):
            part = body[at:at + 100_000]
            exchange.send(f"{len(part):x}\r\n", part, "\r\n")
        exchange.send("0\r\n\r\n")
    origin1.paths["/large"] = answer
    for _ in range(2):
        assert get(cached, ONE + "/large").body == body
    assert len(origin1.seen("/large")) == 2


def test_sources_are_kept_apart_where_that_is_asked(cached, origin2):
    origin2.paths["/mine"] = lambda exchange: exchange.reply(200, b"x")
    get(cached, "http://partner2.test/mine")
    assert status_of(get(cached, "http://partner2.test/mine")).startswith("egret; hit")
    assert len(origin2.seen("/mine")) == 1
    with cached.wire(cached.world.gw) as other:
        other.send("GET http://partner2.test/mine HTTP/1.1\r\nHost: partner2.test\r\n\r\n")
        assert "fwd=uri-miss" in status_of(other.response())


def test_the_access_log_and_the_metrics_say_what_the_cache_did(cached, origin1):
    serve(origin1, "/logged", b"12345", "Cache-Control: max-age=60")
    before = cached.metrics()
    for _ in range(2):
        get(cached, ONE + "/logged")
    wait_for("two lines", lambda: len([r for r in cached.records(1)
                                       if r["target"].endswith("/logged")]) == 2)
    lines = [r for r in cached.records(1) if r["target"].endswith("/logged")]
    assert sorted(line["cache"] for line in lines) == ["hit", "stored"]
    assert [line["bytes_out"] for line in lines] == [5, 5]
    after = cached.metrics()
    name = 'egret_cache_requests_total{result="%s"}'
    assert after[name % "hit"] == before[name % "hit"] + 1
    assert after[name % "stored"] == before[name % "stored"] + 1


# ---- on disk, and out of it ------------------------------------------------------------------

def ctl(daemon, *args):
    return daemon.namespace.run(os.path.join(os.path.dirname(EGRETD), "egretctl"), "-s",
                                daemon.path("control"), *args)


@pytest.fixture
def on_disk(egretd):
    return egretd(ACL, config={"cache": {"size": "32m", "directory": "store"}})


def hits(daemon, url):
    return status_of(get(daemon, url)).startswith("egret; hit")


def fill(daemon, origin, paths, size=20_000):
    bodies = {}
    for path in paths:
        bodies[path] = hashlib.shake_128(path.encode()).digest(size)
        serve(origin, path.partition("?")[0], bodies[path], "Cache-Control: max-age=1000")
        assert get(daemon, ONE + path).body == bodies[path]
    return bodies


def test_the_disk_is_found_again_after_a_restart(on_disk, origin1):
    bodies = fill(on_disk, origin1, [f"/disk/{i}" for i in range(50)])
    fill(on_disk, origin1, ["/disk/large"], 3_000_000)
    assert on_disk.metric("egret_cache_disk") == 1
    on_disk.stop()
    on_disk.start()
    asked = len(origin1.requests)
    wait_for("all to be read", lambda: on_disk.metric("egret_cache_loading") == 0)
    for path, body in bodies.items():
        assert get(on_disk, ONE + path).body == body
    assert len(get(on_disk, ONE + "/disk/large").body) == 3_000_000
    assert len(origin1.requests) == asked


def test_what_was_removed_is_not_found_again(on_disk, origin1):
    fill(on_disk, origin1, ["/gone/1", "/gone/2", "/stays"])
    assert ctl(on_disk, "purge", "prefix", ONE + "/gone").stdout == "2\n"
    on_disk.stop()
    on_disk.start()
    assert not hits(on_disk, ONE + "/gone/1")
    assert hits(on_disk, ONE + "/stays")


@pytest.mark.parametrize("whom", ("proxy", "both"))
def test_a_kill_loses_no_more_than_what_was_new(on_disk, origin1, whom):
    bodies = fill(on_disk, origin1, [f"/kill/{i}" for i in range(20)])
    if whom == "both":
        on_disk.kill()
        on_disk.start()
    else:
        pid = on_disk.proxy
        os.kill(pid, signal.SIGKILL)
        wait_for("another proxy", lambda: on_disk.proxies() not in ([], [pid]) and on_disk.ready())
    for path, body in bodies.items():
        assert get(on_disk, ONE + path).body == body


def test_a_file_that_was_damaged_gives_no_wrong_byte(on_disk, origin1):
    bodies = fill(on_disk, origin1, [f"/flip/{i}" for i in range(100)])
    on_disk.stop()
    with open(on_disk.path("store/cache.store"), "r+b") as file:
        for at in range(0, 32 << 20, 4099):
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x20]))
    on_disk.start()
    for path, body in bodies.items():
        got = get(on_disk, ONE + path)
        assert (got.status, got.body) == (200, body)


def test_its_file_asks_for_no_capability(egretd, origin1):
    """Not even when it is found again."""
    daemon = egretd(ACL, config={"cache": {"size": "32m", "directory": "store"}},
                    prefix=("setpriv", "--bounding-set=-chown,-dac_override,-dac_read_search"))
    fill(daemon, origin1, ["/kept"])
    daemon.stop()
    daemon.start()
    assert hits(daemon, ONE + "/kept")
    assert "in memory only" not in daemon.log()


def test_without_its_directory_it_is_in_memory(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "32m", "directory": "/proc/nowhere"}})
    assert "the cache is in memory only: /proc/nowhere" in daemon.log()
    fill(daemon, origin1, ["/memory"])
    assert hits(daemon, ONE + "/memory")
    assert daemon.metric("egret_cache_disk") == 0


def test_a_file_system_that_is_full(egretd, origin1, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        daemon = egretd(ACL, config={"cache": {"size": "32m", "directory": str(small)}})
        bodies = fill(daemon, origin1, [f"/full/{i}" for i in range(200)])
        daemon.wait_metric("egret_cache_disk", 0, 20)
        for path, body in bodies.items():
            assert get(daemon, ONE + path).body == body
        fill(daemon, origin1, ["/full/after"])
        assert hits(daemon, ONE + "/full/after")
        daemon.stop()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_purges(cached, origin1):
    fill(cached, origin1, ["/purge/a?x=1", "/purge/a?x=2", "/purge/b"], 10)
    serve(origin1, "/purge/t", b"x", "Cache-Control: max-age=60", "Surrogate-Key: red blue")
    get(cached, ONE + "/purge/t")
    assert ctl(cached, "purge", "url", "http://PARTNER1.test:80/purge/a?x=1").stdout == "1\n"
    assert not hits(cached, ONE + "/purge/a?x=1") and hits(cached, ONE + "/purge/a?x=2")
    assert ctl(cached, "purge", "tag", "blue").stdout == "1\n"
    assert not hits(cached, ONE + "/purge/t")
    assert int(ctl(cached, "purge", "partner", "one").stdout) >= 4
    assert not hits(cached, ONE + "/purge/b")
    for wrong in (("url", "partner1.test/x"), ("everything", "x"), ("tag", "a b"), ("tag",)):
        done = ctl(cached, "purge", *wrong)
        assert done.returncode == 1 and done.stdout.startswith("error: "), wrong


def test_nobody_purges_through_the_proxy(cached, origin1):
    fill(cached, origin1, ["/kept"], 10)
    get(cached, ONE + "/kept", method="PURGE")
    assert len([r for r in origin1.seen("/kept") if r.start[0] == "PURGE"]) == 1


def test_what_is_on_its_way_stays_as_it_was_when_its_room_is_used_again(cached, origin1):
    body = hashlib.shake_128(b"slow").digest(300_000)
    serve(origin1, "/slow", body, "Cache-Control: max-age=60")
    get(cached, ONE + "/slow")
    served = cached.metric("egret_cache_requests_total", result="hit")
    with cached.wire() as client:  # whose kernel has room for all of it
        client.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        client.send(f"GET {ONE}/slow HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
        wait_for("all to be sent", lambda: cached.metric(
            "egret_cache_requests_total", result="hit") > served)
        for i in range(60):
            serve(origin1, f"/other/{i}", b"o" * 1_000_000, "Cache-Control: max-age=60")
            get(cached, f"{ONE}/other/{i}")
        assert client.response("GET").body == body
