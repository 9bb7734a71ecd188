"""egretctl, and the same by curl on the control socket: what is asked of a running egretd."""
import contextlib
import itertools
import json
import os
import pty
import select
import signal
import socket
import subprocess
import termios
import threading
import time
import unicodedata

import pytest

from daemon import ACL, EGRETD, ROOT
from world import PARTNER1, PARTNER2, POD1, wait_for

CTL = os.path.join(os.path.dirname(EGRETD), "egretctl")
POD = POD1[4]

POLICY = """[block metadata]
cidr = 169.254.0.0/16

[partner one]
hosts = partner1.test
ports = 80, 443, 8080
cache = yes

[partner elsewhere]
hosts = partner2.test
from = 10.42.9.0/24

[partner never]
hosts = never.test
"""


class Ctl:
    def __init__(self, daemon):
        self.daemon = daemon

    def __call__(self, *args):
        return self.daemon.namespace.run(CTL, "-s", self.daemon.path("control"), *args)

    def json(self, *args, status=0):
        done = self(*args, "--json")
        assert done.returncode == status, done
        return json.loads(done.stdout)

    def curl(self, path, *args):
        """(status, JSON)"""
        done = self.daemon.namespace.run("curl", "-sS", "--unix-socket", self.daemon.path("control"),
                                         "-w", "\n%{http_code}", *args, "http://egret" + path)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)


@pytest.fixture(scope="module")
def daemon(egretd_module, origin1):
    def stored(exchange):
        exchange.take_body()
        exchange.reply(200, b"x" * 100, "Cache-Control: max-age=600")
    origin1.paths["/stored"] = stored
    return egretd_module(POLICY, config={"log": {"access-log": "access.log"}})


@pytest.fixture(scope="module")
def ctl(daemon):
    return Ctl(daemon)


@pytest.fixture(scope="module")
def nat(egretd_module):
    acl = ACL + f"\n[block metadata]\ncidr = 45.0.3.66\n[partner bank]\ncidr = {PARTNER2[4]}\n"
    return Ctl(egretd_module(acl, nat=True, config={"nat": {"flow-log": "flow.log"}}))


# The command line.

def table():
    return json.loads(subprocess.run([CTL, "help", "--json"], capture_output=True, text=True,
                                     check=True).stdout)


def names():
    return [one["name"] for one in table()]


def test_the_table_has_every_command():
    assert set(names()) >= {"status", "reload", "check", "explain", "rules", "nat plan", "nat show",
                            "nat verify", "cache stats", "cache purge", "dns", "connections list",
                            "connections kill", "tail", "top", "who"}


@pytest.mark.parametrize("name", names() if os.path.exists(CTL) else [])
def test_each_command_has_help_and_a_usage(name):
    helped = subprocess.run([CTL, *name.split(), "--help"], capture_output=True, text=True, check=True)
    assert helped.stdout.startswith("usage: egretctl") and name in helped.stdout
    assert helped.stdout == subprocess.run([CTL, "help", *name.split()], capture_output=True,
                                           text=True, check=True).stdout
    wrong = subprocess.run([CTL, *name.split(), "--nonsense", "a", "b", "c", "d"], text=True,
                           capture_output=True, check=False)
    assert wrong.returncode == 2 and "usage: egretctl" in wrong.stderr, wrong


@pytest.mark.parametrize("args", [["status"], ["reload"], ["rules"], ["nat", "show"], ["dns", "a.test"],
                                  ["connections", "list"], ["top"], ["tail"],
                                  ["explain", POD, "a.test:443"], ["purge", "tag", "x"]])
def test_without_egretd_each_says_so(args, tmp_path):
    for more in [], ["--json"]:
        done = subprocess.run([CTL, "-s", tmp_path / "none", *args, *more], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 3 and "none: No such file" in done.stderr, done
        assert not more or "No such file" in json.loads(done.stdout)["error"]


def test_unknown_commands_are_usage_errors():
    for args in (), ("dance",), ("nat",), ("nat", "dance"), ("help", "dance"):
        done = subprocess.run([CTL, *args], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "usage: egretctl" in done.stderr


@pytest.mark.parametrize("args", [
    ("purge",), ("purge", "tag", "a", "b"),
    ("top", "-d", "nan"), ("top", "-d", "0"), ("top", "-d", ""), ("top", "-n", "0"), ("top", "-n", ""),
    ("top", "-n", "-1"), ("tail", "--verdict", "maybe"), ("tail", "-n", ""), ("check", "a", "b")], ids=" ".join)
def test_a_wrong_command_line_is_2_whether_egretd_runs_or_not(args, tmp_path):
    done = run("-s", tmp_path / "none", *args)
    assert done.returncode == 2 and "usage: egretctl" in done.stderr, done


# check

def run(*args):
    return subprocess.run([CTL, *map(str, args)], capture_output=True, text=True, check=False)


def test_check_needs_no_egretd_and_names_the_line(tmp_path):
    (tmp_path / "egret.ini").write_text("[nat]\nenable = no\n")
    (tmp_path / "acl.ini").write_text("[partner a]\nhosts = a.test\n")
    for path in tmp_path, tmp_path / "egret.ini":
        good = run("check", path)
        assert good.returncode == 0 and good.stdout.startswith("ok: 1 partner"), good
    assert json.loads(run("check", tmp_path, "--json").stdout)["sections"] == 1
    (tmp_path / "acl.ini").write_text("[partner a]\nhosts = a.test\ncolour = red\n")
    bad = run("check", tmp_path)
    assert bad.returncode == 1 and bad.stderr.startswith("acl.ini:3: ") and "colour" in bad.stderr
    answer = json.loads(run("check", tmp_path, "--json").stdout)
    assert (answer["ok"], answer["file"], answer["line"]) == (False, "acl.ini", 3)
    assert run("check", tmp_path / "nowhere").returncode == 1


def test_check_takes_the_shipped_files():
    assert run("check", os.path.join(ROOT, "etc")).returncode == 0


# status, reload

def test_status_for_people_and_programs(daemon, ctl):
    text = ctl("status").stdout
    assert "gateway, generation" in text and ", ready" in text and f"proxy {daemon.proxy}" in text
    assert "\033" not in text
    status, same = ctl.curl("/status")
    assert status == 200 and same["proxy"]["pid"] == daemon.proxy
    assert ctl.json("status")["digest"] == same["digest"]


def test_reload_says_what_is_in_force_or_why_not(egretd):
    daemon = egretd(ACL)
    ctl = Ctl(daemon)
    assert ctl("reload").stdout.startswith("ok generation ")
    daemon.write("acl.ini", ACL + "colour = red\n")
    bad = ctl("reload")
    assert bad.returncode == 1 and bad.stdout.startswith("error: ") and "colour" in bad.stdout
    assert "colour" in ctl.json("reload", status=1)["error"]
    assert "not ready" in ctl("status").stdout
    status, answer = ctl.curl("/reload", "-X", "POST")
    assert status == 409 and "acl.ini:" in answer["error"]
    assert ctl.curl("/reload")[0] == 405 and ctl.curl("/nothing")[0] == 404


# explain

def considered(answer):
    return {one["name"]: one["considered"] for one in answer["proxy"]["sections"]}


def test_explain_tells_every_section_and_the_deciding_line(ctl):
    answer = ctl.json("explain", POD, "partner1.test:443")
    assert answer["method"] == "CONNECT" and answer["proxy"]["verdict"] == "allow"
    assert (answer["proxy"]["decided_by"]["name"], answer["proxy"]["decided_by"]["line"]) == ("one", 4)
    assert PARTNER1[4] in [one["address"] for one in answer["proxy"]["addresses"] if one["dialled"]]
    assert considered(answer) == {"metadata": "other-destination", "one": "decides", "elsewhere": "after",
                                  "never": "after"}
    text = ctl("explain", POD, "GET", "http://partner1.test/x").stdout
    assert "allowed by partner one (acl.ini:4)" in text
    assert "partner one" in text and "decides" in text and "NAT is off" in text


def test_explain_says_why_a_section_does_not_fit(ctl):
    answer = ctl.json("explain", POD, "http://partner2.test/", status=1)
    assert answer["proxy"]["reason"] == "no-match"
    assert considered(answer)["elsewhere"] == "source"
    assert considered(answer)["one"] == "other-destination"
    assert considered(ctl.json("explain", POD, "partner1.test:8443", status=1))["one"] == "port"
    answer = ctl.json("explain", POD, "http://169.254.169.254/", status=1)
    assert answer["proxy"]["decided_by"]["name"] == "metadata"


def test_explain_looks_up_what_is_not_denied_anyway(egretd, dns):
    ctl = Ctl(egretd(POLICY + f"[partner net]\ncidr = {PARTNER1[4]}/32, {PARTNER1[6]}/128\n"))
    answer = ctl.json("explain", POD, "by-net.example:443", status=1)
    assert answer["proxy"]["reason"] == "not-resolved" and considered(answer)["net"] == "unresolved"
    assert ctl.json("explain", POD, "by-net.example:443", "--address", "none", status=1) == answer
    answer = ctl.json("explain", POD, "by-net.example:443", "--address", PARTNER1[4])
    assert considered(answer)["net"] == "decides"
    unknown = ctl.curl(f"/explain?source={POD}&target=by-net.example:443")[1]
    assert unknown["proxy"]["verdict"] == "depends" and unknown["name"] == "by-net.example"


def test_explain_tells_what_the_guard_does(ctl):
    answer = ctl.json("explain", POD, "partner1.test:443", "--address", "10.0.0.1", "--address",
                      "45.0.3.66")
    assert [one["dialled"] for one in answer["proxy"]["addresses"]] == [False, True]


@pytest.mark.parametrize("args", [("x", "a.test:443"), (POD, "a.test"), (POD, "http:///"),
                                  (POD, "GET", "a.test:443"), (POD, "a.test:443", "--protocol", "gre"),
                                  (POD, "a.test:443", "--protocol", "udp" * 9), (POD, "X" * 65, "http://a.test/"),
                                  (POD, "http://a.test/" + "x" * 4096)])
def test_wrong_questions_to_explain(ctl, args):
    done = ctl("explain", *args)
    assert done.returncode == 1 and done.stdout.startswith("error: "), done


@pytest.mark.parametrize("more", ["source=%zz", "protocol=%", "method=%4", "address=%00", "address=" + "1" * 99])
def test_no_parameter_is_passed_over(ctl, more):
    """Half a question would be answered as if it were another one."""
    question = f"source={POD}&target=partner1.test:443&{more}"
    assert ctl.curl("/explain?" + question)[0] == 400
    assert ctl.curl("/connections?limit=%")[0] == 400


@pytest.mark.parametrize("blank", ["%20", "+", "%09", "%0A", "%0B", "%0D"])
def test_a_word_is_one_word(ctl, blank):
    for question in "connections?partner=one", "connections?source=" + POD, "dns?name=a.test&source=" + POD:
        status, answer = ctl.curl(f"/{question}{blank}x")
        assert status == 400 and "want one word" in answer["error"]


def test_explain_of_files_is_that_of_egretd(daemon, ctl):
    for args in (("partner1.test:443",), ("http://partner2.test/",)):
        running = json.loads(ctl("explain", POD, *args, "--json").stdout)
        known = [word for one in running["proxy"]["addresses"] for word in ("--address", one["address"])]
        files = json.loads(ctl("explain", "-c", daemon.path("egret.ini"), POD, *args, *known,
                               "--json").stdout)
        assert files["proxy"] == running["proxy"]
    done = ctl("explain", "-c", "/nowhere/egret.ini", POD, "a.test:443")
    assert done.returncode == 1 and "/nowhere/egret.ini" in done.stdout


def test_explain_tells_what_nat_does(nat):
    address = PARTNER1[4]
    answer, = nat.json("explain", POD, f"{address}:443", "--protocol", "udp", status=1)["nat"]
    assert answer["destination"] == address and answer["fate"] in ("translated", "no-egress-address")
    refused, = nat.json("explain", POD, "45.0.3.66:443", status=1)["nat"]
    assert refused["fate"] == "rejected" and refused["decided_by"]["name"] == "metadata"
    inside, = nat.json("explain", POD, "10.43.0.1:443", status=1)["nat"]
    assert inside["fate"] == "left-alone"


# rules

def test_rules_count_hits_and_remember_the_last(daemon, ctl, origin1):
    def of(name):
        return {one["name"]: one for one in ctl.json("rules")["sections"]}[name]
    before, begun = of("one"), time.time()
    assert daemon.get("http://partner1.test/stored").status == 200
    assert daemon.get("http://nobody.test/").status == 403
    wait_for("the hit", lambda: of("one")["allowed"] > before["allowed"] and
             begun - 1 <= of("one")["last"] <= time.time())
    wait_for("the denial", lambda: of("-")["denied"] >= 1)
    assert of("never")["last"] is None
    unused = [one["name"] for one in ctl.json("rules", "--unused")["sections"]]
    assert "never" in unused and "one" not in unused
    assert "partner one" in ctl("rules").stdout and "never" in ctl("rules").stdout


def test_rules_count_what_goes_past_the_proxy(nat, origin2):
    def kernel():
        told = nat.json("rules")["nat"]
        return ({one["section"]: one["flows"] for one in told["flows"]},
                {one["section"]: one["packets"] for one in told["denied"]})
    pod, begun = nat.daemon.world.pod1, time.time()
    pod.connect(PARTNER2[4], 80).close()
    with pytest.raises(OSError):
        pod.connect("45.0.3.66", 443)
    wait_for("the flow", lambda: kernel()[0].get("bank", 0) >= 1)
    wait_for("the refusal", lambda: kernel()[1]["metadata"] >= 1)
    last, = [one["last"] for one in nat.json("rules")["nat"]["flows"] if one["section"] == "bank"]
    assert begun - 2 <= last <= time.time() + 1
    unused = [one["name"] for one in nat.json("rules", "--unused")["sections"]]
    assert "bank" not in unused and "metadata" not in unused and "one" in unused


# nat

def test_nat_plan_show_verify(nat):
    plan = nat("nat", "plan").stdout
    assert plan.startswith("table inet egret {")
    files = nat("nat", "plan", "-c", nat.daemon.path("egret.ini")).stdout
    assert files.startswith("table inet egret {")
    shown = nat.json("nat", "show")
    assert shown["table"] == "egret" and shown["egress"] and shown["trouble"] is None
    assert "table inet egret:" in nat("nat", "show").stdout
    verified = nat.json("nat", "verify")
    assert verified["ok"] and {one["part"] for one in verified["parts"]} == {
        "table", "routes", "addresses", "sysctls"}
    assert "as planned" in nat("nat", "verify").stdout


def test_nat_verify_sees_what_is_not_as_planned(nat):
    """For a moment: egretd puts it right within a second."""
    def seen():
        nat.daemon.world.gw.run("sysctl", "-qw", "net.ipv4.conf.all.src_valid_mark=0", check=True)
        done = nat("nat", "verify", "--json")
        parts = {one["part"]: one["ok"] for one in json.loads(done.stdout)["parts"]}
        assert parts["table"] and parts["routes"] and done.returncode == (0 if parts["sysctls"] else 1)
        return not parts["sysctls"]
    wait_for("the parameter to be seen", seen)
    wait_for("it to be right again", lambda: nat("nat", "verify").returncode == 0)


def test_without_nat_the_kernel_is_not_asked(ctl):
    for what in "plan", "show", "verify":
        done = ctl("nat", what)
        assert done.returncode == 1 and "enable = no" in done.stdout


# cache

def test_cache_stats_and_purge(daemon, ctl):
    daemon.get("http://partner1.test/stored")
    daemon.get("http://partner1.test/stored")
    wait_for("a hit", lambda: ctl.json("cache", "stats")["results"]["hit"]["requests"] >= 1)
    stats = ctl.json("cache", "stats")
    assert stats["objects"] >= 1 and stats["stored"] >= 1
    assert "responses" in ctl("cache", "stats").stdout
    assert ctl("cache", "purge", "url", "http://partner1.test/stored").stdout == "1\n"
    assert ctl("purge", "url", "http://partner1.test/stored").stdout == "0\n"
    assert ctl.json("cache", "purge", "partner", "one")["message"].isdigit()


def test_nothing_is_cached(nat):
    done = nat("cache", "stats")
    assert done.returncode == 1 and "nothing is cached" in done.stdout


# dns

def test_dns_is_what_the_gateway_sees(ctl):
    answer = ctl.json("dns", "partner1.test")
    assert answer["status"] == "ok" and PARTNER1[4] in [one["address"] for one in answer["addresses"]]
    assert "may be dialled" in ctl("dns", "partner1.test").stdout
    asked = ctl.json("dns", "partner1.test", "--source", POD)
    assert asked["proxy"] == {"verdict": "allow", "reason": "matched", "section": "one"}
    assert all(one["dialled"] for one in asked["addresses"])
    assert ctl.json("dns", "partner2.test", "--source", POD, status=1)["proxy"]["verdict"] == "deny"
    nobody = ctl.json("dns", "nobody.example", status=1)
    assert nobody["addresses"] == [] and nobody["status"] != "ok"


@pytest.mark.parametrize("args", [("10.0.0.1",), ("a b",), ("a.test", "--port", "0"),
                                  ("a.test", "--source", "x"), ("",)])
def test_wrong_questions_to_dns(ctl, args):
    done = ctl("dns", *args)
    assert done.returncode == 1 and done.stdout.startswith("error: "), done


# connections

@pytest.fixture
def tunnel(daemon, nginx):
    with daemon.wire() as wire:
        assert wire.connect("partner1.test:443").status == 200
        yield wire


def client(wire):
    address, port = wire.socket.getsockname()[:2]
    return f"{address}:{port}"


def test_connections_are_listed_and_killed(daemon, ctl, tunnel):
    listed = ctl.json("connections", "list", "--partner", "one")
    mine = [one for one in listed["connections"] if one["client"] == client(tunnel)]
    assert len(mine) == 1 and mine[0]["state"] == "tunnel" and mine[0]["section"] == "one"
    assert mine[0]["target"] == "partner1.test:443" and mine[0]["origin"].endswith(":443")
    assert "partner1.test:443" in ctl("connections", "list").stdout
    assert ctl.json("connections", "list", "--source", "10.42.0.77")["matching"] == 0
    assert ctl.curl(f"/connections/kill?id=-{2**64 - mine[0]['id']}", "-X", "POST")[0] == 409
    done = ctl("connections", "kill", str(mine[0]["id"]))
    assert done.returncode == 0 and done.stdout == f"ok killed {mine[0]['id']}\n"
    with pytest.raises(ConnectionResetError):
        tunnel.socket.recv(1)
    wait_for("its line", lambda: [one for one in daemon.records(0) if one["end"] == "killed"])
    again = ctl("connections", "kill", str(mine[0]["id"]))
    assert again.returncode == 1 and "no connection" in again.stdout


def test_a_client_between_requests_is_killed(daemon, ctl):
    with daemon.wire() as wire:
        assert wire.get("http://partner1.test/stored").status == 200
        mine, = [one for one in ctl.json("connections", "list")["connections"]
                 if one["client"] == client(wire)]
        assert mine["state"] == "idle" and mine["section"] is None
        assert ctl("connections", "kill", str(mine["id"])).returncode == 0
        with pytest.raises(ConnectionResetError):
            wire.socket.recv(1)


def test_a_list_over_its_limit_says_so(daemon, ctl):
    wires = [daemon.wire() for _ in range(5)]
    wait_for("all", lambda: ctl.json("connections", "list")["all"] == 5)
    listed = ctl.json("connections", "list", "--limit", "2")
    assert (len(listed["connections"]), listed["matching"], listed["left_out"]) == (2, 5, 3)
    assert "3 of them not shown" in ctl("connections", "list", "--limit", "2").stdout
    for limit in "0", "1001", "x":
        assert ctl("connections", "list", "--limit", limit).returncode == 1
    for wire in wires:
        wire.close()
    wait_for("none", lambda: ctl.json("connections", "list")["all"] == 0)


def test_looks_at_once_wait_for_each_other(daemon, ctl):
    """As many as clients are served, and a kill among them."""
    wires = [daemon.wire() for _ in range(20)]
    wait_for("all", lambda: ctl.json("connections", "list")["all"] == 20)
    ids = [one["id"] for one in ctl.json("connections", "list")["connections"]]
    urls = [f"http://egret/connections?limit={n}" for n in range(1, 201)]
    asking = [daemon.namespace.start("curl", "-sS", "-f", "--unix-socket", daemon.path("control"),
                                     *itertools.chain(*(("-o", "/dev/null", url) for url in urls)))
              for _ in range(4)]
    for one in ids:
        assert ctl("connections", "kill", str(one)).stdout == f"ok killed {one}\n"
    assert [one.wait(60) for one in asking] == [0] * 4
    for wire in wires:
        wire.close()


@pytest.mark.parametrize("question", [("rules",), ("cache", "purge", "partner", "one")])
def test_a_proxy_that_does_not_answer_is_absent(egretd, question):
    daemon = egretd(ACL)
    ctl = Ctl(daemon)
    proxy = daemon.proxy
    os.kill(proxy, signal.SIGSTOP)
    try:
        asking = daemon.namespace.start(CTL, "-s", daemon.path("control"), *question,
                                        stdout=subprocess.PIPE, text=True)
        assert ctl("status").returncode == 0  # the gate goes on
    finally:
        os.kill(proxy, signal.SIGKILL)
    assert asking.wait(60) == 3 and "error: the proxy " in asking.stdout.read()


def test_nobody_waits_for_a_purge_for_good(egretd):
    daemon = egretd(POLICY)
    proxy = daemon.proxy
    os.kill(proxy, signal.SIGSTOP)
    try:
        asking = daemon.namespace.start(CTL, "-s", daemon.path("control"), "purge", "partner", "one",
                                        stdout=subprocess.PIPE, text=True)
        assert asking.wait(60) == 3 and "does not answer" in asking.stdout.read()
    finally:
        os.kill(proxy, signal.SIGCONT)
    ctl = Ctl(daemon)
    wait_for("the next one", lambda: ctl("purge", "partner", "one").stdout == "0\n")


# what a terminal would act on

EVIL = "\x1b]0;title\x07\x1b[2J\u009b31m\x7f\r"


def poisoned(value):
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return {k: poisoned(v) for k, v in value.items()} if isinstance(value, dict) else value


@contextlib.contextmanager
def answering(path, answers):
    """A control socket on which the answers are given, the last one again and again."""
    def serve():
        for n in itertools.count():
            try:
                connection = server.accept()[0]
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(
                    answers[min(n, len(answers) - 1)], ensure_ascii=False).encode())

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("command", [
    ("status",), ("rules",), ("cache", "stats"), ("dns", "partner1.test", "--source", POD), ("top",),
    ("explain", POD, "partner1.test:443", "--address", PARTNER1[4]), ("connections", "list"),
    ("nat", "show"), ("nat", "plan"), ("nat", "verify"), ("reload",)], ids=" ".join)
def test_nothing_of_an_answer_is_a_terminals(daemon, ctl, nat, tunnel, tmp_path, command):
    """Whoever has taken over the proxy answers what it likes."""
    asked = nat if command[0] == "nat" else ctl
    answers = [asked.json(*command)] if command != ("top",) else [ctl.json("rules"),
                                                                  ctl.json("connections", "list")]
    daemon.get("http://partner1.test/stored")
    with answering(tmp_path / "control", [poisoned(answer) for answer in answers]):
        for more in [], ["--json"]:
            done = subprocess.run([CTL, "-s", tmp_path / "control", *command, *more],
                                  capture_output=True, check=False)
            assert done.stdout and done.returncode in (0, 1), done
            acted_on = [c for c in done.stdout.decode()
                        if c != "\n" and unicodedata.category(c) == "Cc"]
            assert not acted_on or command == ("nat", "plan") and set(acted_on) == {"\t"}, done.stdout


# tail

def line(n, **more):
    fields = {"time": f"2026-11-25T10:03:{n:02}.000Z", "client": POD, "client_port": 1, "method": "GET",
              "target": f"http://a.test/{n}", "partner": "a", "verdict": "allow", "status": 200,
              "bytes_in": 0, "bytes_out": 5, "total": 0.012, "end": "done", "detail": None}
    return json.dumps(fields | more, separators=(",", ":")) + "\n"


def test_tail_shows_the_last_lines_that_fit(tmp_path):
    log = tmp_path / "access.log"
    log.write_text("".join(line(n) for n in range(30)) + line(30, verdict="deny", status=403,
                   partner=None, end="denied", detail="\x1b[2Jno") + line(31, client="10.42.0.12"))
    rows = run("tail", log).stdout.splitlines()
    assert len(rows) == 10 and "10.42.0.12" in rows[-1] and "/30  denied: ?[2Jno" in rows[-2]
    assert len(run("tail", log, "-n", "3").stdout.splitlines()) == 3
    for args, n in ((("--source", "10.42.0.12"), 1), (("--verdict", "deny"), 1), (("--status", "4xx"), 1),
                    (("--status", "200"), 31), (("--partner", "a"), 31), (("--partner", "b"), 0)):
        assert len(run("tail", log, "-n", "100", *args).stdout.splitlines()) == n, args
    assert json.loads(run("tail", log, "-n", "1", "--json").stdout)["client"] == "10.42.0.12"
    with log.open() as piped:
        done = subprocess.run([CTL, "tail", "-", "-n", "2"], stdin=piped, capture_output=True, text=True,
                              check=True)
    assert len(done.stdout.splitlines()) == 2
    log.write_text(line(1, target="/a\n10:03:02.000 forged\t", detail="\u009b2J\r", end="x"))
    rows = run("tail", log).stdout.splitlines()
    assert len(rows) == 1 and rows[0].endswith("/a?10:03:02.000 forged?  x: ??2J?"), rows
    log.write_text("\0\0\nno JSON\n{}\n[1]\n" + line(1, time="x", client="\x1b[2J", end="\x1b") + "{\n" + "y" * 20_000)
    rows = run("tail", log).stdout.splitlines()
    assert len(rows) == 2 and "?[2J" in rows[1], rows
    assert run("tail", tmp_path / "none").returncode == 1
    done = run("tail", tmp_path)
    assert done.returncode == 1 and "Is a directory" in done.stderr
    assert run("tail", log, "-n", "x").returncode == 2


def test_tail_follows_over_a_rotation(tmp_path):
    log = tmp_path / "access.log"
    log.write_text(line(1))
    with subprocess.Popen([CTL, "tail", "-f", log], stdout=subprocess.PIPE, text=True) as following:
        assert "/1" in following.stdout.readline()
        with log.open("a") as out:
            out.write(line(2)[:50])
            out.flush()
            out.write(line(2)[50:])
        assert "/2" in following.stdout.readline()
        log.rename(tmp_path / "access.log.1")
        log.write_text(line(3) + line(3))
        assert "/3" in following.stdout.readline() and "/3" in following.stdout.readline()
        log.write_text(line(4))  # emptied where it is
        assert "/4" in following.stdout.readline()
        following.terminate()


def test_tail_follows_a_pipe():
    with subprocess.Popen([CTL, "tail", "-f", "-", "--status", "200"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as following:
        for n in range(3):
            following.stdin.write(line(n, status=403) + line(10 + n))
            following.stdin.flush()
            assert f"/{10 + n}" in following.stdout.readline()
        following.stdin.close()
        assert following.wait(30) == 0


def test_tail_asks_egretd_for_its_log(daemon, ctl, nat):
    daemon.get("http://nobody.test/tailed")
    wait_for("the line", lambda: "nobody.test/tailed" in ctl("tail", "-n", "100").stdout)
    done = nat("tail")
    assert done.returncode == 1 and "goes to off" in done.stderr


# top

def test_top_shows_partners_and_sources(daemon, ctl, tunnel):
    text = ctl("top").stdout
    assert "SECTION" in text and "SOURCE" in text and POD in text and "\033" not in text
    wait_for("one tunnel", lambda: {one["source"]: one["tunnels"]
                                    for one in ctl.json("top")["sources"]}.get(POD) == 1)
    top = ctl.json("top")
    with daemon.wire(version=6):
        wait_for("it", lambda: POD1[6] in [
            one["source"] for one in ctl.json("top")["sources"]])
    assert {"section", "requests_per_second", "connections"} <= set(top["sections"][0])
    looks = ctl("top", "-n", "2", "-d", "0.2").stdout
    assert looks.count("egret top:") == 2
    for wrong in ("-d", "0"), ("-d", "x"), ("-n", "y"), ("more",):
        assert ctl("top", *wrong).returncode == 2


# What is only done on a terminal.

class Terminal:
    """The command, as a person sees it."""

    def __init__(self, daemon, *args, **env):
        self._master, self._slave = pty.openpty()
        self.before = self.modes()
        self.process = daemon.namespace.start(
            CTL, "-s", daemon.path("control"), *args, stdin=self._slave, stdout=self._slave, stderr=self._slave,
            env={**os.environ, **env}, start_new_session=True)
        self.seen = ""

    def read(self, until=None):
        """What is there until the text was seen, or the end."""
        deadline = time.monotonic() + 30
        while until is None or until not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if not select.select([self._master], [], [], 1)[0]:
                continue
            with contextlib.suppress(OSError):  # EIO: the last one has closed the other side
                part = os.read(self._master, 65536)
                self.seen += part.decode()
                if part:
                    continue
            assert until is None, self.seen
            break
        return self.seen

    def modes(self):
        return termios.tcgetattr(self._slave)

    def type(self, text):
        os.write(self._master, text.encode())

    def close(self):
        os.close(self._slave)
        self.read()
        os.close(self._master)
        return self.process.wait(30)


def test_colours_are_for_terminals(daemon):
    terminal = Terminal(daemon, "status")
    assert terminal.close() == 0 and "\033[32mready\033[0m" in terminal.seen
    terminal = Terminal(daemon, "status", NO_COLOR="1")
    assert terminal.close() == 0 and "\033" not in terminal.seen and "ready" in terminal.seen


def test_top_is_live_until_q(daemon, tunnel):
    terminal = Terminal(daemon, "top", "-d", "0.1")
    terminal.read(until=POD)
    terminal.seen = ""
    terminal.read(until="egret top:")  # another look
    terminal.type("q")
    assert terminal.close() == 0
    assert terminal.seen.endswith("\033[?25h\033[?1049l")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_top_leaves_the_terminal_as_it_was(daemon, name):
    terminal = Terminal(daemon, "top", "-d", "3600")
    terminal.read(until="egret top:")
    assert terminal.modes() != terminal.before
    terminal.process.send_signal(getattr(signal, name))
    assert terminal.process.wait(30) == -getattr(signal, name)
    assert terminal.modes() == terminal.before
    terminal.close()
    assert terminal.seen.endswith("\033[?25h\033[?1049l")


def test_top_says_that_egretd_is_gone(egretd):
    daemon = egretd(ACL)
    terminal = Terminal(daemon, "top", "-d", "0.1")
    terminal.read(until="egret top:")
    daemon.stop()
    assert terminal.close() == 3
    after = terminal.seen.rpartition("\033[?1049l")[2]
    assert "control" in after
