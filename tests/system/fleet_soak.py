"""Random events on the nodes of a cluster under traffic, from a seed: what soak.py is for one node.

Policies change on one node after the other, the addresses move between the gateways, agents and
gateways are killed, tunnels and tables go.  No packet may leave with a wrong source.
"""
import contextlib
import random

from cluster import FLAVOURS
from failover import Outages
from fleet import OWNERS, Fleet, delete_table, flush_routing, flush_steering
from stage import BANK, bank, sources
from world import EGRESS, EGRESS_BANK, EGRESS_OTHER, wait_for

MOVING = (EGRESS, EGRESS_BANK)


class FleetSoak:
    """One run.  Each step is one thing that happens, chosen by the seed."""

    def __init__(self, fleet, rng, say=print):
        self._fleet, self._rng, self._say = fleet, rng, say
        self._owner, self._other = fleet.nodes.gw1, fleet.nodes.gw2
        self._bank = EGRESS_BANK  # where the bank's packets leave with
        self.steps = 0

    def run(self, seconds, clock):
        """Until the time is over; fails at the first wrong packet."""
        end = clock() + seconds
        choices = (self.edit, self.move, self.move, self.kill, self.stop, self.damage,
                   self.flush_ruleset, self.vxlan, self.conntrack, self.others_write)
        with self._fleet.scene() as scene:
            outages = Outages(scene)
            while clock() < end:
                choice = self._rng.choice(choices)
                self._say(f"{self.steps}: {choice.__name__}", flush=True)
                with outages.one():
                    choice(scene)
                    self._whole()
                scene.judge.verify()
                self.steps += 1
        return outages

    def _whole(self):
        """One thing at a time."""
        for name, daemon in self._fleet.egret.items():
            if not daemon.running():
                self._fleet.start(name)
            wait_for(f"egretd of {name} to be ready", daemon.ready, 30)

    def _node(self):
        return self._rng.choice(self._fleet.nodes.all)

    # What happens.

    def edit(self, scene):
        """The bank gets another address, on the nodes in some order."""
        now = self._rng.choice((EGRESS_BANK, EGRESS_OTHER, EGRESS))
        names = self._rng.sample(list(self._fleet.egret), 4)
        with scene.judge.change("bank", sources(self._bank, now), sources(now)):
            for name in names:
                self._fleet.reload(bank(now) + f"; {self.steps}\n", name)
        self._bank = now

    def move(self, _):
        """Of both addresses; perhaps while an egretd is dead."""
        victim = self._rng.choice((self._owner.name, self._other.name, "w1", None))
        if victim:
            self._fleet.egret[victim].kill()
        self._owner.remove_egress(*MOVING)
        self._other.add_egress(*MOVING)
        self._other.announce(*MOVING)
        self._owner, self._other = self._other, self._owner

    def kill(self, scene):
        self._fleet.egret[self._node().name].kill()
        scene.more(self._rng.randrange(10, 60))

    def stop(self, scene):
        self._fleet.egret[self._node().name].stop()
        scene.more(self._rng.randrange(10, 60))

    def _table_goes(self, scene, node):
        return scene.judge.instant(self._fleet.egret[node.name].running(),
                                   *sources(node.node, *node.pod_addresses))

    def damage(self, scene):
        how, node = self._rng.choice((delete_table, flush_routing, flush_steering)), self._node()
        with self._table_goes(scene, node) if how is delete_table else contextlib.nullcontext():
            how(node)

    def flush_ruleset(self, scene):
        """Streams through a gateway may be lost: see soak.py."""
        name = self._rng.choice(("w1", "w2"))
        node = getattr(self._fleet.nodes, name)
        with self._table_goes(scene, node):
            node.gw.nft("flush ruleset")
        scene.more(self._rng.randrange(10, 60))
        self._fleet.rules[name].install()

    def vxlan(self, scene):
        node = self._node()
        node.delete_vxlan()
        scene.more(self._rng.randrange(10, 60))
        node.make_vxlan(self._fleet.nodes.others(node))

    def conntrack(self, _):
        self._node().gw.run("conntrack", "-F")

    def others_write(self, _):
        self._fleet.rules[self._node().name].install()


def fleet_soak(directories, seconds, seed, clock, say=print):
    """A run in a cluster of its own; returns how many steps it took."""
    rng = random.Random(seed)
    flavour = rng.choice(FLAVOURS)
    say(f"seed {seed}, {flavour}, four nodes", flush=True)
    fleet = Fleet(directories, "soak", flavour, owners=OWNERS, acl=BANK)
    try:
        run = FleetSoak(fleet, rng, say)
        run.run(seconds, clock).print("soak")
        return run.steps
    finally:
        fleet.close()
