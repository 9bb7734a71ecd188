"""Edits: swapped in whole under load, refused whole, seen however they are made."""
import json
import os
import re
import signal
import threading

import pytest

from origin import Listener
from wire import Wire
from world import PARTNER1, wait_for

ONE = "http://partner1.test"
GOOD = """
[partner one]
hosts = partner1.test, *.partner1.test
ports = 80, 443, 7000, 8080
"""
OTHER = GOOD + "[partner two]\nhosts = partner2.test\nports = 80\n"


class Load:
    """Keep-alive clients that ask and ask; every answer but 200 is remembered."""

    def __init__(self, daemon, clients=4):
        self._daemon = daemon
        self._end = threading.Event()
        self.answers = 0
        self.failures = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self):
        try:
            with self._daemon.wire() as wire:
                while not self._end.is_set():
                    response = wire.get(ONE + ":8080/1k")
                    if response.status != 200 or response.body != b"k" * 1024:
                        self.failures.append(response)
                    self.answers += 1
        except Exception as failure:  # whatever it is: the client was failed
            self.failures.append(failure)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join(20)


def test_200_reloads_under_load_fail_no_request(egretd, nginx):
    """By SIGHUP and by the change of the file alone, in turn."""
    daemon = egretd(GOOD)
    start = daemon.generation()
    with Load(daemon) as load:
        for n in range(200):
            daemon.reload(f"; edit {n}\n" + (OTHER if n % 2 else GOOD), sig=n % 4 != 3)
    assert load.failures == []
    assert load.answers > 200
    assert daemon.generation() == start + 200
    assert daemon.get(ONE + ":8080/1k").status == 200


def test_names_of_the_hosts_file_follow_it(egretd, origin1):
    daemon = egretd("[partner listed]\nhosts = listed.test\n", config={"dns": {"hosts-file": "hosts"}},
                    files={"hosts": f"{PARTNER1[4]} listed.test\n"})
    url = "http://listed.test/whoami"
    assert daemon.get(url).status == 200
    daemon.write("hosts", f"{PARTNER1[4]} other.test\nnonsense\n")
    daemon.reload(good=False)
    assert daemon.wait_log(r"hosts:2: nonsense: want an address")
    assert daemon.command("-t").returncode == 1
    old = daemon.proxy
    os.kill(old, signal.SIGKILL)
    wait_for("the next proxy", lambda: daemon.proxies() not in ([], [old]))
    assert daemon.get(url).status == 200
    daemon.write("hosts", f"{PARTNER1[4]} other.test\n")
    daemon.reload()
    assert daemon.get(url).status == 502


# Bad edits.

BAD = {
    "misspelt key": (GOOD + "host = x.test\n", 5, "host"),
    "unknown section": (GOOD + "[partners x]\nhosts = x.test\n", 5, "partners"),
    "section without name": (GOOD + "[partner]\nhosts = x.test\n", 5, "partner"),
    "duplicate section": (GOOD + "[partner one]\nhosts = x.test\n", 5, "one"),
    "duplicate key": (GOOD + "ports = 80\n", 5, "ports"),
    "unknown group": (GOOD + "from = nobody\n", 5, "nobody"),
    "port out of range": (GOOD.replace("8080", "70000"), 4, "70000"),
    "port 0": (GOOD.replace("8080", "0"), 4, "0"),
    "ports backwards": (GOOD.replace("8080", "9-8"), 4, "9-8"),
    "port not a number": (GOOD.replace("8080", "http"), 4, "http"),
    "bad rate": (GOOD + "rate = fast\n", 5, "fast"),
    "rate of none": (GOOD + "rate = 0/1m\n", 5, "0/1m"),
    "rate without period": (GOOD + "rate = 10\n", 5, "10"),
    "bad burst": (GOOD + "rate = 1/1s\nburst = 0\n", 6, "burst"),
    "bad rate-per": (GOOD + "rate = 1/1s\nrate-per = pod\n", 6, "pod"),
    "bad mode": (GOOD + "mode = maybe\n", 5, "maybe"),
    "bad protocol": (GOOD + "cidr = 45.0.3.0/24\nprotocol = sctp\n", 6, "sctp"),
    "bad cidr": (GOOD + "cidr = 45.0.3.0/33\n", 5, "45.0.3.0/33"),
    "host bits in a cidr": (GOOD + "cidr = 45.0.3.1/24\n", 5, "45.0.3.1/24"),
    "bad host": (GOOD + "[partner x]\nhosts = a b.test\n", 6, "a b.test"),
    "bad wildcard": (GOOD + "[partner x]\nhosts = a.*.test\n", 6, "a.*.test"),
    "host that is a spelling of an address": (GOOD + "[partner x]\nhosts = 0x7f.1\n", 6, "0x7f.1"),
    "URL for a host": (GOOD + "[partner x]\nhosts = http://x.test\n", 6, "http://x.test"),
    "bad egress-ip": (GOOD + "egress-ip = 45.0.0.256\n", 5, "45.0.0.256"),
    "nothing named": (GOOD + "[partner x]\nports = 80\n", 5, "x"),
    "group without cidr": (GOOD + "[group g]\n", 5, "g"),
    "key before any section": ("hosts = x.test\n" + GOOD, 1, "hosts"),
    "cut at a semicolon": (GOOD + "[partner x]\nhosts = a.test;b.test\n", 6, ";"),
    "cut at a hash": (GOOD + "[partner x]\nhosts = a.test#b.test\n", 6, "#"),
    "no value": (GOOD + "[partner x]\nhosts =\n", 6, "hosts"),
    "no equals sign": (GOOD + "[partner x]\nhosts\n", 6, "hosts"),
    "unclosed section": (GOOD + "[partner x\nhosts = x.test\n", 5, "partner x"),
    "a line too long": (GOOD + "[partner x]\nhosts = " + "a" * 1100 + "\n", 6, ""),
    "a NUL": (GOOD + "[partner x]\nhosts = a\0b.test\n", 6, ""),
    "a missing list": (GOOD + "[partner x]\nhosts-file = nowhere.txt\n", 6, "nowhere.txt"),
}


@pytest.fixture(scope="module")
def edited(egretd_module):
    return egretd_module(GOOD)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_edit_changes_nothing_and_says_where_and_why(edited, origin1, name):
    text, line, word = BAD[name]
    edited.reload(GOOD + f"; before {name}\n")
    generation = edited.generation()
    before = len(edited.log())
    edited.reload(text, good=False)
    complaint = re.search(rf"acl\.ini:{line}: .*", edited.log()[before:])
    assert complaint, edited.log()[before:]
    assert word in complaint.group()
    assert edited.generation() == generation
    assert edited.get(ONE + "/whoami").status == 200
    unready = edited.admin("/readyz")
    assert unready.status == 503 and f"acl.ini:{line}" in unready.text
    edited.write("acl.ini", GOOD + f"; before {name}\n")  # taken back
    wait_for("it to be ready again", edited.ready)
    assert edited.generation() == generation


@pytest.mark.parametrize("name", BAD)
def test_a_bad_policy_at_the_start_is_an_error(egretd, name):
    text, line, word = BAD[name]
    done = egretd(text, start=False).command()
    assert done.returncode not in (0, None)
    assert re.search(rf"acl\.ini:{line}: ", done.stderr), done.stderr
    assert word in done.stderr


@pytest.mark.parametrize("section, key, value", (
    ("proxy", "workrs", "2"), ("proxy", "workers", "many"), ("proxy", "max-connections", "-1"),
    ("proxy", "listen", "10.42.0.1"), ("gateway", "pod-cidr", "10.42.0.0/99"),
    ("gateway", "egress-ip", "45.0.0.10, 45.0.0.10"), ("log", "level", "loud"),
    ("dns", "servers", "nowhere"), ("nat", "enable", "perhaps"), ("proxi", "workers", "1"),
))
def test_a_bad_egret_ini_is_refused_at_start_and_at_reload(egretd, section, key, value):
    daemon = egretd(GOOD)
    daemon.config.setdefault(section, {})[key] = value
    daemon.write_config()
    daemon.reload(good=False)
    complaint = r"egret\.ini:\d+: "
    assert re.search(complaint, daemon.log())
    assert daemon.get("http://egret.internal/").status == 200
    done = daemon.command("-t")
    assert done.returncode != 0 and re.search(complaint, done.stderr), done.stderr


def test_acl_d_and_lists_are_part_of_the_policy(egretd, origin1, origin2):
    daemon = egretd(GOOD + "hosts-file = lists/more.txt\n", files={
        "lists/more.txt": "# partners of partners\nlisted.partner2.test\n\npartner2.test\n",
        "acl.d/10-team.ini": "[block team]\nhosts = egret-team.test\n",
    })
    assert daemon.get("http://partner2.test/whoami").status == 200
    assert "team" in daemon.get("http://egret-team.test/").text
    daemon.write("acl.d/20-more.ini", "[partner more]\nhosts = denied.example\nports = 80\n")
    wait_for("the new file", lambda: daemon.get("http://denied.example/whoami").status == 200)
    daemon.write("lists/more.txt", "nothing.test\n")
    wait_for("the new list", lambda: daemon.get("http://partner2.test/whoami").status == 403)
    daemon.write("acl.d/20-more.ini", "[partner more]\nhosts = denied.example\nports = 0\n")
    daemon.wait_log(r"20-more\.ini:3: ")


def test_a_config_map_swap_is_seen(egretd, origin1):
    """Kubernetes: acl.ini -> ..data/acl.ini, ..data -> a directory; the link is replaced."""
    daemon = egretd(GOOD, start=False)

    def publish(version, acl):
        os.makedirs(daemon.path(version))
        for name, text in (("acl.ini", acl), ("egret.ini", config)):
            with open(daemon.path(f"{version}/{name}"), "w", encoding="utf-8") as file:
                file.write(text)
        os.symlink(version, daemon.path("..data_tmp"))
        os.rename(daemon.path("..data_tmp"), daemon.path("..data"))
    with open(daemon.path("egret.ini"), encoding="utf-8") as file:
        config = file.read()
    publish("..2026_1", GOOD)
    for name in ("acl.ini", "egret.ini"):
        os.unlink(daemon.path(name))
        os.symlink(f"..data/{name}", daemon.path(name))
    daemon.start()
    assert daemon.get(ONE + "/whoami").status == 200
    for n in range(2, 5):
        publish(f"..2026_{n}", GOOD.replace("partner1.test, ", "") if n % 2 == 0 else GOOD)
        wanted = 403 if n % 2 == 0 else 200
        wait_for("the swap", lambda w=wanted: daemon.get(ONE + "/whoami").status == w)


def test_an_edit_in_place_is_seen(egretd, origin1):
    daemon = egretd(GOOD)
    with open(daemon.path("acl.ini"), "w", encoding="utf-8") as file:
        file.write("[partner other]\n")
        file.flush()
        file.write("hosts = partner2.test\n")
    wait_for("the edit", lambda: daemon.get(ONE + "/whoami").status == 403)


def test_a_removed_file_is_a_refused_edit(egretd, origin1):
    daemon = egretd(GOOD)
    os.unlink(daemon.path("acl.ini"))
    wait_for("it to be unready", lambda: daemon.admin("/readyz").status == 503)
    assert "acl.ini" in daemon.admin("/readyz").text
    assert daemon.get(ONE + "/whoami").status == 200
    daemon.write("acl.ini", GOOD)
    wait_for("it to be ready", daemon.ready)


def test_sighup_without_an_edit_is_harmless(egretd, origin1):
    daemon = egretd(GOOD)
    for _ in range(5):
        daemon.signal(signal.SIGHUP)
    assert daemon.get(ONE + "/whoami").status == 200
    assert daemon.ready()


def test_what_needs_a_restart_says_so(egretd):
    daemon = egretd(GOOD)
    daemon.config["proxy"]["workers"] = 1
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    daemon.wait_log(r"warn .*\[proxy\] workers.*started again")


# Tunnels over a reload.

@pytest.fixture
def tunnel(world, egretd):
    """A function: opens a tunnel through a daemon with this on-reload."""
    opened = []

    def make(on_reload=None):
        config = {"log": {"access-log": "access.log"}}
        if on_reload:
            config["proxy"] = {"on-reload": on_reload}
        daemon = egretd(GOOD, config=config)
        far = Listener(world.partner1, 7000)
        opened.append(far)
        wire = daemon.wire()
        opened.append(wire)
        assert wire.connect("partner1.test:7000").status == 200
        origin = far.accept()
        opened.append(origin)
        return daemon, wire, origin
    yield make
    for one in opened:
        one.close()


def alive(wire: Wire, origin: Wire):
    wire.send("ping")
    origin.send("pong")
    return origin.read(4) == b"ping" and wire.read(4) == b"pong"


DENIALS = {
    "no partner": ("[partner two]\nhosts = partner2.test\n", "no-match"),
    "a block": ("[block one]\nhosts = partner1.test\n" + GOOD, "acl.ini:1"),
    "a block of its address": (
        f"[block net]\ncidr = {PARTNER1[4]}, {PARTNER1[6]}\n" + GOOD, "acl.ini:1"),
    "another port": (GOOD.replace("7000, ", ""), "no-match"),
}


@pytest.mark.parametrize("name", DENIALS)
def test_tunnels_that_the_new_policy_denies_are_closed_with_a_reason(tunnel, name):
    denied, why = DENIALS[name]
    daemon, wire, origin = tunnel()
    assert alive(wire, origin)
    daemon.reload(denied)
    assert wire.ended() and origin.ended()
    record, = daemon.records(1)
    assert (record["end"], record["target"]) == ("policy-changed", "partner1.test:7000")
    assert why in json.dumps(record)


def test_tunnels_that_it_still_allows_go_on(tunnel):
    daemon, wire, origin = tunnel()
    for n in range(5):
        daemon.reload(OTHER + f"; {n}\n")
        assert alive(wire, origin)
    assert daemon.metric("egret_tunnels") == 1


def test_tunnels_are_kept_where_on_reload_is_keep(tunnel):
    daemon, wire, origin = tunnel("keep")
    daemon.reload("[partner two]\nhosts = partner2.test\n")
    assert alive(wire, origin)
    with daemon.wire() as other:
        assert other.connect("partner1.test:7000").status == 403


def test_a_running_request_finishes_over_a_reload_that_denies_it(world, egretd):
    daemon = egretd(GOOD)
    with Listener(world.partner1, 7000) as far, daemon.wire() as wire:
        wire.send(f"GET {ONE}:7000/ HTTP/1.1\r\nHost: a\r\n\r\n")
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            head = wire.head()
            daemon.reload("[partner two]\nhosts = partner2.test\n")
            origin.send("later")
            assert wire.body(head) == b"firstlater"
            assert wire.get(ONE + ":7000/").status == 403
