"""Forwarding: what the client sends and the origin sees, and the other way."""
import hashlib
import json
import re

import pytest

from wire import Closed
from world import wait_for

ONE = "http://partner1.test"


def seen(origin, path):
    """The last request for the path as the origin saw it."""
    return origin.seen(path)[-1]


@pytest.fixture(autouse=True)
def fresh(origin1):
    origin1.drop_idle()
    origin1.forget()


# By real curl.

@pytest.mark.parametrize("version", (4, 6))
def test_curl_gets_a_page_through_either_ip_version(proxy, origin1, version):
    done = proxy.curl(ONE + "/whoami", version=version)
    assert done.exit == 0 and done.status == 200


def test_curl_gets_from_nginx(proxy, nginx):
    done = proxy.curl(ONE + ":8080/text")
    assert done.status == 200
    assert done.body == b"the quick brown fox\n" * 1000


def test_curl_gets_compressed_chunks_from_nginx(proxy, nginx):
    done = proxy.curl("--compressed", ONE + ":8080/zipped")
    assert done.status == 200
    assert done.body == b"the quick brown fox\n" * 1000


def test_curl_gets_a_range_and_a_304(proxy, nginx):
    done = proxy.curl("-r", "4-8", ONE + ":8080/text")
    assert (done.status, done.body) == (206, b"quick")
    done = proxy.curl("-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
                ONE + ":8080/text")
    assert (done.status, done.body) == (304, b"")


@pytest.mark.parametrize("method", ("POST", "PUT"))
@pytest.mark.parametrize("framing", ("counted", "chunked"))
def test_curl_sends_big_bodies(proxy, origin1, tmp_path, method, framing):
    def digest(exchange):
        exchange.reply(200, hashlib.sha256(exchange.take_body()).hexdigest())
    origin1.paths["/digest"] = digest
    body = hashlib.shake_128(method.encode()).digest(20_000_003)
    (tmp_path / "body").write_bytes(body)
    args = ["-X", method, "--data-binary", f"@{tmp_path}/body"]
    if framing == "chunked":
        args += ["-H", "Transfer-Encoding: chunked"]
    done = proxy.curl(*args, ONE + "/digest")
    assert done.text == hashlib.sha256(body).hexdigest(), done.error
    request = seen(origin1, "/digest")
    assert (request.get("Transfer-Encoding") == "chunked") == (framing == "chunked")


def test_curl_head_has_length_and_no_body(proxy, nginx):
    done = proxy.curl("-I", ONE + ":8080/1k")
    assert done.status == 200
    assert re.search(rb"(?i)^content-length: 1024\r$", done.body, re.M)


def test_curl_expects_100_continue(proxy, origin1, tmp_path):
    def asking(exchange):
        assert exchange.request.get("Expect") == "100-continue"
        exchange.send("HTTP/1.1 100 Continue\r\n\r\n")
        exchange.reply(200, str(len(exchange.take_body())))
    origin1.paths["/asking"] = asking
    (tmp_path / "body").write_bytes(b"x" * 2_000_000)
    done = proxy.curl("--expect100-timeout", "20", "-H", "Expect: 100-continue",
                "-T", str(tmp_path / "body"), ONE + "/asking")
    assert done.text == "2000000", done.error


def test_curl_reuses_its_connection(proxy, origin1):
    done = proxy.curl(*[ONE + "/whoami"] * 5)
    assert done.exit == 0
    assert len(origin1.seen("/whoami")) == 5
    assert origin1.connections == 1


# What the origin sees.

def test_hop_by_hop_fields_stay_here_and_via_is_added(proxy, origin1):
    proxy.get(ONE + "/echo", "Connection: close, X-Secret, Keep-Alive", "X-Secret: 1",
              "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: gzip",
              "Proxy-Authorization: Basic Zm9vOmJhcg==", "Upgrade: websocket",
              "X-Kept: yes", "Via: 1.0 before")
    request = seen(origin1, "/echo")
    for name in ("X-Secret", "Keep-Alive", "Proxy-Connection", "TE", "Proxy-Authorization",
                 "Upgrade"):
        assert request.get(name) is None, name
    assert "x-secret" not in (request.get("Connection") or "").lower()
    assert request.get("X-Kept") == "yes"
    assert re.fullmatch(r"1\.0 before, 1\.1 \S+", request.get("Via"))


def test_request_line_and_host_are_the_targets(proxy, origin1):
    with proxy.wire() as wire:
        wire.send(f"GET {ONE}/echo?a=1&b=%20 HTTP/1.1\r\nHost: other.example\r\n\r\n")
        assert wire.response().status == 200
        wire.send("GET http://PARTNER1.test:80?query HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.response().status == 404
    request = seen(origin1, "/echo")
    assert request.start == ["GET", "/echo?a=1&b=%20", "HTTP/1.1"]
    assert request.all("Host") == ["partner1.test"]
    assert origin1.requests[-1].start[1] == "/?query"


def test_server_wide_options(proxy, origin1):
    origin1.paths["*"] = lambda exchange: exchange.reply(204, b"", "Allow: GET")
    with proxy.wire() as wire:
        wire.send(f"OPTIONS {ONE} HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
        assert wire.response().get("Allow") == "GET"
    assert origin1.requests[-1].start == ["OPTIONS", "*", "HTTP/1.1"]


def test_max_forwards_ends_here(proxy, origin1):
    """RFC 9110 7.6.2.  What a TRACE would echo may be a secret: it does not."""
    for method, status in (("OPTIONS", 200), ("TRACE", 501)):
        response = proxy.get(ONE + "/echo", "Max-Forwards: 0", "Cookie: secret", method=method)
        assert response.status == status and "secret" not in response.text
    assert origin1.requests == []
    proxy.get(ONE + "/echo", "Max-Forwards: 1", method="TRACE")
    assert seen(origin1, "/echo").all("Max-Forwards") == ["0"]


def test_unknown_methods_and_fields_pass_in_order(proxy, origin1):
    fields = [f"X-{n}: value {n}" for n in range(40)] + ["X-0: again"]
    proxy.get(ONE + "/echo", *fields, method="PROPFIND")
    request = seen(origin1, "/echo")
    assert request.start[0] == "PROPFIND"
    assert [f"{k}: {v}" for k, v in request.fields if k.startswith("X-")] == fields


# What the client sees.

def test_response_has_via_and_date_and_no_hop_by_hop_fields(proxy, origin1):
    origin1.paths["/hop"] = lambda e: e.reply(
        200, "body", "Connection: X-Private, keep-alive", "X-Private: 1", "Keep-Alive: timeout=9",
        "Proxy-Authenticate: Basic", "X-Kept: yes", "Via: 1.1 inner")
    response = proxy.get(ONE + "/hop")
    for name in ("X-Private", "Keep-Alive"):
        assert response.get(name) is None, name
    assert response.get("X-Kept") == "yes"
    assert re.fullmatch(r"1\.1 inner, 1\.1 \S+", response.get("Via"))
    assert response.get("Date").endswith(" GMT")
    assert response.body == b"body"


@pytest.mark.parametrize("status", (204, 304))
def test_responses_without_body_keep_the_connection(proxy, origin1, status):
    origin1.paths["/bare"] = lambda e: e.reply(status, b"", 'ETag: "1"', phrase="Bare")
    with proxy.wire() as wire:
        for _ in range(3):
            response = wire.get(ONE + "/bare")
            assert (response.status, response.get("ETag")) == (status, '"1"')
            assert response.get("Transfer-Encoding") is None
        assert wire.get(ONE + "/whoami").status == 200
    assert origin1.connections == 1


def test_head_keeps_the_connection(proxy, origin1):
    with proxy.wire() as wire:
        for _ in range(3):
            response = wire.get(ONE + "/whoami", method="HEAD")
            assert response.status == 200 and int(response.get("Content-Length")) > 0
        assert wire.get(ONE + "/whoami").body
    assert origin1.connections == 1


def test_interim_responses_are_forwarded(proxy, origin1):
    def hints(exchange):
        exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
                      "HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n")
        exchange.reply(200, "done")
    origin1.paths["/hints"] = hints
    with proxy.wire() as wire:
        response = wire.get(ONE + "/hints")
        assert [(m.status, m.get("Link")) for m in response.interim] == \
            [(103, "</a.css>"), (103, "</b.css>")]
        assert response.body == b"done"
        wire.send(f"GET {ONE}/hints HTTP/1.0\r\n\r\n")  # a 1.0 client knows no 1xx
        old = wire.response()
        assert old.interim == [] and old.body == b"done"


def test_expectation_refused_by_the_origin_spares_the_body(proxy, origin1):
    def refuse(exchange):
        exchange.reply(417, "no", "Connection: close", phrase="Expectation Failed")
        exchange.finish()
    origin1.paths["/refuse"] = refuse
    with proxy.wire() as wire:
        wire.send(f"PUT {ONE}/refuse HTTP/1.1\r\nHost: partner1.test\r\n"
                  "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        assert wire.response().status == 417
        assert wire.ended()


def test_chunks_stream_as_they_come(proxy, origin1):
    """Nothing is held back: each chunk arrives before the origin sends the next."""
    got = []

    def drip(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(5):
            exchange.send(f"5;ext=1\r\nhell{n}\r\n")
            wait_for("the client to have it", lambda wanted=n + 1: len(got) == wanted)
        exchange.send("0\r\nX-Trailer: 1\r\n\r\n")
    origin1.paths["/drip"] = drip
    with proxy.wire() as wire:
        wire.send(f"GET {ONE}/drip HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
        head = wire.head()
        assert head.get("Transfer-Encoding") == "chunked"
        got.extend(wire.chunks())
        for chunk in got:
            assert len(chunk) == 5
        assert wire.get(ONE + "/whoami").status == 200
    assert origin1.connections == 1


def test_request_chunks_stream_as_they_come(proxy, origin1):
    got = []

    def drink(exchange):
        for chunk in exchange.chunks():
            got.append(chunk)
        exchange.reply(200, b"".join(got))
    origin1.paths["/drink"] = drink
    with proxy.wire() as wire:
        wire.send(f"POST {ONE}/drink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(5):
            wire.send(f"4;x=y\r\nabc{n}\r\n")
            wait_for("the origin to have it",
                     lambda wanted=4 * (n + 1): sum(map(len, got)) == wanted)
        wire.send("0\r\nX-Trailer: 1\r\n\r\n")
        assert wire.response().body == b"abc0abc1abc2abc3abc4"


@pytest.mark.parametrize("wanted", (True, False))
def test_curl_sees_trailers_that_it_wants(proxy, origin1, tmp_path, wanted):
    origin1.paths["/trailers"] = lambda exchange: exchange.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        "5\r\nhello\r\n0\r\nX-Sum: 5d41\r\nContent-Length: 3\r\n\r\n")
    heads = tmp_path / "heads"
    done = proxy.curl(*(("-H", "TE: trailers", "-H", "Connection: TE") if wanted else ()),
                      "-D", heads, ONE + "/trailers")
    assert done.text == "hello"
    assert ("X-Sum: 5d41" in heads.read_text()) == wanted
    assert "Content-Length" not in heads.read_text()


def test_a_body_until_close_is_chunked_for_new_clients_and_plain_for_old(proxy, origin1):
    def until_close(exchange):
        exchange.send("HTTP/1.0 200 OK\r\n\r\n", b"all there is")
        exchange.finish()
        exchange.close()
    origin1.paths["/close"] = until_close
    with proxy.wire() as wire:
        assert wire.get(ONE + "/close").body == b"all there is"
        wire.send(f"GET {ONE}/close HTTP/1.0\r\nHost: partner1.test\r\n\r\n")
        old = wire.response()
        assert old.get("Transfer-Encoding") is None
        assert old.body == b"all there is"


def test_chunks_for_an_old_client_become_plain(proxy, origin1):
    origin1.paths["/chunks"] = lambda e: e.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    with proxy.wire() as wire:
        wire.send(f"GET {ONE}/chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        old = wire.response()
        assert old.get("Transfer-Encoding") is None
        assert old.body == b"abcde"


@pytest.mark.parametrize("asked", ("", "Connection: keep-alive\r\n",
                                   "Proxy-Connection: keep-alive\r\n"))
def test_a_proxy_keeps_no_connection_of_an_old_client(proxy, origin1, asked):
    """RFC 9112 9.3: what it asks for may have been meant for a proxy before this one."""
    with proxy.wire() as wire:
        wire.send(f"GET {ONE}/whoami HTTP/1.0\r\n{asked}\r\n")
        response = wire.response()
        assert response.status == 200
        assert response.get("Connection").lower() == "close" and wire.ended()


# Connections.

def test_connections_to_origins_are_pooled_over_clients(egretd, origin1):
    proxy = egretd(config={"proxy": {"workers": 1}})
    for _ in range(10):
        assert proxy.get(ONE + "/whoami").status == 200
    assert origin1.connections == 1


def test_pools_are_kept_apart_by_egress_address(egretd, origin1):
    proxy = egretd("""
[partner early]
hosts = v4.partner1.test
ports = 80
egress-ip = 45.0.0.20
[partner one]
hosts = partner1.test, *.partner1.test
ports = 80
""", config={"proxy": {"workers": 1}})
    for _ in range(3):
        assert proxy.get("http://v4.partner1.test/whoami").text == "45.0.0.20"
        assert proxy.get(ONE + "/whoami").text in ("45.0.0.10", "2a00::10")
    assert origin1.connections == 2


def test_a_request_meets_a_pooled_connection_that_the_origin_closed(egretd, origin1):
    proxy = egretd(config={"proxy": {"workers": 1}})
    with proxy.wire() as wire:
        for _ in range(20):
            assert wire.get(ONE + "/whoami").status == 200
            origin1.hang_up()  # and the next request may be faster than the news


def test_pipelined_requests_are_answered_in_order(proxy, origin1):
    with proxy.wire() as wire:
        wire.send("".join(f"GET {ONE}/echo?{n} HTTP/1.1\r\nHost: partner1.test\r\n\r\n"
                          for n in range(50)))
        for n in range(50):
            assert wire.response().body.startswith(f"GET /echo?{n} ".encode())


def test_pipelined_posts_and_denials_keep_their_order(proxy, origin1):
    with proxy.wire() as wire:
        wire.send(f"POST {ONE}/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst",
                  "GET http://denied.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
                  f"POST {ONE}/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "5\r\nthird\r\n0\r\n\r\n",
                  f"GET {ONE}/whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert wire.response().body.endswith(b"first")
        assert wire.response().status == 403
        assert wire.response().body.endswith(b"third")
        assert wire.response().status == 200
        assert wire.ended()


def test_requests_that_arrive_byte_by_byte(proxy, origin1):
    with proxy.wire() as wire:
        for byte in f"POST {ONE}/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
            wire.send(byte)
        assert wire.response().body.endswith(b"abc")


def test_a_response_before_the_requests_end_is_delivered(proxy, origin1):
    """An origin that refuses an upload half-way (RFC 9112 9.3): the answer is not lost."""
    def refuse(exchange):
        exchange.read(1000)
        exchange.reply(413, "too big", "Connection: close", phrase="Content Too Large")
        exchange.finish()
        while exchange.file.read(65536):
            pass
    origin1.paths["/upload"] = refuse
    with proxy.wire() as wire:
        wire.send(f"PUT {ONE}/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
                  b"x" * 1000)
        response = wire.response()
        assert (response.status, response.body) == (413, b"too big")


def test_a_client_that_closes_after_its_request_still_gets_the_answer(proxy, origin1):
    with proxy.wire() as wire:
        wire.send(f"GET {ONE}/whoami HTTP/1.1\r\nHost: a\r\n\r\n")
        wire.finish()
        assert wire.response().status == 200
        assert wire.ended()


def test_large_heads_pass_up_to_the_limits(egretd, origin1):
    proxy = egretd()
    value = "v" * 20_000
    response = proxy.get(ONE + "/echo", f"X-Long: {value}")
    assert response.status == 200
    assert f"X-Long: {value}".encode() in response.body
    origin1.paths["/long"] = lambda e: e.reply(200, "ok", f"X-Long: {value}")
    assert proxy.get(ONE + "/long").get("X-Long") == value


# egret.internal

def test_egret_internal_tells_the_client_about_itself(proxy):
    done = proxy.curl("http://egret.internal/")
    assert done.status == 200
    for word in ("10.42.0.11", "pods", "one", "45.0.0.10"):
        assert word in done.text, done.text


def test_egret_internal_speaks_json(proxy):
    done = proxy.curl("-H", "Accept: application/json", "http://egret.internal/")
    assert done.info["content_type"].startswith("application/json")
    told = json.loads(done.text)
    flat = json.dumps(told)
    for word in ("10.42.0.11", "pods", "one", "45.0.0.10"):
        assert word in flat, flat


def test_egret_internal_shows_limits_left(world, egretd):
    proxy = egretd("[partner one]\nhosts = partner1.test\nports = 80\nrate = 10/1m\nburst = 5\n")

    def left():
        done = proxy.curl("-H", "Accept: application/json", "http://egret.internal/")
        partner, = json.loads(done.text)["partners"]
        return partner
    before = left()
    assert before["name"] == "one"
    assert before["left"] == 5
    proxy.get("http://partner1.test/", namespace=world.pod2)
    assert left()["left"] == 4


def test_egret_internal_explains_why_a_node_is_not_a_pod(proxy, world):
    for told in (proxy.curl("http://egret.internal/", namespace=world.gw).text,
                 proxy.get("http://egret.internal/", namespace=world.net).text):
        assert "node" in told, told
    assert "node" not in proxy.get("http://egret.internal/").text


def test_egret_internal_answers_head(proxy):
    with proxy.wire() as wire:
        for _ in range(2):
            head = wire.get("http://egret.internal/", method="HEAD")
            assert head.status == 200 and int(head.get("Content-Length")) > 0


def test_the_connection_is_unusable_after_a_message_error_and_says_so(proxy):
    with proxy.wire() as wire:
        wire.send("GARBAGE\r\n\r\n")
        response = wire.response()
        assert response.status == 400
        assert response.get("Connection").lower() == "close"
        assert wire.ended()
        with pytest.raises((Closed, OSError)):
            wire.get(ONE + "/whoami")
