"""Fixtures: one world for the session, daemons and servers for modules and tests.

Everything made is removed by the finaliser of the fixture that made it, after failures
and Ctrl-C too; SIGTERM is treated as Ctrl-C.
"""
import os
import signal
import subprocess

import pytest

pytest.register_assert_rewrite("stage", "judge")

from daemon import EGRETD, Daemons
from dns import Dnsmasq
from judge import JUDGE, TRAFFIC
from origin import Nginx, Origin
from stage import Stage
from world import World, leftovers, sweep

TEST_BOUND = 150  # seconds that a single test may take


def pytest_sessionstart():
    if os.geteuid() != 0:
        pytest.exit("system tests make network namespaces: run them as root", 2)
    for program in (EGRETD, JUDGE, TRAFFIC):
        if not os.path.exists(program):
            pytest.exit(f"{program} is not there: build it first (make check)", 2)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sweep()


def _tables():
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True,
                          timeout=20).stdout


JUDGED = {"stage", "fleet", "managed", "special", "soak"}


def pytest_collection_modifyitems(items):
    """What fails beside all the others runs once more, and is named in the end (-rR).  Not where
    packets are judged: there the first failure counts."""
    for item in items:
        if not JUDGED & {*item.fixturenames, *vars(item.module)}:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left():
    before = _tables()
    yield
    assert leftovers() == []
    assert _tables() == before


@pytest.fixture(autouse=True)
def bound():
    def late(*_):
        raise AssertionError(f"the test took over {TEST_BOUND} s")
    signal.signal(signal.SIGALRM, late)
    signal.alarm(TEST_BOUND)
    yield
    signal.alarm(0)


@pytest.fixture(scope="session")
def world(nothing_is_left):
    made = World()
    yield made
    strays = made.strays()
    made.remove()
    assert not strays, f"processes that nobody stopped: {strays}"


@pytest.fixture(scope="session")
def dns(world, tmp_path_factory):
    server = Dnsmasq(world.net, str(tmp_path_factory.mktemp("dns")))
    yield server
    server.close()


@pytest.fixture(scope="session")
def nginx(world, tmp_path_factory):
    server = Nginx(world.partner1, str(tmp_path_factory.mktemp("nginx")))
    yield server
    server.close()


def _origin(namespace):
    server = Origin(namespace)
    yield server
    server.close()


@pytest.fixture(scope="module")
def origin1(world):
    """partner1.test:80"""
    yield from _origin(world.partner1)


@pytest.fixture(scope="module")
def origin2(world):
    """partner2.test:80"""
    yield from _origin(world.partner2)


@pytest.fixture
def egretd(world, dns, tmp_path_factory):
    """egretd(acl, config=..., nat=...): a daemon for one test."""
    daemons = Daemons(world, tmp_path_factory)
    yield daemons
    daemons.close()


@pytest.fixture(scope="module")
def egretd_module(world, dns, tmp_path_factory):
    """The same for fixtures that share a daemon in a module."""
    daemons = Daemons(world, tmp_path_factory)
    yield daemons
    daemons.close()


@pytest.fixture(scope="module")
def proxy(egretd_module):
    """A daemon with the policy ACL and without NAT."""
    return egretd_module(config={"log": {"access-log": "off"}})


@pytest.fixture(autouse=True)
def no_exchange_is_left(request):
    """Ends a test with its exchanges: what a shared daemon still asked for, it would ask the next
    test's origin."""
    yield
    for daemon in getattr(request.node.funcargs.get("egretd_module"), "made", []):
        if daemon.running():
            daemon.wait_metric("egret_client_connections", 1)  # the question itself


@pytest.fixture
def special(nothing_is_left, tmp_path_factory):
    """A function: a Stage of the test's own."""
    stages = []

    def make(**options):
        stages.append(Stage(tmp_path_factory, f"special-{len(stages)}", **options))
        make.made += stages[-1].made
        return stages[-1]
    make.made = []
    yield make
    for stage in stages:
        stage.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the logs of the test's daemons when it failed."""
    report = (yield).get_result()
    if call.when != "call" or not report.failed:
        return
    for fixture in ("egretd", "egretd_module", "contained", "stage", "special", "fleet"):
        for daemon in getattr(item.funcargs.get(fixture), "made", []):
            log = daemon.path("log")
            if os.path.exists(log):
                report.sections.append((f"egretd on port {daemon.port}", daemon.log()[-6000:]))
