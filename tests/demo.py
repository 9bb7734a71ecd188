#!/usr/bin/python3
"""A small world, and egret at work in it: each command, then what it said.

    pod --- gateway node --- internet --- two partners

Everything lives in network namespaces and is removed at the end; nothing leaves this machine.
The exit status says whether all was as told.
"""
import contextlib
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "system"))

from daemon import EGRETD, Daemon  # noqa: E402
from dns import Dnsmasq  # noqa: E402
from origin import Origin  # noqa: E402
from world import EGRESS, NODE, PARTNER1, PARTNER2, World, sweep, wait_for  # noqa: E402

POLICY = """\
[partner shop]
hosts = shop.test
ports = 80
rate  = 10/1m
burst = 3

[partner bank]
cidr      = 45.0.2.0/24
ports     = 80
egress-ip = 45.0.0.20
"""


class Demo:
    """Prints and checks one step after the other."""

    def __init__(self, world, daemon):
        self._pod = world.pod1
        self._proxy = f"http_proxy=http://10.42.0.1:{daemon.port} "
        self.wrong = 0

    def say(self, text):
        print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)

    def pod(self, command, *wanted, proxy=True):
        """Runs the command in the pod; its output must hold every `wanted`."""
        print(f"pod$ {command}", flush=True)
        environment = dict(os.environ)
        for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "NO_PROXY"):
            environment.pop(name, None)
        if proxy:
            command = f"export {self._proxy}; {command}"
        done = self._pod.run("bash", "-c", command, env=environment, stderr=subprocess.STDOUT,
                             capture_output=False, stdout=subprocess.PIPE)
        self._show(done.stdout, wanted)

    def gateway(self, command, output, *wanted):
        print(f"gateway$ {command}", flush=True)
        self._show(output, wanted)

    def _show(self, output, wanted):
        print("".join(f"  {line}\n" for line in output.rstrip().splitlines()), end="")
        for text in wanted:
            if text not in output:
                self.wrong += 1
                print(f"!! not as told: {text!r} is missing", flush=True)


def show(demo, daemon):
    curl = "curl -sS"
    demo.say("The policy")
    demo.gateway("cat acl.ini", POLICY)
    print(f"pod$ export {demo._proxy}")

    demo.say("Who am I, and where may I go?")
    demo.pod(f"{curl} http://egret.internal/", "10.42.0.11", "shop", "bank", "3 left")

    demo.say("An allowed request.  The partner tells the source address that it saw:")
    demo.pod(f"{curl} http://shop.test/whoami", EGRESS[4])

    demo.say("Another partner knows us by another address")
    demo.pod(f"{curl} http://{PARTNER2[4]}/whoami", "45.0.0.20")

    demo.say("Without the proxy, any protocol: the kernel translates (Flannel would have shown "
             f"the node's {NODE[4]})")
    demo.pod(f"{curl} --noproxy '*' http://{PARTNER1[4]}/whoami", EGRESS[4])
    demo.pod(f"{curl} --noproxy '*' http://{PARTNER2[4]}/whoami", "45.0.0.20")

    demo.say("What no partner names is denied, with the reason")
    demo.pod(f"{curl} -i http://elsewhere.test/", "403 Forbidden", "Proxy-Status:",
             "elsewhere.test")
    demo.pod(f"{curl} http://169.254.169.254/latest/meta-data/", "denied")

    demo.say("burst = 3: one request is spent, two more pass, the next one is told when to return")
    demo.pod(f"for n in 1 2 3; do {curl} -o /dev/null -w '%{{http_code}}\\n' "
             "http://shop.test/whoami; done", "200\n200\n429")
    demo.pod(f"{curl} -i http://shop.test/whoami", "429 Too Many Requests", "Retry-After:")

    demo.say("An edit of acl.ini takes effect at once")
    edit = "[partner new]\nhosts = elsewhere.test\nports = 80\n"
    daemon.write("acl.ini", POLICY + "\n" + edit)
    demo.gateway("cat >>acl.ini", edit)
    wait_for("the edit to take effect", lambda: daemon.generation() > 1)
    demo.pod(f"{curl} http://elsewhere.test/whoami", EGRESS[4])

    demo.say("A bad edit changes nothing, and says what is wrong")
    daemon.write("acl.ini", POLICY + "\n" + edit + "color = red\n")
    demo.gateway("cat >>acl.ini", "color = red\n")
    wait_for("the edit to be refused", lambda: daemon.admin("/readyz").status == 503)
    demo.gateway(f"curl http://127.0.0.1:{daemon.admin_port}/readyz",
                 daemon.admin("/readyz").text, "acl.ini:", "color")
    demo.pod(f"{curl} http://elsewhere.test/whoami", EGRESS[4])

    demo.say("The rules stay when the daemon ends; --remove takes them away")
    daemon.stop()
    demo.pod(f"{curl} http://{PARTNER2[4]}/whoami", "45.0.0.20", proxy=False)
    demo.gateway("egretd --remove", daemon.command("--remove").stderr)
    demo.pod(f"{curl} http://{PARTNER2[4]}/whoami", NODE[4], proxy=False)


def main():
    if os.geteuid() != 0:
        sys.exit("demo: it makes network namespaces: run it as root")
    if not os.path.exists(EGRETD):
        sys.exit(f"demo: {EGRETD} is not there: run make first")
    sweep()
    with contextlib.ExitStack() as clean, tempfile.TemporaryDirectory() as directory:
        world = World()
        clean.callback(world.remove)
        dns = Dnsmasq(world.net, directory)
        clean.callback(dns.close)
        dns.set("shop.test", PARTNER1[4])
        dns.set("elsewhere.test", PARTNER1[4])
        for partner in (world.partner1, world.partner2):
            clean.callback(Origin(partner).close)
        daemon = Daemon(world, os.path.join(directory, "etc"), POLICY, nat=True)
        clean.callback(daemon.close)
        demo = Demo(world, daemon)
        show(demo, daemon)
        clean.close()
    print("\nAll as told; everything is removed." if demo.wrong == 0
          else f"\n{demo.wrong} not as told.")
    return 1 if demo.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
