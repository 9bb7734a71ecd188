"""Clients and origins that mean harm, or could not do worse if they did."""
import os
import signal

import pytest

from daemon import descriptors
from origin import Listener
from world import wait_for

ONE = "http://partner1.test"
ACL = """
[partner one]
hosts = *.test
ports = 80, 443, 7000-7009
"""


@pytest.fixture(scope="module")
def proxy(egretd_module):
    """One worker, so that a connection in its pool is the next request's."""
    return egretd_module(ACL, config={"proxy": {"workers": 1, "response-timeout": "5s"}})


def head(path, port=7001):
    return f"GET {ONE}:{port}{path} HTTP/1.1\r\nHost: a\r\n\r\n"


def reply(body, *fields):
    lines = ["HTTP/1.1 200 OK", *fields, f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def test_many_requests_in_one_packet_are_all_answered(proxy):
    """No event tells of bytes that are in the buffer already."""
    with proxy.wire() as wire:
        wire.send(100 * "GET http://denied/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [wire.response().status for _ in range(100)] == [403] * 100


def test_bytes_behind_a_response_are_nobodys(world, proxy):
    """They are still in the socket when the connection could go to the next request."""
    first = reply(b"x" * 16300)
    first = reply(b"x" * (16300 + 16384 - len(first)))  # as long as one read
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(head("/first"), head("/second"))
        with far.accept() as poisoned:
            poisoned.head()
            poisoned.send(first + reply(b"evil"))
            assert wire.response().status == 200
            with far.accept() as fresh:
                assert fresh.head().start[1] == "/second"
                fresh.send(reply(b"good"))
                assert wire.response().body == b"good"
            assert poisoned.ended()


def test_a_connection_that_was_reset_behind_a_response_is_replaced(world, proxy):
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(head("/first"), head("/second"))
        origin = far.accept()
        origin.head()
        os.kill(proxy.proxy, signal.SIGSTOP)
        try:
            origin.send(reply(b"last"))
            origin.reset()
        finally:
            os.kill(proxy.proxy, signal.SIGCONT)
        assert wire.response().body == b"last"
        with far.accept() as fresh:
            assert fresh.head().start[1] == "/second"
            fresh.send(reply(b"good"))
            assert wire.response().body == b"good"


def test_interim_responses_are_counted_over_the_whole_exchange(world, proxy):
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(head("/"))
        with far.accept() as origin:
            origin.head()
            for _ in range(8):
                origin.send("HTTP/1.1 103 Early Hints\r\n\r\n")
                assert wire.head().status == 103
            origin.send("HTTP/1.1 103 Early Hints\r\n\r\n")
            assert wire.response().status == 502
            assert origin.ended()


def test_a_request_is_not_sent_again_after_an_interim_response(world, proxy):
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(head("/first"))
        origin = far.accept()
        origin.head()
        origin.send(reply(b"first"))
        assert wire.response().body == b"first"
        wire.send(head("/second"))
        assert origin.head().start[1] == "/second"
        origin.send("HTTP/1.1 103 Early Hints\r\n\r\n")
        assert wire.head().status == 103
        origin.close()
        assert wire.response().status == 502


def test_a_client_over_the_limit_does_not_stay(egretd):
    proxy = egretd(ACL, config={"proxy": {"max-connections": 1}})
    with proxy.wire() as first:
        assert first.get("http://denied/").status == 403
        with proxy.wire() as second:
            answer = second.get("http://denied/")
            assert answer.status == 503
            assert answer.get("Connection") == "close"
            assert second.ended()


@pytest.mark.parametrize("ender", ("client", "origin"))
@pytest.mark.parametrize("finished", (False, True))
def test_the_log_says_which_side_of_a_tunnel_failed(world, egretd, ender, finished):
    proxy = egretd(ACL, config={"log": {"access-log": "access.log"}})
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        assert wire.connect("partner1.test:7001").status == 200
        origin = far.accept()
        if finished:
            (origin if ender == "client" else wire).finish()
            assert (wire if ender == "client" else origin).ended()
        (wire if ender == "client" else origin).reset()
        assert proxy.records(1)[0]["end"] == ender + "-gone"
        origin.close()


@pytest.mark.parametrize("sent, answered, detail", (
    ("BAD", None, "request line: "),
    ("GET http://u@partner1.test/ HTTP/1.1\r\nHost: a", None, "target: "),
    (head("/")[:-4], "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length: "),
    (head("/")[:-4], "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx", "the response body"),
))
def test_the_log_says_what_is_wrong_with_a_message(world, egretd, sent, answered, detail):
    proxy = egretd(ACL, config={"log": {"access-log": "access.log"}})
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(sent, "\r\n\r\n")
        if answered:
            with far.accept() as origin:
                origin.head()
                origin.send(answered)
                assert origin.ended()
        record = proxy.records(1)[0]
        assert record["end"] == ("bad-response" if answered else "bad-request")
        assert record["detail"].startswith(detail)


@pytest.mark.parametrize("told, status", ((True, 408), (False, 504)))
def test_a_client_that_waits_for_100_is_not_to_blame(world, egretd, told, status):
    proxy = egretd(ACL, config={"proxy": {"response-timeout": "1s"}})
    with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
        wire.send(f"POST {ONE}:7001/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                  "Expect: 100-continue\r\n\r\n")
        with far.accept() as origin:
            origin.head()
            if told:
                origin.send("HTTP/1.1 100 Continue\r\n\r\n")
            assert wire.response().status == status


@pytest.mark.parametrize("on_reload, open_then", (("recheck", False), ("keep", True)))
def test_a_tunnel_that_opens_after_a_reload_is_held_against_it(world, egretd, on_reload, open_then):
    """Its connection was on its way while those that were open were looked at."""
    proxy = egretd(ACL, config={"proxy": {"on-reload": on_reload, "workers": 1},
                                "log": {"access-log": "access.log"}})
    world.partner1.nft("add table inet dead; add chain inet dead in { type filter hook input "
                       "priority 0; }; add rule inet dead in tcp dport 7001 drop")
    try:
        with Listener(world.partner1, 7001) as far, proxy.wire() as wire:
            wire.send("CONNECT v4.partner1.test:7001 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for("a connection on its way",
                     lambda: "SYN-SENT" in world.gw.run("ss", "-Htn").stdout)
            proxy.reload(ACL.replace("7000-7009", "7002"))
            world.partner1.nft("flush table inet dead")
            with far.accept() as origin:
                if open_then:
                    assert wire.head().status == 200
                else:
                    assert origin.ended()
                    assert proxy.records(1)[0]["end"] == "policy-changed"
    finally:
        world.partner1.nft("delete table inet dead")


def test_a_tunnel_that_ends_as_it_opens_does_not_hold_up_the_drain(world, egretd):
    proxy = egretd(ACL, config={"proxy": {"workers": 1, "drain-timeout": "1h"}})
    world.partner1.nft("add table inet dead; add chain inet dead in { type filter hook input "
                       "priority 0; }; add rule inet dead in tcp dport 7001 drop")
    try:
        with Listener(world.partner1, 7001), proxy.wire() as wire:
            wire.send("CONNECT v4.partner1.test:7001 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for("a connection on its way",
                     lambda: "SYN-SENT" in world.gw.run("ss", "-Htn").stdout)
            proxy.reload(ACL.replace("7000-7009", "7002"))
            proxy.signal(signal.SIGTERM)
            proxy.wait_log("stopping: ")
            assert proxy.running()
            world.partner1.nft("flush table inet dead")
            proxy.wait_log("the proxy ended: exit status 0")
    finally:
        world.partner1.nft("delete table inet dead")


def test_a_reload_without_descriptors_is_refused_and_harms_nobody(egretd):
    limit = descriptors(egretd().proxy, "") + 4
    proxy = egretd(ACL, prefix=("prlimit", f"--nofile={limit}:{limit}", "setpriv",
                                "--bounding-set=-sys_resource"))
    pid = proxy.proxy
    wires = [proxy.wire() for _ in range(10)]
    wait_for("the descriptors to be gone", lambda: "Too many open files" in proxy.log())
    proxy.write("acl.ini", ACL + "[partner two]\nhosts = two.test\n")
    proxy.wait_log("reload refused, generation 1 stays in force")
    for wire in wires:
        wire.close()
    proxy.reload(ACL + "[partner three]\nhosts = three.test\n")
    assert proxy.proxy == pid


def test_a_head_that_takes_too_long_is_a_timeout_in_the_log(egretd):
    proxy = egretd(ACL, config={"proxy": {"header-timeout": "1s"},
                                "log": {"access-log": "access.log"}})
    with proxy.wire() as wire:
        wire.send("GET ")
        assert wire.response().status == 408
    assert proxy.records(1)[0]["end"] == "client-timeout"
