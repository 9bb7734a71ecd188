"""A whole cluster at work: a world, Flannel and kube-proxy, egretd, traffic, and the judge.

    bank   partner2's networks: they know us by an address of their own
    web    partner1's networks: the gateway's address
    rest   everything else: no pod may be seen there
"""
import contextlib

from cluster import SERVICE_CIDR, Cluster
from daemon import Daemons
from judge import Judge, Server, Traffic
from world import (EGRESS, EGRESS_BANK, NODE, PARTNER1, PARTNER2, POD1, POD2, PREFIX, World,
                   wait_for)

PORT = 7000
SINK = 9  # a port of partner2 that takes datagrams and does not answer
BANK_NETWORKS = ("45.0.2.0/24", "2a00:0:0:2::/64")
WEB_NETWORKS = ("45.0.1.0/24", "2a00:0:0:1::/64")
POD_NETWORKS = ("10.42.0.0/16", "fd42::/48")
OUTSIDE = ("45.0.0.0/24", "2a00::/64")  # the node's, and all egress addresses
# Sources of anything to elsewhere; the partners' because a node without its bridge sends back
# what comes for pods.
ELSEWHERE = (*OUTSIDE, *BANK_NETWORKS, *WEB_NETWORKS)

EXCLUDED = f"{SERVICE_CIDR}, 192.168.77.0/24, 127.0.0.0/8, 224.0.0.0/4, ::1, fe80::/10, ff00::/8"
BANK = f"""
[partner bank]
cidr = {", ".join(BANK_NETWORKS)}
egress-ip = {EGRESS_BANK[4]}, {EGRESS_BANK[6]}
"""


def sources(*addresses):
    """Both versions of each, as the judge takes them."""
    return [address[version] for address in addresses for version in (4, 6)]


UNTRANSLATED = sources(NODE, POD1, POD2)


def bank(address):
    """The policy with the bank at this egress address."""
    return BANK.replace(EGRESS_BANK[4], address[4]).replace(EGRESS_BANK[6], address[6])


def tasks(address, port, **rates):
    return [(kind, address[version], port, rate)
            for kind, rate in rates.items() for version in (4, 6)]


NODE_SOURCES = sources(NODE)


class Stage:
    """The cluster without traffic; scene() is one test's traffic and judge."""

    def __init__(self, tmp_path_factory, name, flavour="nft", kube_proxy=True, egress=True,
                 config=None, acl=BANK, start=True):
        self._clean = contextlib.ExitStack()
        try:
            self.world = World(f"{PREFIX}{name}-", egress=egress)
            self._clean.callback(self.world.remove)
            self.world.gw.nft("delete table inet flannel")
            self.cluster = Cluster(self.world.gw, flavour, kube_proxy)
            self.cluster.install()
            for partner in (self.world.partner1, self.world.partner2):
                self._clean.enter_context(Server(partner, PORT))
            daemons = Daemons(self.world, tmp_path_factory)
            self._clean.callback(daemons.close)
            self.made = daemons.made
            self.daemon = daemons(acl, nat=True, start=start, config=merged({
                "gateway": {"exclude-cidr": EXCLUDED}, "log": {"level": "info"}}, config or {}))
            self._kernel = self.kernel()
        except BaseException:
            self._clean.close()
            raise

    def close(self):
        self._clean.close()

    def judge(self, bank_sources=None, web_sources=None):
        watches = (("bank", BANK_NETWORKS, bank_sources or sources(EGRESS_BANK)),
                   ("web", WEB_NETWORKS, web_sources or sources(EGRESS)),
                   ("rest", ("0.0.0.0/0", "::/0"), ELSEWHERE))
        return Judge(self.world, watches)

    @contextlib.contextmanager
    def scene(self, **sources_now):
        """Traffic of both pods under the judge; nothing wrong was seen when it ends."""
        with self.judge(**sources_now) as judge:
            with Traffic(self.world.pod1, *tasks(PARTNER2, PORT, tcp=60, stream=60, udp=60,
                                                 fixed=60, ping=20, invalid=60)) as one, \
                    Traffic(self.world.pod2, *tasks(PARTNER1, PORT, tcp=40, stream=60, udp=40,
                                                    invalid=40)) as two:
                scene = Scene(self, judge, one, two)
                scene.flows()
                yield scene
                scene.more()
            judge.verify()  # with what the pods' kernels sent when the programs ended

    def restore(self):
        """What the next test finds is whole."""
        self.daemon.write("acl.ini", BANK)
        if not self.daemon.running():
            self.daemon.start()
        self.cluster.install()
        wait_for("egretd to be ready", self.daemon.ready)
        wait_for("the kernel to be as at first", lambda: self.kernel() == self._kernel)
        self.daemon.settle()

    def guarded(self):
        """Both guards are in place."""
        guard = self.world.gw.run("nft", "list", "chain", "inet", "egret", "guard").stdout
        return guard.count("\n") > 6 and has_routing(self)

    def kernel(self):
        """What egret has in the kernel, but for what it counts."""
        gw = self.world.gw
        blocks = gw.run("nft", "-s", "list", "table", "inet", "egret").stdout.split("\n\t}")
        words = sorted(word.strip(",") for block in blocks if "leaks" not in block.split("{")[0]
                       for word in block.split())
        asked = [("ip", version, *what) for version in ("-4", "-6")
                 for what in (("rule",), ("route", "show", "table", "7099"))]
        return words + [line for ask in asked for line in gw.run(*ask).stdout.splitlines()]


def merged(one, other):
    return {section: one.get(section, {}) | other.get(section, {}) for section in one | other}


class Scene:
    """One test's traffic: `bank` of pod1 to partner2, `web` of pod2 to partner1."""

    def __init__(self, stage, judge, bank_traffic, web_traffic):
        self.stage, self.judge = stage, judge
        self.bank, self.web = bank_traffic, web_traffic

    def more(self, packets=150):
        """Returns when each pod has sent that many more."""
        self.bank.more(packets)
        self.web.more(packets)

    def flows(self, streams=True):
        """Returns when every kind of traffic is answered again, in both versions."""
        for traffic in (self.bank, self.web):
            traffic.flow_again(("invalid",) if streams else ("invalid", "stream"))

    def resets(self, traffic):
        return traffic.total("resets", kind="stream")

    def silent(self, watch):
        """Returns when nothing passes to there any more."""
        def stopped():
            before = self.judge.seen(watch)
            self.more(60)
            return self.judge.seen(watch) == before
        wait_for(f"nothing to leave for {watch}", stopped, 15)


def delete_table(stage):
    stage.world.gw.nft("delete table inet egret")


def flush_routing(stage):
    """Both parts of the routing guard: the rules of our preference, the routes of our table."""
    for version in ("-4", "-6"):
        while stage.world.gw.run("ip", version, "rule", "del", "pref", "5220").returncode == 0:
            pass
        stage.world.gw.run("ip", version, "route", "flush", "table", "7099")


def has_routing(stage):
    return all("7099" in stage.world.gw.run("ip", version, "rule").stdout
               for version in ("-4", "-6"))
