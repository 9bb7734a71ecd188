"""What translation costs: a gateway with plain routing, with hand-written rules, with egret.

Every variant has namespaces of its own (gateway.py); traffic goes through them in turns of less
than a millisecond (through.c).  Tables: the median cost of a unit; how much more that is than
with one hand-written snat rule, as the median of the ratios within turns; and what an update
costs.  A round is a run of its own with the variants in another order; the spread is the least
and the most of the rounds.
"""
import argparse
import collections
import contextlib
import itertools
import os
import signal
import statistics
import sys
import tempfile

from gateway import EGRESS, RANGES, EgretGateway, Gateway, through
from world import sweep

GIB = 1 << 30
MOST = 10000  # partners
PLAIN, SNAT = "plain routing", "one snat rule"

TABLE = """
table ip byhand {{
	{map}
	chain postrouting {{
		type nat hook postrouting priority srcnat;
		ip saddr 10.42.0.0/16 ip daddr != 10.42.0.0/16 {action}
	}}
}}
"""
ONE_RULE = TABLE.format(map="", action=f"snat to {EGRESS}")
# The pod is the last of 10,000 sources.
SOURCES = ", ".join(f"10.42.{i >> 8}.{i & 255} : {EGRESS}" for i in [*range(256, 10255), 11])
MAP = TABLE.format(map=f"map sources {{ type ipv4_addr : ipv4_addr; elements = {{ {SOURCES} }}\n\t}}",
                   action="snat to ip saddr map @sources")
# What any rule of policy routing costs that a packet walks past, whoever has made it.
POLICY_ROUTING = ("rule add pref 5220 from 10.42.0.0/16 fwmark 0xff lookup 7099",
                  "route add throw default table 7099")

Row = collections.namedtuple("Row", "what unit per offloads mode flows size scale")
ROWS = (
    Row("TCP, packets of 1500 bytes", "CPU-s/GiB", "Gbit/s", False, "bytes", 4, 65536, GIB),
    Row("answers, packets of 1500 bytes", "CPU-s/GiB", "Gbit/s", False, "answers", 4, 65536, GIB),
    Row("TCP, GSO and GRO", "CPU-s/GiB", "Gbit/s", True, "bytes", 4, 65536, GIB),
    Row("TCP connections", "µs", "1000/s", True, "connections", 1000, 1, 1e6),
    Row("UDP, one flow", "µs", "1000/s", True, "packets", 1, 32, 1e6),
    Row("UDP, 1000 flows", "µs", "1000/s", True, "packets", 1000, 32, 1e6),
)


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def rate(row, cost):
    """What one core does in a second at that cost."""
    return 8.589934592 / cost if row.scale == GIB else 1000 / cost


def measure(program, gateways, row, rounds, seconds):
    """{name: [the costs of a round, turn by turn]}, and {name: what of that is its daemon's}."""
    for gateway in gateways:
        gateway.offloads(row.offloads)
    results = {gateway.name: [] for gateway in gateways}
    daemons = {gateway.name: [] for gateway in gateways}
    order = list(gateways)
    for _ in range(rounds):
        answers = through(program, order, row.mode, row.flows, row.size, seconds)
        for gateway, (costs, daemon) in zip(order, answers):
            results[gateway.name].append(costs)
            daemons[gateway.name].append(daemon)
        order = order[1:] + order[:1]
    # The median: what a daemon does once a minute happens in one round only.
    daemons = {name: statistics.median(each) * row.scale for name, each in daemons.items()}
    return {name: [[cost * row.scale + daemons[name] for cost in costs] for costs in each]
            for name, each in results.items()}, daemons


def ratios(results, name, to):
    """Percent more than `to`, round by round."""
    return [(statistics.median(a / b for a, b in zip(*pair)) - 1) * 100
            for pair in zip(results[name], results[to])]


def spread(values):
    return f"{statistics.median(values):+.1f} ({min(values):+.1f} .. {max(values):+.1f})"


def met(value, aim):
    return "yes" if value <= aim else "no"


def traffic(program, gateways, rounds, seconds):
    names = [gateway.name for gateway in gateways]
    egrets = [gateway.name for gateway in gateways if isinstance(gateway, EgretGateway)]
    costs, more, growth = [], [], []
    for row in ROWS:
        results, daemons = measure(program, gateways, row, rounds, seconds)
        medians = [statistics.median(statistics.median(each) for each in results[name])
                   for name in names]
        costs.append([f"{row.what}: {row.unit} ({row.per})",
                      *(f"{cost:.2f} ({rate(row, cost):.1f})" for cost in medians)])
        if row.mode == "connections":
            costs.append(["... of that egretd itself", *(f"{daemons[name]:.2f}" for name in names)])
        compared = {name: ratios(results, name, SNAT) for name in names if name != SNAT}
        worst = max(statistics.median(compared[name]) for name in egrets)
        more.append([f"{row.what}: %", "10", met(worst, 10), *map(spread, compared.values())])
        grown = ratios(results, egrets[-1], egrets[0])
        growth.append([f"{row.what}: %", "5", met(statistics.median(grown), 5), spread(grown)])
    table(["CPU for a unit (what a core does)", *names], costs)
    table([f"more CPU than {SNAT}", "aim", "met", *(n for n in names if n != SNAT)], more)
    table([f"more CPU: {egrets[-1]} than {egrets[0]}", "aim", "met", "median (least .. most)"],
          growth)


def updates(gateway, rounds):
    """What it takes to have an edit in force, and how much of that is spent in the kernel."""
    def load():
        gateway.write_policy(1)
        gateway.reload()
        gateway.write_policy(MOST)

    changed = itertools.cycle((MOST // 2, None))

    def change():
        gateway.write_policy(MOST, changed=next(changed))

    def timed(prepare):
        whole, kernel = [], []
        for _ in range(rounds):
            prepare()
            whole.append(gateway.reload() * 1000)
        for _ in range(rounds):
            prepare()
            with gateway.kernel_time() as seconds:
                gateway.reload()
            kernel.append(seconds[0] * 1000)
        return whole, kernel

    rows = []
    for what, aim, prepare in (
            (f"load {MOST:,} partners of {RANGES} networks", 1000, load),
            ("change one of them", 20, change),
            ("read the same again", None, lambda: None)):
        whole, kernel = timed(prepare)
        median = statistics.median(kernel)
        rows.append([what, f"{median:.1f} ({min(kernel):.1f} .. {max(kernel):.1f})",
                     str(aim or ""), met(median, aim) if aim else "",
                     f"{statistics.median(whole):.0f} ({min(whole):.0f} .. {max(whole):.0f})"])
    starts = []
    for _ in range(rounds):
        gateway.stop()
        starts.append(gateway.start() * 1000)
    rows.append([f"start with them in the kernel: {MOST:,} partners", "", "", "",
                 f"{statistics.median(starts):.0f} ({min(starts):.0f} .. {max(starts):.0f})"])
    table(["update", "in the kernel: ms", "aim", "met", "until in force: ms"], rows)


def make_gateways(stack, build, directory, partners):
    egretd = os.path.join(build, "egretd")
    makers = [
        lambda i: Gateway(PLAIN, i, source="10.42.0.0/16"),
        lambda i: Gateway(SNAT, i, ONE_RULE),
        lambda i: Gateway("and policy routing", i, ONE_RULE),
        lambda i: Gateway("a map of 10,000", i, MAP),
        *(lambda i, n=n: EgretGateway(f"egret, {n:,}", i, egretd, f"{directory}/{n}", n)
          for n in partners),
    ]
    gateways = [stack.enter_context(make(i)) for i, make in enumerate(makers)]
    gateways[2].gw.ip(*POLICY_ROUTING)
    return gateways


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--partners", default=f"1,100,{MOST}", metavar="N,N..",
                        help="of the gateways with egret")
    parser.add_argument("--only", choices=("traffic", "updates"), help="a part")
    parser.add_argument("build", help="where egretd and bench/ were built")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and so removes what it has made
    sweep()
    build, partners = os.path.abspath(args.build), [int(n) for n in args.partners.split(",")]
    rounds, seconds = (1, 0.5) if args.quick else (7, 2)
    with tempfile.TemporaryDirectory(prefix="egret-bench.") as directory:
        os.chmod(directory, 0o755)
        if args.only != "updates":
            with contextlib.ExitStack() as stack:
                gateways = make_gateways(stack, build, directory, partners)
                traffic(os.path.join(build, "bench", "through"), gateways, rounds, seconds)
        if args.only != "traffic":  # alone: every listener for changes makes a commit slower
            with EgretGateway("egret", 0, os.path.join(build, "egretd"), f"{directory}/updates",
                              MOST) as gateway:
                updates(gateway, min(rounds, 5))


if __name__ == "__main__":
    main()
