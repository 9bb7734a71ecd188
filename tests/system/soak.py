#!/usr/bin/python3
"""Random policy edits, kills, flushes and changes of the node under traffic, from a seed.

No packet may leave with a wrong source, and no stream of pod2 may be reset: its address stays
through all edits.  (After `flush ruleset` it may, where no NAT hook is left in the kernel: the
node then answers for its egress address itself.)

    soak.py [--seconds 3600] [--seed N] [--nodes 1 | 4]

With four nodes it is fleet_soak.py's run.
"""
import argparse
import contextlib
import os
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cluster import FLAVOURS  # noqa: E402
from fleet_soak import fleet_soak  # noqa: E402
from stage import (BANK_NETWORKS, Stage, UNTRANSLATED, WEB_NETWORKS, delete_table,  # noqa: E402
                   flush_routing, sources)
from world import EGRESS, EGRESS_BANK, EGRESS_OTHER, wait_for, sweep  # noqa: E402


class Soak:
    """One run.  Each step is one thing that happens, chosen by the seed."""

    def __init__(self, stage, rng, say=print):
        self._stage, self._rng, self._say = stage, rng, say
        self._gw, self._daemon = stage.world.gw, stage.daemon
        self._bank = (EGRESS_BANK,)  # where the bank's packets leave with
        self._number = 0
        self.steps = 0

    def run(self, seconds):
        """Until the time is over; fails at the first wrong packet or reset."""
        end = time.monotonic() + seconds
        choices = (self.edit, self.edit, self.edit, self.edit, self.kill, self.stop,
                   self.break_table, self.break_routing, self.flush_ruleset, self.conntrack,
                   self.others_write, self.address, self.while_dead)
        with self._stage.scene() as scene:
            while time.monotonic() < end:
                choice = self._rng.choice(choices)
                self._say(f"{self.steps}: {choice.__name__}", flush=True)
                choice(scene)
                self._whole()
                scene.more(self._rng.randrange(20, 150))
                self._check(scene)
                self.steps += 1
            scene.flows()
            self._check(scene)

    def _check(self, scene):
        scene.judge.verify()
        assert scene.resets(scene.web) == 0, scene.web.report()

    def _whole(self):
        """One thing at a time: a guard that is down is up again before the next goes."""
        if not self._daemon.running():
            self._daemon.start()
        wait_for("egretd to be ready", self._daemon.ready)
        wait_for("the guards to be whole", self._stage.guarded)

    # What may be written into acl.ini.

    def _policy(self):
        """A policy that keeps the web's address, and where it sends the bank."""
        rng = self._rng
        choices = [(a,) for a in (EGRESS, EGRESS_BANK, EGRESS_OTHER)]
        choices += [(EGRESS_BANK, EGRESS_OTHER), ()]
        where = rng.choice(choices)
        sections = [self._noise() for _ in range(rng.randrange(12))]
        if where:
            sections.append(self._section("bank", BANK_NETWORKS, where))
        sections.append(rng.choice((
            "", self._section("web", WEB_NETWORKS, (EGRESS,)),
            self._section(f"web{rng.randrange(9)}", WEB_NETWORKS, ()))))
        rng.shuffle(sections)
        return "".join(sections), where or (EGRESS,)

    def _section(self, name, networks, where):
        egress = ", ".join(sources(*where))
        spread = self._rng.choice(("", "spread = source\n", "spread = connection\n"))
        return (f"[partner {name}]\ncidr = {', '.join(networks)}\n"
                + (f"egress-ip = {egress}\n" if where else "")
                + (spread if len(where) > 1 else ""))

    def _noise(self):
        """A section that matches nothing of the traffic."""
        self._number += 1
        kind = self._rng.choice(("partner", "block"))
        network = f"6{self._rng.randrange(10)}.{self._rng.randrange(256)}.0.0/16"
        ports = self._rng.choice(("", "ports = 443, 8000-9000\n"))
        egress = f"egress-ip = {EGRESS_OTHER[4]}\n" if kind == "partner" else ""
        return f"[{kind} n{self._number}]\ncidr = {network}\n{ports}{egress}"

    # What happens.

    def edit(self, scene):
        policy, where = self._policy()
        with scene.judge.change("bank", sources(*self._bank), sources(*where)):
            self._daemon.reload(policy + f"; {self.steps}\n")
        self._bank = where

    def kill(self, scene):
        """At some moment of an edit."""
        policy, where = self._policy()
        with scene.judge.change("bank", sources(*self._bank), sources(*where)):
            self._daemon.write("acl.ini", policy)
            time.sleep(self._rng.random() / 30)
            self._daemon.kill()
            scene.more(self._rng.randrange(10, 60))
            self._daemon.start()
        self._bank = where

    def stop(self, scene):
        self._daemon.stop()
        scene.more(self._rng.randrange(10, 60))
        self._daemon.start()

    def break_table(self, _):
        how = self._rng.choice((
            delete_table, lambda stage: stage.world.gw.nft("flush table inet egret"),
            lambda stage: stage.world.gw.nft("flush chain inet egret translate")))
        how(self._stage)

    def break_routing(self, _):
        flush_routing(self._stage)

    def flush_ruleset(self, scene):
        self._gw.nft("flush ruleset")
        scene.more(self._rng.randrange(10, 200))
        self._stage.cluster.install()

    def conntrack(self, _):
        self._gw.run("conntrack", "-F")

    def others_write(self, _):
        self._stage.cluster.install()

    def address(self, scene):
        """An egress address of the bank's is taken away for a while."""
        self._stage.world.remove_egress(EGRESS_OTHER)
        scene.more(self._rng.randrange(10, 60))
        self._stage.world.add_egress(EGRESS_OTHER)

    def while_dead(self, scene):
        """One guard goes while nobody mends it."""
        self._daemon.kill()
        how = self._rng.choice((delete_table, flush_routing))
        with (scene.judge.instant(False, *UNTRANSLATED) if how is delete_table
              else contextlib.nullcontext()):
            how(self._stage)
        scene.more(self._rng.randrange(10, 100))
        self._daemon.start()


class _Directories:
    """What pytest's tmp_path_factory does, without pytest."""

    def __init__(self, root):
        self._root = pathlib.Path(root)

    def mktemp(self, name):
        return pathlib.Path(tempfile.mkdtemp(prefix=name, dir=self._root))


def soak(directories, seconds, seed, say=print):
    """A run in a cluster of its own; returns how many steps it took."""
    rng = random.Random(seed)
    flavour = rng.choice(FLAVOURS)
    say(f"seed {seed}, {flavour}", flush=True)
    stage = Stage(directories, "soak", flavour)
    try:
        run = Soak(stage, rng, say)
        run.run(seconds)
        return run.steps
    finally:
        stage.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--nodes", type=int, choices=(1, 4), default=1)
    arguments = parser.parse_args()
    sweep()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        if arguments.nodes == 4:
            steps = fleet_soak(_Directories(directory), arguments.seconds, arguments.seed,
                               time.monotonic)
        else:
            steps = soak(_Directories(directory), arguments.seconds, arguments.seed)
    print(f"{steps} steps: no wrong source" + (", no reset" if arguments.nodes == 1 else ""))


if __name__ == "__main__":
    main()
