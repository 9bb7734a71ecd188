"""A minute of `make soak`, of another seed each time."""
import os
import time

from fleet_soak import fleet_soak
from soak import soak

SECONDS = float(os.environ.get("EGRET_SOAK", 60))


def test_a_minute_of_everything(nothing_is_left, tmp_path_factory):
    soak(tmp_path_factory, SECONDS, int(os.environ.get("EGRET_SEED", time.time())))


def test_half_a_minute_of_four_nodes(nothing_is_left, tmp_path_factory):
    fleet_soak(tmp_path_factory, SECONDS / 2, int(os.environ.get("EGRET_SEED", time.time())),
               time.monotonic)
