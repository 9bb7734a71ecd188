"""Rate limits: a token bucket for each partner, source, or source and host."""
from world import wait_for

URL = "http://partner1.test/whoami"


def acl(rate, **keys):
    return "[partner one]\nhosts = partner1.test, *.partner1.test\nports = 80, 443\n" \
        f"rate = {rate}\n" + "".join(f"{k.replace('_', '-')} = {v}\n" for k, v in keys.items())


def ask(proxy, n, url=URL, pod=None):
    return [proxy.get(url, namespace=pod).status for _ in range(n)]


def test_five_pass_and_the_sixth_gets_429(egretd, origin1):
    proxy = egretd(acl("10/1m", burst=5))
    statuses = [proxy.curl(URL).status for _ in range(5)]
    assert statuses == [200] * 5
    response = proxy.get(URL)
    assert response.status == 429
    assert response.get("Retry-After") in ("5", "6")
    assert "one" in response.text and "10/1m" in response.text
    assert "error=" in response.get("Proxy-Status")
    with proxy.wire() as wire:
        assert wire.connect("partner1.test:443").status == 429


def test_one_more_passes_after_retry_after(egretd, origin1):
    proxy = egretd(acl("60/1m", burst=2))
    assert ask(proxy, 2) == [200, 200]
    response = proxy.get(URL)
    assert (response.status, response.get("Retry-After")) == (429, "1")
    wait_for("a token to come back", lambda: proxy.get(URL).status == 200, 2)
    assert proxy.get(URL).status == 429


def test_a_bucket_holds_at_least_one(egretd, origin1):
    proxy = egretd(acl("1/1h"))
    assert ask(proxy, 2) == [200, 429]
    assert int(proxy.get(URL).get("Retry-After")) in (3599, 3600)


def test_requests_of_one_connection_count_each(egretd, origin1):
    proxy = egretd(acl("1/1h", burst=3))
    with proxy.wire() as wire:
        assert [wire.get(URL).status for _ in range(5)] == [200, 200, 200, 429, 429]


def test_all_pods_share_a_partners_bucket_over_all_workers(world, egretd, origin1):
    proxy = egretd(acl("1/1h", burst=6), config={"proxy": {"workers": 4}})
    got = [proxy.get(URL, namespace=pod).status
           for _ in range(5) for pod in (world.pod1, world.pod2)]
    assert got == [200] * 6 + [429] * 4


def test_each_source_has_its_own(world, egretd, origin1):
    proxy = egretd(acl("1/1h", burst=2, rate_per="source"))
    assert ask(proxy, 3) == [200, 200, 429]
    assert ask(proxy, 3, pod=world.pod2) == [200, 200, 429]


def test_each_source_and_host_has_its_own(world, egretd, origin1):
    proxy = egretd(acl("1/1h", burst=2, rate_per="source+host"))
    other = "http://v4.partner1.test/whoami"
    assert ask(proxy, 3) == [200, 200, 429]
    assert ask(proxy, 3, other) == [200, 200, 429]
    assert ask(proxy, 3, other, world.pod2) == [200, 200, 429]


def test_buckets_outlive_a_reload(egretd, origin1):
    policy = acl("1/1h", burst=2)
    proxy = egretd(policy)
    assert ask(proxy, 2) == [200, 200]
    proxy.reload(policy + "; an edit\n")
    assert ask(proxy, 1) == [429]


def test_partners_without_rate_are_not_limited(egretd, origin1):
    proxy = egretd("[partner one]\nhosts = partner1.test\nports = 80\n")
    with proxy.wire() as wire:
        assert {wire.get(URL).status for _ in range(200)} == {200}


def test_limited_requests_are_counted_and_logged(egretd, origin1):
    proxy = egretd(acl("1/1h"), config={"log": {"access-log": "access.log"}})
    ask(proxy, 3)
    ends = sorted(record["end"] for record in proxy.records(3))
    assert ends == ["done", "rate-limited", "rate-limited"]
    proxy.wait_metric("egret_rate_limited_total", 2, partner="one")
