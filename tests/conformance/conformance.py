"""The public suite for HTTP caches, run through egret, and through its peers for comparison.

Everything runs in a network namespace of its own, on loopback: the suite's origin, one proxy
after the other, and the suite's client (client.mjs).  What egret fails must be what
docs/conformance.md lists, test by test: one more, or one that passes by now, is an error.
"""
import argparse
import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(HERE, "..", "..", "docs", "conformance.md")
PUBLIC_REGISTRY = "https://registry.npmjs.org"  # npm's own default
ORIGIN = 8000
ROUNDS = 2  # in which tests that failed are run again
LONGEST = 300  # seconds that a run of the client may take
KINDS = ("required", "optimal")


# ---- the suite ----------------------------------------------------------------------------

def registry():
    """As npm is configured here, if it is."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    with contextlib.suppress(OSError):
        npm = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True,
                             timeout=60)
        if npm.stdout.startswith("http"):
            return npm.stdout.strip().rstrip("/")
    return PUBLIC_REGISTRY


def download(url):
    """The body; None when the registry cannot be reached."""
    for last in (False, False, True):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            problem = error
            if error.code < 500:
                sys.exit(f"{url}: {error}")
        except OSError as error:
            problem = error
        if not last:
            time.sleep(2)
    print(f"SKIPPED: the registry cannot be reached: {url}: {problem}")
    return None


def suite(directory):
    """Where the pinned suite is unpacked; None when there is no way to get it."""
    with open(os.path.join(HERE, "package.json"), encoding="utf-8") as file:
        pinned = json.load(file)
    (name, version), = pinned["devDependencies"].items()
    unpacked = os.path.join(directory, f"{name}-{version}")
    if not os.path.exists(unpacked):
        archive = download(f"{registry()}/{name}/-/{name}-{version}.tgz")
        if archive is None:
            return None
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
        if digest != pinned["integrity"][name]:
            sys.exit(f"{name} {version}: {digest}: want {pinned['integrity'][name]}")
        partial = unpacked + "~"
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(partial)
        os.rename(os.path.join(partial, "package"), unpacked)
        os.rmdir(partial)
    return unpacked


# ---- processes ----------------------------------------------------------------------------

@contextlib.contextmanager
def running(command, directory, port, **options):
    """A server, once it listens; it and what it has started are gone when this ends.

    Gives a list that holds, after that, the process's exit status and what it has printed.
    """
    with open(os.path.join(directory, "output"), "w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True, **options)
        try:
            wait_for(port, process, log)
            end = []
            yield end
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        end += [process.returncode, log.read()]


def wait_for(port, process, log):
    for _ in range(3000):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    log.seek(0)
    sys.exit(f"{' '.join(process.args)}: does not listen on port {port}\n{log.read()}")


class Proxy:
    """How one is started: its command, its files in etc/ (@WORDS@ are filled in)."""

    def __init__(self, name, port, command, files, version=None, forward=True):
        self.name, self.port, self.command, self.files = name, port, command, files
        self.forward, self._version = forward, version

    def title(self):
        if not self._version:
            return self.name
        said = subprocess.run(self._version, capture_output=True, text=True, timeout=60)
        return f"{self.name} " + re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)[0]

    @contextlib.contextmanager
    def started(self, directory):
        own = tempfile.mkdtemp(prefix=f"{self.name}.".replace(" ", ""), dir=directory)
        os.chmod(own, 0o777)
        values = {"DIR": own, "PORT": self.port, "ADMIN": self.port + 1, "ORIGIN": ORIGIN}
        for name in self.files:
            with open(os.path.join(HERE, "etc", name), encoding="utf-8") as file:
                text = re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), file.read())
            with open(os.path.join(own, name), "w", encoding="utf-8") as file:
                file.write(text)
        os.mkdir(os.path.join(own, "cache"))
        os.chmod(os.path.join(own, "cache"), 0o777)
        with running([word.replace("@DIR", own) for word in self.command], own, self.port) as end:
            yield end


def egret(build):
    return Proxy("egret", 3100, [os.path.join(build, "egretd"), "-c", "@DIR/egret.ini"],
                 ("egret.ini", "acl.ini"))


PEERS = (
    Proxy("Traffic Server", 3110, ("traffic_server", "--run-root=@DIR/runroot.yaml"),
          ("runroot.yaml", "records.config", "storage.config", "ip_allow.yaml"),
          ("traffic_server", "--version")),
    Proxy("Apache", 3120, ("apache2", "-DFOREGROUND", "-f", "@DIR/apache.conf"), ("apache.conf",),
          ("apache2", "-v")),
    Proxy("Squid", 3130, ("squid", "-N", "-f", "@DIR/squid.conf"), ("squid.conf",),
          ("squid", "-v")),
    Proxy("Varnish", 3140, ("varnishd", "-F", "-j", "none", "-n", "@DIR", "-a", "127.0.0.1:3140",
                            "-f", "@DIR/varnish.vcl", "-s", "malloc,64M", "-p", "default_ttl=0",
                            "-p", "default_grace=0", "-p", "default_keep=3600"),
          ("varnish.vcl",), ("varnishd", "-V"), forward=False),
    Proxy("nginx", 3150, ("nginx", "-c", "@DIR/nginx.conf"), ("nginx.conf",), ("nginx", "-v"),
          forward=False),
    Proxy("HAProxy", 3160, ("haproxy", "-db", "-f", "@DIR/haproxy.cfg"), ("haproxy.cfg",),
          ("haproxy", "-v"), forward=False),
)


# ---- a run and its outcome ----------------------------------------------------------------

class Outcome:
    """What the suite says of a proxy.  A test passes when it and all that it depends on do."""

    def __init__(self, tests, results, end):
        self.tests = {test["id"]: test for test in tests}
        self.results = results
        self.status, self.said = end  # of the proxy, when it was told to end

    def passed(self, name):
        return self.results.get(name) is True and all(map(self.passed, self.tests[name]["depends"]))

    def failed(self, *kinds):
        return [name for name, test in self.tests.items()
                if test["kind"] in kinds and not self.passed(name)]

    def total(self, kind):
        return sum(test["kind"] == kind for test in self.tests.values())

    def figures(self):
        return [f"{self.total(kind) - len(self.failed(kind))}/{self.total(kind)}" for kind in KINDS]

    def why(self, name):
        if self.results.get(name) is True:
            return "depends on " + ", ".join(each for each in self.tests[name]["depends"]
                                             if not self.passed(each))
        return ": ".join(map(str, self.results.get(name, ["was not run"])))


def client(directory, proxy, ids=()):
    address = f"127.0.0.1:{proxy.port}"
    base = f"http://127.0.0.1:{ORIGIN}" if proxy.forward else f"http://{address}"
    ran = subprocess.run(["node", os.path.join(HERE, "client.mjs"), directory, base, address, *ids],
                         stdout=subprocess.PIPE, timeout=LONGEST, check=True)
    return json.loads(ran.stdout)


def run(directory, proxy, scratch):
    """All tests; those that fail some more times, with fewer at a time: they sleep for what they measure."""
    began = time.monotonic()
    with proxy.started(scratch) as end:
        first = client(directory, proxy)
        results = first["results"]
        again = [name for name, result in results.items() if result is not True]
        for _ in range(ROUNDS):
            failed = [name for name in again if results[name] is not True]
            if failed:
                results.update(client(directory, proxy, failed)["results"])
    late = [name for name in again if results[name] is True]
    outcome = Outcome(first["tests"], results, end)
    print("{}: required {}, optimal {}".format(proxy.title(), *outcome.figures())
          + f", {time.monotonic() - began:.0f} s" + (f"; only when run again: {', '.join(late)}" if late else ""),
          flush=True)
    return outcome


# ---- docs/conformance.md ------------------------------------------------------------------

def listed():
    """Tests that egret is known to fail: the page's rows of names, section and reason."""
    with open(DOCS, encoding="utf-8") as file:
        rows = re.findall(r"^\| (`.*`) \| ([^|]*) \| ([^|]*) \|$", file.read(), re.M)
    for names, section, why in rows:
        if not section.strip() or not why.strip():
            sys.exit(f"docs/conformance.md: {names}: want the section, and why it fails")
    return [name for names, _, _ in rows for name in re.findall("`([^`]+)`", names)]


def verdict(outcome):
    known, failed = listed(), outcome.failed(*KINDS)
    new = [name for name in failed if name not in known]
    old = [name for name in known if name not in failed]
    for name in new:
        test = outcome.tests[name]
        print(f"FAILED: {name} ({test['kind']}, {test['group']}): {test['name']}: {outcome.why(name)}")
    for name in old:
        what = "passes" if name in outcome.tests else "is no test"
        print(f"docs/conformance.md lists {name} as failed: it {what}")
    if outcome.status != 0:
        print(f"egretd ended with status {outcome.status}\n{outcome.said}")
    return 1 if new or old or outcome.status != 0 else 0


def write_table(rows):
    """Puts the figures of one run into the page, between its two marks."""
    lines = ["| proxy | required | optimal |", "| --- | --- | --- |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    with open(DOCS, encoding="utf-8") as file:
        before, after = re.split(r"(?<=<!-- figures -->\n).*?(?=<!-- end -->)", file.read(), flags=re.S)
    with open(DOCS, "w", encoding="utf-8") as file:
        file.write(before + "\n" + "\n".join(lines) + "\n\n" + after)


# ---- here we go ---------------------------------------------------------------------------

def enter_namespace():
    """Runs this program again in a network namespace of its own."""
    if os.environ.get("EGRET_CONFORMANCE") == "inside":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0:
        sys.exit("a network namespace and other users for the proxies need root")
    os.environ["EGRET_CONFORMANCE"] = "inside"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", action="store_true", help="the peers too; their figures go to docs")
    parser.add_argument("--only", metavar="NAME", help="this proxy alone, and all that it fails")
    parser.add_argument("build", help="where egretd was built")
    args = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    directory = suite("build/conformance")
    if directory is None:
        return 0
    enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and so stops what it has started
    proxies = [egret(os.path.abspath(args.build)), *PEERS]
    with tempfile.TemporaryDirectory(prefix="egret-conformance.") as scratch:
        os.chmod(scratch, 0o755)
        environment = dict(os.environ, npm_config_protocol="http", npm_config_port=str(ORIGIN),
                           npm_config_pidfile=os.path.join(scratch, "origin.pid"))
        with running(["node", "server/server.mjs"], scratch, ORIGIN, cwd=directory, env=environment):
            if args.only:
                proxy, = [each for each in proxies if each.name == args.only]
                outcome = run(directory, proxy, scratch)
                for name in outcome.failed(*KINDS):
                    print(f"{outcome.tests[name]['kind']} {name}: {outcome.why(name)}")
                return 0
            chosen = proxies if args.peers else proxies[:1]
            outcomes = [run(directory, proxy, scratch) for proxy in chosen]
    if args.peers:
        write_table([(proxy.title(), *outcome.figures())
                     for proxy, outcome in zip(proxies, outcomes)])
    return verdict(outcomes[0])


if __name__ == "__main__":
    sys.exit(main())
