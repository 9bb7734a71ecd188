"""What RFC 9110 and RFC 9112 ask of an intermediary, beyond what is in test_http.py."""
import pytest

from origin import Listener
from wire import Closed

URL = "http://partner1.test:7001"
ACL = """
[partner one]
hosts = partner1.test
ports = 7001
"""
OVER32 = (1 << 32) + 5


@pytest.fixture(scope="module")
def proxy(egretd_module):
    """One worker: an idle connection is the next request's."""
    return egretd_module(ACL, config={"proxy": {"workers": 1}})


@pytest.fixture
def far(world):
    with Listener(world.partner1, 7001) as listener:
        yield listener


@pytest.fixture
def wire(proxy):
    with proxy.wire() as wire:
        yield wire


def ask(wire, *fields, start=f"GET {URL}/ HTTP/1.1", body=b""):
    lines = [start, "Host: partner1.test:7001", *fields]
    wire.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", body)


def answer(origin, *fields, body=b"", version="1.1", phrase="OK"):
    lines = [f"HTTP/{version} 200 {phrase}", f"Content-Length: {len(body)}", *fields]
    origin.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", body)


# Targets (RFC 9112 3.2).

@pytest.mark.parametrize("sent, seen", (
    ("", "/"),
    ("?", "/?"),
    ("?a=b", "/?a=b"),
    ("/", "/"),
    ("//", "//"),
    ("//a//b/", "//a//b/"),
    ("/a/../b/./c", "/a/../b/./c"),
    ("/%2e%2E/%2f%41%c3%A9", "/%2e%2E/%2f%41%c3%A9"),
    ("/a;b=c,d:e@f!$&'()*+", "/a;b=c,d:e@f!$&'()*+"),
    ("/a?b?c=/d", "/a?b?c=/d"),
    ("/?filter[name]=a|b^c`{d}", "/?filter[name]=a|b^c`{d}"),
    ("/http://other/", "/http://other/"),
    ("/*", "/*"),
))
def test_paths_pass_byte_by_byte(far, wire, sent, seen):
    ask(wire, start=f"GET {URL}{sent} HTTP/1.1")
    with far.accept() as origin:
        assert origin.head().start == ["GET", seen, "HTTP/1.1"]
        answer(origin)
        assert wire.response().status == 200


# Fields and bodies.

def test_other_bytes_in_values_pass(far, wire):
    """RFC 9110 5.5: obs-text is opaque."""
    value = "".join(map(chr, range(0x80, 0x100))) + "\ta"
    ask(wire, f"X: {value}")
    with far.accept() as origin:
        assert f"X: {value}\r\n".encode("latin-1") in origin.head().raw + b"\r\n"
        answer(origin, f"Y: {value}", phrase=f"{value} fine")
        raw = wire.response().raw
        assert f"Y: {value}\r\n".encode("latin-1") in raw
        assert raw.startswith(f"HTTP/1.1 200 {value} fine\r\n".encode("latin-1"))


@pytest.mark.parametrize("method", ("GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND", "get"))
@pytest.mark.parametrize("chunked", (False, True))
def test_any_method_may_have_a_body(far, wire, method, chunked):
    body = b"5;x=y\r\nhello\r\n0\r\n\r\n" if chunked else b"hello"
    ask(wire, "Transfer-Encoding: chunked" if chunked else "Content-Length: 5",
        start=f"{method} {URL}/ HTTP/1.1", body=body)
    with far.accept() as origin:
        request = origin.head()
        assert request.start[0] == method and origin.body(request) == b"hello"
        answer(origin)
        assert wire.response(method).status == 200


def test_a_date_is_added_only_where_there_is_none(far, wire):
    """RFC 9110 6.6.1"""
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    ask(wire)
    with far.accept() as origin:
        for fields in ((f"Date: {date}",), ("Date: nonsense",), ()):
            origin.head()
            answer(origin, *fields)
            dates = wire.response().all("Date")
            assert len(dates) == 1
            assert not fields or f"Date: {dates[0]}" == fields[0]
            ask(wire)


# Trailers (RFC 9110 6.5: they may be discarded; those of a response go to who wants them).

def test_trailers_end_here_when_they_are_not_wanted(far, wire):
    ask(wire, "Transfer-Encoding: chunked", "TE: gzip", "Trailer: X-T",
        "Connection: TE", start=f"POST {URL}/ HTTP/1.1",
        body=b"3\r\nabc\r\n0\r\nX-T: 1\r\nContent-Length: 5\r\nHost: evil\r\n\r\n")
    with far.accept() as origin:
        request = origin.head()
        assert request.get("TE") is None and request.get("Trailer") is None
        assert origin.read(13) == b"3\r\nabc\r\n0\r\n\r\n"
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
                    "3;a=b\r\ndef\r\n0\r\nX-T: 1\r\n\r\n")
        head = wire.head()
        assert head.get("Trailer") is None
        assert wire.read(13) == b"3\r\ndef\r\n0\r\n\r\n"
        ask(wire)
        assert origin.head().start[0] == "GET"


def test_trailers_of_a_response_go_to_who_wants_them(far, wire):
    for fields in (("TE: trailers", "Connection: TE"), ("TE: deflate, Trailers",)):
        ask(wire, *fields, "Transfer-Encoding: chunked", start=f"POST {URL}/ HTTP/1.1",
            body=b"0\r\nX-T: 1\r\n\r\n")
        with far.accept() as origin:
            request = origin.head()
            assert (request.get("TE"), request.get("Connection")) == ("trailers", "TE")
            assert origin.read(5) == b"0\r\n\r\n"  # a request's end here
            origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n"
                        "Connection: close\r\n\r\n"
                        "3;a=b\r\ndef\r\n0\r\nX-T: 1\r\nContent-Length: 5\r\n"
                        "Set-Cookie: a=b\r\nY:\r\n\r\n")
            assert wire.head().get("Trailer") == "X-T"
            want = b"3\r\ndef\r\n0\r\nX-T: 1\r\nY:\r\n\r\n"
            assert wire.read(len(want)) == want


def test_trailers_come_one_byte_at_a_time_and_large(far, wire):
    large = "".join(f"X-{i}: {'v' * 90}\r\n" for i in range(150))
    ask(wire, "TE: trailers")
    with far.accept() as origin:
        origin.head()
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")
        for byte in "X-First: 1\r\n":
            origin.send(byte)
        origin.send(large, "\r\n")
        wire.head()
        want = f"5\r\nhello\r\n0\r\nX-First: 1\r\n{large}\r\n".encode()
        assert wire.read(len(want)) == want
        ask(wire)
        assert origin.head().get("TE") is None


def test_trailers_without_an_end_are_no_response(far, wire):
    ask(wire, "TE: trailers")
    with far.accept() as origin:
        origin.head()
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                    "X: y\r\n" * 4000)
        wire.head()
        with pytest.raises((Closed, ConnectionResetError)):
            wire.read(5)


def test_trailers_are_not_for_http_1_0(far, wire):
    ask(wire, "TE: trailers", start=f"GET {URL}/ HTTP/1.0")
    with far.accept() as origin:
        assert origin.head().get("TE") is None
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
                    "3\r\ndef\r\n0\r\nX-T: 1\r\n\r\n")
        assert wire.head().get("Trailer") is None
        assert wire.read(3) == b"def"
        assert wire.ended()


# Lengths of more than 32 bits (RFC 9110 8.6).

def test_a_length_over_32_bits_goes_on_as_it_is(far, wire):
    ask(wire, f"Content-Length: {OVER32}", start=f"PUT {URL}/ HTTP/1.1", body=b"u" * 10)
    with far.accept() as origin:
        assert origin.head().get("Content-Length") == str(OVER32)
        assert origin.read(10) == b"u" * 10
        origin.send(f"HTTP/1.1 200 OK\r\nContent-Length: {OVER32}\r\n\r\n", b"d" * 10)
        assert wire.head().get("Content-Length") == str(OVER32)
        assert wire.read(10) == b"d" * 10
        wire.send(b"u" * 100_000)  # the body still, and no request
        assert origin.read(100_000) == b"u" * 100_000
        origin.send(b"d" * 100_000)
        assert wire.read(100_000) == b"d" * 100_000


@pytest.mark.parametrize("fields, body", (
    (f"Content-Length: {OVER32}", b"hello"),
    ("Transfer-Encoding: chunked", f"{OVER32:x}\r\nhello".encode()),
))
def test_an_upload_that_ends_early_is_never_whole(far, wire, fields, body):
    ask(wire, fields, start=f"PUT {URL}/ HTTP/1.1", body=body)
    with far.accept() as origin:
        request = origin.head()
        wire.finish()
        with pytest.raises((Closed, OSError, ValueError)):
            origin.body(request)


# Connections.

@pytest.mark.parametrize("fields, again", ((("Connection: keep-alive",), True), ((), False)))
def test_an_old_origin_is_kept_only_when_it_says_so(far, wire, fields, again):
    ask(wire)
    with far.accept() as origin:
        origin.head()
        answer(origin, *fields, body=b"old", version="1.0")
        assert wire.response().body == b"old"
        ask(wire)
        if again:
            assert origin.head().start[0] == "GET"
            answer(origin)  # or it would be sent again, to whoever accepts next
            assert wire.response().status == 200
        else:
            assert origin.ended()
            far.accept().close()


@pytest.mark.parametrize("method", ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))
def test_an_idempotent_request_is_sent_again_when_its_connection_was_dead(far, wire, method):
    """RFC 9110 9.2.2"""
    ask(wire)
    with far.accept() as first:
        first.head()
        answer(first)
        assert wire.response().status == 200
        ask(wire, start=f"{method} {URL}/again HTTP/1.1")
        first.head()
    with far.accept() as second:
        assert second.head().start[:2] == [method, "/again"]
        answer(second)
        assert wire.response(method).status == 200


@pytest.mark.parametrize("method", ("POST", "PATCH", "BREW"))
def test_a_request_that_may_not_be_repeated_gets_a_connection_of_its_own(far, wire, method):
    ask(wire)
    with far.accept() as first:
        first.head()
        answer(first)
        assert wire.response().status == 200
        ask(wire, start=f"{method} {URL}/once HTTP/1.1")
        with far.accept() as second:
            assert second.head().start[:2] == [method, "/once"]
            second.close()
            assert wire.response().status == 502


def test_a_refusal_is_read_though_the_client_still_sends(wire):
    """It lingers (RFC 9112 9.6): a close with unread bytes would be a reset."""
    ask(wire, f"Content-Length: {OVER32}", start="PUT http://denied.example/ HTTP/1.1")
    for _ in range(16):
        wire.send(b"u" * 65536)
    response = wire.response()
    assert response.status == 403 and response.get("Connection") == "close"
    assert wire.ended()


def test_an_early_answer_ends_the_upload(far, wire):
    ask(wire, f"Content-Length: {OVER32}", start=f"PUT {URL}/ HTTP/1.1", body=b"u" * 1000)
    with far.accept() as origin:
        origin.head()
        answer(origin, body=b"enough")
        response = wire.response()
        assert response.body == b"enough" and response.get("Connection") == "close"
        assert wire.ended()
        assert origin.read(1000) == b"u" * 1000
        with pytest.raises((Closed, OSError)):
            while True:
                origin.read(1)
