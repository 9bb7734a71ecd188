"""As image/kubernetes has it: files from a ConfigMap, and whom the proxy sees behind Flannel."""
import contextlib
import json
import os
import re
import shutil
import tempfile

import pytest

from daemon import ACL
from fleet import Fleet
from stage import BANK
from wire import Wire
from world import EGRESS, NODE, PARTNER1, wait_for

URL = "http://partner1.test/whoami"
TEAM = "[partner team]\nhosts = partner2.test\nports = 80\n"
TEAM_URL = "http://partner2.test/whoami"
PORT = 3128
PROXY_ADDRESS = {4: "45.0.0.60", 6: "2a00::60"}
PROXY = {"listen": f"0.0.0.0:{PORT}, [::]:{PORT}"}
HINT = r"warn proxy: \S+, which connected to \S+, is a node's address.*"
VERSIONS = pytest.mark.parametrize("version", (4, 6))


class ConfigMap:
    """The volume that kubelet makes of it: NAME -> ..data/NAME, ..data -> a directory with the time
    in its name, which is swapped by a rename; then the directory before is removed."""

    def __init__(self, volume, files):
        self._volume, self._files, self._now = volume, files, None
        self._swap()
        for top in {name.partition("/")[0] for name in files}:
            link = os.path.join(volume, top)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(link)
            os.symlink(f"..data/{top}", link)

    def edit(self, name, text):
        self._files[name] = text
        self._swap()

    def _swap(self):
        before = self._now
        self._now = tempfile.mkdtemp(prefix="..2026_11_26_06_50_45.", dir=self._volume)
        os.chmod(self._now, 0o755)
        for name, text in self._files.items():
            path = os.path.join(self._now, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        link = os.path.join(self._volume, "..data")
        os.symlink(os.path.basename(self._now), link + "_tmp")
        os.rename(link + "_tmp", link)
        if before:
            shutil.rmtree(before)


@pytest.fixture
def mounted(egretd):
    """A daemon and the ConfigMap that its files come from."""
    daemon = egretd(ACL, start=False)
    with open(daemon.path("egret.ini"), encoding="utf-8") as file:
        config_map = ConfigMap(daemon.directory, {
            "egret.ini": file.read(), "acl.ini": ACL, "acl.d/team.ini": ""})
    daemon.start()
    return daemon, config_map


def test_an_edit_of_the_config_map_is_in_force_when_its_files_are_swapped(mounted, origin1):
    daemon, config_map = mounted
    for wanted in (403, 200, 403):
        config_map.edit("acl.ini", ACL if wanted == 200 else ACL.replace("partner1", "partner3"))
        wait_for("the edit", lambda w=wanted: daemon.get(URL).status == w)
    wait_for("it to be counted",
             lambda: daemon.metric("egret_reloads_total", result="success") >= 3)
    wait_for("readiness", daemon.ready)


def test_a_team_has_a_file_of_its_own_in_the_config_map(mounted, origin2):
    """`items` of the volume give a key a path: acl.d/team.ini."""
    daemon, config_map = mounted
    for wanted in (200, 403, 200):
        config_map.edit("acl.d/team.ini", TEAM if wanted == 200 else "")
        wait_for("the edit", lambda w=wanted: daemon.get(TEAM_URL).status == w)


def test_a_bad_edit_of_the_config_map_shows_and_changes_nothing(mounted, origin1):
    daemon, config_map = mounted
    generation = daemon.generation()
    config_map.edit("acl.ini", ACL + "colour = red\n")
    line = ACL.count("\n") + 1
    daemon.wait_log(rf"error gate: .*acl\.ini:{line}: .*colour")
    wait_for("readiness to be false", lambda: daemon.admin("/readyz").status == 503)
    assert f"acl.ini:{line}: " in daemon.admin("/readyz").text
    assert daemon.admin("/healthz").status == 200
    wait_for("it to be counted",
             lambda: daemon.metric("egret_reloads_total", result="failure") >= 1)
    assert daemon.generation() == generation
    assert daemon.get(URL).status == 200
    config_map.edit("acl.ini", ACL)
    wait_for("readiness", daemon.ready)


def seen(namespace, address):
    """Whom the proxy at this address takes the client for."""
    with Wire(namespace.connect(address, PORT)) as wire:
        answer = wire.get("http://egret.internal/", "Accept: application/json")
        return json.loads(answer.text)["client"]


def hints(daemon):
    return re.findall(HINT, daemon.log())


@pytest.fixture(scope="module")
def fleet(nothing_is_left, tmp_path_factory):
    """As `cluster` of image/kubernetes: egret has a say only in what the policy names."""
    with contextlib.ExitStack() as clean:
        made = Fleet(tmp_path_factory, "kube", config={
            "proxy": PROXY, "gateway": {"default-egress": "local"}})
        clean.callback(made.close)
        yield made


@VERSIONS
def test_a_pod_is_a_pod_at_the_address_in_the_pod_network_and_a_node_elsewhere(fleet, version):
    """Of another node: what the Service of image/kubernetes leads to, and what it must not."""
    gateway, worker = fleet.nodes.gw1, fleet.nodes.w1
    daemon = fleet.egret["gw1"]
    pod = worker.pod_addresses[0][version]
    before = len(hints(daemon))
    assert seen(worker.pod1, gateway.flannel[version]) == pod
    assert seen(worker.pod1, gateway.cni0[version]) == pod
    assert len(hints(daemon)) == before
    def told():
        assert seen(worker.pod1, gateway.node[version]) == worker.node[version]
        return hints(daemon)[before:]
    wait_for("the hint", told)
    told()
    hint, = told()
    assert f" {worker.node[version]}, which" in hint
    assert gateway.node[version] in hint and "docs/kubernetes.md" in hint


LAN = "[group lan]\ncidr = 45.0.0.0/24\n"
ROUTED = f"gw1 {NODE[4]} 10.42.0.1, gw2 {PARTNER1[4]} 10.42.1.1"


@pytest.mark.parametrize("client, acl, gateways, told", (
    ("net", ACL, "none", True), ("net", ACL + LAN, "none", False), ("gw", ACL, "none", False),
    ("partner1", ACL, ROUTED, True), ("partner1", ACL, "none", False),
), ids=("neighbour", "of a group", "this node", "routed gateway", "stranger"))
def test_which_clients_are_nodes(world, egretd, client, acl, gateways, told):
    daemon = egretd(acl, start=False, config={"gateway": {"gateways": gateways}})
    daemon.config["proxy"]["listen"] = f"0.0.0.0:{daemon.port}"
    daemon.write_config()
    daemon.start()
    with Wire(getattr(world, client).connect(NODE[4], daemon.port)) as wire:
        assert wire.get("http://egret.internal/").status == 200
    assert bool(hints(daemon)) == told


def move(*addresses, old, new):
    old.remove_egress(*addresses)
    new.add_egress(*addresses)


@VERSIONS
def test_an_address_that_moves_with_the_egress_address_leads_to_the_gateway_that_has_it(
        fleet, version):
    """As `failover` of image/kubernetes: a partner of its own, so that pods are steered there."""
    nodes, egret = fleet.nodes, fleet.egret
    pods = [(node.pod1, node.pod_addresses[0][version])
            for node in (nodes.gw1, nodes.gw2, nodes.w1)]

    def reached(gateway):
        """All pods see this gateway, and it sees pods."""
        before = egret[gateway].metric("egret_client_connections_accepted_total")
        with contextlib.suppress(OSError, EOFError):
            clients = [seen(pod, PROXY_ADDRESS[version]) for pod, _ in pods]
            now = egret[gateway].metric("egret_client_connections_accepted_total")
            return clients == [address for _, address in pods] and now >= before + len(pods)
        return False
    for daemon in egret.values():
        daemon.reload(BANK + f"[partner egress-proxy]\ncidr = {PROXY_ADDRESS[version]}\n"
                             f"ports = {PORT}\nprotocol = tcp\n")
    nodes.gw1.add_egress(PROXY_ADDRESS)
    at = nodes.gw1
    try:
        wait_for("gw1 to be reached", lambda: reached("gw1"))
        move(EGRESS, PROXY_ADDRESS, old=nodes.gw1, new=nodes.gw2)
        at = nodes.gw2
        wait_for("gw2 to be reached", lambda: reached("gw2"))
    finally:
        at.remove_egress(PROXY_ADDRESS)
        if at is nodes.gw2:
            move(EGRESS, old=nodes.gw2, new=nodes.gw1)
