"""HTTP on a bare socket: what a test sends is what is sent, what it reads is what came."""
import socket
from dataclasses import dataclass, field


class Closed(Exception):
    """The other side ended before a message was whole."""


@dataclass
class Message:
    """A response or a request."""

    start: list  # the three parts of the start line
    fields: list  # (name, value) in order
    body: bytes = b""
    interim: list = field(default_factory=list)  # 1xx responses that came before
    raw: bytes = b""  # the head as it came

    @property
    def status(self):
        return int(self.start[1])

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    @property
    def text(self):
        return self.body.decode()


class Wire:
    """A connected socket and what was read from it too early."""

    def __init__(self, s):
        self.socket = s
        self.file = s.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def reset(self):
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def send(self, *parts):
        self.socket.sendall(b"".join(part.encode() if isinstance(part, str) else part
                                     for part in parts))

    def finish(self):
        """Half-close: no more from our side."""
        self.socket.shutdown(socket.SHUT_WR)

    def read(self, n):
        data = self.file.read(n)
        if len(data) < n:
            raise Closed(f"{len(data)} of {n} bytes")
        return data

    def ended(self):
        """True when the other side closes now, false when it sends another byte."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Closed(f"in a line: {line!r}")
        return line[:-2].decode("latin-1")

    def head(self):
        raw = first = self.line()
        fields = []
        while line := self.line():
            name, _, value = line.partition(":")
            fields.append((name, value.strip()))
            raw += "\r\n" + line
        return Message(first.split(" ", 2), fields, raw=raw.encode("latin-1"))

    def chunks(self):
        """The data of each chunk as it comes."""
        while size := int(self.line().partition(";")[0], 16):
            yield self.read(size)
            assert self.line() == ""
        while self.line():
            pass

    def body(self, message, until_close=False):
        if message.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self.chunks())
        if message.get("Content-Length") is not None:
            return self.read(int(message.get("Content-Length")))
        return self.file.read() if until_close else b""

    def response(self, method="GET"):
        """The next final response with its body."""
        interim = []
        while True:
            message = self.head()
            if 100 <= message.status < 200 and message.status != 101:
                interim.append(message)
                continue
            message.interim = interim
            if method != "HEAD" and message.status not in (101, 204, 304):
                message.body = self.body(message, until_close=True)
            return message

    def get(self, url, *fields, method="GET", body=b""):
        """One exchange of a proxy's client."""
        host = url.split("/")[2]
        lines = [f"{method} {url} HTTP/1.1", f"Host: {host}", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines) + "\r\n\r\n", body)
        return self.response(method)

    def connect(self, target):
        """CONNECT; on 2xx what follows is the tunnel's."""
        self.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
        message = self.head()
        if message.status != 200:
            message.body = self.body(message, until_close=True)
        return message
