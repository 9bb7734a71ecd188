"""Two processes: what each may do, and what happens when one ends."""
import os
import re
import signal
import tempfile
import threading
import time

import pytest

from daemon import EGRETD, PROXY_UID, SANITIZED, Daemon, descriptors, is_running, status_of
from origin import Listener
from wire import Closed
from world import wait_for

ONE = "http://partner1.test"
ACL = """
[partner one]
hosts = partner1.test, *.partner1.test
ports = 80, 443, 8080, 7000
"""


# Privilege.

def test_the_proxy_has_no_privilege(egretd):
    daemon = egretd()
    status = status_of(daemon.proxy)
    assert status["Uid"].split() == [str(PROXY_UID)] * 4
    assert status["Gid"].split() == [str(PROXY_UID)] * 4
    assert status["Groups"] == ""
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0, capabilities
    assert status["NoNewPrivs"] == "1"
    assert status_of(daemon.gate)["Uid"].split()[0] == "0"


def test_the_proxy_keeps_nothing_of_the_environment(egretd):
    daemon = egretd(prefix=("env", "EGRET_SECRET=of the service manager"))
    for pid, keeps in ((daemon.gate, True), (daemon.proxy, False)):
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert (b"EGRET_SECRET" in file.read()) == keeps


@pytest.mark.skipif(SANITIZED, reason="the leak check cannot be traced")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
def test_a_signal_to_both_processes_never_ends_a_proxy_that_starts(egretd, name):
    """A terminal's or a service manager's; this one comes while it gives up its groups."""
    daemon = egretd(prefix=("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=setgroups",
                            "-e", f"inject=setgroups:signal={name}"))
    assert "the proxy ended" not in daemon.log()


def test_one_thread_for_each_worker(egretd):
    def threads(workers):
        daemon = egretd(config={"proxy": {"workers": workers}})
        return int(status_of(daemon.proxy)["Threads"])
    assert threads(3) - threads(1) == 2
    assert threads("auto") - threads(1) == len(os.sched_getaffinity(0)) - 1


def test_a_plain_user_can_run_the_proxy_alone(world, dns, origin1):
    """With [nat] enable = no nothing needs root."""
    with tempfile.TemporaryDirectory(prefix="egret-") as directory:
        os.chmod(directory, 0o777)
        egretd = os.path.join(directory, "egretd")
        with open(EGRETD, "rb") as src, open(egretd, "wb") as copy:
            copy.write(src.read())
        os.chmod(egretd, 0o755)
        daemon = Daemon(world, os.path.join(directory, "etc"), ACL, egretd=egretd, start=False,
                        config={"admin": {"control": os.path.join(directory, "control")}},
                        prefix=("setpriv", "--reuid", "64200", "--regid", "64200",
                                "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"))
        try:
            daemon.start()
            assert daemon.get(ONE + "/whoami").status == 200
            assert status_of(daemon.gate)["Uid"].split()[0] == "64200"
            assert status_of(daemon.proxy)["NoNewPrivs"] == "1"
            daemon.reload(ACL + "; an edit\n")
        finally:
            daemon.close()


def test_a_plain_user_with_nat_is_told_what_is_missing(world):
    with tempfile.TemporaryDirectory(prefix="egret-") as directory:
        os.chmod(directory, 0o777)
        daemon = Daemon(world, os.path.join(directory, "etc"), ACL, nat=True, start=False,
                        config={"admin": {"control": os.path.join(directory, "control")}})
        done = world.gw.run("setpriv", "--reuid", "64200", "--regid", "64200", "--clear-groups",
                            "--inh-caps=-all", "--bounding-set=-all", EGRETD, "-c",
                            daemon.path("egret.ini"))
        assert done.returncode != 0
        assert "CAP_NET_ADMIN" in done.stderr or "ermi" in done.stderr, done.stderr


# A proxy that dies.

def test_a_killed_proxy_is_replaced_and_no_listener_is_lost(egretd, origin1):
    """Connections made while there is none wait, and are served by the next."""
    daemon = egretd()
    for _ in range(3):
        old = daemon.proxy
        os.kill(old, signal.SIGKILL)
        wires = [daemon.wire() for _ in range(8)]  # no connection is refused
        for wire in wires:
            wire.send(f"GET {ONE}/whoami HTTP/1.1\r\nHost: a\r\n\r\n")
        for wire in wires:
            with wire:
                # Those that the dying one had accepted already are cut, never refused.
                try:
                    assert wire.response().status == 200
                except (Closed, OSError):
                    pass
        wait_for("a new proxy", lambda: daemon.proxies() and daemon.proxies()[0] != old)
        wait_for("it to serve", daemon.ready)
        assert daemon.get(ONE + "/whoami").status == 200


def test_connections_made_while_there_is_no_proxy_are_served_later(egretd, origin1):
    daemon = egretd()
    old = daemon.proxy
    os.kill(daemon.gate, signal.SIGSTOP)  # the gate cannot start another yet
    try:
        os.kill(old, signal.SIGKILL)
        wait_for("the proxy to be dead", lambda: not is_running(old))
        wires = [daemon.wire() for _ in range(8)]
        for wire in wires:
            wire.send(f"GET {ONE}/whoami HTTP/1.1\r\nHost: a\r\n\r\n")
    finally:
        os.kill(daemon.gate, signal.SIGCONT)
    for wire in wires:
        with wire:
            assert wire.response().status == 200


def test_a_proxy_that_dies_again_and_again_is_started_with_back_off(egretd):
    daemon = egretd()
    started = set()

    def kill():
        for pid in daemon.proxies():
            started.add(pid)
            os.kill(pid, signal.SIGKILL)
        return time.monotonic() > end
    end = time.monotonic() + 3
    wait_for("three seconds of killing", kill, 5)
    assert 2 <= len(started) < 30
    wait_for("it to serve again", daemon.ready, 20)
    assert daemon.get("http://egret.internal/").status == 200
    assert daemon.metric("egret_proxy_restarts_total") >= 2


def test_the_policy_of_now_is_followed_by_the_next_proxy(egretd, origin1):
    daemon = egretd()
    daemon.reload("[partner one]\nhosts = v4.partner1.test\nports = 80\n")
    generation = daemon.generation()
    os.kill(daemon.proxy, signal.SIGKILL)
    wait_for("a new proxy", daemon.ready)
    assert daemon.get(ONE + "/whoami").status == 403
    assert daemon.get("http://v4.partner1.test/whoami").status == 200
    assert daemon.generation() == generation


def test_the_proxy_ends_with_its_gate(egretd):
    daemon = egretd()
    proxy = daemon.proxy
    os.kill(daemon.gate, signal.SIGKILL)
    wait_for("the proxy to end", lambda: not is_running(proxy))
    daemon.stop()
    daemon.start()


def test_a_second_gate_is_refused(egretd):
    daemon = egretd()
    done = daemon.command()
    assert done.returncode != 0 and daemon.path("control") in done.stderr
    assert daemon.get("http://egret.internal/").status == 200


# Draining.

def test_sigterm_lets_a_running_download_finish(world, egretd):
    daemon = egretd(ACL, config={"proxy": {"drain-timeout": "30s"}})
    with Listener(world.partner1, 7000) as far, daemon.wire() as wire:
        wire.send(f"GET {ONE}:7000/ HTTP/1.1\r\nHost: a\r\n\r\n")
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            head = wire.head()
            idle = daemon.wire()
            daemon.signal(signal.SIGTERM)
            assert idle.ended()
            wait_for("connections to be refused", lambda: refused(daemon))
            assert daemon.running()
            origin.send("later")
            assert wire.body(head) == b"firstlater"
            assert wire.ended()
    assert daemon.stop() == 0


def refused(daemon):
    try:
        daemon.wire().close()
        return False
    except ConnectionResetError:  # it was closed as we came
        return False
    except ConnectionRefusedError:
        return True


def test_sigterm_lets_a_tunnel_finish(world, egretd):
    daemon = egretd(ACL, config={"proxy": {"drain-timeout": "30s"}})
    with Listener(world.partner1, 7000) as far, daemon.wire() as wire:
        assert wire.connect("partner1.test:7000").status == 200
        with far.accept() as origin:
            daemon.signal(signal.SIGTERM)
            wait_for("connections to be refused", lambda: refused(daemon))
            origin.send("still here")
            assert wire.read(10) == b"still here"
    assert daemon.stop() == 0


@pytest.mark.skipif(SANITIZED, reason="the leak check cannot be traced")
def test_the_proxy_drains_before_the_gate_lets_go_of_inotify(egretd, tmp_path):
    """close(2) of such a descriptor waits for the kernel, on a busy node for seconds."""
    trace = tmp_path / "trace"
    daemon = egretd(prefix=("strace", "-D", "-q", "-y", "-o", trace, "-e", "trace=close,sendmsg"))
    assert daemon.stop() == 0
    calls = wait_for("the end of the trace", lambda: re.fullmatch(
        r".*--- SIGTERM (.*)\+\+\+ exited with 0 .*", trace.read_text(), re.DOTALL))[1]
    assert "sendmsg" in calls
    assert "inotify" not in calls[:calls.index("sendmsg")]


def test_drain_timeout_cuts(world, egretd):
    daemon = egretd(ACL, config={"proxy": {"drain-timeout": "1s"}})
    with Listener(world.partner1, 7000) as far, daemon.wire() as wire:
        wire.connect("partner1.test:7000")
        with far.accept() as origin:
            assert daemon.stop() == 0
            assert wire.ended() and origin.ended()


def test_sigint_ends_it_too(egretd):
    daemon = egretd()
    assert daemon.stop(signal.SIGINT) == 0


# Limits.

def test_one_connection_more_than_the_limit_gets_503(egretd):
    daemon = egretd(config={"proxy": {"max-connections": 4, "workers": 2}})
    wires = [daemon.wire() for _ in range(4)]
    for wire in wires:
        assert wire.get("http://egret.internal/").status == 200
    with daemon.wire() as extra:
        extra.send("GET http://egret.internal/ HTTP/1.1\r\nHost: a\r\n\r\n")
        response = extra.response()
        assert response.status == 503
        assert response.get("Proxy-Status") and response.body
        assert extra.ended()
    for wire in wires:
        wire.close()
    wait_for("room", lambda: daemon.get("http://egret.internal/").status == 200)
    assert daemon.metric("egret_client_connections_refused_total") >= 1


def test_the_admin_page_is_there_when_the_proxy_is_full(egretd):
    daemon = egretd(config={"proxy": {"max-connections": 2}})
    wires = [daemon.wire() for _ in range(4)]
    assert daemon.admin("/healthz").status == 200
    for wire in wires:
        wire.close()


def test_no_descriptor_is_lost_under_load(egretd, origin1, nginx):
    """After exchanges, tunnels, denials and aborts of many connections all is closed."""
    daemon = egretd(ACL, config={"proxy": {"origin-idle-timeout": "1s"}})
    assert daemon.get(ONE + "/whoami").status == 200
    origin1.drop_idle()
    wait_for("origins to be gone", lambda: daemon.metric("egret_origin_connections") == 0)
    before = descriptors(daemon.proxy)

    def load():
        for n in range(25):
            with daemon.wire() as wire:
                wire.get(ONE + ":8080/1k")
                wire.get("http://denied.example/")
            with daemon.wire() as wire:
                if wire.connect("partner1.test:8080").status == 200:
                    wire.send("GET /1k HTTP/1.1\r\nHost: a\r\n\r\n")
                    wire.response()
            wire = daemon.wire()
            wire.send(f"GET {ONE}:8080/text HTTP/1.1\r\nHost: a\r\n\r\n")
            if n % 2:
                wire.head()
            wire.reset()
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wait_for("all to be closed", lambda: descriptors(daemon.proxy) <= before)
    assert descriptors(daemon.proxy, "pipe:") < 300  # free pipes are kept, but not many
    assert daemon.metric("egret_client_connections") <= 1
    assert daemon.metric("egret_tunnels") == 0


def test_out_of_descriptors_it_waits_and_goes_on(egretd, origin1):
    limit = descriptors(egretd().proxy, "") + 12
    daemon = egretd(prefix=("prlimit", f"--nofile={limit}:{limit}", "setpriv",
                            "--bounding-set=-sys_resource"))
    proxy = daemon.proxy
    wires = [daemon.wire() for _ in range(40)]  # the kernel accepts, the proxy cannot
    for wire in wires:
        wire.send(f"GET {ONE}/whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    statuses = []
    for wire in wires:
        with wire:
            statuses.append(wire.response().status)
    assert len(statuses) == 40 and set(statuses) <= {200, 502, 503}
    assert daemon.proxy == proxy
    wait_for("it to serve again", lambda: daemon.get(ONE + "/whoami").status == 200)
