"""`make install`, and the units at work under systemd with all their restrictions."""
import os
import re
import stat
import subprocess

import pytest

from daemon import ROOT, SANITIZED, Curl, Daemon
from pid1 import Machine
from world import EGRESS, PARTNER1, wait_for

pytestmark = pytest.mark.skipif(SANITIZED, reason="what is installed is the plain build")

ACL = "[partner one]\nhosts = partner1.test\nports = 80\n"
MOST_EXPOSURE = 25  # tenths


def make(*words):
    done = subprocess.run(["make", "-C", ROOT, *words], capture_output=True, text=True, timeout=140,
                          umask=0o077, check=False)
    assert done.returncode == 0, done.stderr


def files(root):
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = stat.S_IMODE(os.stat(path).st_mode)
    return found


@pytest.mark.parametrize("prefix", ("/usr", "/usr/local"))
def test_everything_has_its_place_and_leaves_it(tmp_path, prefix):
    words = (f"DESTDIR={tmp_path}", f"PREFIX={prefix}")
    make("install", *words)
    found, below = files(tmp_path), prefix.lstrip("/")
    assert found.items() >= {
        f"{below}/bin/egretd": 0o755, f"{below}/bin/egretctl": 0o755,
        f"{below}/lib/systemd/system/egretd.service": 0o644,
        f"{below}/lib/systemd/system/egret-guard.service": 0o644,
        f"{below}/lib/sysusers.d/egret.conf": 0o644, f"{below}/lib/tmpfiles.d/egret.conf": 0o644,
        f"{below}/share/bash-completion/completions/egretctl": 0o644,
        "etc/egret/egret.ini": 0o644, "etc/egret/acl.ini": 0o644}.items()
    for unit in ("egretd", "egret-guard"):
        text = (tmp_path / below / f"lib/systemd/system/{unit}.service").read_text()
        assert set(re.findall(r"(\S*)/bin/egret", text)) <= {f"ExecStart={prefix}", prefix,
                                                            f"ExecReload={prefix}"}
    make("uninstall", *words)
    assert files(tmp_path) == {}
    assert not (tmp_path / "etc/egret").exists()


def test_what_is_configured_stays(tmp_path):
    words = (f"DESTDIR={tmp_path}", "PREFIX=/usr")
    make("install", *words)
    (tmp_path / "etc/egret/acl.ini").write_text(ACL)
    make("install", *words)
    make("uninstall", *words)
    assert files(tmp_path) == {"etc/egret/acl.ini": 0o644}
    assert (tmp_path / "etc/egret/acl.ini").read_text() == ACL


@pytest.mark.parametrize("unit", ("egretd", "egret-guard"))
def test_the_units_are_hardened(unit):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager",
         f"--threshold={MOST_EXPOSURE}", f"{ROOT}/systemd/{unit}.service"],
        capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.fixture
def machine(world, dns, tmp_path):
    """systemd with both units started, and what egretd there is asked by."""
    if not Machine.possible():
        pytest.skip("systemd or a cgroup2 hierarchy is not there")
    daemon = Daemon(world, str(tmp_path / "etc"), ACL, nat=True, start=False, config={
        "admin": {"control": "/run/egret/control.sock"},
        "cache": {"size": "16m", "directory": "/var/cache/egret"},
        "log": {"access-log": "/var/log/egret/access.log"}})
    make("install", f"DESTDIR={tmp_path}/files", "PREFIX=/usr")
    units = tmp_path / "files/etc/systemd/system"
    for unit in ("egretd", "egret-guard"):  # what the filter does not know ends the process
        os.makedirs(units / f"{unit}.service.d")
        (units / f"{unit}.service.d/test.conf").write_text(
            "[Unit]\nDefaultDependencies=no\nWants=\nAfter=\nRequiresMountsFor=\n[Service]\n"
            f"SystemCallErrorNumber=kill\nStandardOutput=append:/etc/egret/{unit}.log\n"
            f"StandardError=append:/etc/egret/{unit}.log\n")
    (units / "test.target").write_text(
        "[Unit]\nDefaultDependencies=no\nWants=egretd.service egret-guard.service\n"
        "After=egretd.service\n")
    made = Machine(world.gw, str(tmp_path), "test.target")
    made.daemon = daemon
    yield made
    made.close()
    daemon.command("--remove")
    world.masquerade()


def test_they_work_under_their_restrictions(world, machine, origin1):
    daemon = machine.daemon
    try:
        wait_for("egretd to be ready", daemon.ready)
    except AssertionError:
        print(machine.run("systemctl", "status", "--no-pager", "egretd", "egret-guard").stdout)
        for name in sorted(os.listdir(daemon.directory)):
            if name.endswith(".log"):
                with open(daemon.path(name), encoding="utf-8") as file:
                    print(name, file.read()[-3000:])
        raise
    with open(daemon.path("egret-guard.log"), encoding="utf-8") as file:
        assert "the routing guard is in the kernel" in file.read()
    assert daemon.get("http://partner1.test/whoami").text in EGRESS.values()
    assert Curl(world.pod1, f"http://{PARTNER1[4]}/whoami", timeout=5).text == EGRESS[4]
    assert daemon.get("http://denied.example/").status == 403
    world.sysctl(**{"net.ipv4.conf.all.src_valid_mark": 0})
    wait_for("the kernel parameter to be set again", lambda: world.gw.run(
        "sysctl", "-n", "net.ipv4.conf.all.src_valid_mark").stdout == "1\n")

    def main_pid():
        return int(machine.run("systemctl", "show", "-P", "MainPID", "egretd").stdout)
    pid = main_pid()
    daemon.write("acl.ini", ACL + "[partner new]\nhosts = denied.example\n")
    done = machine.run("systemctl", "reload", "egretd")
    assert done.returncode == 0, done.stderr
    assert daemon.get("http://denied.example/whoami").status == 200
    assert main_pid() == pid
    machine.run("systemctl", "stop", "egretd")
    shown = machine.run("systemctl", "show", "-P", "Result", "egretd").stdout
    assert shown == "success\n"
    with open(daemon.path("egretd.log"), encoding="utf-8") as file:
        log = file.read()
    assert "stopped" in log and "started again" not in log and "in memory only" not in log
