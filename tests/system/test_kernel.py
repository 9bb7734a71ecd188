"""What the gate finds in the kernel, and what it does when the kernel will not have it."""
import contextlib
import re
import signal
import subprocess

import pytest

from daemon import Curl, is_running
from test_snat import seen_from
from world import EGRESS, EGRESS_BANK, PARTNER1, PARTNER2, wait_for


def bank(hosts, egress=EGRESS_BANK):
    return (f"[partner bank]\nhosts = {hosts}\nnat = resolve\n"
            f"egress-ip = {egress[4]}, {egress[6]}\n")


class Owner:
    """A table of egret's name that nobody but this process may change, and that ends with it."""

    def __init__(self, namespace, table="egret"):
        self._nft = namespace.start("nft", "-i", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._nft.stdin.write(f"add table inet {table}; delete table inet {table};"
                              f"add table inet {table} {{ flags owner; }}\n".encode())
        self._nft.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._nft.stdin.close()
        self._nft.wait(10)


def sections(world):
    return world.gw.run("nft", "list", "map", "inet", "egret", "sections4").stdout


def test_a_plan_that_the_kernel_refused_is_made_again(egretd, dns, world):
    dns.set("moving.test", PARTNER2[4])
    daemon = egretd(bank("moving.test"), nat=True)
    wait_for("the address", lambda: PARTNER2[4] in sections(world))
    with Owner(world.gw):
        dns.set("moving.test", PARTNER1[4])
        daemon.wait_log("the datapath stays as it was: .*Operation not permitted")
    wait_for("the other address", lambda: PARTNER1[4] in sections(world))


def test_the_routing_guard_comes_back_although_the_table_cannot(egretd, world):
    daemon = egretd(bank("partner1.test"), nat=True)
    rules = world.gw.run("ip", "rule").stdout
    with Owner(world.gw):
        daemon.wait_log("Operation not permitted")
        world.gw.ip("rule del pref 5220")
        daemon.wait_metric("egret_nat_repairs_total", 1, kind="routes")
        assert world.gw.run("ip", "rule").stdout == rules
    wait_for("the table", lambda: "chain guard" in world.gw.run(
        "nft", "list", "table", "inet", "egret").stdout)


def test_the_backstop_is_made_as_soon_as_its_name_is_free(egretd, world):
    with Owner(world.gw, "egret-backstop"):
        wait_for("the other's table", lambda: world.gw.run(
            "nft", "list", "table", "inet", "egret-backstop").returncode == 0)
        daemon = egretd(bank("partner1.test"), nat=True)
        daemon.wait_log("egret-backstop, .* cannot be made, and is tried again: ")
    wait_for("the backstop", lambda: "goto refuse" in world.gw.run(
        "nft", "list", "table", "inet", "egret-backstop").stdout)
    assert len(re.findall("cannot be made", daemon.log())) == 1
    daemon.stop()
    assert "egret-backstop" not in world.gw.run("nft", "list", "tables").stdout


# nat = resolve: what is learnt outlives the gate.

@pytest.mark.parametrize("version", (4, 6))
def test_a_new_gate_knows_the_addresses_that_the_last_one_learnt(egretd, world, origin1, version):
    daemon = egretd(bank("partner1.test"), nat=True)
    daemon.wait_metric("egret_nat_learnt_addresses", 2)
    assert seen_from(world.pod1, PARTNER1[version]) == EGRESS_BANK[version]
    daemon.kill()
    daemon.config["dns"]["servers"] = "45.0.0.1:54"  # nobody
    daemon.write_config()
    daemon.start()
    daemon.wait_log("goes on following names to 2 addresses")
    daemon.wait_log("no addresses of partner1.test for NAT")
    assert seen_from(world.pod1, PARTNER1[version]) == EGRESS_BANK[version]
    assert daemon.metric("egret_nat_learnt_addresses", partner="bank") == 2


def test_addresses_of_a_version_without_egress_stay_refused(egretd, world, origin1):
    daemon = egretd("[partner bank]\nhosts = partner1.test\nnat = resolve\n"
                    f"egress-ip = {EGRESS_BANK[4]}\n", nat=True)
    daemon.wait_metric("egret_nat_learnt_addresses", 2)
    daemon.kill()
    daemon.config["dns"]["servers"] = "45.0.0.1:54"
    daemon.write_config()
    daemon.start()
    assert Curl(world.pod1, f"http://[{PARTNER1[6]}]/whoami", timeout=5).exit == 7  # refused
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS_BANK[4]


def test_what_the_policy_does_not_resolve_any_more_is_not_recovered(egretd, world, origin1):
    daemon = egretd(bank("partner1.test"), nat=True)
    daemon.wait_metric("egret_nat_learnt_addresses", 2)
    daemon.kill()
    daemon.write("acl.ini", bank("partner1.test").replace("nat = resolve\n", ""))
    daemon.start()
    assert "goes on following" not in daemon.log()
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS[4]


def test_answers_take_recovered_addresses_over(egretd, dns, world):
    daemon = egretd(bank("partner1.test, partner2.test"), nat=True)
    daemon.wait_metric("egret_nat_learnt_addresses", 4)
    daemon.kill()
    daemon.start()
    daemon.wait_log("goes on following names to 4 addresses")
    daemon.wait_log("all names for NAT were asked for: 4 addresses")


# Others in the kernel.

@contextlib.contextmanager
def foreign(world, family, text):
    world.gw.nft(f"table {family} foreign {{\n{text}\n}}")
    try:
        yield
    finally:
        world.gw.run("nft", "delete", "table", family, "foreign")


@pytest.mark.parametrize("family, priority", (("ip", 90), ("ip6", 0), ("inet", 89)))
def test_a_chain_that_would_translate_first_is_an_error(egretd, world, family, priority):
    chain = f"chain first {{\ntype nat hook postrouting priority {priority};\n}}"
    daemon = egretd(bank("partner1.test"), nat=True, start=False)
    with foreign(world, family, chain):
        done = daemon.command()
        assert done.returncode == 1
        assert (f"chain first of table {family} foreign translates at priority {priority}"
                in done.stderr)
        assert "[nat] translate-priority = 90" in done.stderr
        assert "inet egret" not in world.gw.run("nft", "list", "tables").stdout
        daemon.config["nat"]["translate-priority"] = priority - 1
        daemon.write_config()
        daemon.start()


def test_rules_that_write_bits_of_our_marks_are_warned_of(egretd, world):
    rules = """
        chain prerouting {
            type filter hook prerouting priority mangle;
            iifname "tun0" meta mark set meta mark or 0x01004000
            iifname "tun0" ct mark set 0x1
        }
        chain harmless {
            meta mark set meta mark or 0x4000
        }"""
    with foreign(world, "inet", rules):
        daemon = egretd(bank("partner1.test"), nat=True)
    daemon.wait_log("table inet foreign: a rule of chain prerouting writes bits 0x01000000 "
                    "of the packet mark, which are of .nat. mark-mask = 0xff000000")
    daemon.wait_log("chain prerouting writes bits 0xfffff000 of the conntrack mark")
    assert "chain harmless" not in daemon.log()


# [nat] lock-table.

@pytest.fixture
def locked(egretd, world):
    daemon = egretd(bank("partner1.test"), nat=True, config={"nat": {"lock-table": "auto"}})
    if "table locked: yes (kernel has it)" not in daemon.log():
        pytest.skip("this kernel has no lock of tables")
    daemon.wait_metric("egret_nat_learnt_addresses", 2)
    yield daemon
    world.masquerade()


def guard(world):
    """The table as it was made, not as it was made again."""
    return re.search("chain guard {.*", world.gw.run(
        "nft", "-a", "list", "chain", "inet", "egret", "guard").stdout).group()


def test_a_locked_table_is_nobody_elses(locked, world, origin1):
    before = guard(world)
    for command in ("delete table inet egret", "flush table inet egret",
                    "add rule inet egret guard accept"):
        done = world.gw.run("nft", command)
        assert "Operation not permitted" in done.stderr
    assert world.gw.run("nft", "flush", "ruleset").returncode == 0
    assert guard(world) == before
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS_BANK[4]
    locked.reload(bank("partner1.test", EGRESS))
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS[4]
    assert guard(world) == before
    assert locked.metric("egret_nat_repairs_total", kind="table") == 0


def test_the_next_gate_locks_the_table_again_as_it_is(locked, world, origin1):
    before = guard(world)
    locked.kill()
    assert guard(world) == before
    locked.start()
    assert guard(world) == before
    assert "not permitted" in world.gw.run("nft", "delete table inet egret").stderr
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS_BANK[4]


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGKILL))
def test_a_table_that_was_locked_can_be_removed_when_the_gate_is_gone(locked, world, how):
    gate = locked.gate
    if how == signal.SIGTERM:
        locked.stop()
        assert locked.command("--remove").returncode == 0
    else:
        locked.signal(how)  # the proxy still drains
        wait_for("the gate's end", lambda: not is_running(gate))
        world.gw.nft("delete table inet egret")
    assert "egret" not in world.gw.run("nft", "list", "tables").stdout
    locked.kill()


def test_the_log_and_the_plan_say_what_the_kernel_has(egretd):
    daemon = egretd(bank("partner1.test"), nat=True)
    for text in (daemon.log(), daemon.command("--plan").stdout):
        assert re.search(r"kernel \S+: table locked: no \(\[nat\] lock-table = no\); "
                         r"addresses tagged: \w+", text)
