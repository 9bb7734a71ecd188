"""The world by itself: what the other tests rely on is so without egret."""
import os
import signal
import subprocess
import sys

import pytest

import dns
from daemon import Curl
from world import NODE, PARTNER1, PARTNER2, POD1, Namespace, sweep


def url(address, path="/whoami", port=80):
    return f"http://[{address}]:{port}{path}" if ":" in address else \
        f"http://{address}:{port}{path}"


@pytest.mark.parametrize("version", (4, 6))
def test_masquerade_hides_pods_behind_the_node(world, origin1, version):
    assert Curl(world.pod1, url(PARTNER1[version])).text == NODE[version]


@pytest.mark.parametrize("version", (4, 6))
def test_a_leaked_pod_address_would_be_seen(world, origin2, version):
    world.gw.nft("delete table inet flannel")
    try:
        assert Curl(world.pod1, url(PARTNER2[version])).text == POD1[version]
    finally:
        world.masquerade()


@pytest.mark.usefixtures("dns")
def test_dns_answers_and_fails_as_told(world):
    for name, rcode in (("partner1.test", 0), ("nowhere.test", 3), ("servfail.test", 2)):
        assert query(world, name) == rcode
    with pytest.raises(TimeoutError):
        query(world, "silent.test", timeout=0.3)


def query(world, name, **options):
    return dns.query(world.gw, name, **options)[0]


def test_nginx_serves_plain_and_tls(world, nginx):
    assert Curl(world.net, url(PARTNER1[4], "/1k", 8080)).body == b"k" * 1024
    done = Curl(world.net, "--cacert", nginx.ca, "--resolve", f"partner1.test:443:{PARTNER1[4]}",
                "https://partner1.test/whoami")
    assert done.status == 200, done.error


CHILD = """
import sys
sys.path.insert(0, {directory!r})
import conftest, world
conftest.signal.signal(conftest.signal.SIGTERM, conftest.signal.default_int_handler)
made = world.World()
try:
    print(world.PREFIX, flush=True)
    sys.stdin.read()
finally:
    made.remove()
"""


def test_a_terminated_world_is_removed(world):
    script = CHILD.format(directory=os.path.dirname(os.path.abspath(__file__)))
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        prefix = child.stdout.readline().strip()
        assert prefix in subprocess.run(["ip", "netns"], capture_output=True, text=True,
                                        timeout=20).stdout
        child.send_signal(signal.SIGTERM)
        child.wait(20)
    assert prefix not in subprocess.run(["ip", "netns"], capture_output=True, text=True,
                                        timeout=20).stdout


def test_what_a_killed_session_left_is_swept(world):
    with subprocess.Popen(["sleep", "0"]) as dead:
        dead.wait(10)
    left = Namespace("left", prefix=f"egret-{dead.pid}-")
    stray = left.start("sleep", "1000")
    sweep()
    assert stray.wait(10) == -signal.SIGKILL
    assert left.name not in subprocess.run(["ip", "netns"], capture_output=True, text=True,
                                           timeout=20).stdout
