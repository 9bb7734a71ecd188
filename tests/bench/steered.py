"""What the way to another node's gateway costs: a flow of a worker's pod, steered through Flannel's
vxlan device to the node that has the egress address, beside the same flow of a pod of that node.

Two clusters (nodes.py) exist side by side and take turns (through.c), as in nat.py.
"""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import sys
import tempfile

from gateway import RANGES
from nat import ROWS, measure, rate, ratios, spread, table
from fleet import Fleet
from world import EGRESS, PARTNER2, sweep

LOCAL, STEERED = "from the gateway's own pod", "steered from a worker"
ACL = "[partner all]\ncidr = 64.0.0.0/7\nports = 5000\nprotocol = any\n"


class Directories:
    """Where a Fleet has its files."""

    def __init__(self, root):
        self._root = root

    def mktemp(self, name):
        return pathlib.Path(tempfile.mkdtemp(prefix=name, dir=self._root))


class Way:
    """From a pod of one node to partner2, which has every address of 64.0.0.0/7."""

    def __init__(self, name, fleet, node):
        self.name, self._nodes = name, fleet.nodes
        self._client, self._server = getattr(fleet.nodes, node).pod1, fleet.nodes.partner2
        self._server.ip("route add local 64.0.0.0/7 dev lo")
        self._server.run("sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=500000", check=True)
        self._nodes.net.ip(f"route add 64.0.0.0/7 via {PARTNER2[4]}")

    def argument(self):
        return f"{self._client.name},{self._server.name},{EGRESS[4]}/32,{RANGES}"

    def offloads(self, on):
        state = "on" if on else "off"
        for namespace in (self._client, self._server, self._nodes.lan, self._nodes.net,
                          *(node.gw for node in self._nodes.all)):
            for link in json.loads(namespace.run("ip", "-j", "link", check=True).stdout):
                namespace.run("ethtool", "-K", link["ifname"],
                              "tso", state, "gso", state, "gro", state)

    def settle(self):
        for node in self._nodes.all:
            node.gw.run("conntrack", "-F", check=True)

    def cpu(self):
        """Without a flow log egretd hears nothing of a flow."""
        return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("build", help="where egretd, bench/ and system/ were built")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and so removes what it has made
    sweep()
    rounds, seconds = (1, 0.5) if args.quick else (7, 2)
    program = os.path.join(os.path.abspath(args.build), "bench", "through")
    rows = []
    with tempfile.TemporaryDirectory(prefix="egret-bench.") as directory, \
            contextlib.ExitStack() as clean:
        os.chmod(directory, 0o755)
        ways = []
        for name, short, node in ((LOCAL, "local", "gw1"), (STEERED, "steered", "w1")):
            fleet = Fleet(Directories(directory), short, owners={"gw1": (EGRESS,)}, acl=ACL,
                          config={"log": {"level": "warn"}})
            clean.callback(fleet.close)
            ways.append(Way(name, fleet, node))
        for row in ROWS:
            results, _ = measure(program, ways, row, rounds, seconds)
            medians = [statistics.median(statistics.median(each) for each in results[way.name])
                       for way in ways]
            rows.append([f"{row.what}: {row.unit} ({row.per})",
                         *(f"{cost:.2f} ({rate(row, cost):.1f})" for cost in medians),
                         spread(ratios(results, STEERED, LOCAL))])
    table(["CPU for a unit (what a core does)", LOCAL, STEERED, "more: %"], rows)


if __name__ == "__main__":
    main()
