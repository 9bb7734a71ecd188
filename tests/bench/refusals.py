#!/usr/bin/python3
"""The rows of tests/system/refusals.py through egret and through Debian's Squid, side by side.

    client (pod) --- proxy (gateway node) --- origin (partner)

"+": as the row wants it.  The exit status is egret's.
"""
import contextlib
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))

from daemon import EGRETD, Daemon  # noqa: E402
from dns import Dnsmasq  # noqa: E402
from refusals import DEAD, PORT, REQUESTS, RESPONSES, SHORT, Trial, good  # noqa: E402
from wire import Wire  # noqa: E402
from world import DNS, GATEWAY, World, stop, sweep, wait_for  # noqa: E402

PATIENCE = 2  # seconds until a connection counts as left open
SQUID_PORT = 3199
ACL = f"[partner one]\nhosts = partner1.test\nports = {PORT}, {DEAD}\n"
SQUID = """
http_port {address}:{port}
acl partner dstdomain partner1.test
http_access allow partner
http_access deny all
cache deny all
cache_mem 0
access_log none
cache_log {directory}/cache.log
cache_store_log none
pid_filename {directory}/squid.pid
coredump_dir {directory}
dns_nameservers {dns}
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname compare
"""


def start_squid(world, directory, clean):
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    config = os.path.join(directory, "squid.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write(SQUID.format(address=GATEWAY[4], port=SQUID_PORT, directory=directory, dns=DNS))
    with open(os.path.join(directory, "output"), "wb") as log:
        process = world.gw.start("squid", "-N", "-f", config, stdout=log, stderr=log)
    clean.callback(stop, process, seconds=20)

    def listens():
        if process.poll() is not None:
            sys.exit(f"squid ended: see {directory}")
        with contextlib.suppress(OSError):
            world.pod1.connect(GATEWAY[4], SQUID_PORT).close()
            return True
        return False
    wait_for("squid", listens, 30)
    return lambda: Wire(world.pod1.connect(GATEWAY[4], SQUID_PORT))


def run(trial, table, name):
    row = table[name]
    if table is REQUESTS:
        outcome = trial.request(row)
    else:
        outcome = trial.response(row, close=table is SHORT)
    return good(row, outcome), f"{'+' if good(row, outcome) else '-'} {outcome}"


def main():
    if os.geteuid() != 0:
        sys.exit("compare-refusals makes network namespaces: run it as root")
    sweep()
    with contextlib.ExitStack() as clean:
        directory = clean.enter_context(tempfile.TemporaryDirectory())
        os.chmod(directory, 0o755)
        world = World()
        clean.callback(world.remove)
        dns = Dnsmasq(world.net, directory)
        clean.callback(dns.close)
        origin = Trial.origin_at(world.partner1)
        clean.callback(origin.close)
        daemon = Daemon(world, os.path.join(directory, "egret"), ACL,
                        config={"proxy": {"workers": 1}}, egretd=EGRETD)
        clean.callback(daemon.close)
        squid = start_squid(world, os.path.join(directory, "squid"), clean)
        version = re.search(r"Version (\S+)", world.gw.run("squid", "-v").stdout)[1]
        proxies = [Trial(daemon.wire, origin, PATIENCE), Trial(squid, origin, PATIENCE)]
        return table(proxies, ["egret", f"Squid {version}"])


def table(proxies, names):
    counts = [0] * len(proxies)
    rows = 0
    for title, part in (("a client sends", REQUESTS), ("an origin answers", RESPONSES),
                        ("an origin closes in the middle", SHORT)):
        print(f"\n{title:42}{'RFC':12}{'wanted':11}" + "".join(f"{name:40}" for name in names))
        for name, row in part.items():
            results = [run(proxy, part, name) for proxy in proxies]
            print(f"{name:42}{row.section:12}{row.want:11}"
                  + "".join(f"{said:40}" for _, said in results), flush=True)
            rows += 1
            counts = [count + well for count, (well, _) in zip(counts, results)]
    print(f"\n{'as wanted, of ' + str(rows):65}" + "".join(f"{count:<40}" for count in counts))
    return counts[0] != rows


if __name__ == "__main__":
    sys.exit(main())
