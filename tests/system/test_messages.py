"""Messages that are wrong are refused, with an answer that says so; refusals.py has more of them."""
import pytest

GET = "GET http://partner1.test/whoami HTTP/1.1\r\nHost: partner1.test\r\n"
POST = "POST http://partner1.test/echo HTTP/1.1\r\nHost: partner1.test\r\n"

BAD = {
    "no request at all": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "two words": ("GET http://partner1.test/\r\n\r\n", 400),
    "an extra space": ("GET  http://partner1.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a space in the target": ("GET http://partner1.test/a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a name of other bytes": ("GET http://pärtner.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no Host": ("GET http://partner1.test/ HTTP/1.1\r\n\r\n", 400),
    "a bare LF": ("GET http://partner1.test/ HTTP/1.1\nHost: a\n\n", 400),
    "an empty field name": (GET + ": a\r\n\r\n", 400),
    "a line before the fields": ("GET http://partner1.test/ HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "a hex length": (POST + "Content-Length: 0x1\r\n\r\na", 400),
    "a negative length": (POST + "Content-Length: -1\r\n\r\na", 400),
    "an unknown coding": (POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "HTTP/2.0": ("GET http://partner1.test/ HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/0.9": ("GET http://partner1.test/\r\n\r\n", 400),
    "HTTP/1.2": ("GET http://partner1.test/ HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "lower case http": ("GET http://partner1.test/ http/1.1\r\nHost: a\r\n\r\n", 400),
    "a long request line": (f"GET http://partner1.test/{'x' * 70000} HTTP/1.1\r\n", 414),
    "a large head": (GET + "X: " + "y" * 70000 + "\r\n\r\n", 431),
    "many fields": (GET + "".join(f"X{n}: y\r\n" for n in range(1001)) + "\r\n", 431),
}

BAD_TARGETS = {
    "origin-form": "GET /whoami",
    "asterisk-form": "OPTIONS *",
    "another scheme": "GET ftp://partner1.test/",
    "userinfo": "GET http://me@partner1.test/",
    "no host": "GET http:///whoami",
    "port 0": "GET http://partner1.test:0/",
    "port 65536": "GET http://partner1.test:65536/",
    "a fragment": "GET http://partner1.test/#x",
    "CONNECT without port": "CONNECT partner1.test",
    "CONNECT to a URL": "CONNECT http://partner1.test:443",
    "CONNECT to port 0": "CONNECT partner1.test:0",
    "CONNECT with a path": "CONNECT partner1.test:443/",
}


@pytest.fixture(autouse=True)
def fresh(origin1):
    origin1.forget()


@pytest.mark.parametrize("name", BAD)
def test_refused(proxy, origin1, name):
    message, status = BAD[name]
    with proxy.wire() as wire:
        wire.send(message)
        response = wire.response()
        assert response.status == status, response.text
        assert response.get("Content-Type").startswith("text/plain")
        assert 0 < len(response.body) < 300
        assert "error=http_request_error" in response.get("Proxy-Status")
        assert response.get("Connection").lower() == "close"
        assert wire.ended()
    assert origin1.requests == []


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_a_bad_target_is_refused_and_the_connection_is_as_it_says(proxy, origin1, name):
    """The message itself is clear: the connection may go on."""
    with proxy.wire() as wire:
        wire.send(f"{BAD_TARGETS[name]} HTTP/1.1\r\nHost: partner1.test\r\n\r\n")
        response = wire.response()
        assert response.status == 400, response.text
        assert "error=http_request_error" in response.get("Proxy-Status")
        if response.get("Connection").lower() == "close":
            assert wire.ended()
        else:
            assert wire.get("http://egret.internal/").status == 200
    assert origin1.requests == []


def test_too_many_and_too_large_are_configurable(egretd):
    proxy = egretd(config={"proxy": {"max-header-bytes": "8k", "max-header-fields": 20,
                                     "max-request-line": "1k"}})
    ok = [f"X-{n}: y" for n in range(15)]
    assert proxy.get("http://egret.internal/", *ok).status == 200
    assert proxy.get("http://egret.internal/", *(ok + ok)).status == 431
    assert proxy.get("http://egret.internal/", "X: " + "y" * 7000).status == 200
    assert proxy.get("http://egret.internal/", "X: " + "y" * 8200).status == 431
    assert proxy.get("http://egret.internal/" + "y" * 1100).status == 414


BAD_RESPONSES = {
    "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "a bad status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "an unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: zip\r\n\r\n",
    "a large head": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_bad_responses_are_502(proxy, origin1, name):
    def answer(exchange):
        exchange.send(BAD_RESPONSES[name])
        exchange.file.read(1)
        exchange.close()
    origin1.paths["/bad"] = answer
    response = proxy.get("http://partner1.test/bad")
    assert response.status == 502, response.text
    assert "error=http_" in response.get("Proxy-Status"), response.get("Proxy-Status")
    assert response.body


def test_an_empty_line_before_a_request_is_skipped(proxy):
    with proxy.wire() as wire:
        wire.send("\r\nGET http://egret.internal/ HTTP/1.1\r\nHost: egret.internal\r\n\r\n")
        assert wire.response().status == 200


def test_head_size_limit_is_exact_at_its_end(egretd, origin1):
    """The same head, padded to the last byte that fits and one more."""
    limit = 8192
    proxy = egretd(config={"proxy": {"max-header-bytes": limit}})
    for size, status in ((limit, 200), (limit + 1, 431)):
        head = GET + "Connection: close\r\nX: "
        head += "y" * (size - len(head) - 4) + "\r\n\r\n"
        assert len(head) == size
        with proxy.wire() as wire:
            wire.send(head)
            assert wire.response().status == status, size
