"""nat = resolve: the proxy asks DNS, the gate learns the addresses."""
import json
import os
import signal
import subprocess

import pytest

from daemon import EGRETD, ROOT, is_running
from origin import Listener
from test_snat import seen_from, table
from world import EGRESS_BANK, EGRESS_OTHER, PARTNER1, PARTNER2, wait_for

CHECK = os.path.join(ROOT, "tests/unit/daemon/admin/metrics_check.py")


def acl(hosts, name="one", nat="nat = resolve"):
    return f"[partner {name}]\nhosts = {hosts}\n{nat}\n"


def status(daemon):
    ctl = os.path.join(os.path.dirname(EGRETD), "egretctl")
    answer = daemon.namespace.run(ctl, "-s", daemon.path("control"), "status", "--json")
    return json.loads(answer.stdout)


def learnt(daemon, partner="one"):
    return daemon.metric("egret_nat_learnt_addresses", partner=partner)


def wait_learnt(daemon, count, partner="one"):
    daemon.wait_metric("egret_nat_learnt_addresses", count, partner=partner)


def test_addresses_of_names_are_learnt(egretd):
    daemon = egretd(acl("partner1.test, v4.partner1.test, partner2.test")
                    + acl("partner1.test", "not", nat=""))
    wait_learnt(daemon, 5)
    assert status(daemon)["nat"]["learnt"] == 5
    assert 'egret_nat_learnt_addresses{partner="not"}' not in daemon.metrics()


def test_a_name_is_asked_again_when_its_ttl_is_over(egretd, dns):
    dns.set("moving.test", PARTNER1[4])
    daemon = egretd(acl("moving.test"))
    wait_learnt(daemon, 1)
    asked = dns.asked("moving.test")
    wait_for("three more questions", lambda: dns.asked("moving.test") >= asked + 6)
    assert learnt(daemon) == 1
    dns.set("moving.test", PARTNER2[4])
    wait_learnt(daemon, 2)  # the old one is on hold


@pytest.mark.parametrize("name", [
    "private.partner1.test", "loopback.partner1.test", "loopback6.partner1.test",
    "pod.partner1.test", "metadata.partner1.test", "mapped.partner1.test",
    "nat64.partner1.test", "unique-local.partner1.test", "unspecified.partner1.test"])
def test_an_answer_that_is_not_public_is_refused(egretd, name):
    daemon = egretd(acl(f"{name}, v4.partner1.test"))
    daemon.wait_log(rf"partner one: {name} resolves to \S+, which is \S+")
    wait_learnt(daemon, 1)
    assert status(daemon)["nat"]["learnt"] == 1


def test_public_networks_of_the_cluster_are_refused_and_the_rest_is_learnt(egretd):
    daemon = egretd(acl("partner1.test, mixed.partner1.test"), config={
        "gateway": {"pod-cidr": "10.42.0.0/16, 2a00:0:0:1::/64"}})
    daemon.wait_log(r"partner one: partner1.test resolves to 2a00:0:0:1::10, "
                    "which is of the pod networks")
    daemon.wait_log(r"partner one: mixed.partner1.test resolves to \S+, which is loopback")
    wait_learnt(daemon, 2)


def test_a_failure_takes_nothing_away(egretd, dns):
    daemon = egretd(acl("servfail.test, nowhere.test, v4.partner1.test"))
    daemon.wait_log(r"no addresses of servfail.test for NAT \(failed\): those of before stay")
    daemon.wait_log(r"no addresses of nowhere.test for NAT \(nxdomain\)")
    daemon.wait_log(r"all names for NAT were asked for: 1 addresses")
    wait_learnt(daemon, 1)


def test_the_hosts_file_counts(egretd, dns):
    daemon = egretd(acl("filed.test"), files={"hosts": f"{PARTNER1[4]} filed.test\n"},
                    config={"dns": {"hosts-file": "hosts"}})
    wait_learnt(daemon, 1)
    daemon.reload(acl("filed.test", "other"))  # told when the gate follows, not before
    wait_learnt(daemon, 1, "other")
    assert dns.asked("filed.test") == 0


def test_addresses_outlive_the_proxy(egretd):
    daemon = egretd(acl("partner1.test"), config={"dns": {"servers": "45.0.0.1:53"}})
    wait_learnt(daemon, 2)
    daemon.config["dns"]["servers"] = "45.0.0.1:54"  # nobody: nothing can be learnt any more
    daemon.write_config()
    daemon.reload()
    before = daemon.proxy
    os.kill(before, signal.SIGKILL)
    wait_for("another proxy", lambda: not is_running(before) and daemon.proxies())
    assert status(daemon)["nat"]["learnt"] == 2
    wait_for("it to be ready", daemon.ready)
    daemon.wait_log(r"no addresses of partner1.test for NAT")
    assert status(daemon)["nat"]["learnt"] == 2
    wait_learnt(daemon, 2)


def test_addresses_move_with_their_section(egretd):
    daemon = egretd(acl("partner1.test, partner2.test"))
    wait_learnt(daemon, 4)
    daemon.reload(acl("v4.partner1.test", "first") + acl("partner2.test"))
    wait_learnt(daemon, 1, "first")
    wait_learnt(daemon, 2)
    daemon.reload(acl("partner2.test", nat=""))
    wait_for("nothing to be known", lambda: status(daemon)["nat"]["learnt"] == 0)
    wait_learnt(daemon, 0)


def test_more_names_than_are_asked_at_once(egretd, dns):
    hosts = "".join(f"45.1.{i // 250}.{i % 250 + 1} n{i}.many.test\n" for i in range(1000))
    names = "\n".join(f"n{i}.many.test" for i in range(1000))
    daemon = egretd("[partner one]\nhosts-file = names\nnat = resolve\n",
                    files={"hosts": hosts, "names": names},
                    config={"dns": {"hosts-file": "hosts", "queries": 2}})
    wait_learnt(daemon, 1000)


def test_the_page_with_nats_metrics_is_valid(egretd):
    daemon = egretd(acl("partner1.test"))
    wait_learnt(daemon, 2)
    page = daemon.admin("/metrics").text
    subprocess.run(["/usr/bin/python3", CHECK], input=page, text=True, check=True, timeout=30)
    assert daemon.metrics()["egret_nat_metrics_complete"] == 1


def test_the_next_proxy_has_nats_metrics_at_once(egretd):
    daemon = egretd(acl("partner1.test"))
    wait_learnt(daemon, 2)
    before = daemon.proxy
    os.kill(before, signal.SIGKILL)
    wait_for("another proxy", lambda: not is_running(before) and daemon.ready())
    assert learnt(daemon) == 2


# What is known of a host goes with it, whatever section of the next policy names it.

BOTH = "v4.partner1.test, partner2.test"
FALLBACK = pytest.mark.parametrize("fallback", ("gateway", "deny"))


def bank(hosts, name="bank", egress=EGRESS_BANK):
    return acl(hosts, name, f"ports = 80, 7000\nnat = resolve\negress-ip = {egress[4]}\n")


def end_dns(daemon):
    """Nothing can be learnt any more, and the proxy remembers nothing."""
    daemon.config["dns"]["servers"] = "45.0.0.1:54"
    daemon.write_config()
    daemon.reload()
    before = daemon.proxy
    os.kill(before, signal.SIGKILL)
    wait_for("another proxy", lambda: not is_running(before) and daemon.ready())
    daemon.wait_log("no addresses of partner2.test for NAT")


def follows(world, egretd, fallback):
    """A gateway whose NAT follows the names of partner bank."""
    daemon = egretd(bank(BOTH), nat=True, config={"gateway": {"default-egress": fallback}})
    wait_for("NAT", lambda: all(a in table(world) for a in (PARTNER1[4], PARTNER2[4])))
    return daemon


def flows(world, address, port=7000):
    return world.gw.run(
        "conntrack", "-L", "-p", "tcp", "-d", address, "--dport", str(port)).stdout


def goes_on(pod, partner):
    pod.sendall(b"ping")
    assert partner.read(4) == b"ping"


@FALLBACK
@pytest.mark.parametrize("after", [
    bank(BOTH, "the-bank"),
    bank("partner2.test") + bank("v4.partner1.test", "other"),
    bank("V4.Partner1.test", "other") + bank("v4.partner1.test", egress=EGRESS_OTHER),
], ids=["renamed", "another partner", "two partners"])
def test_a_host_leaves_as_before_whoever_names_it(world, egretd, origin1, fallback, after):
    daemon = follows(world, egretd, fallback)
    with Listener(world.partner1, 7000) as listener, world.pod1.connect(PARTNER1[4], 7000) as pod:
        partner = listener.accept()
        assert partner.peer == EGRESS_BANK[4]
        end_dns(daemon)
        daemon.reload(after)
        assert seen_from(world.pod1, PARTNER1[4]) == EGRESS_BANK[4]
        goes_on(pod, partner)
        partner.close()


@FALLBACK
def test_a_host_leaves_as_its_new_partner_says(world, egretd, origin1, fallback):
    daemon = follows(world, egretd, fallback)
    with Listener(world.partner1, 7000) as listener, world.pod1.connect(PARTNER1[4], 7000):
        listener.accept().close()
        end_dns(daemon)
        daemon.reload(bank("partner2.test") + bank("v4.partner1.test", "other", EGRESS_OTHER))
        assert seen_from(world.pod1, PARTNER1[4]) == EGRESS_OTHER[4]


def test_a_host_leaves_as_before_when_the_edit_is_rolled_back(world, egretd, origin1):
    daemon = follows(world, egretd, "deny")
    end_dns(daemon)
    before = daemon.proxy
    os.kill(before, signal.SIGSTOP)  # the kernel has what the proxy does not follow
    daemon.write("acl.ini", bank(BOTH, "the-bank"))
    wait_for("the kernel", lambda: "the-bank" in table(world))
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS_BANK[4]
    os.kill(before, signal.SIGKILL)
    daemon.wait_log("reload refused, generation 2 stays in force")
    assert "the-bank" not in table(world)
    assert seen_from(world.pod1, PARTNER1[4]) == EGRESS_BANK[4]
    assert status(daemon)["nat"]["learnt"] == 3


@FALLBACK
def test_flows_to_a_host_that_is_taken_out_end(world, egretd, fallback):
    daemon = follows(world, egretd, fallback)
    with Listener(world.partner1, 7000) as out, world.pod1.connect(PARTNER1[4], 7000), \
            Listener(world.partner2, 7000) as stays, world.pod1.connect(PARTNER2[4], 7000) as pod:
        gone, partner = out.accept(), stays.accept()
        assert gone.peer == partner.peer == EGRESS_BANK[4]
        assert "ESTABLISHED" in flows(world, PARTNER1[4])
        daemon.reload(bank("partner2.test"))
        assert "ESTABLISHED" not in flows(world, PARTNER1[4])
        goes_on(pod, partner)
        gone.close()
        partner.close()
