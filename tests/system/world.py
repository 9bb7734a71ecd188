"""A world of network namespaces: pods behind a gateway node, partners beyond it.

    pod1 --+                        +-- partner1
           +-- cni0  gw  eth0 -- net
    pod2 --+                        +-- partner2

The addresses of the outside are global ones (nothing here is connected to the
internet), because egret dials no other without being told to.  Every packet finds
its way with and without address translation, so a partner that is asked who
called tells which translation took place:

    45.0.0.2, 2a00::2     the node: Flannel's masquerade won
    45.0.0.10, 2a00::10   the gateway's egress address
    45.0.0.20, 2a00::20   a partner's own egress address; 45.0.0.30, 2a00::30 another one
    10.42.0.x, fd42::x    the pod: no translation
"""
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

POD_CIDR = "10.42.0.0/16, fd42::/48"
NODE = {4: "45.0.0.2", 6: "2a00::2"}
EGRESS = {4: "45.0.0.10", 6: "2a00::10"}
EGRESS_BANK = {4: "45.0.0.20", 6: "2a00::20"}
EGRESS_OTHER = {4: "45.0.0.30", 6: "2a00::30"}
GATEWAY = {4: "10.42.0.1", 6: "fd42::1"}
POD1 = {4: "10.42.0.11", 6: "fd42::11"}
POD2 = {4: "10.42.0.12", 6: "fd42::12"}
PARTNER1 = {4: "45.0.1.10", 6: "2a00:0:0:1::10"}
PARTNER2 = {4: "45.0.2.10", 6: "2a00:0:0:2::10"}
NODE_NETWORK = "192.168.77.10"  # a server of the cluster's own network, at partner2
DNS = "45.0.0.1"

PREFIX = f"egret-{os.getpid()}-"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def wait_for(what, condition, seconds=30.0):
    """Returns the first true answer of condition(); fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.005)


def stop(process, sig=signal.SIGTERM, seconds=30):
    """Ends a process that we started; returns its exit status."""
    if process.poll() is None:
        process.send_signal(sig)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(seconds)
        raise AssertionError(f"{process.args[0]} did not end within {seconds} s") from None


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _command(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
        return file.read().replace("\0", " ")
    return "gone"


class Namespace:
    """A network namespace of ours, by its short name."""

    def __init__(self, short, prefix=PREFIX):
        self.short = short
        self.name = prefix + short
        subprocess.run(["ip", "netns", "add", self.name], check=True, timeout=20)
        self.ip("link set lo up")

    def __repr__(self):
        return self.short

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=True, timeout=20)

    def ip(self, *commands):
        """Runs `ip` commands, a line each."""
        subprocess.run(["ip", "-n", self.name, "-batch", "-"], input="\n".join(commands),
                       text=True, check=True, timeout=20)

    def nft(self, text):
        self.run("nft", "-f", "-", input=text, check=True)

    @contextlib.contextmanager
    def inside(self):
        """Sockets and processes made within belong to the namespace (this thread only)."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            yield
        finally:
            _setns(home)
            os.close(there)
            os.close(home)

    def run(self, *argv, timeout=30, **options):
        """A command to its end; text, output captured."""
        options = {"text": True, "capture_output": True, "timeout": timeout} | options
        with self.inside():
            return subprocess.run(argv, **options)

    def start(self, *argv, **options):
        """A process that the caller stops."""
        with self.inside():
            return subprocess.Popen(argv, **{"stdin": subprocess.DEVNULL} | options)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        with self.inside():
            return socket.socket(family, kind)

    def connect(self, address, port, timeout=10, source=None, datagrams=False):
        s = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                        socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
        s.settimeout(timeout)
        try:
            if source:
                s.bind((source, 0))
            s.connect((address, port))
        except OSError:
            s.close()
            raise
        return s

    def processes(self):
        """Those that are left, by pid: what was told to end just now may take a moment."""
        with contextlib.suppress(AssertionError):
            wait_for("the processes to end", lambda: not self._pids(), 5)
        return {pid: _command(pid) for pid in self._pids()}

    def _pids(self):
        out = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True,
                             timeout=20).stdout
        return [int(pid) for pid in out.split()]


MASQUERADE = """
table inet flannel
delete table inet flannel
table inet flannel {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		ip saddr 10.42.0.0/16 ip daddr != { 10.42.0.0/16, 224.0.0.0/4 } masquerade
		ip6 saddr fd42::/48 ip6 daddr != { fd42::/48, ff00::/8 } masquerade
	}
}
"""


def link(a, a_name, b, b_name):
    """Two namespaces' devices, joined and up."""
    a.ip(f"link add {a_name} type veth peer name {b_name} netns {b.name}",
         f"link set {a_name} up")
    b.ip(f"link set {b_name} up")


def give_address(namespace, device, addresses, router=None):
    namespace.ip(f"addr add {addresses[4]}/24 dev {device}",
                 f"addr add {addresses[6]}/64 dev {device} nodad")
    if router:
        namespace.ip(f"route add default via {router[4]}",
                     f"route add default via {router[6]}")


class Host:
    """A node of Kubernetes: its namespace `gw`, pods behind a bridge, an uplink eth0."""

    cni0 = GATEWAY  # the bridge's addresses
    pod_mtu = 1500

    def __init__(self, prefix):
        self.namespaces = []
        self._prefix = prefix
        self._ports = []

    def make_cni0(self):
        """The bridge of the pods, those that are there attached."""
        self.gw.ip("link add cni0 type bridge", "link set cni0 up")
        give_address(self.gw, "cni0", self.cni0)
        for port in self._ports:
            self._attach(port)

    def add_egress(self, *egress, action="add"):
        for one in egress:
            flags = "nodad preferred_lft 0" if action == "add" else ""
            self.gw.ip(f"addr {action} {one[4]}/32 dev eth0",
                       f"addr {action} {one[6]}/128 dev eth0 {flags}")

    def remove_egress(self, *egress):
        self.add_egress(*egress, action="del")

    def add_pod(self, short, addresses=None):
        """One more; without addresses only its link is there."""
        pod = Namespace(short, self._prefix)
        self.namespaces.append(pod)
        self.no_dad(pod)
        self._wire_pod(pod, addresses)
        return pod

    def remove_pod(self, pod):
        self._ports.remove(f"veth-{pod.short}")
        self.namespaces.remove(pod)
        pod.remove()

    def set_pod_address(self, pod, addresses):
        give_address(pod, "eth0", addresses, self.cni0)

    def sysctl(self, **values):
        """Of the gateway; dots and all: sysctl(**{"net.ipv4.ip_forward": 1})."""
        self.gw.run("sysctl", "-qw", *(f"{name}={value}" for name, value in values.items()),
                    check=True)

    def rp_filter(self, value):
        """0 off, 1 strict, 2 loose; the kernel takes the greater of `all` and the device's."""
        self.sysctl(**{f"net.ipv4.conf.{device}.rp_filter": value
                       for device in ("default", "eth0", "cni0")},
                    **{"net.ipv4.conf.all.rp_filter": 0})

    def bridge_netfilter(self, value):
        """Whether what crosses the bridge passes the hooks of IP."""
        self.sysctl(**{"net.bridge.bridge-nf-call-iptables": value,
                       "net.bridge.bridge-nf-call-ip6tables": value})

    def _wire_pod(self, pod, addresses):
        port = f"veth-{pod.short}"
        link(self.gw, port, pod, "eth0")
        pod.ip(f"link set eth0 mtu {self.pod_mtu}")
        self._ports.append(port)
        self._attach(port)
        if addresses:
            self.set_pod_address(pod, addresses)

    def _attach(self, port):
        self.gw.ip(f"link set {port} mtu {self.pod_mtu} master cni0",
                   f"link set {port} type bridge_slave hairpin on")

    @staticmethod
    def no_dad(*namespaces):
        """Addresses of IPv6 are there at once."""
        for namespace in namespaces:
            namespace.run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0",
                          "net.ipv6.conf.default.accept_dad=0", check=True)

    @staticmethod
    def route(*namespaces):
        """They forward."""
        for namespace in namespaces:
            namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1",
                          "net.ipv6.conf.all.forwarding=1", check=True)


def wire_partners(net, partner1, partner2):
    """Each to a link of its own of the router `net`: to1, to2."""
    for partner, n, addresses in ((partner1, 1, PARTNER1), (partner2, 2, PARTNER2)):
        router = {4: f"45.0.{n}.1", 6: f"2a00:0:0:{n}::1"}
        link(net, f"to{n}", partner, "eth0")
        give_address(net, f"to{n}", router)
        give_address(partner, "eth0", addresses, router)
    partner2.ip(f"addr add {NODE_NETWORK}/24 dev eth0")
    net.ip("route add 192.168.77.0/24 dev to2")


class World(Host):
    """The namespaces of the picture above, wired."""

    NAMES = ("pod1", "pod2", "gw", "net", "partner1", "partner2")

    def __init__(self, prefix=PREFIX, egress=True):
        super().__init__(prefix)
        self.egress = egress  # the egress addresses are there; False: egretd adds them
        try:
            for name in self.NAMES:
                namespace = Namespace(name, prefix)
                self.namespaces.append(namespace)
                setattr(self, name, namespace)
            self._wire()
            self.masquerade()
        except BaseException:
            self.remove()
            raise

    def strays(self):
        """Processes that nobody stopped, by namespace."""
        return {ns.short: left for ns in self.namespaces if (left := ns.processes())}

    def remove(self):
        while self.namespaces:
            self.namespaces.pop().remove()

    def masquerade(self):
        """Flannel's rule: everything that leaves the pod network leaves as the node."""
        self.gw.nft(MASQUERADE)

    def _wire(self):
        self.no_dad(*self.namespaces)
        self.route(self.gw, self.net)
        self.make_cni0()
        for pod, addresses in ((self.pod1, POD1), (self.pod2, POD2)):
            self._wire_pod(pod, addresses)
        self.make_uplink()
        wire_partners(self.net, self.partner1, self.partner2)

    # What a test may take away and make again.

    def make_uplink(self):
        """The link to the outside, with the node's address and the egress addresses."""
        link(self.gw, "eth0", self.net, "node")
        give_address(self.gw, "eth0", NODE, {4: DNS, 6: "2a00::1"})
        give_address(self.net, "node", {4: DNS, 6: "2a00::1"})
        self.net.ip(f"route add 10.42.0.0/16 via {NODE[4]}", f"route add fd42::/48 via {NODE[6]}")
        if self.egress:
            self.add_egress(EGRESS, EGRESS_BANK, EGRESS_OTHER)


def sweep():
    """Removes what a session that was killed could not: namespaces named after a dead pid."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, timeout=20)
    for name in (line.split()[0] for line in listed.stdout.splitlines() if line.strip()):
        kind, _, rest = name.partition("-")
        pid = rest.partition("-")[0]
        if kind != "egret" or not pid.isdigit() or os.path.exists(f"/proc/{pid}"):
            continue
        pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True,
                              timeout=20).stdout.split()
        for left in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(left), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", name], timeout=20, check=False)


def leftovers():
    """What there is of ours now: namespaces by name and child processes by pid."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, timeout=20)
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.startswith(PREFIX)]
    children = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                children += file.read().split()
    return names + children
