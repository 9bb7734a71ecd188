"""egretctl who: logs as egretd writes them, and questions about them."""

import json
import os
import resource
import subprocess
import time

import pytest

from daemon import ACL, EGRETD, SANITIZED

CTL = os.path.join(os.path.dirname(EGRETD), "egretctl")
EGRESS = "203.0.113.10:41523"


def clock(text):
    return f"2026-11-25T{text}.000Z" if text else None


def line(event, pod, start, end=None, *, time=None, id=1, to="198.51.100.7:443", egress=EGRESS,
         protocol="tcp", reason="closed", **more):
    """One line; times are HH:MM:SS."""
    fields = {"time": clock(time or end or start), "event": event, "partner": "bank",
              "protocol": protocol, "pod": pod, "source": f"{pod}:40000", "destination": to,
              "translated_source": egress, "translated_destination": to, "id": id,
              "start": clock(start)}
    if event == "end":
        fields |= {"end": clock(end), "duration": 1.0, "packets_original": 1, "packets_reply": 2,
                   "bytes_original": 300, "bytes_reply": 4000, "reason": reason}
    return json.dumps(fields | more, separators=(",", ":")) + "\n"


def start(pod, start, **more):
    return line("start", pod, start, **more)


def end(pod, start, end, **more):
    return line("end", pod, start, end, **more)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "flow.log"


def run(*args):
    return subprocess.run([CTL, "who", *map(str, args)], capture_output=True, text=True, timeout=60,
                          check=False)


def who(log, *args, address=EGRESS):
    """(pod, start, end, reason) of each line of the answer; the exit status has to fit."""
    done = run(address, "--log", log, *args)
    rows = [dict(word.split("=", 1) for word in row.split()) for row in done.stdout.splitlines()]
    assert done.returncode == (0 if rows else 1), done
    return [(row["pod"], row["start"][11:19] or "-", row["end"][11:19] or "-", row["reason"])
            for row in rows]


def test_a_flow_that_has_ended_is_found_between_its_begin_and_its_end(log):
    log.write_text(start("10.42.0.11", "10:03:00") + end("10.42.0.11", "10:03:00", "10:03:09"))
    answer = [("10.42.0.11", "10:03:00", "10:03:09", "closed")]
    for at in "10:03:00", "10:03:07", "10:03:09":
        assert who(log, "--at", f"2026-11-25T{at}Z") == answer
    for at in "10:02:59", "10:03:10":
        assert who(log, "--at", f"2026-11-25T{at}Z") == []


def test_all_is_told_of_a_flow(log):
    log.write_text(end("10.42.0.11", "10:03:00", "10:03:09"))
    assert run(EGRESS, "--log", log).stdout == (
        "pod=10.42.0.11 partner=bank protocol=tcp source=10.42.0.11:40000"
        " destination=198.51.100.7:443 translated_destination=198.51.100.7:443"
        " start=2026-11-25T10:03:00.000Z end=2026-11-25T10:03:09.000Z"
        " bytes_original=300 bytes_reply=4000 reason=closed\n")


def test_a_flow_that_goes_on_is_found_from_its_begin(log):
    log.write_text(start("10.42.0.11", "10:03:00"))
    assert who(log, "--at", "2026-11-25T23:00:00Z") == [("10.42.0.11", "10:03:00", "-", "open")]
    assert who(log, "--at", "2026-11-25T10:02:59Z") == []


def test_the_time_tells_apart_who_had_the_port_one_after_the_other(log):
    log.write_text("".join(start(f"10.42.0.{i}", f"10:0{i}:00", id=i)
                           + end(f"10.42.0.{i}", f"10:0{i}:00", f"10:0{i}:30", id=i)
                           for i in range(1, 6)))
    assert who(log, "--at", "2026-11-25T10:03:07Z") == [
        ("10.42.0.3", "10:03:00", "10:03:30", "closed")]
    assert who(log, "--at", "2026-11-25T10:03:40Z") == []


def test_one_port_at_one_time_may_be_of_several_flows(log):
    log.write_text(start("10.42.0.1", "10:00:00", to="198.51.100.7:443")
                   + start("10.42.0.2", "10:00:01", to="198.51.100.8:443")
                   + start("10.42.0.3", "10:00:02", protocol="udp")
                   + end("10.42.0.2", "10:00:01", "10:00:09", to="198.51.100.8:443"))
    assert sorted(pod for pod, *_ in who(log, "--at", "2026-11-25T10:00:05Z")) == [
        "10.42.0.1", "10.42.0.2", "10.42.0.3"]
    assert [pod for pod, *_ in who(log, "--protocol", "udp")] == ["10.42.0.3"]
    assert [pod for pod, *_ in who(log, "--protocol", "tcp")] == ["10.42.0.1"]


def test_without_a_time_who_has_it_now_or_had_it_last(log):
    log.write_text(end("10.42.0.1", "10:00:00", "10:01:00") + end("10.42.0.2", "10:02:00", "10:03:00"))
    assert who(log) == [("10.42.0.2", "10:02:00", "10:03:00", "closed")]
    with log.open("a") as out:
        out.write(start("10.42.0.3", "10:04:00"))
    assert who(log) == [("10.42.0.3", "10:04:00", "-", "open")]


def test_only_the_very_address_and_port(log):
    log.write_text(start("10.42.0.1", "10:00:00", egress="203.0.113.10:4152")
                   + start("10.42.0.2", "10:00:00", egress="203.0.113.1:41523")
                   + start("10.42.0.3", "10:00:00", egress="[2001:db8:1::10]:41523")
                   + start("10.42.0.4", "10:00:00", to=EGRESS, egress="203.0.113.11:1"))
    assert who(log) == []
    assert [pod for pod, *_ in who(log, address="[2001:db8:1:0::10]:41523")] == ["10.42.0.3"]


def test_an_end_without_its_begin_and_the_begin_of_a_resync(log):
    log.write_text(end("10.42.0.1", None, "10:03:00")
                   + start("10.42.0.2", "10:04:00", id=2)
                   + start("10.42.0.2", "10:04:00", id=2, time="11:00:00", resync=True))
    assert who(log, "--at", "2026-11-25T09:00:00Z") == [("10.42.0.1", "-", "10:03:00", "closed")]
    assert who(log, "--at", "2026-11-25T10:30:00Z") == [("10.42.0.2", "10:04:00", "-", "open")]


def test_a_flow_whose_end_was_not_logged_ends_with_the_next_one(log):
    log.write_text(start("10.42.0.1", "10:00:00", id=1) + start("10.42.0.1", "11:00:00", id=2))
    assert who(log, "--at", "2026-11-25T10:30:00Z") == [("10.42.0.1", "10:00:00", "-", "unknown")]
    assert who(log, "--at", "2026-11-25T11:30:00Z") == [("10.42.0.1", "11:00:00", "-", "open")]


def test_the_rotated_file_is_read_first(log):
    rotated = log.with_name("flow.log.1")
    rotated.write_text(start("10.42.0.1", "10:00:00", id=1) + start("10.42.0.2", "10:00:00", id=2,
                                                                   to="198.51.100.8:443"))
    log.write_text(end("10.42.0.1", "10:00:00", "10:30:00", id=1))
    assert [pod for pod, *_ in who(log, "--at", "2026-11-25T11:00:00Z")] == ["10.42.0.2"]
    assert [pod for pod, *_ in who(log, "--at", "2026-11-25T10:10:00Z")] == ["10.42.0.1", "10.42.0.2"]
    log.unlink()
    assert [pod for pod, *_ in who(log, "--at", "2026-11-25T11:00:00Z")] == ["10.42.0.1", "10.42.0.2"]


def test_a_clock_without_a_date_is_the_last_such_time(log):
    now = time.time()
    for ago in 5, 86400 - 60:
        at = time.gmtime(now - ago)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", at)
        log.write_text(line("end", "10.42.0.1", None, None).replace('"end":null', f'"end":"{stamp}"')
                       .replace('"start":null', f'"start":"{stamp}"'))
        assert [pod for pod, *_ in who(log, "--at", time.strftime("%H:%M:%S", at))] == ["10.42.0.1"]


@pytest.mark.parametrize("at", ["2026-11-25T12:03:07+02:00", "2026-11-25T05:33:07-04:30",
                                "2026-11-25T10:03:07.5Z", "2026-11-25t10:03:07z"])
def test_times_of_rfc_3339(log, at):
    log.write_text(end("10.42.0.1", "10:03:07", "10:03:08"))
    assert len(who(log, "--at", at)) == 1


@pytest.mark.parametrize("args", [
    [], ["203.0.113.10"], ["203.0.113.10:0"], ["nobody:1"], [EGRESS, "more"], [EGRESS, "--at"],
    [EGRESS, "--at", "10:03"], [EGRESS, "--at", "25:00:00"], [EGRESS, "--at", "10:03:07 "],
    [EGRESS, "--at", "2026-11-25T10:03:07"], [EGRESS, "--at", "2026-13-25T10:03:07Z"],
    [EGRESS, "--at", "2026-11-25T10:03:07+25:00"], [EGRESS, "--protocol", "icmp"], [EGRESS, "--what"],
])
def test_wrong_questions_are_refused(args):
    done = run(*args)
    assert done.returncode == 2
    assert "usage: egretctl" in done.stderr


def test_a_log_that_is_not_there_and_an_egretd_that_does_not_run(tmp_path):
    done = run(EGRESS, "--log", tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert "none: No such file" in done.stderr
    done = subprocess.run([CTL, "-s", tmp_path / "none.sock", "who", EGRESS], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 3
    assert "none.sock" in done.stderr


def test_an_egretd_without_a_flow_log_says_so(world, egretd):
    daemon = egretd(ACL, nat=True)

    def ctl(*args):
        return world.gw.run(CTL, "-s", daemon.path("control"), *args)
    flows = json.loads(ctl("status", "--json").stdout)["flows"]
    assert (flows["log"], flows["overflows"], flows["lines_lost"]) == (None, 0, 0)
    done = ctl("who", EGRESS)
    assert (done.returncode, done.stdout) == (1, "")
    assert "flow-log" in done.stderr


def test_lines_that_are_broken_or_endless_are_passed_over(log):
    whole = end("10.42.0.1", "10:00:00", "10:01:00")
    log.write_bytes(whole[:100].encode() + b"\n" + whole[50:].encode() + b"x" * (3 << 20)
                    + whole.encode() + b"\x00\xff\n" + whole.encode() + whole[:-2].encode())
    assert who(log) == [("10.42.0.1", "10:00:00", "10:01:00", "closed")]


def test_a_long_log_is_read_in_little_memory(log):
    other = start("10.42.0.9", "10:00:00", egress="203.0.113.10:1").encode()
    with log.open("wb") as out:
        out.write(start("10.42.0.1", "10:00:00").encode())
        for _ in range(300):
            out.write(other * 2500)
    size = log.stat().st_size
    assert size > 150 << 20

    def limit():
        if not SANITIZED:  # whose shadow is no little memory
            resource.setrlimit(resource.RLIMIT_DATA, (32 << 20, 32 << 20))

    done = subprocess.run([CTL, "who", EGRESS, "--log", log], capture_output=True, text=True,
                          preexec_fn=limit, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("pod=10.42.0.1 ")
