"""The routing guard: egretd --guard before the first start, and --remove."""
import contextlib

import pytest

from daemon import Curl
from origin import Origin
from world import GATEWAY, NODE, PARTNER1

VERSIONS = pytest.mark.parametrize("version", (4, 6))


@pytest.fixture
def files(world, egretd):
    """egret.ini with a policy that no longer parses, and no daemon."""
    daemon = egretd("[partner\n", nat=True, start=False)
    yield daemon
    assert daemon.command("--remove").returncode == 0
    world.masquerade()


def fetch(pod, address):
    host = f"[{address}]" if ":" in address else address
    return Curl(pod, f"http://{host}:80/whoami", timeout=5)


def routing(world):
    return "".join(world.gw.run("ip", *args).stdout for version in ("-4", "-6") for args in (
        (version, "rule"), (version, "route", "show", "table", "all")))


def judge(world):
    """What egret's table does with a pod's packet that it has judged."""
    world.gw.nft("""table inet judged {
        chain prerouting { type filter hook prerouting priority -90
            meta mark set meta mark | 0x01000000
        }
    }""")


@VERSIONS
def test_pods_are_shut_in_until_egret_has_judged(world, origin1, files, version):
    assert fetch(world.pod1, PARTNER1[version]).text == NODE[version]
    done = files.command("--guard")
    assert done.returncode == 0, done.stderr
    refused = fetch(world.pod1, PARTNER1[version])
    assert refused.exit == 7, refused.error  # at once, by an ICMP error
    with contextlib.closing(Origin(world.gw)):  # on the node, and from the node
        assert fetch(world.pod1, GATEWAY[version]).exit == 0
        assert fetch(world.pod1, NODE[version]).exit == 0
        assert fetch(world.gw, PARTNER1[version]).text == NODE[version]
    world.gw.nft("flush ruleset")
    assert fetch(world.pod1, PARTNER1[version]).exit == 7
    world.masquerade()
    judge(world)
    try:
        assert fetch(world.pod1, PARTNER1[version]).text == NODE[version]
    finally:
        world.gw.nft("delete table inet judged")


def test_guard_is_put_once_and_removed_without_a_trace(world, files):
    before = routing(world)
    first = files.command("--guard")
    assert first.returncode == 0 and "changes made: 0" not in first.stdout
    guarded = routing(world)
    assert "fwmark 0/0xff000000 lookup 7099 proto 230" in guarded
    again = files.command("--guard")
    assert again.returncode == 0 and "changes made: 0" in again.stdout
    assert routing(world) == guarded
    for _ in range(2):
        assert files.command("--remove").returncode == 0
        assert routing(world) == before


def test_guard_says_with_whom_it_collides(world, files):
    world.gw.run("ip", "rule", "add", "pref", "5220", "iif", "lo", "lookup", "7")
    try:
        before = routing(world)
        done = files.command("--guard")
        assert done.returncode == 1
        assert "[nat] rule-priority = 5220: is in use: ip rule 5220: iif lo lookup 7" in done.stderr
        assert routing(world) == before
    finally:
        world.gw.run("ip", "rule", "del", "pref", "5220")


def test_a_proxy_alone_has_no_guard(world, egretd):
    before = routing(world)
    daemon = egretd("", start=False)
    done = daemon.command("--guard")
    assert done.returncode == 0 and "enable = no" in done.stdout
    assert routing(world) == before
