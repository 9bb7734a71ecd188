"""What an answer from the cache costs: egret, its peers, and an origin that only answers.

As bench.py, whose proxies and clients these are: a network namespace of its own, one worker each,
the proxies taking turns, medians of CPU.  Every hit is one: a request that reaches the origin
meanwhile ends the bench.  Beyond that: many clients that ask for one thing at once, memory of many
small objects, and a start with a full store.
"""
import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench import (GIB, HTTP, ECHO, KIB, MIB, NAME, Process, Proxy, all_started, cpu_of_rounds,
                   enter_namespace, tree, wait_for)

CROWD = 1000      # clients at once
SMALL = 1 * KIB   # bytes of a small object
STORED = 64 * KIB  # bytes of each object in the full store
FULLEST = 10 * GIB


def ask(port, target, **fields):
    """Status, fields and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", target, headers=fields)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def asked():
    """How many requests have reached the origin."""
    return int(ask(HTTP, "/asked")[2])


class Bench:
    def __init__(self, build, directory, quick):
        self.build, self.directory = build, directory
        self.programs = os.path.join(build, "bench")
        self.quick = quick
        self.rounds, self.seconds = (1, 0.5) if quick else (7, 1.5)
        self.lists = {"hosts": f"127.0.0.1 {NAME}\n", "access.log": ""}
        self.egret = self.egret_with("egret", 3200, "256m")
        self.origin = self.proxy("the origin itself", 3270,
                                 [os.path.join(self.programs, "origin"), "3270", "3271"])
        self.peers = [
            self.proxy("HAProxy", 3210, ["haproxy", "-db", "-f", "@DIR/haproxy.cfg"], "haproxy.cfg"),
            self.proxy("nginx", 3220, ["nginx", "-c", "@DIR/nginx.conf"], "nginx.conf"),
            self.proxy("Traffic Server", 3230, ["traffic_server", "--run-root=@DIR/runroot.yaml"],
                       "runroot.yaml", "records.config", "storage.config", "ip_allow.yaml",
                       "logging.yaml"),
            self.proxy("Varnish", 3240, ["varnishd", "-F", "-j", "none", "-n", "@DIR", "-a",
                                         "127.0.0.1:3240", "-f", "@DIR/varnish.vcl", "-s",
                                         "malloc,256M", "-p", "thread_pools=1", "-p",
                                         "listen_depth=4096"], "varnish.vcl"),
            self.proxy("Squid", 3250, ["squid", "-N", "-f", "@DIR/squid.conf"], "squid.conf"),
        ]
        self.all = [self.egret, *self.peers, self.origin]

    def proxy(self, name, port, command, *files, **values):
        return Proxy(self, name, port, command,
                     [(os.path.join("cache", file), file) for file in files], values=values)

    def egret_with(self, name, port, size, store="off"):
        return self.proxy(name, port, [os.path.join(self.build, "egretd"), "-c", "@DIR/egret.ini"],
                          "egret.ini", "acl.ini", SIZE=size, STORE=store)

    def load(self, mode, port, path, size, connections, last):
        """Runs the clients to their end; a wrong answer ends the bench."""
        command = [os.path.join(self.programs, "load"), mode, str(port), f"{NAME}:{HTTP}{path}",
                   str(size), str(connections), str(last)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        if result.returncode:
            sys.exit(f"{' '.join(command)}: {result.stderr}")
        return json.loads(result.stdout)


# ---- hits ---------------------------------------------------------------------------------

def store(bench, proxy, size):
    """Asks until the origin is not asked any more."""
    for _ in range(3):  # Traffic Server reads its hosts a second after it has begun to listen
        with contextlib.suppress(OSError):
            ask(proxy.port, f"http://{NAME}:{HTTP}/")
            break
    quiet = 0
    for _ in range(100):
        before = asked()
        bench.load("get", proxy.port, "", size, 1, 0)
        quiet = quiet + 1 if asked() == before else 0
        if quiet == 3:
            return
        time.sleep(0.02)
    sys.exit(f"{proxy.name}: does not store {size} bytes")


def hits(bench, running, size, connections, unit):
    for proxy in running:
        store(bench, proxy, size)

    def measure(proxy, seconds):
        before = asked()
        result = bench.load("get", proxy.port, "", size, connections, round(seconds * 1000))
        if asked() != before:
            sys.exit(f"{proxy.name}: not all of {result['done']} were hits")
        return unit(result)
    return cpu_of_rounds(running, bench.rounds, bench.seconds, measure)


def hits_1k(bench, running):
    return hits(bench, running, KIB, 64, lambda result: result["done"] / 1e6)


def hits_1m(bench, running):
    return hits(bench, running, MIB, 8, lambda result: result["bytes"] / GIB)


# ---- one request for many -----------------------------------------------------------------

def crowd(bench, running):
    """{proxy: requests to the origin}, {proxy: seconds}: medians."""
    requests, seconds = {}, {}
    for proxy in running:
        if proxy is bench.origin:
            continue
        rounds = []
        for i in range(1 if bench.quick else 3):
            before = asked()
            took = bench.load("get", proxy.port, f"/slow/{i}", MIB, CROWD, 0)["seconds"]
            rounds.append((asked() - before, took))
        requests[proxy.name], seconds[proxy.name] = map(statistics.median, zip(*rounds))
    return requests, seconds


# ---- egret alone --------------------------------------------------------------------------

def private_memory(process):
    """Bytes that are no file's and not shared: without the segments of a cache in memory."""
    total = 0
    for pid in tree(process.popen.pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
            total += int(re.search(r"^Pss_Anon:\s*(\d+)", file.read(), re.M)[1]) * KIB
    return total


def metric(proxy, name):
    text = ask(proxy.port + 3, "/metrics")[2]
    return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])


def memory(bench):
    """Bytes an object beside what is stored, and bytes of segments an object."""
    count = 100_000 if bench.quick else 1_000_000
    proxy = bench.egret_with("egret", 3280, "4g")
    with proxy.started() as process:
        bench.load("fill", proxy.port, "/warm", SMALL, 64, 1000)
        private = private_memory(process)
        objects, stored = (metric(proxy, f"egret_cache_{name}") for name in ("objects", "bytes"))
        bench.load("fill", proxy.port, "/small", SMALL, 64, count)
        more = metric(proxy, "egret_cache_objects") - objects
        if more < count:
            sys.exit(f"{count} objects were stored, and {more:.0f} are there")
        return ((private_memory(process) - private) / more,
                (metric(proxy, "egret_cache_bytes") - stored) / more)


def is_hit(proxy, path):
    """Not found: 504, and the origin is not asked."""
    status, fields, _ = ask(proxy.port, f"http://{NAME}:{HTTP}{path}",
                            **{"Cache-Control": "only-if-cached"})
    return status == 200 and "; hit" in fields["Cache-Status"]


def first_hit(proxy, path):
    """Seconds until it is found."""
    began = time.monotonic()
    while time.monotonic() - began < 120:
        with contextlib.suppress(OSError):
            if is_hit(proxy, path):
                return time.monotonic() - began
        time.sleep(0.001)
    sys.exit(f"{path}: is not found again")


def drop_pages(path):
    """The file's pages leave memory."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def restarted(proxy, path):
    """Seconds from exec to the first hit, and until all is found; objects then."""
    began = time.monotonic()
    with proxy.start():
        first = first_hit(proxy, path)
        while metric(proxy, "egret_cache_loading"):
            time.sleep(0.005)
        return first, time.monotonic() - began, metric(proxy, "egret_cache_objects")


def fill(bench, proxy, count, size):
    """The same objects again and again: what comes faster than the disk takes it is not stored.

    Returns the path of one that is."""
    for _ in range(30):
        bench.load("fill", proxy.port, "/full", STORED, 16, count)
        if metric(proxy, "egret_cache_bytes") >= 0.95 * size:
            break
    else:
        sys.exit(f"{proxy.name}: is not full, with {metric(proxy, 'egret_cache_bytes'):.0f} bytes")
    for i in reversed(range(count)):
        path = f"/full/{i}/{STORED}"
        if is_hit(proxy, path):
            return path
    sys.exit(f"{proxy.name}: has nothing")


def restart(bench):
    """Prints them for a store that is as full as the disk allows."""
    parent = os.path.join(bench.build, "bench-store")
    os.makedirs(parent, exist_ok=True)
    try:
        room = shutil.disk_usage(parent).free // 2
        size = min(FULLEST, room, GIB // 4 if bench.quick else FULLEST) // MIB * MIB
        proxy = bench.egret_with("egret", 3290, f"{size // MIB}m", parent)
        with proxy.started() as process:
            path = fill(bench, proxy, size // STORED, size)
            process.popen.terminate()
            process.popen.wait(120)  # it writes what is not on the disk yet
        for pages in ("in memory", "on the disk alone"):
            if pages != "in memory":
                drop_pages(os.path.join(parent, "cache.store"))
            first, whole, objects = restarted(proxy, path)
            print(f"| start with {size / GIB:.2f} GiB in {objects:.0f} objects, {pages}: "
                  f"s to the first hit; until all is found | {first:.3f}; {whole:.3f} |", flush=True)
    finally:
        shutil.rmtree(parent)


# ---- the table ----------------------------------------------------------------------------

def print_row(names, what, aim, results):
    met = "" if aim == "" else "yes" if results["egret"] <= aim else "no"
    cells = [f"{results[name]:.2f}".removesuffix(".00") if name in results else "" for name in names]
    print("| " + " | ".join([what, str(aim), met, *cells]) + " |", flush=True)


def run(bench, only):
    names = [proxy.name for proxy in bench.all]
    print("| what | aim | met | " + " | ".join(names) + " |")
    print("|" + " --- |" * (3 + len(names)), flush=True)
    with all_started(bench.all) as running:
        for what, aim, measure in (("hit, 1 KiB, 64 connections: µs of CPU", 8, hits_1k),
                                   ("hit, 1 MiB, 8 connections: CPU-s/GiB", 0.30, hits_1m)):
            if only in what:
                print_row(names, what, aim, measure(bench, running))
        if only in "crowd":
            requests, seconds = crowd(bench, running)
            what = f"{CROWD:,} clients ask for 1 MiB that takes 1 s"
            print_row(names, f"{what}: requests to the origin", 1, requests)
            print_row(names, f"{what}: s until all have it", "", seconds)
    print("\n| egret alone | |\n| --- | --- |")
    if only in "memory":
        private, stored = memory(bench)
        print(f"| objects of 1 KiB: bytes of memory each, beside what is stored | {private:.0f} |")
        print(f"| ... and of the cache's size | {stored:.0f} |", flush=True)
    if only in "restart":
        restart(bench)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", default="", metavar="WORD",
                        help="the rows whose title has this; crowd, memory, restart")
    parser.add_argument("build", help="where egretd and bench/ were built")
    args = parser.parse_args()
    enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and so stops what it has started
    with tempfile.TemporaryDirectory(prefix="egret-bench.") as directory:
        os.chmod(directory, 0o755)
        bench = Bench(os.path.abspath(args.build), directory, args.quick)
        with Process([os.path.join(bench.programs, "origin"), str(HTTP), str(ECHO)], directory) as origin:
            wait_for(ECHO, origin)
            run(bench, args.only)


if __name__ == "__main__":
    main()
