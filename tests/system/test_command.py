"""The command line: -t, -v, --remove, usage, and the shipped defaults."""
import json
import os
import re
import sys

import pytest

from daemon import ACL, EGRETD, ROOT, SANITIZED, status_of
from world import wait_for


def run(world, *args):
    return world.gw.run(EGRETD, *args)


def test_t_checks_the_files_and_touches_nothing(world, egretd):
    daemon = egretd(ACL, nat=True, start=False)
    done = daemon.command("-t")
    assert done.returncode == 0, done.stderr
    assert "egret" not in world.gw.run("nft", "list", "tables").stdout
    daemon.write("acl.ini", ACL + "colour = red\n")
    done = daemon.command("-t")
    assert done.returncode != 0
    assert f"acl.ini:{ACL.count(chr(10)) + 1}: " in done.stderr and "colour" in done.stderr


def test_t_names_a_missing_file(world, egretd):
    daemon = egretd(ACL, start=False)
    os.unlink(daemon.path("acl.ini"))
    done = daemon.command("-t")
    assert done.returncode != 0 and "acl.ini" in done.stderr
    os.unlink(daemon.path("egret.ini"))
    done = daemon.command("-t")
    assert done.returncode != 0 and "egret.ini" in done.stderr


def test_v_tells_the_version(world):
    done = run(world, "-v")
    assert done.returncode == 0
    assert re.search(r"egretd? \d+\.\d+", done.stdout)


@pytest.mark.parametrize("args", (("-x",), ("stray",), ("-c",), ("--nonsense",)))
def test_usage_errors(world, args):
    done = run(world, *args)
    assert done.returncode not in (0, None)
    assert "usage" in done.stderr.lower(), done.stderr
    assert len(done.stderr) < 4000


def test_egretctl_asks_the_running_gate(world, egretd):
    daemon = egretd(ACL)

    def ctl(*args):
        return world.gw.run(os.path.join(os.path.dirname(EGRETD), "egretctl"), "-s",
                            daemon.path("control"), *args)
    status = json.loads(ctl("status", "--json").stdout)
    assert str(daemon.proxy) in json.dumps(status)
    explained = ctl("explain", "10.42.0.11", "CONNECT", "partner1.test:443")
    assert explained.returncode == 0
    assert "acl.ini:2" in explained.stdout and "allow" in explained.stdout
    assert "denied" in ctl("explain", "10.42.0.11", "GET", "http://denied.example/").stdout
    daemon.write("acl.ini", ACL + "colour = red\n")
    refused = ctl("reload")
    assert refused.returncode == 1 and "colour" in refused.stdout + refused.stderr
    daemon.write("acl.ini", ACL + "[partner two]\nhosts = two.test\n")
    assert ctl("reload").returncode == 0
    assert ctl("dance").returncode != 0


def test_the_shipped_files_are_good(world):
    done = run(world, "-t", "-c", os.path.join(ROOT, "etc/egret.ini"))
    assert done.returncode == 0, done.stderr


def test_a_taken_port_is_an_error_at_start(world, egretd):
    daemon = egretd(ACL, start=False)
    with world.gw.socket() as taken:
        taken.bind(("10.42.0.1", daemon.port))
        taken.listen()
        done = daemon.command()
    assert done.returncode != 0
    assert f"10.42.0.1:{daemon.port}" in done.stderr


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
"""


def measured(daemon):
    """Seconds of CPU and bytes that `egretd -t` takes.  (A child's peak begins as that of the process
    that forks it, so a small one does.)"""
    done = daemon.namespace.run(sys.executable, "-c", MEASURE, EGRETD, "-t", "-c",
                                daemon.path("egret.ini"), check=True)
    seconds, memory = done.stdout.split()
    return float(seconds), int(memory)


def test_ten_thousand_partners_load_in_a_second(egretd):
    acl = "".join(f"[partner p{n}]\nhosts = p{n}.test, *.p{n}.test\nports = 443\nrate = 10/1m\n"
                  for n in range(10_000))
    daemon = egretd(acl + ACL)
    assert daemon.get("http://egret.internal/").status == 200
    with daemon.wire() as wire:
        assert wire.connect("partner2.test:443").status == 403
    seconds, _ = measured(daemon)
    assert SANITIZED or seconds < 1


def test_a_million_hosts_load_in_three_seconds_and_150_mb(egretd):
    hosts = "".join(f"host{n}.of-a-partner-{n % 1000}.example\n" for n in range(1_000_000))
    daemon = egretd("[partner many]\nhosts-file = many.txt\n" + ACL, files={"many.txt": hosts},
                    start=False)
    seconds, memory = measured(daemon)
    assert SANITIZED or (seconds < 3 and memory < 150_000_000), (seconds, memory)
    daemon.start(ready=False)
    wait_for("the proxy to have read them, too", daemon.ready, seconds=60)
    peak = int(status_of(daemon.proxy)["VmHWM"].split()[0]) * 1024
    assert SANITIZED or peak < 120_000_000, peak
