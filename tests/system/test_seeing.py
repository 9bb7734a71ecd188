"""What an operator sees: access log, metrics, health; numbers that match what was done."""
import os
import re
import signal
import time

import pytest

from world import EGRESS, PARTNER1, POD1, wait_for

ONE = "http://partner1.test"
ACL = """[partner one]
hosts = partner1.test, v4.partner1.test
ports = 80, 443, 8080

[block bad]
hosts = bad.test
"""


@pytest.fixture
def logged(egretd):
    """A function: a daemon with an access log in this format, after some exchanges."""
    def make(form):
        daemon = egretd(ACL, config={"log": {"access-log": "access.log", "access-format": form}})
        daemon.get("http://v4.partner1.test/echo", method="POST", body=b"x" * 100)
        daemon.get("http://bad.test/")
        daemon.get("http://nowhere.example/")
        with daemon.wire() as wire:
            wire.connect("v4.partner1.test:8080")
            wire.send("GET /1k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            wire.response()
        with daemon.wire() as wire:
            wire.send("NONSENSE\r\n\r\n")
            wire.response()
        return daemon
    return make


def test_access_log_in_json(logged, origin1, nginx):
    daemon = logged("json")
    records = daemon.records(5)
    assert len(records) == 5
    by = {record["target"]: record for record in records}
    got = by["http://v4.partner1.test/echo"]
    assert got["client"] == POD1[4] and got["method"] == "POST" and got["status"] == 200
    assert (got["partner"], got["verdict"], got["policy"]) == ("one", "allow", "acl.ini:1")
    assert got["bytes_in"] == 100 and got["bytes_out"] > 100
    assert got["origin"] == f"{PARTNER1[4]}:80" and got["egress"] == EGRESS[4]
    for duration in ("dns", "connect", "first_byte", "total"):
        assert 0 <= got[duration] < 5
    assert got["end"] == "done" and not got["tunnel"]
    when = time.strptime(got["time"][:19], "%Y-%m-%dT%H:%M:%S")
    assert abs(time.mktime(when) - time.timezone - time.time()) < 120
    denied = by["http://bad.test/"]
    assert (denied["status"], denied["verdict"], denied["policy"]) == (403, "deny", "acl.ini:5")
    assert denied["partner"] == "bad" and denied["origin"] is None
    assert by["http://nowhere.example/"]["policy"] is None
    assert by["http://nowhere.example/"]["reason"] == "no-match"
    tunnel = by["v4.partner1.test:8080"]
    assert tunnel["tunnel"] and tunnel["method"] == "CONNECT" and tunnel["bytes_out"] > 1024
    assert by[None]["status"] == 400 and by[None]["method"] is None


REFUSED = {
    "a bad field": ("GET http://partner1.test/a HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    "a bare LF": ("GET http://partner1.test/a HTTP/1.1\nHost: a\n\n", 400),
    "two words": ("GET http://partner1.test/a\r\n\r\n", 400),
    "a large head": ("GET http://partner1.test/a HTTP/1.1\r\nX: " + "y" * 70000, 431),
    "another version": ("GET http://partner1.test/a HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "a slow head": ("GET http://partner1.test/a HTTP/1.1\r\nHost: a\r\n", 408),
}


def test_a_refused_head_is_logged_with_what_could_be_read_of_it(egretd):
    daemon = egretd(ACL, config={"log": {"access-log": "access.log", "access-format": "json"},
                                 "proxy": {"header-timeout": "1s"}})
    for n, (message, status) in enumerate(REFUSED.values(), 1):
        with daemon.wire() as wire:
            wire.send(message)
            assert wire.response().status == status
        record = daemon.records(n)[-1]
        assert (record["method"], record["target"]) == ("GET", "http://partner1.test/a"), message
        assert record["status"] == status and record["verdict"] == "-"


def test_access_log_in_squids_format(logged, origin1, nginx):
    lines = logged("squid").access_log(5)
    pattern = r"\d+\.\d{3} +\d+ 10\.42\.0\.11 \S+/\d{3} \d+ \S+ \S+ - \S+/\S+ \S+"
    for line in lines:
        assert re.fullmatch(pattern, line), line
    got = [line for line in lines if " POST " in line]
    assert "TCP_MISS/200" in got[0] and f"HIER_DIRECT/{PARTNER1[4]}" in got[0]
    assert any("TCP_DENIED/403" in line for line in lines)
    assert any("TCP_TUNNEL/200" in line for line in lines)


def test_access_log_in_the_combined_format(logged, origin1, nginx):
    lines = logged("combined").access_log(5)
    pattern = r'10\.42\.0\.11 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] ".*" \d{3} \d+ ' \
        r'".*" ".*"'
    for line in lines:
        assert re.fullmatch(pattern, line), line
    assert any('"POST http://v4.partner1.test/echo HTTP/1.1" 200' in line for line in lines)


def test_access_log_to_stdout(egretd):
    daemon = egretd(ACL, config={"log": {"access-log": "stdout"}})
    daemon.get("http://bad.test/")
    daemon.wait_log(r'"target":"http://bad\.test/"')


def test_a_log_that_was_rotated_is_opened_again(egretd):
    daemon = egretd(ACL, config={"log": {"access-log": "access.log"}})
    daemon.get("http://bad.test/first")
    daemon.access_log(1)
    os.rename(daemon.path("access.log"), daemon.path("access.log.1"))
    daemon.signal(signal.SIGHUP)
    wait_for("a new file", lambda: os.path.exists(daemon.path("access.log")))
    daemon.get("http://bad.test/second")
    wait_for("the line", lambda: "second" in open(daemon.path("access.log")).read())
    assert len(daemon.access_log(1, "access.log.1")) == 1


def test_strangers_bytes_are_escaped_in_the_logs(egretd):
    daemon = egretd(ACL, config={"log": {"access-log": "access.log"}})
    with daemon.wire() as wire:
        wire.send(b'GET http://bad.test/"\x1b[31m\xff HTTP/1.1\r\nHost: a\r\n\r\n')
        wire.response()
    daemon.get('http://bad.test/"quoted"')
    for line in daemon.access_log(2):
        assert line.isascii() and line.isprintable()
    daemon.records(2)


# Metrics.

def test_metrics_match_what_was_done(egretd, origin1, nginx):
    daemon = egretd(ACL)
    for _ in range(3):
        daemon.get(ONE + "/whoami")
    daemon.get(ONE + "/missing")
    daemon.get("http://bad.test/")
    daemon.get("http://nowhere.example/")
    daemon.wait_metric("egret_requests_total", 3, partner="one", code="2xx")
    daemon.wait_metric("egret_requests_total", 1, partner="one", code="4xx")
    daemon.wait_metric("egret_requests_total", 1, partner="bad", verdict="deny", code="4xx")
    daemon.wait_metric("egret_requests_total", 2, verdict="deny")
    daemon.wait_metric("egret_request_duration_seconds_count", 6)
    with daemon.wire() as wire:
        wire.connect("partner1.test:8080")
        daemon.wait_metric("egret_tunnels", 1)
        wire.send("GET /1k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        wire.response()
    daemon.wait_metric("egret_tunnels", 0)
    wait_for("the tunnel's bytes",
             lambda: daemon.metric("egret_bytes_total", partner="one") > 1024)


def test_metrics_page_is_prometheus_text(egretd, origin1):
    daemon = egretd(ACL)
    daemon.get(ONE + "/whoami")
    daemon.wait_metric("egret_requests_total", 1)  # counted when over: just after the answer
    page = daemon.admin("/metrics")
    assert page.status == 200 and page.get("Content-Type").startswith("text/plain; version=0.0.4")
    names, typed = set(), {}
    series = re.compile(r'([a-z_]+)(\{([a-z_]+="(\\.|[^"\\\n])*",?)*\})? (\S+)')
    for line in page.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in typed, f"{name} twice"
            typed[name] = kind
        elif not line.startswith("#"):
            match = series.fullmatch(line)
            assert match, line
            float(match.group(5))
            names.add(match.group(1))
    for name in names:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        kind = typed.get(name) or typed.get(base)
        assert kind, f"{name} has no TYPE"
        assert name.startswith("egret_")
        if kind == "counter":
            assert name.endswith("_total"), name
    for needed in ("egret_requests_total", "egret_bytes_total", "egret_build_info",
                   "egret_policy_generation", "egret_reloads_total", "egret_tunnels",
                   "egret_client_connections", "egret_request_duration_seconds_bucket"):
        assert needed in names, needed
    assert any("dns" in name for name in names)
    assert re.search(r'^egret_policy_info\{digest="[0-9a-f]{64}"\} 1$', page.text, re.M)


def test_histograms_are_cumulative(egretd, origin1):
    daemon = egretd(ACL)
    for _ in range(4):
        daemon.get(ONE + "/whoami")
    daemon.wait_metric("egret_request_duration_seconds_count", 4)
    buckets = {}
    for series, value in daemon.metrics().items():
        match = re.fullmatch(r'(\w+)_bucket\{(.*?),?le="([^"]+)"\}', series)
        if match:
            buckets.setdefault(match.group(1, 2), []).append((float(match.group(3)), value))
    assert buckets
    for name, steps in buckets.items():
        assert [v for _, v in sorted(steps)] == sorted(v for _, v in steps), name
        assert sorted(steps)[-1][0] == float("inf"), name


def test_health_and_readiness(egretd):
    daemon = egretd(ACL)
    assert daemon.admin("/healthz").text == "ok\n"
    assert daemon.admin("/readyz").text == "ready\n"
    assert daemon.admin("/nowhere").status == 404
    good = daemon.metric("egret_reloads_total", result="success")
    daemon.reload(ACL + "[partner x]\n", good=False)
    unready = daemon.admin("/readyz")
    assert unready.status == 503 and "acl.ini:7" in unready.text
    daemon.reload(ACL + "[partner x]\nhosts = a\ncolor = red\n", good=False)
    assert daemon.admin("/readyz").text.endswith(", cache-surrogate\n")  # the whole message
    assert daemon.admin("/healthz").status == 200
    assert daemon.metric("egret_reloads_total", result="failure") == 2
    daemon.reload(ACL + "; again\n")
    assert daemon.admin("/readyz").status == 200
    assert daemon.metric("egret_reloads_total", result="success") == good + 1


def test_the_admin_listener_is_no_proxy(egretd, origin1):
    daemon = egretd(ACL)
    from wire import Wire
    with Wire(daemon.namespace.connect("127.0.0.1", daemon.admin_port)) as wire:
        assert wire.get(ONE + "/whoami").status in (400, 403, 404)
    with Wire(daemon.namespace.connect("127.0.0.1", daemon.admin_port)) as wire:
        assert wire.get("http://x/metrics", method="DELETE").status in (400, 405)


def test_the_proxy_is_no_admin_page(egretd):
    daemon = egretd(ACL)
    with daemon.wire() as wire:
        wire.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.response().status == 400


def test_the_log_says_what_the_client_was_told(egretd, origin1):
    daemon = egretd("[partner one]\nhosts = v4.partner1.test\nports = 9\n"
                    "[partner slow]\nhosts = partner1.test\nrate = 1/1h\nburst = 1\nmode = report\n",
                    config={"log": {"access-log": "access.log"}})
    answer = daemon.get("http://v4.partner1.test:9/")
    failed, = daemon.records(1)
    assert (failed["status"], failed["end"]) == (502, "connect-failed")
    assert "refused" in failed["detail"] and failed["origin"] == f"{PARTNER1[4]}:9"
    assert failed["bytes_out"] == len(answer.body)
    assert failed["connect"] <= failed["total"]
    for _ in range(2):
        assert daemon.get("http://partner1.test/whoami").status == 200
    over, = [r for r in daemon.records(3) if r["verdict"] == "report"]
    assert (over["reporter"], over["detail"]) == ("acl.ini:4", "over its rate")
