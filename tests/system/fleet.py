"""A whole cluster of several nodes at work: gateways and agents, traffic of pods, and the judge.

What stage.py is for one gateway.  gw1 has the addresses of the gateway and of the bank, gw2 the
other one; the pods of the workers and of gw2 send.
"""
import contextlib
import difflib

from cluster import Cluster, Site
from daemon import Daemon
from judge import Judge, Server, Traffic
from nodes import Nodes
from stage import (BANK, BANK_NETWORKS, ELSEWHERE, EXCLUDED, PORT, WEB_NETWORKS, merged, sources,
                   tasks)
from world import (EGRESS, EGRESS_BANK, EGRESS_OTHER, PARTNER1, PARTNER2, PREFIX, wait_for)

OWNERS = {"gw1": (EGRESS, EGRESS_BANK), "gw2": (EGRESS_OTHER,)}
GATEWAYS = ("gw1", "gw2")


def gateways_key(nodes):
    """[gateway] gateways: the address in the pod network is that of Flannel's device, or cni0."""
    return ", ".join(
        " ".join((node.name, node.node[4], node.node[6],
                  *((node.cni0 if node.backend == "host-gw" else node.flannel)[v] for v in (4, 6))))
        for node in nodes if node.name in GATEWAYS)


class Fleet:
    """The cluster without traffic; scene() is one test's traffic and judge."""

    def __init__(self, tmp_path_factory, name, flavour="nft", backend="vxlan", kube_proxy=True,
                 owners=None, config=None, acl=BANK, start=True):
        self._clean = contextlib.ExitStack()
        self._directory = tmp_path_factory.mktemp("fleet")
        self._directory.chmod(0o755)
        self.acl = acl
        self.owners = OWNERS if owners is None else owners
        self.made = []
        try:
            self.nodes = Nodes(f"{PREFIX}{name}-", backend)
            self._clean.callback(self.nodes.remove)
            self.rules = {}
            for node in self.nodes.all:
                self.rules[node.name] = Cluster(node.gw, flavour, kube_proxy, Site(
                    node.pods, node.node, self.nodes.w1.pod_addresses[0]))
                self.rules[node.name].install()
                node.add_egress(*self.owners.get(node.name, ()))
            for partner in (self.nodes.partner1, self.nodes.partner2):
                self._clean.enter_context(Server(partner, PORT))
            self._clean.callback(self._close_daemons)
            self.egret = {node.name: self._daemon(node, config or {}) for node in self.nodes.all}
            if start:
                self.start()
                if self.owners:
                    wait_for("every node to know who has the addresses", self._settled)
                self._kernel = self.kernel()
        except BaseException:
            self._clean.close()
            raise

    def close(self):
        self._clean.close()

    # The daemons: fleet.egret["w1"] and so on.

    def _daemon(self, node, config):
        role = "gateway" if node.name in GATEWAYS else "agent"
        daemon = Daemon(node, self._directory / node.name, self.acl, nat=True, start=False,
                        args=("--role", role), config=merged({
                            "gateway": {"exclude-cidr": EXCLUDED,
                                        "gateways": gateways_key(self.nodes.all),
                                        "probe-interval": "500ms"},
                            "log": {"level": "info"}}, config))
        self.made.append(daemon)
        return daemon

    def _close_daemons(self):
        failures = []
        for daemon in self.made:
            try:
                daemon.close()
            except AssertionError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    def start(self, *names):
        """These, or all; returns when they are ready."""
        started = [self.egret[name] for name in names or self.egret]
        for daemon in started:
            daemon.start(ready=False)
        for daemon in started:
            wait_for(f"egretd of {daemon.world} to be ready", daemon.ready, 60)

    def reload(self, acl, *names):
        """A new policy on these nodes or on all, one after the other."""
        for name in names or self.egret:
            self.egret[name].reload(acl)

    def _settled(self):
        """Nodes that have no egress address of the policy steer to the one that has it."""
        return all(
            "gateway_" in node.gw.run("nft", "list", "map", "inet", "egret", f"steer{v}").stdout
            for node in self.nodes.all if EGRESS not in self.owners.get(node.name, ())
            for v in (4, 6))

    def restore(self):
        """What the next test finds is whole."""
        for daemon in self.egret.values():
            daemon.write("acl.ini", self.acl)
            if not daemon.running():
                daemon.start(ready=False)
        for rules in self.rules.values():
            rules.install()
        for name, daemon in self.egret.items():
            wait_for(f"egretd of {name} to be ready", daemon.ready, 60)
        try:
            wait_for("the kernels to be as at first", lambda: self.kernel() == self._kernel, 60)
        except AssertionError as failure:
            raise AssertionError(f"{failure}: {self._differences()}") from None
        for daemon in self.egret.values():
            daemon.settle()

    def _differences(self):
        now = self.kernel()
        return {name: list(difflib.unified_diff(then, now[name], n=1, lineterm=""))
                for name, then in self._kernel.items() if then != now[name]}

    # What egret has in the kernels.

    def kernel(self):
        return {node.name: self._kernel_of(node) for node in self.nodes.all}

    @staticmethod
    def _kernel_of(node):
        """But for what it counts."""
        blocks = node.gw.run("nft", "-s", "list", "table", "inet", "egret").stdout.split("\n\t}")
        words = sorted(word.strip(",") for block in blocks if "leaks" not in block.split("{")[0]
                       for word in block.split())
        return words + [line for version in ("-4", "-6") for args in (
            ("rule",), ("route", "show", "table", "all", "proto", "230"))
            for line in node.gw.run("ip", version, *args).stdout.splitlines()]

    # Traffic.

    def judge(self, bank_sources=None, web_sources=None):
        watches = (("bank", BANK_NETWORKS, bank_sources or sources(EGRESS_BANK)),
                   ("web", WEB_NETWORKS, web_sources or sources(EGRESS)),
                   ("rest", ("0.0.0.0/0", "::/0"), ELSEWHERE))
        return Judge(self.nodes, watches)

    @contextlib.contextmanager
    def scene(self, **sources_now):
        """Traffic of pods under the judge; nothing wrong was seen when it ends.

        Stray packets come from a pod of their own, in the middle of its stream too: after a move
        conntrack may take one of them for where a connection goes on.
        """
        nodes = self.nodes
        to_bank = tasks(PARTNER2, PORT, tcp=30, stream=40, udp=30, fixed=30, ping=10)
        to_web = tasks(PARTNER1, PORT, tcp=20, stream=40, udp=20)
        strays = tasks(PARTNER2, PORT, invalid=40, stream=20) + tasks(PARTNER1, PORT, invalid=40)
        with contextlib.ExitStack() as stack:
            judge = stack.enter_context(self.judge(**sources_now))
            with Traffic(nodes.w1.pod1, *to_bank) as one, Traffic(nodes.w2.pod1, *to_bank) as two, \
                    Traffic(nodes.w1.pod2, *to_web) as three, \
                    Traffic(nodes.gw2.pod1, *to_web) as four, \
                    Traffic(nodes.w2.pod2, *strays) as stray:
                scene = Scene(self, judge, {"w1": one, "w2": two}, {"w1": three, "gw2": four},
                              stray)
                scene.flows()
                yield scene
                scene.more()
            judge.verify()


class Scene:
    """One test's traffic: `bank` and `web`, each by node."""

    def __init__(self, fleet, judge, bank, web, strays):
        self.fleet, self.judge, self.bank, self.web, self.strays = fleet, judge, bank, web, strays

    def traffic(self, *names):
        """That of these nodes, or all."""
        return [traffic for group in (self.bank, self.web) for name, traffic in group.items()
                if not names or name in names]

    def more(self, packets=100):
        """Returns when each pod has sent that many more."""
        for traffic in (*self.traffic(), self.strays):
            traffic.more(packets)

    def flows(self, *names, streams=True):
        """Returns when every kind of traffic of these nodes is answered again."""
        for traffic in self.traffic(*names):
            traffic.flow_again(() if streams else ("stream",), seconds=30)

    def resets(self, *names):
        """The streams that were reset: a line for each."""
        return [f"{name}'s stream to {task['to']}: {task['error']}, {task['resets']} times"
                for group in (self.bank, self.web) for name, traffic in group.items()
                for task in traffic.report()
                if task["kind"] == "stream" and task["resets"] and (not names or name in names)]

    def silent(self, watch):
        """Returns when nothing passes to there any more."""
        def stopped():
            before = self.judge.seen(watch)
            self.more(60)
            return self.judge.seen(watch) == before
        wait_for(f"nothing to leave for {watch}", stopped, 20)


def delete_table(node):
    node.gw.run("nft", "delete", "table", "inet", "egret")


def flush_routing(node):
    """Both parts of the routing guard, and nothing of the steering."""
    for version in ("-4", "-6"):
        while node.gw.run("ip", version, "rule", "del", "pref", "5220").returncode == 0:
            pass
        node.gw.run("ip", version, "route", "flush", "table", "7099")


def flush_steering(node):
    """The rules and routes that lead to other gateways: egret's, but for the guard's."""
    for version in ("-4", "-6"):
        for line in node.gw.run("ip", version, "rule").stdout.splitlines():
            words = line.split()
            if "proto 230" not in line or words[0] in ("5219:", "5220:"):
                continue
            node.gw.run("ip", version, "rule", "del", "pref", words[0][:-1])
            node.gw.run("ip", version, "route", "flush", "table",
                        words[words.index("lookup") + 1])
