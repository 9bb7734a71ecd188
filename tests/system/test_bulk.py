"""A gibibyte through the proxy: every byte as it was, in bounded memory."""
import collections
import hashlib
import os
import threading

import pytest

from daemon import SANITIZED, resident
from world import GATEWAY

GIB = 1 << 30
MEMORY = 64 << 20


Large = collections.namedtuple("Large", "path digest")


@pytest.fixture(scope="module")
def large(world, nginx):
    """A file of 1 GiB that does not repeat, and its digest."""
    path = os.path.join(nginx.www, "1g")
    world.net.run("sh", "-c", "openssl enc -aes-128-ctr -K 0123456789abcdef0123456789abcdef "
                  f"-iv 00000000000000000000000000000000 </dev/zero 2>/dev/null | head -c {GIB} "
                  f">{path}", check=True, timeout=60)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    yield Large(path, digest)
    os.unlink(path)


class Peak:
    """The most memory that a process had while this ran."""

    def __init__(self, pid):
        self._pid, self._end, self.bytes = pid, threading.Event(), 0
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self._end.wait(0.05):
            self.bytes = max(self.bytes, resident(self._pid))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(10)


def through(proxy, how, pipe, *args):
    """curl in pod1 with shell plumbing around it; its output, and the proxy's peak memory."""
    curl = ["curl", "-sS", "-m", "100", "--noproxy", "''", "--proxy",
            f"http://{GATEWAY[4]}:{proxy.port}", *args]
    if how == "tunnel":
        curl.append("--proxytunnel")
    with Peak(proxy.proxy) as peak:
        done = proxy.world.pod1.run("bash", "-o", "pipefail", "-c",
                                    pipe.format(" ".join(curl)), timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0], peak.bytes


HOW = pytest.mark.parametrize("how", ("tunnel", "request"))
ACL = "[partner one]\nhosts = partner1.test\nports = 80, 8080\n"


@HOW
def test_a_gibibyte(egretd, large, how):
    proxy = egretd(ACL)
    digest, memory = through(proxy, how, "{} | sha256sum", "http://partner1.test:8080/1g")
    assert digest == large.digest
    if not SANITIZED:
        assert 0 < memory < MEMORY


@HOW
def test_a_quarter_of_it_up(egretd, origin1, large, how):
    """To a server that answers with the digest of what it got."""
    size = GIB // 4

    def digest(exchange):
        got = hashlib.sha256()
        for _ in range(size >> 18):
            got.update(exchange.read(1 << 18))
        exchange.reply(200, got.hexdigest())
    origin1.paths["/digest"] = digest
    proxy = egretd(ACL)
    answer, memory = through(proxy, how, f"head -c {size} {large.path} | {{}}", "-T", "-",
                             "-H", f"'Content-Length: {size}'", "-H", "'Transfer-Encoding:'",
                             "-H", "'Expect:'", "http://partner1.test/digest")
    with open(large.path, "rb") as file:
        wanted = hashlib.sha256()
        for _ in range(size >> 20):
            wanted.update(file.read(1 << 20))
    assert answer == wanted.hexdigest()
    if not SANITIZED:
        assert 0 < memory < MEMORY
