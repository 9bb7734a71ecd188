"""What nodes know of each other, and egress addresses that are let go and claimed by command."""
import contextlib
import json
import os
import re
import signal

import pytest

from daemon import EGRETD
from fleet import Fleet
from stage import BANK
from world import EGRESS, EGRESS_BANK, EGRESS_OTHER, PARTNER1, PARTNER2, wait_for

MANAGED = {"gateway": {"egress-ip": f"{EGRESS[4]}, {EGRESS[6]}"}, "nat": {"manage-address": "yes"}}


@pytest.fixture(scope="module")
def plain(nothing_is_left, tmp_path_factory):
    """Addresses are there as the world gave them."""
    made = Fleet(tmp_path_factory, "peers")
    yield made
    made.close()


@pytest.fixture
def managed(nothing_is_left, tmp_path_factory):
    """The gateways manage them; nobody has them before egretd."""
    made = Fleet(tmp_path_factory, "managed", owners={}, config=MANAGED)
    yield made
    made.close()


@pytest.fixture
def fleet(nothing_is_left, tmp_path_factory):
    """A function: a fleet of the test's own, in which egretd manages or does not."""
    made = []

    def make(**options):
        made.append(Fleet(tmp_path_factory, "own", **options))
        make.made += made[-1].made
        return made[-1]
    make.made = []
    yield make
    for one in made:
        one.close()


def ctl(daemon, *args):
    return daemon.namespace.run(os.path.join(os.path.dirname(EGRETD), "egretctl"), "-s",
                                daemon.path("control"), *args)


def status(daemon):
    return json.loads(ctl(daemon, "status", "--json").stdout)


def known(daemon):
    """{gateway: the egress addresses it has}, of those that are up."""
    return {one["name"]: set(one["owned"]) for one in status(daemon)["gateways"] if one["up"]}


def here(node, *egress):
    shown = node.gw.run("ip", "addr", "show", "dev", "eth0").stdout
    return all(f" {one[v]}/" in shown for one in egress for v in (4, 6))


def nowhere(node, *egress):
    shown = node.gw.run("ip", "addr", "show", "dev", "eth0").stdout
    return not any(f" {one[v]}/" in shown for one in egress for v in (4, 6))


def texts(*egress):
    return {one[v] for one in egress for v in (4, 6)}


# An agent.

def test_an_agent_has_no_proxy_and_an_admin_page(plain):
    w1 = plain.egret["w1"]
    listening = w1.namespace.run("ss", "-Hltn").stdout
    assert f":{w1.admin_port} " in listening
    assert f":{w1.port} " not in listening
    assert f":{plain.egret['gw1'].port} " in plain.egret["gw1"].namespace.run("ss", "-Hltn").stdout
    assert w1.admin("/healthz").status == w1.admin("/readyz").status == 200
    assert w1.metric("egret_policy_generation") == 1
    assert status(w1)["role"] == "agent" and status(w1)["listen"] == []
    assert ctl(w1, "release", "all").stdout == "error: an agent has no egress addresses\n"


def test_nodes_know_the_gateways(plain):
    want = {"gw1": texts(EGRESS, EGRESS_BANK), "gw2": set()}
    for name, daemon in plain.egret.items():
        wait_for(f"{name} to know the gateways", lambda d=daemon: known(d) == want)
    gateways = {one["name"]: one for one in status(plain.egret["gw1"])["gateways"]}
    assert gateways["gw1"]["self"] and not gateways["gw2"]["self"]
    nodes = plain.nodes
    assert [one["at"] for one in gateways["gw2"]["paths"]] == [
        f"{nodes.gw2.flannel[4]}:9129", f"[{nodes.gw2.flannel[6]}]:9129"]
    assert all(one["up"] and 0 < one["rtt"] < 5 for one in gateways["gw2"]["paths"])
    assert gateways["gw2"]["digest"] == status(plain.egret["gw2"])["digest"][:32]


def test_addresses_of_others_are_not_egrets_to_release(plain):
    done = ctl(plain.egret["gw1"], "release", "all")
    assert done.returncode == 1 and "keepalived" in done.stdout + done.stderr
    assert here(plain.nodes.gw1, EGRESS, EGRESS_BANK)


@pytest.mark.parametrize("version", (4, 6))
def test_a_stranger_with_an_egress_address_is_told_by_its_mac(plain, version):
    gw1, w2 = plain.egret["gw1"], plain.nodes.w2
    length = {4: 32, 6: 128}[version]
    mac = json.loads(w2.gw.run("ip", "-j", "link", "show", "eth0").stdout)[0]["address"]
    w2.gw.ip(f"addr add {EGRESS[version]}/{length} dev eth0" + (" nodad" if version == 6 else ""))
    try:
        wait_for("gw1 not to be ready", lambda: not gw1.ready(), 20)
        assert f"{EGRESS[version]} is on another node, too: {mac}" in gw1.admin("/readyz").text
        gw1.wait_log(f"error.*{EGRESS[version]}.*{mac}")
    finally:
        w2.gw.ip(f"addr del {EGRESS[version]}/{length} dev eth0")
    wait_for("gw1 to be ready", gw1.ready, 20)


# One IP version.

CUTS = {
    "probes": "udp dport 9129 drop",
    "path": "udp dport 8472 drop",  # what the tunnel of this version has wrapped
}


@contextlib.contextmanager
def cut(node, version, rule):
    """Of what comes to the node by this version, that is lost."""
    node.gw.nft(f"table inet cut {{ chain input {{ type filter hook input priority -300; "
                f"meta nfproto ipv{version} {rule}; }}; }}")
    try:
        yield
    finally:
        node.gw.nft("delete table inet cut")


def changed(daemon, version):
    """Unix time when gw1 came up or went down for it."""
    return daemon.metric("egret_gateway_last_change_timestamp_seconds", gateway="gw1",
                         ip_version=version)


def wait_up(daemon, version, value, gateway="gw1"):
    daemon.wait_metric("egret_gateway_up", value, gateway=gateway, ip_version=version)


def seen(scene, version):
    """Packets that have left with gw1's addresses."""
    return sum(scene.judge.seen(watch, address[version])
               for watch, address in (("bank", EGRESS_BANK), ("web", EGRESS)))


def stopped(scene, version):
    before = seen(scene, version)
    scene.more(60)
    return seen(scene, version) == before


@pytest.mark.parametrize("version, other", ((4, 6), (6, 4)))
@pytest.mark.parametrize("what", CUTS)
def test_a_gateway_that_is_not_reached_over_one_version(plain, what, version, other):
    """What is steered to it over that version stops, and leaves by no other way; what is steered
    over the other goes on."""
    w1, at = plain.egret["w1"], plain.nodes.gw1.flannel[version]
    with plain.scene() as scene:
        before = wait_for("gw1 to be known", lambda: changed(w1, version))
        with cut(plain.nodes.gw1, version, CUTS[what]):
            for name in ("w1", "w2", "gw2"):
                wait_up(plain.egret[name], version, 0)
            wait_for("nothing to leave", lambda: stopped(scene, version))
            assert changed(w1, version) > before
            assert w1.metric("egret_gateway_rtt_seconds", gateway="gw1", ip_version=version) == 0
            w1.wait_log(rf"error.*gateway gw1 does not answer at \[?{at}\]?:9129: "
                        rf"no IPv{version} is sent to it")
            wait_for("w1 not to be ready", lambda: re.search(
                f"not ready: egress address .* is on gateway gw1, which does not answer over "
                f"IPv{version}", w1.admin("/readyz").text))
            for traffic in scene.traffic():
                traffic.flows(20, to=PARTNER1[other] if traffic in scene.web.values()
                              else PARTNER2[other])
            wait_up(w1, other, 1)
            wait_up(w1, version, 1, "gw2")
            assert known(w1)["gw1"] == texts(EGRESS, EGRESS_BANK)
            assert stopped(scene, version)
        scene.flows()
        wait_up(w1, version, 1)
        assert not [line for line in scene.resets() if any(
            f"to {address[other]}:" in line for address in (PARTNER1, PARTNER2))]
    wait_for("w1 to be ready", w1.ready)


# Addresses that egretd manages.

def first_has_all(fleet):
    wait_for("gw1 to have the addresses", lambda: here(fleet.nodes.gw1, EGRESS, EGRESS_BANK))
    wait_for("w1 to know", lambda: known(fleet.egret["w1"]).get("gw1") ==
             texts(EGRESS, EGRESS_BANK))
    fleet.egret["gw2"].wait_log("on gateway gw1, so it is not claimed")


def test_addresses_move_by_command(managed):
    """Nothing leaves with another source meanwhile, and one gateway has them at a time."""
    gw1, gw2 = managed.egret["gw1"], managed.egret["gw2"]
    first_has_all(managed)
    assert nowhere(managed.nodes.gw2, EGRESS, EGRESS_BANK)
    with managed.scene() as scene:
        assert ctl(gw1, "release", "all").stdout == "ok released all\n"
        assert nowhere(managed.nodes.gw1, EGRESS, EGRESS_BANK)
        assert status(gw1)["released"] == "all"
        assert "released  all\n" in ctl(gw1, "status").stdout
        gw1.reload(managed.acl + "; a reload brings nothing back\n")
        assert nowhere(managed.nodes.gw1, EGRESS, EGRESS_BANK)
        assert ctl(gw2, "claim", "all").stdout == "ok claimed all\n"
        assert here(managed.nodes.gw2, EGRESS, EGRESS_BANK)
        scene.flows(streams=False)
        wait_for("w1 to know", lambda: known(managed.egret["w1"]) ==
                 {"gw1": set(), "gw2": texts(EGRESS, EGRESS_BANK)})
    assert all(daemon.ready() for daemon in managed.egret.values())


def explained(daemon, address):
    """(fate, egress address, gateway) of what NAT does with a pod's packet to the partner."""
    told = ctl(daemon, "explain", "10.42.0.11", f"{address}:9", "--json")
    nat, = json.loads(told.stdout)["nat"]
    return nat["fate"], nat["source"], nat["steered_to"]


CUT = "table inet cut {" + "".join(f"""
    chain {hook} {{
        type filter hook {hook} priority 0;
        udp dport 9129 drop
        udp sport 9129 drop
    }}""" for hook in ("input", "output")) + "\n}"


def test_gateways_that_both_claim_at_their_start_do_not_both_keep_it(managed):
    """Neither has heard of the other when it claims: the second one in the list gives up."""
    gw1, gw2 = managed.egret["gw1"], managed.egret["gw2"]
    node1, node2 = managed.nodes.gw1, managed.nodes.gw2
    first_has_all(managed)
    for daemon, node in ((gw1, node1), (gw2, node2)):
        assert daemon.stop() == 0
        assert nowhere(node, EGRESS, EGRESS_BANK)
    node1.gw.nft(CUT)
    try:
        gw2.start(ready=False)
        gw1.start(ready=False)
        wait_for("both to have them", lambda: all(
            here(node, EGRESS, EGRESS_BANK) for node in (node1, node2)))
    finally:
        node1.gw.nft("delete table inet cut")
    wait_for("gw2 to give up", lambda: nowhere(node2, EGRESS, EGRESS_BANK))
    gw2.wait_log("was claimed by another gateway at the same time")
    assert here(node1, EGRESS, EGRESS_BANK)
    wait_for("w1 to know", lambda: known(managed.egret["w1"]) ==
             {"gw1": texts(EGRESS, EGRESS_BANK), "gw2": set()})
    for daemon in (gw1, gw2):
        wait_for("it to be ready", daemon.ready, 60)


def test_one_address_moves_by_command(managed):
    gw1, gw2 = managed.egret["gw1"], managed.egret["gw2"]
    first_has_all(managed)
    assert explained(gw1, PARTNER2[4]) == ("translated", EGRESS_BANK[4], None)
    assert explained(gw2, PARTNER2[4]) == ("steered", EGRESS_BANK[4], "gw1")
    assert explained(managed.egret["w1"], PARTNER2[4]) == ("steered", EGRESS_BANK[4], "gw1")
    shown = json.loads(ctl(gw2, "nat", "show", "--json").stdout)["egress"]
    assert {one["gateway"] for one in shown} == {"gw1"} and not any(one["here"] for one in shown)
    assert ctl(managed.egret["w1"], "nat", "verify").returncode == 0
    for address in EGRESS_BANK.values():
        assert ctl(gw1, "release", address).returncode == 0
        assert ctl(gw2, "claim", address).returncode == 0
    wait_for("w1 to know", lambda: known(managed.egret["w1"]) ==
             {"gw1": texts(EGRESS), "gw2": texts(EGRESS_BANK)})
    assert here(managed.nodes.gw1, EGRESS) and nowhere(managed.nodes.gw1, EGRESS_BANK)
    assert here(managed.nodes.gw2, EGRESS_BANK) and nowhere(managed.nodes.gw2, EGRESS)
    for wrong in ("x", "192.0.2.1", "", "all all"):
        assert ctl(gw1, "release", wrong).stdout.startswith("error: ")


def test_sigterm_lets_the_addresses_go_before_all_else(managed):
    """A tunnel drains for seconds; the addresses are gone and the agents told meanwhile."""
    gw1, w1 = managed.egret["gw1"], managed.egret["w1"]
    first_has_all(managed)
    with gw1.wire(version=4) as held:
        held.send("GET http://partner1.test/ HTTP/1.1\r\n")  # a request that never ends
        gw1.signal(signal.SIGTERM)
        w1.wait_log("gateway gw1 has no egress address")
        assert nowhere(managed.nodes.gw1, EGRESS, EGRESS_BANK)
        assert "gateway gw1 does not answer" not in w1.log()
    assert gw1.stop() == 0
    w1.wait_log("gateway gw1 does not answer")
    gw1.start()
    first_has_all(managed)


# Addresses that are new to a gateway.

OTHER = (BANK + "[partner other]\ncidr = 45.9.0.0/24, 2a00:9::/64\n"
         f"egress-ip = {EGRESS_OTHER[4]}, {EGRESS_OTHER[6]}\n")


@pytest.mark.parametrize("verb, done", (("release", "released"), ("claim", "claimed")))
def test_a_command_while_others_are_heard_out_decides_what_it_names(fleet, verb, done):
    """gw2 is not there, so gw1 claims the others when it has waited for it."""
    made = fleet(owners={}, config=MANAGED, start=False)
    gw1, node = made.egret["gw1"], made.nodes.gw1
    gw1.start(ready=False)
    wait_for("the command to be taken",
             lambda: ctl(gw1, verb, EGRESS_BANK[4]).stdout == f"ok {done} {EGRESS_BANK[4]}\n")
    wait_for("the others to come", lambda: here(node, EGRESS))
    shown = node.gw.run("ip", "addr", "show", "dev", "eth0").stdout
    assert f" {EGRESS_BANK[6]}/" in shown
    assert (f" {EGRESS_BANK[4]}/" in shown) == (verb == "claim")
    assert status(gw1)["released"] == ([EGRESS_BANK[4]] if verb == "release" else [])


def test_what_is_left_of_a_life_before_is_released_while_others_are_heard_out(managed):
    gw1, node = managed.egret["gw1"], managed.nodes.gw1
    first_has_all(managed)
    gw1.kill()
    assert here(node, EGRESS, EGRESS_BANK)
    gw1.start(ready=False)
    wait_for("the command to be taken",
             lambda: ctl(gw1, "release", "all").stdout == "ok released all\n")
    assert nowhere(node, EGRESS, EGRESS_BANK)


def test_an_address_that_a_reload_brings_comes_to_one_gateway(managed):
    """To gw1, unless it is late.  Flows with those that are there already go on."""
    gw1, gw2 = managed.egret["gw1"], managed.egret["gw2"]
    first_has_all(managed)
    with managed.scene() as scene:
        for daemon in (gw1, gw2):
            daemon.reload(OTHER)
        for address in EGRESS_OTHER.values():
            wait_for("one not to have it", lambda a=address: re.search(
                f"{a} (is on gateway gw., so it is not claimed|was claimed by another gateway)",
                gw1.log() + gw2.log()))
        wait_for("one to have it", lambda: sorted(
            (here(node, EGRESS_OTHER), nowhere(node, EGRESS_OTHER))
            for node in (managed.nodes.gw1, managed.nodes.gw2)) == [(False, True), (True, False)])
        assert here(managed.nodes.gw1, EGRESS, EGRESS_BANK)
        scene.flows()
        assert not scene.resets()
    assert not texts(EGRESS, EGRESS_BANK) & set(status(gw1)["released"])
    for daemon in (gw1, gw2):
        wait_for("it to be ready", daemon.ready)


def test_of_two_that_claim_after_a_reload_the_later_one_gives_up_what_is_new(managed):
    """What it has had for longer stays."""
    gw1, gw2 = managed.egret["gw1"], managed.egret["gw2"]
    node1, node2 = managed.nodes.gw1, managed.nodes.gw2
    first_has_all(managed)
    for address in EGRESS_BANK.values():
        assert ctl(gw1, "release", address).returncode == 0
        assert ctl(gw2, "claim", address).returncode == 0
    node1.gw.nft(CUT)
    try:
        wait_for("gw1 to be down for gw2", lambda: "gw1" not in known(gw2))
        for daemon in (gw1, gw2):
            daemon.reload(OTHER)
        wait_for("both to have it", lambda: all(
            here(node, EGRESS_OTHER) for node in (node1, node2)))
    finally:
        node1.gw.nft("delete table inet cut")
    wait_for("gw2 to give it up", lambda: nowhere(node2, EGRESS_OTHER))
    gw2.wait_log(f"{EGRESS_OTHER[4]} was claimed by another gateway at the same time")
    assert here(node1, EGRESS, EGRESS_OTHER) and here(node2, EGRESS_BANK)
    for daemon in (gw1, gw2):
        wait_for("it to be ready", daemon.ready, 60)


def test_addresses_that_egretd_is_to_manage_after_a_reload_stay_where_they_are(fleet):
    made = fleet(owners={"gw1": (EGRESS, EGRESS_BANK)}, config={"gateway": MANAGED["gateway"]})
    gw1, gw2 = made.egret["gw1"], made.egret["gw2"]
    for daemon in (gw2, gw1):
        daemon.config["nat"]["manage-address"] = "yes"
        daemon.write_config()
        daemon.settle()
    for address in (*EGRESS.values(), *EGRESS_BANK.values()):
        gw2.wait_log(f"{address} is on gateway gw1, so it is not claimed")
    assert here(made.nodes.gw1, EGRESS, EGRESS_BANK)
    assert nowhere(made.nodes.gw2, EGRESS, EGRESS_BANK)
    assert gw1.ready() and gw2.ready()


# Commands that cannot be obeyed.

def test_what_stays_on_the_node_is_not_said_to_be_released(managed):
    """Somebody else had added it: it is told as before, and nobody brings it back."""
    gw1, node, bank = managed.egret["gw1"], managed.nodes.gw1, EGRESS_BANK[4]
    first_has_all(managed)
    assert ctl(gw1, "release", bank).returncode == 0
    node.gw.ip(f"addr add {bank}/32 dev eth0")
    assert ctl(gw1, "claim", bank).stdout == f"ok claimed {bank}\n"
    done = ctl(gw1, "release", "all")
    assert done.returncode == 1
    assert f"{bank}/32 on eth0 (egretd did not add it)" in done.stdout + done.stderr
    assert EGRESS[4] not in done.stdout + done.stderr
    assert nowhere(node, EGRESS)
    wait_for("w1 to know", lambda: known(managed.egret["w1"]).get("gw1") == {bank})
    assert known(gw1)["gw1"] == {bank}
    node.gw.ip(f"addr del {bank}/32 dev eth0")
    wait_for("w1 to know", lambda: known(managed.egret["w1"]).get("gw1") == set())
    assert ctl(gw1, "release", "all").stdout == "ok released all\n"
    assert nowhere(node, EGRESS, EGRESS_BANK)


def test_a_claim_that_fails_says_why_and_changes_nothing(special):
    stage = special(config={"nat": {"manage-address": "yes"},
                            "gateway": {"egress-interface": "up9"}}, egress=False, start=False)
    gw, daemon = stage.world.gw, stage.daemon
    make = f"link add up9 type veth peer name up9p netns {stage.world.net.name}", "link set up9 up"
    gw.ip(*make)
    daemon.start()
    assert ctl(daemon, "release", "all").stdout == "ok released all\n"
    gw.ip("link del up9")
    for which in ("all", EGRESS_BANK[4]):
        assert ctl(daemon, "claim", which).stdout.startswith(
            "error: not claimed: egress-interface = up9: ")
        assert status(daemon)["released"] == "all"
    gw.ip(*make)
    assert ctl(daemon, "claim", EGRESS_BANK[4]).stdout == f"ok claimed {EGRESS_BANK[4]}\n"
    shown = gw.run("ip", "addr", "show", "dev", "up9").stdout
    assert f" {EGRESS_BANK[4]}/32 " in shown and EGRESS[4] not in shown
