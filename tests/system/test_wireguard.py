"""Flannel's wireguard-native: the owner's peer is allowed all that has no network of its own.

Steering as such is in test_agents.py, with the other backends.
"""
import pytest

import wireguard
from failover import Outages
from fleet import Fleet
from test_failover import BOTH, move
from world import EGRESS_BANK, wait_for

pytestmark = wireguard.NEEDED


@pytest.fixture(scope="module")
def fleet_of_module(nothing_is_left, tmp_path_factory):
    made = Fleet(tmp_path_factory, "wg", backend="wireguard", owners={"gw1": BOTH})
    yield made
    made.close()


@pytest.fixture
def fleet(fleet_of_module):
    yield fleet_of_module
    fleet_of_module.restore()


def wait_lead(node, to):
    wait_for(f"{node} to lead to {to}", lambda: wireguard.leads(node, to))


def test_only_the_owners_peer_is_allowed_more(fleet):
    gw1, gw2, w1, w2 = fleet.nodes.all
    for node in (gw2, w1, w2):
        wait_lead(node, gw1)
    for node in fleet.nodes.all:
        for other in fleet.nodes.others(node):
            for version in (4, 6):
                if other is not gw1:
                    assert wireguard.allowed(node, other, version) == {wireguard.own(other, version)}


def test_the_plan_says_what_the_peers_get(fleet):
    plan = fleet.egret["w1"].command("--plan").stdout
    for gateway in (fleet.nodes.gw1, fleet.nodes.gw2):
        assert (f"# wg set flannel-wg peer KEY-OF-{gateway.flannel[4]} allowed-ips +0.0.0.0/0 "
                "# when it has the egress addresses\n") in plan
        assert f"# wg set flannel-wg-v6 peer KEY-OF-{gateway.flannel[6]} allowed-ips +::/0" in plan


def test_flannel_sets_a_peer_again(fleet):
    gw1, w1 = fleet.nodes.gw1, fleet.nodes.w1
    with fleet.scene() as scene:
        for _ in range(3):
            for version in (4, 6):
                wireguard.add_peer(w1, gw1, version)
            scene.more(20)
            wait_lead(w1, gw1)
        scene.flows()
        assert scene.resets() == []
    fleet.egret["w1"].wait_log("somebody changed the datapath .routes.: repaired")


def test_flannel_starts_again(fleet):
    """The gateway's peer comes last."""
    gw1, w1 = fleet.nodes.gw1, fleet.nodes.w1
    with fleet.scene() as scene:
        wireguard.delete(w1)
        scene.more()
        wireguard.make(w1, [node for node in fleet.nodes.others(w1) if node is not gw1])
        scene.more()
        for version in (4, 6):
            wireguard.add_peer(w1, gw1, version)
        wait_lead(w1, gw1)
        scene.flows()
    wait_for("w1 to be ready", fleet.egret["w1"].ready)


def test_remove_takes_the_lead_away(fleet):
    agent, w1 = fleet.egret["w1"], fleet.nodes.w1
    agent.stop()
    assert agent.command("--remove").returncode == 0
    for other in fleet.nodes.others(w1):
        for version in (4, 6):
            assert wireguard.allowed(w1, other, version) == {wireguard.own(other, version)}
    fleet.start("w1")
    wait_lead(w1, fleet.nodes.gw1)


def test_a_peer_that_is_no_node_keeps_what_it_has(fleet):
    """Somebody's way to the internet: it is told, and nothing is sent to it."""
    gw1, w1, agent = fleet.nodes.gw1, fleet.nodes.w1, fleet.egret["w1"]
    stranger = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4="
    agent.stop()
    try:
        w1.gw.run("wg", "set", "flannel-wg", "peer", stranger, "allowed-ips", "0.0.0.0/0",
                  check=True)
        agent.start(ready=False)
        agent.wait_log(r"error.*flannel-wg: a peer that is no node has 0\.0\.0\.0/0")
        assert not agent.ready()
        assert "0.0.0.0/0" in w1.gw.run("wg", "show", "flannel-wg", "allowed-ips").stdout
        assert wireguard.allowed(w1, gw1, 4) == {wireguard.own(gw1, 4)}
    finally:
        w1.gw.run("wg", "set", "flannel-wg", "peer", stranger, "remove")
    wait_for("w1 to be ready", agent.ready)
    wait_lead(w1, gw1)


def test_the_lead_follows_the_addresses(fleet):
    old, new = fleet.nodes.gw1, fleet.nodes.gw2
    with fleet.scene() as scene:
        outages = Outages(scene)
        for _ in range(4):
            with outages.one():
                move(old, new, *BOTH)
            scene.judge.verify()
            assert scene.resets() == []
            wait_lead(fleet.nodes.w1, new)
            old, new = new, old
        outages.print("WireGuard")


def test_addresses_on_two_gateways_are_told(fleet):
    """One goes on, the other is refused: nothing is sent to a gateway that has it not."""
    gw1, gw2, agent = fleet.nodes.gw1, fleet.nodes.gw2, fleet.egret["w1"]
    with fleet.scene() as scene:
        move(gw1, gw2, EGRESS_BANK)
        try:
            agent.wait_log("error.*no way to gateway gw2 over IPv4: flannel-wg leads to one "
                           "gateway at a time, now gw1")
            wait_for("w1 not to be ready", lambda: (
                "leads to one gateway at a time" in agent.admin("/readyz").text))
            scene.silent("bank")
            scene.web["w1"].flow_again(seconds=30)
        finally:
            move(gw2, gw1, EGRESS_BANK)
        scene.flows()
