"""Messages that are wrong, or that two parsers could read differently: a row each, for any proxy.

REQUESTS are sent by a client, with one more request behind them; RESPONSES by an origin, while one
more request of the same client waits.  A row says what has to become of it, WANTED what that means.
"""
import contextlib
from dataclasses import dataclass, field

from origin import Origin
from wire import Closed
from world import wait_for

PORT = 7001
DEAD = 7009  # nobody listens there
URL = f"http://partner1.test:{PORT}"
OVER32 = 1 << 32


@dataclass(frozen=True)
class Row:
    section: str  # that it offends, or that says what to do
    text: str  # in Latin-1
    want: str = "refused"
    answer: tuple = ()  # contained: what the client gets
    method: str = "GET"  # of the request that a response answers


@dataclass
class Outcome:
    answers: list = field(default_factory=list)  # (status, body); None as body: it was cut
    closed: bool = False  # the client's connection, by the proxy
    reached: list = field(default_factory=list)  # requests at the origin
    whole: list = field(default_factory=list)  # bodies that were whole there
    left: bool = False  # the origin's connection is still open
    reused: bool = False  # it has got another request
    interims: int = 0

    @property
    def paths(self):
        return [request.start[1] for request in self.reached]

    def __str__(self):
        said = [f"{status or 'garbage'}{' cut' if body is None else ''}"
                for status, body in self.answers]
        return ", ".join((said or ["no answer"])
                         + (["closed"] if self.closed else ["open"])
                         + (["/smuggled"] if "/smuggled" in self.paths else [])
                         + (["reused"] if self.reused else [])
                         + ([f"{self.interims} interim"] if self.interims else []))


def _refused(row, out):
    """An error and nothing else, and both connections end."""
    return (len(out.answers) == 1 and 400 <= out.answers[0][0] < 600 and out.closed
            and not out.whole and not out.left and "/smuggled" not in out.paths)


def _unheard(row, out):
    """The same, and the origin has not seen a byte."""
    return _refused(row, out) and not out.reached


def _cut(row, out):
    """It is never whole at the other side: an error, or an end that is none."""
    return (all(body is None or status >= 400 for status, body in out.answers) and out.closed
            and len(out.answers) <= 1 and not out.whole and not out.left
            and "/smuggled" not in out.paths)


def _contained(row, out):
    """The client gets what is right of it, and its next answer from a new connection."""
    return out.answers == [row.answer, (200, b"good")] and not out.left and not out.reused


def _hidden(row, out):
    """The field that Connection names stays at the proxy."""
    return (out.answers[0][0] == 200
            and all(request.get("X-Hop") is None for request in out.reached)
            and b"X-Hop" not in out.answers[0][1])


def _unechoed(row, out):
    """A TRACE that ends here does not tell what was in it."""
    return not out.reached and not any(b"secret" in (body or b"") for _, body in out.answers)


WANTED = {"refused": _refused, "unheard": _unheard, "cut": _cut, "contained": _contained,
          "hidden": _hidden, "unechoed": _unechoed}


def good(row, outcome):
    with contextlib.suppress(LookupError):
        return WANTED[row.want](row, outcome)
    return False


def _head(*fields, start=f"POST {URL}/row HTTP/1.1"):
    return "\r\n".join([start, f"Host: partner1.test:{PORT}", *fields]) + "\r\n\r\n"


SMUGGLED = _head(start=f"GET {URL}/smuggled HTTP/1.1")
CHUNKED = _head("Transfer-Encoding: chunked")


def _unheard_row(section, *fields, body="", start=f"POST {URL}/row HTTP/1.1"):
    return Row(section, _head(*fields, start=start) + body, "unheard")


def _chunks(section, text):
    return Row(section, CHUNKED + text, "cut")


def _to(target, section="9110 4.2.3"):
    """Closes by itself: the message is clear, only where it wants to go is not."""
    return _unheard_row(section, "Connection: close", start=f"{target} HTTP/1.1")


HELLO = "5\r\nhello\r\n"
LAST = "0\r\n\r\n"
TWICE = len(SMUGGLED)

REQUESTS = {
    # Framing.
    "length and chunks": _unheard_row("9112 6.3", "Content-Length: 5",
                                      "Transfer-Encoding: chunked", body=LAST),
    "chunks and length": _unheard_row("9112 6.3", "Transfer-Encoding: chunked",
                                      f"Content-Length: {len(LAST) + TWICE}", body=LAST),
    "chunks and length 0": _unheard_row("9112 6.3", "Transfer-Encoding: chunked",
                                        "Content-Length: 0", body=LAST),
    "two lengths": _unheard_row("9112 6.3", "Content-Length: 0", f"Content-Length: {TWICE}"),
    "a list of lengths": _unheard_row("9112 6.3", f"Content-Length: 0, {TWICE}"),
    "a length over 2^64": _unheard_row("9110 8.6", f"Content-Length: {1 << 64}"),
    "a signed length": _unheard_row("9110 8.6", "Content-Length: +0"),
    "a length of nothing": _unheard_row("9110 8.6", "Content-Length:"),
    "chunks in HTTP/1.0": _unheard_row("9112 6.1", "Transfer-Encoding: chunked", body=LAST,
                                       start=f"POST {URL}/row HTTP/1.0"),
    "chunked twice": _unheard_row("9112 6.1", "Transfer-Encoding: chunked",
                                  "Transfer-Encoding: chunked", body=LAST),
    "chunked not last": _unheard_row("9112 6.1", "Transfer-Encoding: chunked, identity", body=LAST),
    "a coding that is almost chunked": _unheard_row("9112 6.1", "Transfer-Encoding: xchunked",
                                                    body=LAST),
    "a coding behind a vertical tab": _unheard_row("9112 6.1", "Transfer-Encoding: \x0bchunked",
                                                   body=LAST),
    "TRACE with a body": _unheard_row("9110 9.3.8", f"Content-Length: {TWICE}", body=SMUGGLED,
                                      start=f"TRACE {URL}/row HTTP/1.1"),
    # Field lines.
    "a folded line": _unheard_row("9112 5.2", "X: a\r\n b"),
    "a folded coding": _unheard_row("9112 5.2", "Transfer-Encoding:\r\n chunked", body=LAST),
    "a folded length": _unheard_row("9112 5.2", "Content-Length: 0\r\n 5"),
    "a space before the colon": _unheard_row("9112 5.1", "X : a"),
    "a space behind Content-Length": _unheard_row("9112 5.1", f"Content-Length : {TWICE}"),
    "a tab behind Transfer-Encoding": _unheard_row("9112 5.1", "Transfer-Encoding\t: chunked",
                                                   body=LAST),
    "a space in a name": _unheard_row("9112 5.1", "X Y: a"),
    "a line that begins with a space": _unheard_row("9112 2.2",
                                                    start=f"GET {URL}/row HTTP/1.1\r\n Y: b"),
    "a line without a colon": _unheard_row("9112 5", "X"),
    "a bare CR in a value": _unheard_row("9112 2.2", "X: a\rContent-Length: 5"),
    "a bare LF behind a line": _unheard_row("9112 2.2", "X: a\nY: b"),
    "a NUL in a value": _unheard_row("9110 5.5", "X: a\0b"),
    # Where it wants to go.
    "port 7001a": _to(f"GET {URL}a/row"),
    "port +7001": _to("GET http://partner1.test:+7001/row"),
    "port 2^32 + 7001": _to(f"GET http://partner1.test:{OVER32 + PORT}/row"),
    "port 65536 + 7001": _to(f"GET http://partner1.test:{65536 + PORT}/row"),
    "port -7001": _to("GET http://partner1.test:-7001/row"),
    "two ports": _to(f"GET {URL}:7001/row"),
    "a user before the host": _to("GET http://partner1.test:7001@denied.example/row"),
    "CONNECT to port 7001a": _to("CONNECT partner1.test:7001a", "9110 9.3.6"),
    "CONNECT to port +7001": _to("CONNECT partner1.test:+7001", "9110 9.3.6"),
    "CONNECT to port 2^32 + 7001": _to(f"CONNECT partner1.test:{OVER32 + PORT}", "9110 9.3.6"),
    "CONNECT without a port": _to("CONNECT partner1.test", "9110 9.3.6"),
    "a Host with port 7001a": Row("9110 7.2", f"GET {URL}/row HTTP/1.1\r\nHost: partner1.test:7001a"
                                  "\r\n\r\n", "unheard"),
    "two Hosts": _unheard_row("9112 3.2", "Host: denied.example"),
    # What is behind an answer that came early is no request.
    "bytes behind a denied CONNECT": _unheard_row("9931 8",
                                                  start="CONNECT denied.example:443 HTTP/1.1"),
    "bytes behind a failed CONNECT": _unheard_row("9931 8",
                                                  start=f"CONNECT partner1.test:{DEAD} HTTP/1.1"),
    "CONNECT with a body": _unheard_row("9110 9.3.6", f"Content-Length: {TWICE}",
                                        start=f"CONNECT partner1.test:{DEAD} HTTP/1.1"),
    "the body of a denied request": _unheard_row("9112 9.3", f"Content-Length: {TWICE + 5}",
                                                 start="POST http://denied.example/ HTTP/1.1"),
    "the chunks of a denied request": _unheard_row("9112 9.3", "Transfer-Encoding: chunked",
                                                   start="POST http://denied.example/ HTTP/1.1"),
    "the body of a failed request": _unheard_row(
        "9112 9.3", f"Content-Length: {TWICE + 5}",
        start=f"POST http://partner1.test:{DEAD}/ HTTP/1.1"),
    "a body that the origin did not wait for": Row(
        "9112 9.3", _head(f"Content-Length: {TWICE + 5}", start=f"POST {URL}/early HTTP/1.1"),
        "refused"),
    # Chunks.
    "a bare LF behind a size": _chunks("9112 7.1", "5\nhello\r\n" + LAST),
    "a bare LF behind the data": _chunks("9112 7.1", "5\r\nhello\n" + LAST),
    "a space behind a size": _chunks("9112 7.1", "5 \r\nhello\r\n" + LAST),
    "a size of 0x5": _chunks("9112 7.1", "0x5\r\nhello\r\n" + LAST),
    "a size of +5": _chunks("9112 7.1", "+5\r\nhello\r\n" + LAST),
    "a size of -5": _chunks("9112 7.1", "-5\r\nhello\r\n" + LAST),
    "a size of x": _chunks("9112 7.1", "x\r\nhello\r\n" + LAST),
    "a size of nothing": _chunks("9112 7.1", "\r\nhello\r\n" + LAST),
    "a size of 2^64 + 5": _chunks("9112 7.1", "10000000000000005\r\nhello\r\n" + LAST),
    "a chunk that is too long": _chunks("9112 7.1", "5\r\nhelloX\r\n" + LAST),
    "a bare LF in an extension": _chunks("9112 7.1.1", "5;a\nhello\r\n" + LAST),
    "a bare CR in an extension": _chunks("9112 7.1.1", "5;a\rb\r\nhello\r\n" + LAST),
    "a line end in a quoted extension": _chunks("9112 7.1.1", '5;a="\r\nhello\r\n' + LAST),
    "an endless extension": _chunks("9112 7.1.1", "5;" + 20_000 * "x" + "\r\nhello\r\n" + LAST),
    "a bare LF in a trailer": _chunks("9112 7.1.2", HELLO + "0\r\nX: a\n\r\n"),
    "a bare CR in a trailer": _chunks("9112 7.1.2", HELLO + "0\r\nX: a\rb\r\n\r\n"),
    "a bare LF behind the last chunk": _chunks("9112 7.1", HELLO + "0\r\n\n"),
    "a folded trailer": _chunks("9112 5.2", HELLO + "0\r\nX: a\r\n b\r\n\r\n"),
    "a space in a trailer's name": _chunks("9112 5.1", HELLO + "0\r\nX : a\r\n\r\n"),
    "a trailer without a colon": _chunks("9112 5", HELLO + "0\r\nbad\r\n\r\n"),
    "endless trailers": _chunks("9112 7.1.2",
                                HELLO + "0\r\n" + 2000 * "X: 0123456789\r\n" + "\r\n"),
    # Fields for this connection only.
    "a field that Connection names": Row(
        "9110 7.6.1", _head("Connection: close, X-Hop", "X-Hop: 1",
                            start=f"GET {URL}/row HTTP/1.1"), "hidden"),
    "a field that a second Connection names": Row(
        "9110 7.6.1", _head("X-Hop: 1", "Connection: close", "Connection: a,,\tx-hOP ,b",
                            start=f"GET {URL}/row HTTP/1.1"), "hidden"),
    "TRACE that ends at the proxy": Row(
        "9110 9.3.8", _head("Max-Forwards: 0", "Cookie: secret", "Authorization: secret",
                            "Connection: close", start=f"TRACE {URL}/row HTTP/1.1"), "unechoed"),
}

PLANTED = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted"
OK = "HTTP/1.1 200 OK\r\n"


def _refused_row(section, *lines, body="", start="HTTP/1.1 200 OK"):
    return Row(section, "\r\n".join([start, *lines]) + "\r\n\r\n" + body, "refused")


def _holds(section, text, status, body=b"", method="GET"):
    return Row(section, text + PLANTED, "contained", (status, body), method)


def _broken(section, text):
    return Row(section, OK + "Transfer-Encoding: chunked\r\n\r\n" + text, "cut")


RESPONSES = {
    "length and chunks": _refused_row("9112 6.3", "Content-Length: 5", "Transfer-Encoding: chunked",
                                      body=LAST + PLANTED),
    "two lengths": _refused_row("9112 6.3", "Content-Length: 0", "Content-Length: 5",
                                body="hello" + PLANTED),
    "a list of lengths": _refused_row("9112 6.3", "Content-Length: 0, 5", body="hello" + PLANTED),
    "a signed length": _refused_row("9110 8.6", "Content-Length: +5", body="hello"),
    "a length over 2^64": _refused_row("9110 8.6", f"Content-Length: {(1 << 64) + 5}",
                                       body="hello"),
    "chunks in HTTP/1.0": _refused_row("9112 6.1", "Transfer-Encoding: chunked",
                                       start="HTTP/1.0 200 OK", body=HELLO + LAST),
    "chunked twice": _refused_row("9112 6.1", "Transfer-Encoding: chunked, chunked",
                                  body=HELLO + LAST),
    "a coding nobody asked for": _refused_row("9112 6.1", "Transfer-Encoding: gzip", body="x"),
    "a folded line": _refused_row("9112 5.2", "X: a\r\n b", "Content-Length: 0"),
    "a folded length": _refused_row("9112 5.2", "Content-Length: 0\r\n 5", body="hello"),
    "a space before the colon": _refused_row("9112 5.1", "Content-Length : 5", body="hello"),
    "a bare CR in a value": _refused_row("9112 2.2", "X: a\rContent-Length: 5",
                                         "Content-Length: 0"),
    "a bare LF behind a line": _refused_row("9112 2.2", "X: a\nContent-Length: 0"),
    "a NUL in a value": _refused_row("9110 5.5", "X: a\0b", "Content-Length: 0"),
    "a line without a colon": _refused_row("9112 5", "Bad", "Content-Length: 0"),
    "a status of four digits": _refused_row("9112 4", "Content-Length: 0",
                                            start="HTTP/1.1 2000 OK"),
    "a 101 that nobody asked for": _refused_row(
        "9110 15.2.2", "Connection: Upgrade", "Upgrade: websocket",
        start="HTTP/1.1 101 Switching Protocols", body=PLANTED),
    "a body of a 100": _refused_row("9110 15.2", "Content-Length: 5", start="HTTP/1.1 100 Continue",
                                    body="hello" + PLANTED),
    "nine interim responses": _refused_row("9110 15.2", "Content-Length: 0", start=(
        9 * "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + "HTTP/1.1 200 OK")),
    # A response in the place of the body that must not be there.
    "a body of a 204": _holds("9110 6.4.1", "HTTP/1.1 204 No Content\r\n"
                              f"Content-Length: {len(PLANTED)}\r\n\r\n", 204),
    "a body of a 204 without length": _holds("9110 6.4.1", "HTTP/1.1 204 No Content\r\n\r\n", 204),
    "chunks of a 204": _holds("9112 6.1", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked"
                              "\r\n\r\n" + HELLO + LAST, 204),
    "a body of a 304": _holds("9110 15.4.5", "HTTP/1.1 304 Not Modified\r\n"
                              f"Content-Length: {len(PLANTED)}\r\n\r\n", 304),
    "chunks of a 304": _holds("9112 6.3", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked"
                              "\r\n\r\n" + HELLO + LAST, 304),
    "a body of HEAD": _holds("9110 9.3.2", OK + f"Content-Length: {len(PLANTED)}\r\n\r\n", 200,
                             method="HEAD"),
    "bytes behind a counted body": _holds("9112 9.3", OK + "Content-Length: 2\r\n\r\nok", 200,
                                          b"ok"),
    "bytes behind an empty body": _holds("9112 9.3", OK + "Content-Length: 0\r\n\r\n", 200),
    "bytes behind the last chunk": _holds(
        "9112 9.3", OK + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + LAST, 200, b"ok"),
    # Chunks.
    "a bare LF behind a size": _broken("9112 7.1", "5\nhello\r\n" + LAST),
    "a bare LF behind the data": _broken("9112 7.1", "5\r\nhello\n" + LAST),
    "a space behind a size": _broken("9112 7.1", "5 \r\nhello\r\n" + LAST),
    "a size of 0x5": _broken("9112 7.1", "0x5\r\nhello\r\n" + LAST),
    "a size of 2^64 + 5": _broken("9112 7.1", "10000000000000005\r\nhello\r\n" + LAST),
    "a bare LF in an extension": _broken("9112 7.1.1", "5;a\nhello\r\n" + LAST),
    "a bare CR in an extension": _broken("9112 7.1.1", "5;a\rb\r\nhello\r\n" + LAST),
    "a bare LF in a trailer": _broken("9112 7.1.2", HELLO + "0\r\nX: a\n\r\n"),
    "a bare CR in a trailer": _broken("9112 7.1.2", HELLO + "0\r\nX: a\rb\r\n\r\n"),
    "a folded trailer": _broken("9112 5.2", HELLO + "0\r\nX: a\r\n b\r\n\r\n"),
    "a space in a trailer's name": _broken("9112 5.1", HELLO + "0\r\nX : a\r\n\r\n"),
    "a chunk that is too long": _broken("9112 7.1", "5\r\nhelloX\r\n" + LAST),
    # A field for the proxy only: the body would tell of it.
    "a field that Connection names": Row(
        "9110 7.6.1", OK + "Connection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok",
        "hidden"),
}

# Cut short by the origin's close: with 32 bits for a length they would be whole.
SHORT = {
    "of a length": Row("9112 8", OK + "Content-Length: 10\r\n\r\nhello", "cut"),
    "of a length over 2^32": Row("9112 8", OK + f"Content-Length: {OVER32 + 5}\r\n\r\nhello",
                                  "cut"),
    "of a chunk": Row("9112 8", OK + "Transfer-Encoding: chunked\r\n\r\n9\r\nhello", "cut"),
    "of a chunk over 2^32": _broken("9112 8", f"{OVER32 + 5:x}\r\nhello\r\n" + LAST),
    "before the last chunk": _broken("9112 8", HELLO),
    "in the trailers": _broken("9112 8", HELLO + "0\r\nX: a\r\n"),
}


def _read_answer(wire, method, out):
    message = wire.head()
    if 100 <= message.status < 200 and message.status != 101:
        out.interims += 1
        return
    out.answers.append((message.status, None))
    body = b"".join(f"{name}: {value}\n".encode("latin-1")
                    for name, value in message.fields if name.lower() == "x-hop")
    if (method if len(out.answers) == 1 else "GET") != "HEAD" \
            and message.status not in (101, 204, 304):
        body += wire.body(message, until_close=True)
    out.answers[-1] = (message.status, body)


def _read_answers(wire, method, out):
    """All that the proxy says, until it closes or falls silent."""
    try:
        while wire.file.peek(1):
            _read_answer(wire, method, out)
        out.closed = True
    except TimeoutError:
        pass
    except (OSError, Closed):
        out.closed = True
    except (ValueError, LookupError):
        out.answers.append((0, None))


class Trial:
    """A proxy between a client and an origin.  connect() gives a client's Wire to the proxy."""

    def __init__(self, connect, origin, patience=10):
        self.connect, self.origin, self.patience = connect, origin, patience

    @staticmethod
    def origin_at(namespace):
        return Origin(namespace, PORT)

    def _begin(self, paths):
        self.origin.drop_idle()
        self.origin.forget()
        self.origin.paths = paths

    def _end(self, out, held):
        """Looks at the connections that had the row."""
        with contextlib.suppress(AssertionError):
            wait_for("the row's connection to end",
                     lambda: not any(each in self.origin.open for each in held), self.patience)
        out.left = any(each in self.origin.open for each in held)
        out.reached = list(self.origin.requests)
        return out

    def request(self, row):
        """The client sends the row, and a request that may look like one behind it."""
        out, held = Outcome(), []

        def whole(exchange):
            held.append(exchange)
            body = exchange.take_body()
            if exchange.request.start[0] == "POST":
                out.whole.append(body)
            exchange.reply(200, "row")

        def early(exchange):
            held.append(exchange)
            exchange.reply(413, "no", "Connection: close")
            exchange.finish()
            while exchange.file.read(65536):
                pass

        self._begin({"/row": whole, "/early": early})
        with self.connect() as wire:
            wire.socket.settimeout(self.patience)
            behind = "" if row.want in ("hidden", "unechoed") else SMUGGLED
            with contextlib.suppress(OSError):
                wire.send(row.text.encode("latin-1"), behind)
            _read_answers(wire, row.text.split()[0], out)
        return self._end(out, held)

    def response(self, row, close=False):
        """The origin answers with the row (and closes); the client has one more request."""
        out, held = Outcome(), []

        def plant(exchange):
            held.append(exchange)
            exchange.send(row.text.encode("latin-1"))
            if close:
                exchange.finish()

        def following(exchange):
            out.reused |= exchange in held
            exchange.reply(200, "good", "Connection: close")
            exchange.finish()

        self._begin({"/row": plant, "/next": following})
        with self.connect() as wire:
            wire.socket.settimeout(self.patience)
            wire.send(_head(start=f"{row.method} {URL}/row HTTP/1.1"),
                      _head("Connection: close", start=f"GET {URL}/next HTTP/1.1"))
            _read_answers(wire, row.method, out)
        return self._end(out, held if row.want != "hidden" else [])
