"""Everything at once, at the cache: no byte that the origin did not send, nothing old after what
removes it, nobody who waits for ever, and nothing left behind.

A body says what it is: URL, variant, version and size, and what follows is made from these.  A
client knows so for each answer whether it is whole, of its own URL and variant, of a version that
the origin has sent, and not older than the last change that had been answered before it asked.
"""
import contextlib
import hashlib
import os
import random
import re
import signal
import socket
import threading
import time

import pytest

from test_cache import ctl
from wire import Closed, Wire
from world import wait_for

HOST = "partner1.test"
PATHS = [f"/s/{i}" for i in range(24)]
CLIENTS = 10
SECONDS = 8 if os.environ.get("STRESS") is None else float(os.environ["STRESS"])
PATIENCE = 30  # seconds without a byte: it hangs

ACL = """
[partner one]
hosts = partner1.test
ports = 80
cache = yes
; {}
"""
ACLS = [ACL.format("one"), ACL.format("two"), ACL.replace("cache = yes\n", "").format("three"),
        ACL.format("four") + "[partner two]\nhosts = partner2.test\nfrom = any\n"]

SIZES = (0, 1, 500, 9000, 40_000, 300_000, 1_500_000)
CONTROLS = ("max-age=60", "max-age=60", "max-age=60", "max-age=0",
            "max-age=0, stale-while-revalidate=60", "max-age=0, stale-if-error=60",
            "max-age=1", "no-store", "private", "max-age=60, must-revalidate")


def body_of(path, variant, version, size):
    head = f"{path} {variant} {version} {size}\n".encode()
    return head + hashlib.shake_128(head).digest(size)


def tag_of(path, variant, version, size):
    return f'"{path} {variant} {version} {size}"'.replace(" ", "_")


def part_of(body, asked):
    """The bytes of one range, and its Content-Range; None: all of it."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
    if not asked or not body:
        return None
    first = int(asked[1]) if asked[1] else max(len(body) - int(asked[2]), 0)
    last = min(int(asked[2]), len(body) - 1) if asked[1] and asked[2] else len(body) - 1
    if first > last:
        return None
    return body[first:last + 1], f"Content-Range: bytes {first}-{last}/{len(body)}"


class Site:
    """What the origin says, and what it has said."""

    def __init__(self, seed, cuts_closed):
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.version = dict.fromkeys(PATHS, 0)
        self.answered = dict.fromkeys(PATHS, 0)  # the last change that its client knows of
        self.sent = set()
        self.cuts_closed = cuts_closed

    def draw(self, path, variant):
        """The version that is to be sent now, and how."""
        with self.lock:
            r = self.random
            version = self.version[path]
            size = SIZES[sum(f"{path}{variant}".encode()) * 7 % 31 * version % len(SIZES)]
            self.sent.add((path, variant, version, size))
            return version, size, r.choice(CONTROLS), \
                r.choice(("counted", "counted", "chunked", "closed", "early")), r.random()

    def answer(self, exchange):
        request, path = exchange.request, exchange.path
        if request.start[0] == "POST":
            exchange.take_body()
            with self.lock:
                self.version[path] += 1
                version = self.version[path]
            exchange.reply(200, str(version))
            return
        variant = request.get("X-Variant", "none")
        version, size, control, framing, chance = self.draw(path, variant)
        if chance < 0.04:
            exchange.reply(503, b"no")
            return
        tag = tag_of(path, variant, version, size)
        fields = [f"Cache-Control: {control}", f"ETag: {tag}", "Vary: X-Variant",
                  f"Surrogate-Key: all {path[3:]}"]
        if request.get("If-None-Match") == tag:
            exchange.reply(304, b"", *fields)
            return
        if request.start[0] == "HEAD":
            exchange.reply(200, body_of(path, variant, version, size), *fields)
            return
        body, status = body_of(path, variant, version, size), "200 OK"
        part = part_of(body, request.get("Range"))
        if part and chance < 0.9:
            body, status = part[0], "206 Partial Content"
            fields.append(part[1])
        self.send(exchange, body, [f"HTTP/1.1 {status}", *fields], framing,
                  cut=0.04 <= chance < 0.10, slow=chance > 0.7)

    @staticmethod
    def send(exchange, body, lines, framing, cut, slow):
        head = "\r\n".join(lines) + "\r\n"
        end = len(body) // 2 if cut else len(body)
        if framing == "early":
            exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        chunked = framing == "chunked"
        exchange.send(head, "Transfer-Encoding: chunked\r\n\r\n" if chunked else
                      "Connection: close\r\n\r\n" if framing == "closed" else
                      f"Content-Length: {len(body)}\r\n\r\n")
        for at in range(0, end, 50_000):
            part = body[at:min(at + 50_000, end)]
            exchange.send(*((f"{len(part):x}\r\n", part, "\r\n") if chunked else (part,)))
            if slow:
                time.sleep(0.003)
        if chunked and not cut:
            exchange.send("0\r\n\r\n")
        if cut:
            exchange.reset()
        elif framing == "closed":
            exchange.close()


class Client(threading.Thread):
    """Asks for this and that until it is told to stop, and looks at each answer."""

    def __init__(self, daemon, site, seed, strict):
        super().__init__(daemon=True)
        self.proxy, self.site, self.strict = daemon, site, strict
        self.random = random.Random(seed)
        self.stop = threading.Event()
        self.failure = self.doing = None
        self.whole = self.broken = 0

    def run(self):
        while not self.stop.is_set() and not self.failure:
            try:
                with self.wire() as wire:
                    for _ in range(self.random.randint(1, 6)):
                        if not self.one(wire):
                            break
            except TimeoutError as error:
                self.failure = f"it hangs: {self.doing}: {error!r}"
            except (Closed, ConnectionError, ValueError, OSError):
                self.broken += 1
            except BaseException as error:  # shown by the test
                self.failure = f"{self.doing}: {error!r}"

    def wire(self):
        s = self.proxy.world.pod1.socket()
        s.settimeout(PATIENCE)
        if self.random.random() < 0.3:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect((self.proxy.world.cni0[4], self.proxy.port))
        return Wire(s)

    def one(self, wire):
        """One exchange.  False: the connection is of no use any more."""
        r = self.random
        path, variant = r.choice(PATHS), r.choice(("a", "b"))
        kind = r.choices(("get", "range", "head", "post", "leave", "old", "fresh", "both"),
                         (30, 20, 4, 3, 8, 4 if self.strict else 0, 3, 5))[0]
        fields = [f"Host: {HOST}", f"X-Variant: {variant}"]
        if kind == "post":
            return self.post(wire, path, fields)
        least = self.site.answered[path]
        self.doing = (kind, path, variant)
        if kind == "range":
            fields.append(r.choice(("Range: bytes=10-99", "Range: bytes=-50", "Range: bytes=200000-",
                                    "Range: bytes=100-200000", "Range: bytes=0-150000",
                                    f"Range: bytes={r.randrange(300_000)}-")))
        if kind == "fresh":
            fields.append("Cache-Control: no-cache")
        method = "HEAD" if kind == "head" else "GET"
        version = "1.0" if kind == "old" else "1.1"
        asked = f"{method} http://{HOST}{path} HTTP/{version}\r\n" + "\r\n".join(fields) + "\r\n\r\n"
        wire.send(asked * (2 if kind == "both" else 1))
        if kind == "leave":
            wire.head()
            wire.file.read1(r.choice((0, 1, 5000)))
            wire.reset()
            return False
        for _ in range(2 if kind == "both" else 1):
            answer = wire.response(method)
            self.doing += (answer.start, answer.fields, len(answer.body))
            self.look(path, variant, method, answer, least)
            if answer.get("Connection") == "close":
                return False
        return kind != "old"

    def post(self, wire, path, fields):
        wire.send(f"POST http://{HOST}{path} HTTP/1.1\r\n" + "\r\n".join(fields),
                  "\r\nContent-Length: 1\r\n\r\nx")
        answer = wire.response("POST")
        if answer.status == 200:
            with self.site.lock:
                self.site.answered[path] = max(self.site.answered[path], int(answer.text))
        return True

    def look(self, path, variant, method, answer, least):
        if answer.status not in (200, 206):
            assert answer.status in (416, 502, 503), answer
            return
        tag = answer.get("ETag").strip('"').split("_")
        what = (tag[0], tag[1], int(tag[2]), int(tag[3]))
        assert what in self.site.sent, what
        assert what[:2] == (path, variant), (path, variant, answer)
        if self.strict:
            assert what[2] >= least, f"{what}: version {least} was there before"
        if method == "HEAD":
            return
        body = body_of(*what)
        if answer.status == 206:
            bounds, _, total = answer.get("Content-Range").removeprefix("bytes ").partition("/")
            first, _, last = bounds.partition("-")
            assert int(total) == len(body), answer.fields
            body = body[int(first):int(last) + 1]
        assert len(answer.body) == len(body), (what, len(answer.body), answer.fields)
        assert answer.body == body, (what, answer.fields)
        self.whole += 1


def disturb(daemon, site, end, kills):
    """Purges and reloads, and the proxy is killed."""
    r = random.Random(1)
    while time.monotonic() < end:
        do = r.choice(("url", "prefix", "tag", "partner", "reload", "kill" if kills else "url"))
        if do == "reload":
            daemon.write("acl.ini", r.choice(ACLS[:2] if not kills else ACLS))
            daemon.signal(signal.SIGHUP)
        elif do == "kill":
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(daemon.proxies()[0], signal.SIGKILL)
        else:
            what = {"url": f"http://{HOST}{r.choice(PATHS)}", "prefix": f"http://{HOST}/s/1",
                    "tag": r.choice(("all", "3")), "partner": "one"}[do]
            ctl(daemon, "purge", do, what)
        time.sleep(0.25)
    daemon.write("acl.ini", ACLS[0])
    daemon.signal(signal.SIGHUP)


@pytest.mark.parametrize("where", ("memory", "disk"))
def test_all_at_once(egretd, origin1, where):
    disk = where == "disk"
    daemon = egretd(ACLS[0], config={
        "cache": {"size": "16m", "max-object": "1m"} | ({"directory": "store"} if disk else {}),
        "log": {"level": "info", "access-log": "off"}})
    site = Site(7, not disk)
    origin1.paths.update({path: site.answer for path in PATHS})
    clients = [Client(daemon, site, seed, not disk) for seed in range(CLIENTS)]
    end = time.monotonic() + SECONDS
    for client in clients:
        client.start()
    disturb(daemon, site, end, kills=disk)
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(PATIENCE * 2)
        assert not client.is_alive(), "it hangs"
    assert [client.failure for client in clients] == [None] * CLIENTS
    assert sum(client.whole for client in clients) > 100
    nothing_is_left(daemon, origin1)


def nothing_is_left(daemon, origin):
    wait_for("the proxy", daemon.ready)
    daemon.reload(ACLS[0] + "; last\n")
    origin.drop_idle()
    daemon.wait_metric("egret_origin_connections", 0, 20)
    origin.paths["/left"] = lambda exchange: exchange.reply(
        200, b"x" * 900_000, "Cache-Control: max-age=60")
    wait_for("room: something is held that nobody has", lambda: daemon.get(
        f"http://{HOST}/left").get("Cache-Status").startswith("egret; hit"), 20)
