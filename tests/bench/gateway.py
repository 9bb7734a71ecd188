"""A gateway between two namespaces: a pod behind cni0, and every partner that there is.

    client -- cni0  gw  eth0 -- server, which has all of 64.0.0.0/7

There is one such row for each variant.  They exist side by side and take turns.
"""
import contextlib
import glob
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from world import Namespace, stop, wait_for  # noqa: E402  (the system tests' namespaces)

POD, NODE, ROUTER, EGRESS = "10.42.0.11", "45.0.0.2", "45.0.0.1", "45.0.0.10"
OWN_EGRESS = [f"45.0.3.{i}" for i in range(1, 101)]  # what partners have of their own
RANGES = 10  # of a partner
CPU = 1  # where the traffic is made and carried


class Gateway:
    """Three namespaces in a row.  `rules`: nft text for the one in the middle."""

    def __init__(self, name, number, rules="", source="45.0.0.0/16", networks=RANGES):
        self.name = name
        self.source, self.networks = source, networks  # what the server may see; of the partners
        self.namespaces = []
        try:
            for short in ("client", "gw", "server"):
                namespace = Namespace(f"{short}{number}")
                self.namespaces.append(namespace)
                setattr(self, short, namespace)
            self._wire()
            if rules:
                self.gw.nft(rules)
        except BaseException:
            self.remove()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        while self.namespaces:
            self.namespaces.pop().remove()

    def _wire(self):
        self.gw.ip("link add cni0 type bridge", "link set cni0 up", "addr add 10.42.0.1/24 dev cni0",
                   f"link add veth1 type veth peer name eth0 netns {self.client.name}",
                   "link set veth1 master cni0 up",
                   f"link add eth0 type veth peer name eth0 netns {self.server.name}",
                   "link set eth0 up", f"addr add {NODE}/24 dev eth0",
                   *(f"addr add {each}/32 dev eth0" for each in [EGRESS, *OWN_EGRESS]),
                   f"route add default via {ROUTER}")
        self.client.ip(f"addr add {POD}/24 dev eth0", "link set eth0 up",
                       "route add default via 10.42.0.1")
        self.server.ip(f"addr add {ROUTER}/24 dev eth0", "link set eth0 up",
                       f"route add 10.42.0.0/16 via {NODE}", f"route add 45.0.3.0/24 via {NODE}",
                       "route add local 64.0.0.0/7 dev lo")
        self.gw.run("sysctl", "-qw", "net.ipv4.ip_forward=1", check=True)
        self.server.run("sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=500000", check=True)

    def offloads(self, on):
        """TSO, GSO and GRO of every device.  Off: a packet has 1500 bytes all the way."""
        state = "on" if on else "off"
        for namespace, devices in ((self.client, ["eth0"]), (self.gw, ["veth1", "eth0", "cni0"]),
                                   (self.server, ["eth0"])):
            for device in devices:
                namespace.run("ethtool", "-K", device, "tso", state, "gso", state, "gro", state)

    def argument(self):
        return f"{self.client.name},{self.server.name},{self.source},{self.networks}"

    def cpu(self):
        """Seconds that a daemon has used here."""
        return 0

    def settle(self):
        """Every flow ends, and the daemon has nothing left to do."""
        self.gw.run("conntrack", "-F", check=True)
        wait_for(f"{self.name} to be idle", self._idle, 60)

    def _idle(self):
        before = self.cpu()
        if not before:
            return True
        time.sleep(0.05)
        return self.cpu() - before < 0.001


class EgretGateway(Gateway):
    """One that egretd has made: `partners` of them, and a proxy that idles."""

    INI = """
[gateway]
pod-cidr = 10.42.0.0/16
egress-ip = {egress}
[proxy]
listen = 127.0.0.1:3128
workers = 1
[dns]
servers = 127.0.0.1:9
[log]
level = warn
access-log = off
[admin]
listen = 127.0.0.1:9128
control = {directory}/control
[nat]
enable = yes
"""

    def __init__(self, name, number, egretd, directory, partners):
        super().__init__(name, number, networks=partners * RANGES)
        self.egretd, self.directory, self.partners = egretd, directory, partners
        self.popen = None
        try:
            os.mkdir(directory, 0o755)
            self._write("egret.ini", self.INI.format(egress=EGRESS, directory=directory))
            self._write("acl.ini", "".join(partner(n) for n in range(partners)))
            self.start()
        except BaseException:
            self.remove()
            raise

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _write(self, name, text):
        with open(self._path(name), "w", encoding="ascii") as file:
            file.write(text)

    def write_policy(self, partners, changed=None):
        """For the next reload.  All have ports, every second one has an egress address of its own."""
        self._write("acl.ini~", "".join(partner(n, n == changed) for n in range(partners)))

    def start(self):
        """Until it is ready.  Returns how long that took."""
        began = time.monotonic()
        with open(self._path("log"), "a", encoding="ascii") as log:
            self.popen = self.gw.start(self.egretd, "-c", self._path("egret.ini"),
                                       stdout=log, stderr=log)
        wait_for("egretd to be ready", self._ready, 60)
        return time.monotonic() - began

    def log(self):
        with open(self._path("log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        stop(self.popen)
        self.popen = None

    def remove(self):
        if self.popen:
            self.stop()
        super().remove()

    def http(self, path):
        with self.gw.connect("127.0.0.1", 9128, timeout=60) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    def _ready(self):
        if self.popen.poll() is not None:
            raise AssertionError(f"egretd ended:\n{self.log()}")
        with contextlib.suppress(OSError):
            return self.http("/readyz").startswith("HTTP/1.1 200")
        return False

    def processes(self):
        pids = [self.popen.pid]
        for pid in pids:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                    pids += [int(child) for child in file.read().split()]
        return pids

    def cpu(self):
        total = 0
        for pid in self.processes():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[0])
        return total / 1e9

    def reload(self):
        """Until the policy that was written last is in force.  Returns how long that took."""
        began = time.monotonic()
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._path("acl.ini~"), self._path("acl.ini"))
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(self._path("control"))
            s.sendall(b"POST /reload HTTP/1.1\r\nHost: egret\r\n\r\n")
            answer = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        if " 200 OK" not in answer.partition("\n")[0]:
            raise AssertionError(f"{answer}\n{self.log()}")
        return time.monotonic() - began

    @contextlib.contextmanager
    def kernel_time(self):
        """A list that has, at the end, the seconds egretd was in netfilter's netlink system calls."""
        seconds = []
        path = self._path("strace")  # one file a thread: no call is split by another's
        command = ["strace", "-ff", "-yy", "-T", "-o", path, "-e", "trace=sendmsg,sendto"]
        for pid in self.processes():
            command += ["-p", str(pid)]
        tracer = self.gw.start(*command, stderr=subprocess.PIPE, text=True)
        for _ in self.processes():
            tracer.stderr.readline()  # "attached"
        try:
            yield seconds
        finally:
            stop(tracer, signal.SIGINT)
            tracer.stderr.close()
        total = 0
        for each in glob.glob(path + ".*"):
            with open(each, encoding="utf-8", errors="replace") as file:
                total += sum(float(line.rstrip("\n>").rpartition("<")[2]) for line in file
                             if "<NETLINK:[NETFILTER" in line and re.search(r"<[0-9.]+>$", line))
            os.remove(each)
        seconds.append(total)


def partner(n, changed=False):
    first = n * RANGES
    networks = [f"{64 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/25"  # none touches another
                for i in range(first, first + RANGES)]
    if changed:
        networks[-1] = networks[-1].replace("/25", "/26")
    own = f"egress-ip = {OWN_EGRESS[n // 2 % len(OWN_EGRESS)]}\n" if n % 2 else ""
    return f"[partner p{n}]\ncidr = {', '.join(networks)}\nports = 443, 5000-5009\nprotocol = any\n{own}"


def through(program, gateways, mode, flows, size, seconds):
    """For each gateway what a packet, a connection or a byte costs, by turn; and the daemon for it.

    All in CPU seconds.
    """
    for gateway in gateways:
        gateway.settle()
    command = ["taskset", "-c", str(CPU), program, mode, str(flows), str(size),
               str(round(seconds * 1000)), *(gateway.argument() for gateway in gateways)]
    before = [gateway.cpu() for gateway in gateways]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + seconds)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    for gateway in gateways:
        gateway.settle()
    return [(result["costs"], (gateway.cpu() - then) / result["units"])
            for gateway, then, result in zip(gateways, before, json.loads(done.stdout))]
