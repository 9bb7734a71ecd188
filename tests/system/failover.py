"""Who moves an egress address from one gateway to the other: keepalived, conntrackd.

Debian's programs with files as docs/failover.md has them, in the namespaces of two gateways.
"""
import contextlib
import os

from world import stop, wait_for

KEEPALIVED = """
global_defs {{
	router_id {name}
	vrrp_version 3
	enable_script_security
	script_user root
}}
vrrp_instance egress {{
	state BACKUP
	nopreempt
	interface eth0
	virtual_router_id 51
	priority {priority}
	advert_int 0.1
	garp_master_delay 1
	garp_master_repeat 2
	virtual_ipaddress {{
{v4}
	}}
	virtual_ipaddress_excluded {{
{v6}
	}}
{notify}
}}
"""

CONNTRACKD = """
Sync {{
	Mode NOTRACK {{
		DisableExternalCache on
		StartupResync on
	}}
	UDP {{
		IPv4_address {here}
		IPv4_Destination_Address {there}
		Port 3780
		Interface eth0
		SndSocketBuffer 1249280
		RcvSocketBuffer 1249280
		Checksum on
	}}
}}
General {{
	HashSize 8192
	HashLimit 65536
	LogFile {directory}/conntrackd.log
	Syslog off
	LockFile {directory}/conntrackd.lock
	UNIX {{
		Path {directory}/conntrackd.ctl
	}}
	NetlinkBufferSize 2097152
	NetlinkBufferSizeMaxGrowth 8388608
	Filter From Userspace {{
		Protocol Accept {{
			TCP
			UDP
		}}
		Address Ignore {{
			IPv4_address 127.0.0.1
			IPv6_address ::1
{ignored}
		}}
	}}
}}
"""


class _Program:
    """A daemon in the foreground in a node's namespace, its output in a file."""

    def __init__(self, node, directory, name):
        self.node = node
        self._directory = os.path.join(str(directory), f"{name}-{node.name}")
        os.makedirs(self._directory, exist_ok=True)
        self._log = os.path.join(self._directory, "output")
        self._process = None

    def path(self, name):
        return os.path.join(self._directory, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(self.path(name), 0o600)
        return self.path(name)

    def run(self, *argv):
        with open(self._log, "a", encoding="utf-8") as log:
            self._process = self.node.gw.start(*argv, stdout=log, stderr=log)

    def running(self):
        return self._process is not None and self._process.poll() is None

    def log(self):
        with open(self._log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def signal(self, sig):
        self._process.send_signal(sig)

    def stop(self):
        if self._process:
            stop(self._process)


class Keepalived(_Program):
    """VRRP on the node network; whoever is master has these addresses, all or none.

    `leave` is run when they have gone from here."""

    def __init__(self, node, directory, priority, addresses, leave=None):
        super().__init__(node, directory, "keepalived")
        self.addresses = addresses
        self._config = self.write("keepalived.conf", KEEPALIVED.format(
            name=node.name, priority=priority,
            notify="\n".join(f'\tnotify_{when} "{leave}"' for when in (
                ("backup", "fault", "stop") if leave else ())),
            v4="\n".join(f"\t\t{one[4]}/32 dev eth0" for one in addresses),
            v6="\n".join(f"\t\t{one[6]}/128 dev eth0 preferred_lft 0" for one in addresses)))

    def start(self):
        self.run("keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", self._config,
                 "-p", self.path("pid"), "-r", self.path("vrrp.pid"))

    def owns(self):
        shown = self.node.gw.run("ip", "addr", "show", "dev", "eth0").stdout
        return all(f" {one[version]}/" in shown for one in self.addresses for version in (4, 6))

    def owns_nothing(self):
        shown = self.node.gw.run("ip", "addr", "show", "dev", "eth0").stdout
        return not any(f" {one[version]}/" in shown
                       for one in self.addresses for version in (4, 6))


class Conntrackd(_Program):
    """Tells the other gateway of every flow at once, but for those of the gateways themselves and
    of their pods: these are on both, steered here and translated there, and one would overwrite
    the other."""

    def __init__(self, node, other, directory, egress):
        super().__init__(node, directory, "conntrackd")
        self._config = self.write("conntrackd.conf", CONNTRACKD.format(
            here=node.node[4], there=other.node[4], directory=self._directory,
            ignored="\n".join(f"\t\t\tIPv{v}_address {one[v]}" for v in (4, 6) for one in (
                node.node, other.node, node.pods, other.pods, *egress))))
        self.leave = f"/usr/sbin/conntrackd -C {self._config} -f internal"

    def start(self):
        self.run("conntrackd", "-C", self._config)
        wait_for(f"conntrackd of {self.node}", self._answers)

    def _answers(self):
        assert self.running(), self.log()
        return self.node.gw.run("conntrackd", "-C", self._config, "-s").returncode == 0


class Outages:
    """How long traffic had no answer, at each of several moves."""

    def __init__(self, scene):
        self._scene = scene
        self.new, self.streams = [], []

    @contextlib.contextmanager
    def one(self, *names):
        """Within it moves; on the way out all traffic, or that of these nodes, flows again, and it
        is noted."""
        for traffic in self._scene.traffic():
            traffic.forget_gaps()
        yield
        self._scene.flows(*names)
        self.new.append(max(one.gap("tcp", "udp") for one in self._scene.traffic(*names)))
        self.streams.append(max(one.gap("stream") for one in self._scene.traffic(*names)))

    def print(self, what):
        for name, gaps in (("new flows", sorted(self.new)), ("streams' longest", sorted(
                self.streams))):
            print(f"{what}, {len(gaps)} times: {name} without an answer for "
                  f"{gaps[0]:.2f} to {gaps[-1]:.2f} s, half of them under "
                  f"{gaps[len(gaps) // 2]:.2f} s")
