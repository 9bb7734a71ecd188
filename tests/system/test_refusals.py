"""What must be refused, or kept apart from what comes next, on both sides of the proxy."""
import pytest

from refusals import DEAD, PORT, REQUESTS, RESPONSES, SHORT, Trial, good

ACL = f"""
[partner one]
hosts = partner1.test
ports = {PORT}, {DEAD}
"""


@pytest.fixture(scope="module")
def trial(world, egretd_module):
    """One worker, so that a connection in its pool would be the next request's."""
    proxy = egretd_module(ACL, config={"proxy": {"workers": 1}})
    origin = Trial.origin_at(world.partner1)
    yield Trial(proxy.wire, origin)
    origin.close()


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read_in_one_way_or_not_at_all(trial, name):
    outcome = trial.request(REQUESTS[name])
    assert good(REQUESTS[name], outcome), outcome


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_read_in_one_way_or_not_at_all(trial, name):
    outcome = trial.response(RESPONSES[name])
    assert good(RESPONSES[name], outcome), outcome


@pytest.mark.parametrize("name", SHORT)
def test_a_response_that_was_cut_short_is_never_whole(trial, name):
    outcome = trial.response(SHORT[name], close=True)
    assert good(SHORT[name], outcome), outcome
