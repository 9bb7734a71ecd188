#!/usr/bin/python3
"""The image under runc, as Kubernetes runs it: ms from `runc run` to the first request served
through the proxy, and the memory of all its processes when they are idle.  NAT is on."""
import argparse
import contextlib
import os
import re
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

from container import Container, build, unpack  # noqa: E402
from daemon import EGRETD  # noqa: E402
from dns import Dnsmasq  # noqa: E402
from origin import Origin  # noqa: E402
from world import World, sweep  # noqa: E402

ACL = "[partner one]\nhosts = partner1.test\nports = 80\n"
MOST_MS, MOST_MB = 100, 12


def first_request(daemon):
    while True:
        with contextlib.suppress(OSError):
            if daemon.get("http://partner1.test/whoami").status == 200:
                return
        time.sleep(0.001)


def proportional(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Pss:\s*(\d+)", file.read(), re.M)[1]) * 1024


def measure(world, directory, bundle, number):
    daemon = Container(world, os.path.join(directory, str(number)), bundle, ACL, start=False)
    try:
        began = time.monotonic()
        daemon.start(ready=False)
        first_request(daemon)
        ms = (time.monotonic() - began) * 1000
        time.sleep(0.5)  # what it does after the start, it does now
        return ms, sum(map(proportional, [daemon.gate, *daemon.proxies()])) / 1e6
    finally:
        daemon.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rounds = 3 if parser.parse_args().quick else 15
    sweep()
    with contextlib.ExitStack() as clean, tempfile.TemporaryDirectory() as directory:
        world = World()
        clean.callback(world.remove)
        clean.callback(Dnsmasq(world.net, directory).close)
        clean.callback(Origin(world.partner1).close)
        image = build(os.path.join(directory, "image"), EGRETD)
        bundle = unpack(f"{image}/egret-oci.tar", directory)
        results = [measure(world, directory, bundle, number) for number in range(rounds)]
    print("| the image under runc | aim | median | least | most |\n| --- | --- | --- | --- | --- |")
    rows = (("`runc run` to first request served: ms", MOST_MS),
            ("idle, all processes: MB (Pss)", MOST_MB))
    for (what, aim), values in zip(rows, zip(*results)):
        print(f"| {what} | {aim} | {statistics.median(values):.2f} | {min(values):.2f} "
              f"| {max(values):.2f} |")


if __name__ == "__main__":
    main()
