"""The flow log of a running egretd, with connections of pods, and egretctl who."""

import json
import os
import re
import signal

import pytest

from daemon import EGRETD, Curl
from world import EGRESS, EGRESS_BANK, PARTNER1, PARTNER2, POD1, POD2, wait_for

BANK = """
[partner bank]
cidr = 45.0.2.0/24, 2a00:0:0:2::/64
ports = 1-65535
protocol = any
egress-ip = 45.0.0.20, 2a00::20
"""
VERSIONS = pytest.mark.parametrize("version", (4, 6))


@pytest.fixture
def gateway(world, egretd):
    world.gw.run("conntrack", "-F")
    daemon = egretd(BANK, nat=True, config={"nat": {"flow-log": "flow.log"}})
    yield daemon
    daemon.stop()
    world.masquerade()


def ctl(daemon, *args):
    return daemon.namespace.run(os.path.join(os.path.dirname(EGRETD), "egretctl"), "-s",
                                daemon.path("control"), *args)


def lines(daemon, name="flow.log", **wanted):
    """Lines that have these fields."""
    if not os.path.exists(daemon.path(name)):
        return []
    with open(daemon.path(name), encoding="utf-8") as file:
        found = [json.loads(line) for line in file.read().splitlines()]
    return [line for line in found if wanted.items() <= line.items()]


def wait_line(daemon, name="flow.log", **wanted):
    return wait_for(f"a line with {wanted}", lambda: lines(daemon, name, **wanted))[0]


def text(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def fetch(pod, address):
    host = f"[{address}]" if ":" in address else address
    done = Curl(pod, f"http://{host}/whoami", timeout=5)
    assert done.exit == 0, done.error
    return done.text


@VERSIONS
def test_a_connection_is_found_again_by_its_translated_address(world, origin2, gateway, version):
    assert fetch(world.pod1, PARTNER2[version]) == EGRESS_BANK[version]
    start = wait_line(gateway, event="start", pod=POD1[version], protocol="tcp",
                      destination=text(PARTNER2[version], 80))
    assert start["partner"] == "bank"
    translated = start["translated_source"]
    assert translated.startswith(text(EGRESS_BANK[version], ""))
    done = ctl(gateway, "who", translated)
    assert done.returncode == 0, done.stderr
    assert f"pod={POD1[version]} partner=bank protocol=tcp " in done.stdout
    assert done.stdout.endswith("reason=open\n")
    assert ctl(gateway, "who", translated, "--protocol", "udp").returncode == 1
    assert ctl(gateway, "who", translated, "--at", "2020-01-01T00:00:00Z").returncode == 1
    world.gw.run("conntrack", "-D", "-f", f"ipv{version}", "-s", POD1[version])
    end = wait_line(gateway, event="end", id=start["id"])
    assert (end["partner"], end["reason"]) == ("bank", "deleted")
    assert end["bytes_original"] > 100 and end["packets_reply"] >= 3
    at = re.sub(r"\.\d+", "", start["start"])
    assert "reason=deleted" in ctl(gateway, "who", translated, "--at", at).stdout


@pytest.mark.parametrize("name", ["acct", "timestamp", "events"])
def test_the_kernel_counts_and_tells(world, gateway, name):
    assert world.gw.run("sysctl", "-n", f"net.netfilter.nf_conntrack_{name}").stdout == "1\n"


def test_what_no_section_names_is_logged_without_a_partner(world, origin1, gateway):
    assert fetch(world.pod1, PARTNER1[4]) == EGRESS[4]
    start = wait_line(gateway, event="start", destination=text(PARTNER1[4], 80))
    assert start["translated_source"].startswith(EGRESS[4] + ":")


def test_the_log_is_rotated(world, origin2, gateway):
    fetch(world.pod1, PARTNER2[4])
    wait_line(gateway, event="start", pod=POD1[4])
    os.rename(gateway.path("flow.log"), gateway.path("flow.log.1"))
    gateway.signal(signal.SIGHUP)
    wait_for("the new file", lambda: os.path.exists(gateway.path("flow.log")))
    world.gw.run("conntrack", "-D", "-s", POD1[4])
    end = wait_line(gateway, event="end", pod=POD1[4], destination=text(PARTNER2[4], 80))
    assert lines(gateway, "flow.log.1", event="start", id=end["id"])
    done = ctl(gateway, "who", end["translated_source"])
    assert "reason=deleted" in done.stdout


def listens(daemon):
    """Does the gate follow the kernel's events of flows that come and go?"""
    netfilter, new_and_destroy = "12", 0x5
    table = daemon.namespace.run("cat", "/proc/thread-self/net/netlink").stdout
    rows = [line.split() for line in table.splitlines()[1:]]
    return any(row[1] == netfilter and int(row[3], 16) & new_and_destroy for row in rows)


def test_the_log_is_switched_off_and_on(world, origin2, gateway):
    assert listens(gateway)
    gateway.config["nat"]["flow-log"] = "off"
    gateway.write_config()
    assert ctl(gateway, "reload").returncode == 0
    assert json.loads(ctl(gateway, "status", "--json").stdout)["flows"]["log"] is None
    assert not listens(gateway)
    world.gw.run("conntrack", "-F")
    gateway.wait_metric("egret_nat_ports_used", 0, 20)
    fetch(world.pod2, PARTNER2[4])
    gateway.wait_metric("egret_nat_ports_used", 1, 20, address=EGRESS_BANK[4])
    gateway.config["nat"]["flow-log"] = "other.log"
    gateway.write_config()
    assert ctl(gateway, "reload").returncode == 0
    assert listens(gateway)
    assert wait_line(gateway, "other.log", event="start", pod=POD2[4], resync=True)
    fetch(world.pod1, PARTNER2[4])
    assert not wait_line(gateway, "other.log", event="start", pod=POD1[4]).get("resync")


def test_without_a_log_ports_in_use_are_counted(world, origin2, egretd):
    daemon = egretd(BANK, nat=True)
    assert not listens(daemon)
    world.gw.run("conntrack", "-F")
    daemon.wait_metric("egret_nat_ports_used", 0, 20)
    fetch(world.pod1, PARTNER2[4])
    daemon.wait_metric("egret_nat_ports_used", 1, 20, address=EGRESS_BANK[4])
    assert daemon.metric("egret_nat_flows_started_total") >= 1
    world.gw.run("conntrack", "-D", "-s", POD1[4])
    daemon.wait_metric("egret_nat_ports_used", 0, 20, address=EGRESS_BANK[4])


def test_a_connection_that_outlives_the_gate_is_found_again(world, origin2, gateway):
    fetch(world.pod1, PARTNER2[4])
    first = wait_line(gateway, event="start", pod=POD1[4], destination=text(PARTNER2[4], 80))
    gateway.stop()
    gateway.start()
    again = wait_line(gateway, event="start", id=first["id"], resync=True)
    assert again["translated_source"] == first["translated_source"]
    assert again["partner"] == "bank"
    done = ctl(gateway, "who", first["translated_source"])
    assert len(done.stdout.splitlines()) == 1 and "reason=open" in done.stdout
