"""The partner's side of the gateway's uplink under watch, and the traffic that crosses it.

The programs do the work (judge.c, traffic.c); here tests talk to them.
"""
import contextlib
import json
import os
import subprocess
import threading
import time

from daemon import EGRETD
from world import stop, wait_for

PROGRAMS = os.path.join(os.path.dirname(EGRETD), "system")
JUDGE = os.path.join(PROGRAMS, "judge")
TRAFFIC = os.path.join(PROGRAMS, "traffic")


class _Program:
    """A process that answers each line with a line."""

    def __init__(self, namespace, *argv):
        self._lock = threading.Lock()
        self._process = namespace.start(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(self._process.stderr.read() or "it ended without a word")
        return line

    def ask(self, *words):
        with self._lock:
            self._process.stdin.write(" ".join(str(word) for word in words) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def close(self):
        """Ends it; complains when it ended by itself or in error."""
        if self._process.poll() is None:
            self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        status = stop(self._process)
        error = self._process.stderr.read()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                stream.close()
        assert status == 0, f"{self._process.args[:2]} ended with {status}: {error}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _now():
    ns = time.time_ns()
    return f"{ns // 10**9}.{ns % 10**9:09}"


class Judge(_Program):
    """Judges every packet that a gateway forwards to the namespace `net`.

    watch() says whose packets, allow() which sources are right from now on.  The first
    watch that matches a packet judges it.
    """

    def __init__(self, world, watches=()):
        super().__init__(world.net, JUDGE, "lo", "to1", "to2")
        self._right = {}
        for watch in watches:
            self.watch(*watch)
        self.ask("begin")

    def watch(self, name, networks, sources, protocol="any", port=0):
        """Packets to any of the networks, from now on; `sources` may be right for one version or both."""
        for network in networks:
            self.ask("watch", name, network, protocol, port)
        self.ask("allow", name, 0, *sources)
        self._right[name] = sources

    def allow(self, name, *sources):
        """From now on only these are right."""
        self.ask("allow", name, _now(), *sources)
        self._right[name] = sources

    @contextlib.contextmanager
    def change(self, name, before, after):
        """Within, the old and the new sources are right; from its end on only the new."""
        self.allow(name, *before, *after)
        yield
        self.allow(name, *after)

    @contextlib.contextmanager
    def instant(self, running, *sources):
        """Within, while somebody takes the table away and no gate is running, these are right as
        well: a packet that is in the table then meets neither guard nor backstop."""
        if running:
            yield
            return
        before = dict(self._right)
        for name, right in before.items():
            self.allow(name, *right, *sources)
        yield
        for name, right in before.items():
            self.allow(name, *right)

    def report(self):
        report = json.loads(self.ask("report"))
        assert report["drops"] == 0, "the judge lost packets"
        assert report["strange"] == 0
        assert report["unwatched"] == 0, "packets that no watch is for"
        return report

    def seen(self, watch, source=None):
        """How many packets, of one source or of any."""
        return sum(pair["packets"] for pair in self.report()["pairs"]
                   if pair["watch"] == watch and source in (None, pair["source"]))

    def sources(self, watch):
        return {pair["source"] for pair in self.report()["pairs"] if pair["watch"] == watch}

    def wrong(self):
        """The wrong ones, a line for each source and destination."""
        return [f"{pair['watch']}: {pair['wrong']} of {pair['packets']} packets from "
                f"{pair['source']} to {pair['destination']} between {pair['first_wrong']:.3f} and "
                f"{pair['last_wrong']:.3f}, first {pair['example']}"
                for pair in self.report()["pairs"] if pair["wrong"]]

    def verify(self):
        """Nothing wrong was seen."""
        wrong = self.wrong()
        assert not wrong, "\n".join(["wrong sources:", *wrong])

    def leaks(self):
        return sum(pair["wrong"] for pair in self.report()["pairs"])


class Server(_Program):
    """Sends back what comes by TCP and UDP."""

    def __init__(self, namespace, port):
        super().__init__(namespace, TRAFFIC, "serve", str(port))


class Traffic(_Program):
    """Tasks as traffic.c has them: (kind, address, port, rate)."""

    def __init__(self, namespace, *tasks):
        super().__init__(namespace, TRAFFIC, "send",
                         *(",".join(str(word) for word in task) for task in tasks))

    def report(self):
        return json.loads(self.ask("report"))

    def forget_gaps(self):
        """Gaps are measured from here."""
        self.ask("forget gaps")

    def gap(self, *kinds):
        """The longest that one of these kinds of task had no answer; seconds, until now."""
        return max(max(task["gap"], task["silence"]) for task in self.report()
                   if task["kind"] in kinds)

    def total(self, member, kind=None, to=None):
        return sum(task[member] for task in self.report()
                   if kind in (None, task["kind"]) and to in (None, task["to"]))

    def more(self, packets=300, seconds=20):
        """Returns when that many more were sent."""
        until = self.total("sent") + packets
        wait_for(f"{packets} more packets", lambda: self.total("sent") >= until, seconds)

    def flows(self, packets=50, seconds=20, **which):
        """Returns when that many more were answered."""
        until = self.total("answered", **which) + packets
        self._wait(f"{packets} more answers of {which}",
                   lambda: self.total("answered", **which) >= until, seconds)

    def flow_again(self, without=("invalid",), packets=3, seconds=20):
        """Returns when each task, but those of some kinds, has that many more answers."""
        until = [task["answered"] + packets for task in self.report()]
        self._wait("answers to all", lambda: all(
            task["answered"] >= n or task["kind"] in without
            for task, n in zip(self.report(), until)), seconds)

    def _wait(self, what, condition, seconds):
        try:
            wait_for(what, condition, seconds)
        except AssertionError as failure:
            raise AssertionError(f"{failure}; now {self.report()}") from None
