"""What a request, a tunnel and a byte cost: egret, its peers, and a bare relay.

Everything runs in a network namespace of its own, on loopback, one worker each.  The proxies take
turns, round after round; a table shows the medians of CPU time (utime + stime of all processes of
a proxy, /proc/PID/stat) for a unit of work, so what else the machine does matters less.
"""
import argparse
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "origin.bench"
HTTP, ECHO = 8000, 8001
TICK = os.sysconf("SC_CLK_TCK")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def tree(pid):
    """The process and all that descend from it."""
    pids = [pid]
    for each in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{each}/task"):
                with open(f"/proc/{each}/task/{task}/children") as file:
                    pids += [int(child) for child in file.read().split()]
    return pids


class Process:
    """A server that runs until the `with` ends."""

    def __init__(self, command, directory):
        self.log = os.path.join(directory, "output")
        with open(self.log, "w") as log:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT)

    def cpu(self):
        """Seconds so far: of all processes, and of their children that have ended."""
        ticks = 0
        for pid in tree(self.popen.pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
                ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
        return ticks / TICK

    def memory(self):
        """Bytes, of all processes; what they share counts once."""
        total = 0
        for pid in tree(self.popen.pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
                total += int(re.search(r"^Pss:\s*(\d+)", file.read(), re.M)[1]) * KIB
        return total

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pids = tree(self.popen.pid)
        self.popen.terminate()
        try:
            self.popen.wait(2)
        except subprocess.TimeoutExpired:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.popen.wait()


class Proxy:
    """One way to run a proxy: ports, and the command over its filled-in files."""

    def __init__(self, bench, name, port, command, files=(), asks=True, values=()):
        self.bench, self.name, self.port, self.files = bench, name, port, files
        self.command, self.asks, self.values = command, asks, dict(values)
        self.tunnel = port if asks else port + 1
        self.echo = port if asks else port + 2

    def start(self):
        directory = tempfile.mkdtemp(prefix=self.name.replace(" ", "-") + ".", dir=self.bench.directory)
        os.chmod(directory, 0o777)
        values = {"DIR": directory, "PORT": self.port, "ADMIN": self.port + 3, "HTTP": HTTP,
                  "TUNNEL": self.tunnel, "ECHO": ECHO, "ECHO_TUNNEL": self.echo, **self.values}
        for source, name in self.files:
            with open(os.path.join(HERE, "etc", source)) as file:
                text = re.sub(r"@(\w+)@", lambda m: str(values[m[1]]), file.read())
            with open(os.path.join(directory, name), "w") as file:
                file.write(text)
        for name, text in self.bench.lists.items():
            with open(os.path.join(directory, name), "w") as file:
                file.write(text)
        os.chmod(os.path.join(directory, "access.log"), 0o666)  # Squid opens it as its own user
        return Process([word.replace("@DIR", directory) for word in self.command], directory)

    def started(self):
        process = self.start()
        wait_for(self.echo, process)
        return process


def wait_for(port, process):
    for _ in range(1000):
        if process.popen.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    with open(process.log) as log:
        sys.exit(f"{' '.join(process.popen.args)}: does not listen\n{log.read()}")


class Bench:
    def __init__(self, build, directory, quick):
        self.directory = directory
        self.programs = os.path.join(build, "bench")
        self.rounds, self.seconds = (1, 0.5) if quick else (5, 1.5)
        self.tunnels = 1000 if quick else 9000
        self.lists = {"hosts": f"127.0.0.1 {NAME}\n", "access.log": "",
                      "names": "".join(f"name{i}.example\n" for i in range(9999)) + NAME + "\n",
                      "networks": "".join(f"10.{i >> 8}.{i & 255}.0/24\n" for i in range(10000))}
        egretd = [os.path.join(build, "egretd"), "-c", "@DIR/egret.ini"]
        files = [("egret.ini", "egret.ini")]
        self.egret = Proxy(self, "egret", 3100, egretd, files + [("acl.ini", "acl.ini")])
        self.large = Proxy(self, "egret large", 3110, egretd, files + [("acl-large.ini", "acl.ini")])
        self.peers = [
            Proxy(self, "nginx", 3120, ["nginx", "-c", "@DIR/nginx.conf"],
                  [("nginx.conf", "nginx.conf")], asks=False),
            Proxy(self, "HAProxy", 3130, ["haproxy", "-db", "-f", "@DIR/haproxy.cfg"],
                  [("haproxy.cfg", "haproxy.cfg")], asks=False),
            Proxy(self, "Squid", 3140, ["squid", "-N", "-f", "@DIR/squid.conf"],
                  [("squid.conf", "squid.conf")]),
        ]
        self.floor = [self.relay("copying relay", 3150, "copy"),
                      self.relay("splicing relay", 3160, "splice")]
        self.all = [self.egret, *self.peers, *self.floor]

    def relay(self, name, port, way):
        ports = [str(each) for each in (port, HTTP, port + 1, HTTP, port + 2, ECHO)]
        return Proxy(self, name, port, [os.path.join(self.programs, "relay"), way, *ports], asks=False)

    def load_command(self, mode, proxy, port, size, connections, seconds):
        """`!`: a relay's port, which is not asked to CONNECT."""
        mark = "" if proxy.asks or mode == "get" else "!"
        target = f"{NAME}:{ECHO if mode in ('echo', 'idle') else HTTP}"
        return [os.path.join(self.programs, "load"), mode, f"{mark}{port}", target, str(size),
                str(connections), str(round(seconds * 1000))]

    def load(self, *args):
        """Runs the clients to their end; a wrong answer ends the bench."""
        result = subprocess.run(self.load_command(*args), capture_output=True, text=True, timeout=120)
        if result.returncode:
            sys.exit(f"{' '.join(result.args)}: {result.stderr}")
        return json.loads(result.stdout)


def cpu_of_rounds(running, rounds, seconds, measure):
    """{name: median CPU per unit}, the proxies taking turns.  measure(proxy, seconds): units done."""
    costs = {proxy: [] for proxy in running}
    for proxy in running:
        measure(proxy, 0.1)  # does not count: caches and pools fill
    for _ in range(rounds):
        for proxy, process in running.items():
            before = process.cpu()
            units = measure(proxy, seconds)
            costs[proxy].append((process.cpu() - before) / units)
    return {proxy.name: statistics.median(cost) for proxy, cost in costs.items()}


@contextlib.contextmanager
def all_started(proxies):
    with contextlib.ExitStack() as stack:
        yield {proxy: stack.enter_context(proxy.started()) for proxy in proxies}


def get_1k(bench, running):
    return cpu_of_rounds(running, bench.rounds, bench.seconds, lambda proxy, seconds: bench.load(
        "get", proxy, proxy.port, KIB, 64, seconds)["done"] / 1e6)


def get_1m(bench, running):
    return cpu_of_rounds(running, bench.rounds, bench.seconds, lambda proxy, seconds: bench.load(
        "get", proxy, proxy.port, MIB, 8, seconds)["bytes"] / GIB)


def connect_bulk(bench, running):
    return cpu_of_rounds(running, bench.rounds, bench.seconds, lambda proxy, seconds: bench.load(
        "bulk", proxy, proxy.tunnel, 128 * MIB, 4, seconds)["bytes"] / GIB)


def connect_echo(bench, running):
    return cpu_of_rounds(running, bench.rounds, bench.seconds, lambda proxy, seconds: bench.load(
        "echo", proxy, proxy.echo, 16, 16, seconds)["done"] / 1e6)


def policy(bench):
    """Percent that 10,000 names and 10,000 networks add to a request."""
    with all_started([bench.egret, bench.large]) as running:
        costs = cpu_of_rounds(running, bench.rounds * 3, bench.seconds, lambda proxy, seconds: bench.load(
            "get", proxy, proxy.port, KIB, 64, seconds)["done"] / 1e6)
    return [{"egret": (costs[bench.large.name] / costs[bench.egret.name] - 1) * 100}]


def idle_tunnel(bench):
    """KiB of process memory for a tunnel without traffic."""
    results = {}
    for proxy in bench.all:
        with proxy.started() as process:
            bench.load("echo", proxy, proxy.echo, 16, 16, 0.1)
            before = process.memory()
            command = bench.load_command("idle", proxy, proxy.echo, 16, bench.tunnels, 0)
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
                if not load.stdout.readline():
                    sys.exit(f"{proxy.name}: {bench.tunnels} tunnels: no")
                results[proxy.name] = (process.memory() - before) / bench.tunnels / KIB
                load.stdin.close()
    return [results]


def first_request(port):
    """Waits for the first answer, asking again every half millisecond."""
    request = f"GET http://{NAME}:{HTTP}/1 HTTP/1.1\r\nHost: {NAME}:{HTTP}\r\n\r\n".encode()
    for _ in range(20000):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(request)
            if s.recv(4096).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.0005)
    sys.exit(f"port {port}: no answer")


def start(bench):
    """ms from exec to the first answer; MiB after it."""
    ms, mib = {}, {}
    for proxy in [bench.egret, *bench.peers]:
        times = []
        for _ in range(bench.rounds):
            began = time.monotonic()
            with proxy.start() as process:
                first_request(proxy.port)
                times.append((time.monotonic() - began) * 1000)
                time.sleep(0.3)  # what it does after the start, it does now
                mib[proxy.name] = process.memory() / MIB
        ms[proxy.name] = statistics.median(times)
    return [ms, mib]


def print_row(names, what, aim, results):
    mark = "yes" if results["egret"] <= aim else "no"
    cells = [f"{results[name]:.2f}" if name in results else "" for name in names]
    print("| " + " | ".join([what, str(aim), mark, *cells]) + " |", flush=True)


RUNNING = (  # rows whose proxies run all the time
    ("GET 1 KiB, keep-alive, 64 connections: µs of CPU", 16, get_1k),
    ("CONNECT, bulk: CPU-s/GiB", 0.70, connect_bulk),
    ("CONNECT, echo 16 bytes, close: µs of CPU", 65, connect_echo),
    ("GET 1 MiB, 8 connections: CPU-s/GiB", 0.65, get_1m),
)
FRESH = (  # rows that start their own; one dictionary for each aim
    (("idle tunnel: KiB", 1), idle_tunnel),
    (("10,000 names and networks: % more CPU", 3), policy),
    (("start to first answer: ms", 20, "idle, all processes: MiB (Pss)", 8), start),
)


def run(bench, only):
    names = [proxy.name for proxy in bench.all]
    print("| what | aim | met | " + " | ".join(names) + " |")
    print("|" + " --- |" * (3 + len(names)), flush=True)
    chosen = [row for row in RUNNING if only in row[0]]
    if chosen:
        with all_started(bench.all) as running:
            for what, aim, measure in chosen:
                print_row(names, what, aim, measure(bench, running))
    for titles, measure in FRESH:
        if only in titles[0]:
            for i, results in enumerate(measure(bench)):
                print_row(names, titles[2 * i], titles[2 * i + 1], results)


def enter_namespace():
    """Runs this program again in a network namespace of its own."""
    if os.environ.get("EGRET_BENCH") == "inside":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ["EGRET_BENCH"] = "inside"
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        sys.exit("a network namespace and other users for the proxies' workers need root")
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", default="", metavar="WORD", help="the rows whose title has this")
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
