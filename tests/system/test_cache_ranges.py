"""Ranges of bodies that are not stored whole: kept, united, and never taken for the whole."""
import re
import threading

import pytest

from test_cache import ctl
from test_cache_edges import bytes_of, is_hit, pin_all
from world import wait_for

ONE = "http://partner1.test"
SIZE = 400_000

ACL = """
[partner one]
hosts = partner1.test
ports = 80
cache = yes
"""


@pytest.fixture(scope="module")
def cached(egretd_module):
    return egretd_module(ACL, config={"cache": {"size": "16m", "max-object": "2m"},
                                      "log": {"access-log": "access.log"}})


@pytest.fixture(autouse=True)
def fresh(origin1):
    origin1.drop_idle()
    origin1.forget()


def get(daemon, path, *fields, method="GET", body=b""):
    with daemon.wire() as client:
        return client.get(ONE + path, *fields, method=method, body=body)


def part(daemon, path, first, last, *fields):
    return get(daemon, path, f"Range: bytes={first}-{last}", *fields)


class Resource:
    """What an origin has under a path, as it is now, in ranges or whole."""

    def __init__(self, origin, path, tag='"1"', size=SIZE, fields=("Cache-Control: max-age=600",)):
        self.origin, self.path = origin, path
        self.tag, self.fields = tag, fields
        self.body = bytes_of(path + str(tag), size)
        self.more = lambda: ()
        origin.paths[path] = self.answer

    def answer(self, exchange):
        exchange.take_body()
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", exchange.request.get("Range", ""))
        fields = [*self.fields, *([f"ETag: {self.tag}"] if self.tag else []), *self.more()]
        condition = exchange.request.get("If-Range")
        if exchange.request.get("If-None-Match") == self.tag and self.tag:
            exchange.reply(304, b"", *fields)
        elif asked and condition in (None, self.tag):
            size = len(self.body)
            first = int(asked[1]) if asked[1] else size - int(asked[2])
            last = min(int(asked[2]), size - 1) if asked[1] and asked[2] else size - 1
            exchange.reply(206, self.body[first:last + 1], *fields,
                           f"Content-Range: bytes {first}-{last}/{size}")
        else:
            exchange.reply(200, self.body, *fields)

    def asked(self):
        return [request.get("Range") for request in self.origin.seen(self.path)]


def is_part(response, resource, first, last):
    return (response.status, response.body, response.get("Content-Range"),
            response.get("Content-Length")) == (
                206, resource.body[first:last + 1],
                f"bytes {first}-{last}/{len(resource.body)}", str(last - first + 1))


def test_a_range_is_kept_and_what_lies_in_it_is_answered(cached, origin1):
    r = Resource(origin1, "/kept")
    first = part(cached, "/kept", 1000, 99_999)
    assert is_part(first, r, 1000, 99_999)
    assert re.fullmatch(r"egret; fwd=uri-miss; fwd-status=206; ttl=600; stored",
                        first.get("Cache-Status"))
    for a, b in ((1000, 99_999), (1000, 1000), (99_999, 99_999), (50_000, 70_000)):
        response = part(cached, "/kept", a, b)
        assert is_part(response, r, a, b) and is_hit(response)
        assert response.get("ETag") == '"1"' and response.get("Age")
    assert len(r.asked()) == 1


def test_suffixes_open_ends_and_several_ranges(cached, origin1):
    r = Resource(origin1, "/forms", size=1000)
    assert is_part(get(cached, "/forms", "Range: bytes=-500"), r, 500, 999)
    for asked, a, b in (("-500", 500, 999), ("-1", 999, 999), ("600-", 600, 999),
                        ("600-5000", 600, 999)):
        response = get(cached, "/forms", f"Range: bytes={asked}")
        assert is_part(response, r, a, b) and is_hit(response)
    several = get(cached, "/forms", "Range: bytes=500-509,700-709")
    assert several.status == 206 and is_hit(several)
    assert several.get("Content-Type").startswith("multipart/byteranges")
    assert r.body[500:510] in several.body and r.body[700:710] in several.body
    assert len(r.asked()) == 1


def test_what_is_partly_missing_is_asked_of_the_origin_and_united(cached, origin1):
    r = Resource(origin1, "/united")
    part(cached, "/united", 0, 99_999)
    second = part(cached, "/united", 50_000, 199_999)
    assert is_part(second, r, 50_000, 199_999)
    assert second.get("Cache-Status").startswith("egret; fwd=partial; fwd-status=206")
    whole_half = part(cached, "/united", 0, 199_999)
    assert is_part(whole_half, r, 0, 199_999) and is_hit(whole_half)
    beyond = part(cached, "/united", 199_999, 200_000)
    assert is_part(beyond, r, 199_999, 200_000) and not is_hit(beyond)
    assert r.asked() == ["bytes=0-99999", "bytes=50000-199999", "bytes=199999-200000"]


def test_all_ranges_together_are_the_whole(cached, origin1):
    r = Resource(origin1, "/whole", fields=("Cache-Control: max-age=600", "X-Kind: thing"))
    part(cached, "/whole", 0, 99_999)
    part(cached, "/whole", 300_000, "")
    part(cached, "/whole", 100_000, 299_999)
    whole = get(cached, "/whole")
    assert (whole.status, whole.body) == (200, r.body) and is_hit(whole)
    assert whole.get("Content-Range") is None
    assert (whole.get("Content-Length"), whole.get("X-Kind")) == (str(SIZE), "thing")
    assert get(cached, "/whole", 'If-None-Match: "1"').status == 304
    assert get(cached, "/whole", method="HEAD").get("Content-Length") == str(SIZE)
    assert len(r.asked()) == 3


@pytest.mark.parametrize("how", ("GET", "HEAD", "If-Range", "odd", "only-if-cached"))
def test_a_part_is_never_taken_for_the_whole(cached, origin1, how):
    r = Resource(origin1, f"/part-{how}")
    part(cached, r.path, 0, SIZE - 2)
    if how == "only-if-cached":
        assert get(cached, r.path, "Cache-Control: only-if-cached").status == 504
        return
    fields = {"If-Range": ("Range: bytes=0-9", 'If-Range: "other"'),
              "odd": ("Range: lines=0-9",)}.get(how, ())
    response = get(cached, r.path, *fields, method="HEAD" if how == "HEAD" else "GET")
    assert response.status == 200 and not is_hit(response)
    assert response.get("Content-Length") == str(SIZE)
    assert response.body == (b"" if how == "HEAD" else r.body)
    if how == "GET":  # it has taken the part's place
        assert is_hit(get(cached, r.path)) and is_hit(part(cached, r.path, 0, SIZE - 1))


def test_ranges_of_different_bodies_are_not_united(cached, origin1):
    old = Resource(origin1, "/changed", tag='"old"')
    part(cached, "/changed", 0, 199_999)
    new = Resource(origin1, "/changed", tag='"new"')
    assert is_part(part(cached, "/changed", 200_000, SIZE - 1), new, 200_000, SIZE - 1)
    whole = get(cached, "/changed")
    assert whole.body == new.body != old.body and not is_hit(whole)


@pytest.mark.parametrize("tag", (None, 'W/"1"'))
def test_without_a_strong_validator_no_part_is_kept(cached, origin1, tag):
    r = Resource(origin1, f"/weak-{tag is None}", tag=tag)
    for _ in range(2):
        assert is_part(part(cached, r.path, 0, 9), r, 0, 9)
    assert len(r.asked()) == 2


def test_a_strong_last_modified_is_one(cached, origin1):
    r = Resource(origin1, "/modified", tag=None, fields=(
        "Cache-Control: max-age=600", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"))
    part(cached, "/modified", 0, 199_999)
    part(cached, "/modified", 200_000, "")
    assert get(cached, "/modified").body == r.body
    assert len(r.asked()) == 2


@pytest.mark.parametrize("name, lines, body", (
    ("longer", ["Content-Range: bytes 0-9/100", "Content-Length: 11"], b"x" * 11),
    ("shorter", ["Content-Range: bytes 0-9/100", "Content-Length: 9"], b"x" * 9),
    ("unknown", ["Content-Range: bytes 0-9/*", "Content-Length: 10"], b"x" * 10),
    ("none", ["Content-Length: 10"], b"x" * 10),
    ("chunked-shorter", ["Content-Range: bytes 0-9/100", "Transfer-Encoding: chunked"],
     b"9\r\nxxxxxxxxx\r\n0\r\n\r\n"),
    ("multipart", ["Content-Type: multipart/byteranges; boundary=b", "Content-Length: 9"],
     b"--b\r\n\r\n--"),
))
def test_an_answer_that_is_no_sound_range_is_not_kept(cached, origin1, name, lines, body):
    def answer(exchange):
        exchange.take_body()
        exchange.send("\r\n".join(["HTTP/1.1 206 Partial Content", 'ETag: "1"',
                                   "Cache-Control: max-age=60", *lines]), "\r\n\r\n", body)
    origin1.paths["/odd-" + name] = answer
    for i in range(2):
        with cached.wire() as client:
            client.send(f"GET {ONE}/odd-{name} HTTP/1.1\r\nHost: partner1.test\r\n"
                        "Range: bytes=0-9\r\n\r\n")
            assert client.head().status == 206
        wait_for("both to have been asked", lambda: len(origin1.seen("/odd-" + name)) == i + 1)


def test_a_chunked_range_is_kept(cached, origin1):
    def answer(exchange):
        exchange.take_body()
        exchange.send("HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n"
                      "Content-Range: bytes 5-9/100\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
    origin1.paths["/chunked"] = answer
    for hit in (False, True):
        response = part(cached, "/chunked", 5, 9)
        assert (response.status, response.body) == (206, b"abcde")
        assert response.get("Content-Range") == "bytes 5-9/100"
        assert is_hit(response) == hit


def test_another_range_than_was_asked_for_is_passed_on_as_what_it_is(cached, origin1):
    def answer(exchange):
        exchange.take_body()
        exchange.reply(206, b"x" * 10, 'ETag: "1"', "Cache-Control: max-age=60",
                       "Content-Range: bytes 20-29/100")
    origin1.paths["/other"] = answer
    response = part(cached, "/other", 0, 50)
    assert (response.status, response.body) == (206, b"x" * 10)
    assert response.get("Content-Range") == "bytes 20-29/100"
    assert is_hit(part(cached, "/other", 25, 29)) and not is_hit(part(cached, "/other", 0, 50))


def test_a_stale_part_is_asked_for_again_in_the_clients_words(cached, origin1):
    r = Resource(origin1, "/stale", fields=("Cache-Control: max-age=0",))
    part(cached, "/stale", 0, 99)
    r.fields = ("Cache-Control: max-age=600",)
    again = part(cached, "/stale", 50, 149)
    assert is_part(again, r, 50, 149)
    assert is_hit(part(cached, "/stale", 0, 149))
    r2 = Resource(origin1, "/stale-2", fields=("Cache-Control: max-age=0",))
    part(cached, "/stale-2", 0, 99)
    second = part(cached, "/stale-2", 10, 19)
    assert is_part(second, r2, 10, 19)
    assert second.get("Cache-Status").startswith("egret; fwd=stale; fwd-status=206")
    assert r2.asked() == ["bytes=0-99", "bytes=10-19"]


def test_fields_of_the_newest_answer_count_and_the_others_stay(cached, origin1):
    r = Resource(origin1, "/fields", fields=("Cache-Control: max-age=600", "X-Old: 1", "X-A: 1"))
    part(cached, "/fields", 0, 199_999)
    r.fields = ("Cache-Control: max-age=600", "X-A: 2")
    part(cached, "/fields", 200_000, SIZE - 1, 'If-Range: "1"')
    whole = get(cached, "/fields")
    assert is_hit(whole)
    assert (whole.get("X-Old"), whole.get("X-A")) == ("1", "2")


def test_what_the_newest_does_not_say_is_as_it_was_said(cached, origin1):
    r = Resource(origin1, "/says", fields=("Cache-Control: max-age=600", "Surrogate-Key: says-tag"))
    part(cached, "/says", 0, 199_999)
    r.fields = ()
    second = part(cached, "/says", 200_000, SIZE - 1, 'If-Range: "1"')
    assert "ttl=600; stored" in second.get("Cache-Status")
    assert is_hit(get(cached, "/says"))
    assert ctl(cached, "purge", "tag", "says-tag").stdout == "1\n"
    assert not is_hit(get(cached, "/says"))


def test_an_answer_to_if_range_may_lack_fields_and_begins_nothing(cached, origin1):
    r = Resource(origin1, "/lacks")
    assert is_part(part(cached, "/lacks", 0, 9, 'If-Range: "1"'), r, 0, 9)
    assert not is_hit(part(cached, "/lacks", 0, 9))
    hit = part(cached, "/lacks", 0, 9, 'If-Range: "1"')
    assert is_part(hit, r, 0, 9) and is_hit(hit)


def test_variants_are_kept_apart(cached, origin1):
    r = Resource(origin1, "/vary", fields=("Cache-Control: max-age=600", "Vary: X-V"))
    part(cached, "/vary", 0, 99, "X-V: a")
    assert not is_hit(part(cached, "/vary", 0, 99, "X-V: b"))
    assert is_hit(part(cached, "/vary", 0, 99, "X-V: a"))
    assert is_part(part(cached, "/vary", 0, 99, "X-V: b"), r, 0, 99)


def test_a_part_of_what_is_too_large_is_not_kept(cached, origin1):
    r = Resource(origin1, "/large", size=2_200_000)
    for _ in range(2):
        assert is_part(part(cached, "/large", 0, 9), r, 0, 9)
    assert len(r.asked()) == 2


def test_an_unsafe_request_and_a_purge_take_parts_away(cached, origin1):
    r = Resource(origin1, "/unsafe")
    part(cached, "/unsafe", 0, 99)
    get(cached, "/unsafe", method="POST", body=b"x")
    assert not is_hit(part(cached, "/unsafe", 0, 99))
    assert is_hit(part(cached, "/unsafe", 0, 99))
    assert ctl(cached, "purge", "url", ONE + "/unsafe").stdout == "1\n"
    assert not is_hit(part(cached, "/unsafe", 0, 99))
    assert r.asked()


def test_ranges_that_come_at_once_are_the_whole_in_the_end(cached, origin1):
    r = Resource(origin1, "/at-once")
    ask = [threading.Thread(target=part, args=(cached, "/at-once", i * 50_000, i * 50_000 + 49_999))
           for i in range(8)]
    for thread in ask:
        thread.start()
    for thread in ask:
        thread.join()
    wait_for("all of it", lambda: is_hit(get(cached, "/at-once", "Cache-Control: only-if-cached")))
    assert get(cached, "/at-once").body == r.body
    assert len(r.asked()) == 8


def test_parts_are_found_again_after_a_restart(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "16m", "directory": "store"}})
    r = Resource(origin1, "/restart")
    part(daemon, "/restart", 0, 99_999)
    part(daemon, "/restart", 100_000, 199_999)
    daemon.stop()
    daemon.start()
    wait_for("it to be found", lambda: is_hit(part(daemon, "/restart", 0, 199_999)))
    response = part(daemon, "/restart", 0, 199_999)
    assert is_part(response, r, 0, 199_999)
    part(daemon, "/restart", 200_000, "")
    whole = get(daemon, "/restart")
    assert whole.body == r.body and is_hit(whole)


def test_a_range_that_finds_no_room_any_more_comes_to_its_end(egretd, origin1):
    daemon = egretd(ACL, config={"cache": {"size": "16m", "max-object": "4m"},
                                 "proxy": {"workers": 1}})
    body = bytes_of("ranged", 3_500_000)
    go = threading.Event()

    def answer(exchange):
        exchange.send("HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\n"
                      "ETag: \"1\"\r\nContent-Range: bytes 100000-3499999/4000000\r\n"
                      "Content-Length: 3400000\r\n\r\n", body[100_000:200_000])
        go.wait(20)
        exchange.send(body[200_000:])
    origin1.paths["/no-room"] = answer
    with daemon.wire() as client:
        client.send(f"GET {ONE}/no-room HTTP/1.1\r\nHost: partner1.test\r\n"
                    "Range: bytes=100000-3499999\r\n\r\n")
        head = client.head()
        assert (head.status, head.get("Content-Length")) == (206, "3400000")
        holders = pin_all(daemon, origin1)
        go.set()
        assert client.read(3_400_000) == body[100_000:]
        for holder in holders:
            holder.reset()


def test_a_part_that_nobody_asked_for_is_passed_on_and_not_kept(cached, origin1):
    r = Resource(origin1, "/unasked")

    def answer(exchange):
        exchange.take_body()
        exchange.reply(206, r.body[:100], 'ETag: "1"', "Cache-Control: max-age=600",
                       f"Content-Range: bytes 0-99/{SIZE}")
    origin1.paths["/unasked"] = answer
    for _ in range(2):
        response = get(cached, "/unasked")
        assert is_part(response, r, 0, 99) and not is_hit(response)
    r = Resource(origin1, "/unasked-2", fields=("Cache-Control: max-age=0",))
    get(cached, "/unasked-2")  # stored, and stale: what is asked next is asked for all
    origin1.paths["/unasked-2"] = lambda exchange: exchange.reply(
        206, r.body[:100], f"ETag: {r.tag}", "Cache-Control: max-age=600",
        f"Content-Range: bytes 0-99/{SIZE}")
    response = part(cached, "/unasked-2", 50, 149)
    assert response.get("Content-Range") == f"bytes 0-99/{SIZE}"
    assert 'detail="a part of what is stored whole"' in response.get("Cache-Status")
