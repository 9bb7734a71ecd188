"""egretd under test: its files, its processes, its answers."""
import contextlib
import itertools
import json
import os
import re
import signal
import socket

from wire import Wire
from world import DNS, EGRESS, POD_CIDR, stop, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EGRETD = os.path.join(ROOT, os.environ.get("EGRETD", "build/egretd"))
SANITIZED = "address" in EGRETD
PROXY_UID = 64123

ACL = """
[partner one]
hosts = partner1.test, *.partner1.test
ports = 80, 443, 8080, 8443
"""

_numbers = itertools.count()


def settings(number, nat, cni0):
    """egret.ini for a daemon on a node with this bridge, as sections of keys."""
    port, admin = 3128 + number, 13128 + number
    return {
        "gateway": {"pod-cidr": POD_CIDR, "egress-ip": f"{EGRESS[4]}, {EGRESS[6]}"},
        "proxy": {
            "listen": f"{cni0[4]}:{port}, [{cni0[6]}]:{port}, 127.0.0.1:{port}",
            "workers": 2, "uid": PROXY_UID, "gid": PROXY_UID, "drain-timeout": "2s",
        },
        "dns": {"servers": f"{DNS}:53"},
        "log": {"level": "debug", "access-log": "off"},
        "admin": {"listen": f"127.0.0.1:{admin}"},
        "nat": {"enable": "yes" if nat else "no"},
    }


class Daemon:
    """One egretd.  `config` overrides keys of settings(): {"proxy": {"workers": 1}}."""

    def __init__(self, world, directory, acl=ACL, config=None, nat=False, egretd=EGRETD,
                 files=None, prefix=(), args=(), start=True):
        number = next(_numbers)
        self.world = world
        self.namespace = world.gw
        self.directory = str(directory)
        self.port, self.admin_port = 3128 + number, 13128 + number
        self.config = settings(number, nat, world.cni0)
        self.config["admin"]["control"] = self.path("control")
        for section, keys in (config or {}).items():
            self.config.setdefault(section, {}).update(keys)
        self.egretd = egretd
        self._prefix = prefix
        self._args = args
        self._process = None
        os.makedirs(self.directory, exist_ok=True)
        os.chmod(self.directory, 0o755)
        for name, text in (files or {}).items():
            self.write(name, text)
        self.write_config()
        self.write("acl.ini", acl)
        if start:
            self.start()

    # Its files.

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        """As an editor does: a new file in the place of the old."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + "~", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + "~", path)

    def write_config(self):
        text = "".join(f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                       for section, keys in self.config.items())
        self.write("egret.ini", text)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, pattern, seconds=30):
        """The first match of the pattern in the daemon's log."""
        return wait_for(f"{pattern!r} in the log", lambda: re.search(pattern, self.log()), seconds)

    def access_log(self, count, name="access.log"):
        """The access log's lines, as soon as there are `count`."""
        def lines():
            with contextlib.suppress(FileNotFoundError), \
                    open(self.path(name), encoding="utf-8") as file:
                found = file.read().splitlines()
                return found if len(found) >= count else None
            return None
        return wait_for(f"{count} access log lines", lines)

    def records(self, count):
        return [json.loads(line) for line in self.access_log(count)]

    # Its processes.

    def argv(self, *args):
        """What starts egretd with its files."""
        return (*self._prefix, self.egretd, "-c", self.path("egret.ini"), *self._args, *args)

    def command(self, *args, timeout=30):
        """Runs egretd with its files to its end."""
        return self.namespace.run(*self.argv(*args), timeout=timeout)

    def start(self, ready=True):
        with open(self.path("log"), "a", encoding="utf-8") as log:
            self._process = self.namespace.start(*self.argv(), stdout=log, stderr=log)
        if not ready:
            return
        try:
            wait_for("egretd to be ready", self._ready_or_ended, 60)
        except BaseException:
            self.kill()
            print(self.log())
            raise

    def _ready_or_ended(self):
        if self._process.poll() is not None:
            raise AssertionError(f"egretd ended with {self._process.returncode}:\n{self.log()}")
        return self.ready()

    def ready(self):
        with contextlib.suppress(OSError):
            return self.admin("/readyz").status == 200
        return False

    def running(self):
        return self._process is not None and self._process.poll() is None

    def stop(self, sig=signal.SIGTERM, seconds=30):
        """Its exit status."""
        return stop(self._process, sig, seconds)

    def kill(self):
        """Both processes, at once."""
        if self.running():
            proxy = self.proxies()
            self._process.kill()
            self._process.wait(10)
            for pid in proxy:
                wait_for(f"proxy {pid} to end with its gate", lambda p=pid: not is_running(p))

    def close(self):
        """Ends it if it runs, takes out of the kernel what it has put there, and says what it
        complained about."""
        status = self.stop() if self.running() else 0
        if self.config["nat"]["enable"] == "yes":
            self.command("--remove")
        log = self.log() if os.path.exists(self.path("log")) else ""
        for bad in ("Sanitizer", "runtime error:", "check failed"):
            assert bad not in log, log
        assert status == 0, f"egretd ended with {status}:\n{log}"

    @property
    def gate(self):
        return self._process.pid

    def proxies(self):
        return children(self.gate)

    @property
    def proxy(self):
        """The pid of the proxy process."""
        return wait_for("a proxy process", self.proxies)[0]

    def signal(self, sig):
        os.kill(self.gate, sig)

    # Its answers.

    def admin(self, path, accept="*/*"):
        with Wire(self.namespace.connect("127.0.0.1", self.admin_port)) as wire:
            wire.send(f"GET {path} HTTP/1.1\r\nHost: admin\r\nAccept: {accept}\r\n"
                      "Connection: close\r\n\r\n")
            return wire.response()

    def metrics(self):
        """{'name{label="value"}': number}"""
        page = self.admin("/metrics").text
        pairs = (line.rsplit(" ", 1) for line in page.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in pairs}

    def metric(self, name, **labels):
        """The sum over all series of the name that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(value for series, value in self.metrics().items()
                   if re.split("[{ ]", series)[0] == name and all(w in series for w in wanted))

    def wait_metric(self, name, value, seconds=30, **labels):
        wait_for(f"{name} {labels} = {value}",
                 lambda: self.metric(name, **labels) == value, seconds)

    def generation(self):
        return self.metric("egret_policy_generation")

    def reload(self, acl=None, sig=True, good=True):
        """A new acl.ini; returns when it is in force, or refused."""
        metrics = self.metrics()
        name = f'egret_reloads_total{{result="{"success" if good else "failure"}"}}'
        before = metrics.get(name, 0)
        if acl is not None:
            self.write("acl.ini", acl)
        if sig:
            self.signal(signal.SIGHUP)
        wait_for("the reload", lambda: self.metrics().get(name, 0) > before)

    def settle(self):
        """Returns when the files as they are now are in force, or refused, and counted."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(60)
            control.connect(self.path("control"))
            with Wire(control) as wire:
                wire.send("POST /reload HTTP/1.1\r\nHost: egret\r\nConnection: close\r\n\r\n")
                return wire.response()

    # What its clients do.

    def wire(self, namespace=None, version=4, timeout=10):
        """A client's connection to the proxy; pod1's, or that of another namespace."""
        return Wire((namespace or self.world.pod1).connect(
            self._address(namespace, version), self.port, timeout))

    def get(self, url, *fields, namespace=None, **options):
        """One exchange on a connection of its own."""
        with self.wire(namespace) as wire:
            return wire.get(url, *fields, "Connection: close", **options)

    def curl(self, *args, namespace=None, version=4, **options):
        """curl in pod1, or in another namespace, through the proxy."""
        address = self._address(namespace, version)
        host = f"[{address}]" if ":" in address else address
        return Curl(namespace or self.world.pod1, *args, proxy=f"http://{host}:{self.port}",
                    **options)

    def _address(self, namespace, version):
        return "127.0.0.1" if namespace is self.world.gw else self.world.cni0[version]


class Daemons:
    """Makes daemons, and ends those that still run when the test is over."""

    def __init__(self, world, tmp_path_factory):
        self._world = world
        self._directory = tmp_path_factory.mktemp("egret")
        os.chmod(self._directory, 0o755)
        self._numbers = itertools.count()
        self.made = []

    def __call__(self, acl=ACL, **options):
        directory = self._directory / str(next(self._numbers))
        start = options.pop("start", True)
        daemon = Daemon(self._world, directory, acl, start=False, **options)
        self.made.append(daemon)
        if start:
            daemon.start()
        return daemon

    def close(self):
        failures = []
        for daemon in self.made:
            try:
                daemon.close()
            except AssertionError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]


class Curl:
    """What curl did (with several URLs: at the first)."""

    def __init__(self, namespace, *args, proxy=None, timeout=30, body=True):
        argv = ["curl", "-sS", "--noproxy", "", "-m", str(timeout), "-w", "%{stderr}%{json}"]
        if proxy:
            argv += ["--proxy", proxy]
        done = namespace.run(*argv, *args, text=False, timeout=timeout + 10)
        error, brace, info = done.stderr.decode(errors="replace").partition("{")
        self.exit = done.returncode
        self.error = error.strip()
        self.info = json.JSONDecoder().raw_decode(brace + info)[0] if brace else {}
        self.status = self.info.get("http_code", 0)
        self.connect_status = self.info.get("http_connect", 0)
        self.body = done.stdout if body else b""

    @property
    def text(self):
        return self.body.decode().strip()


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        return []


def is_running(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
            open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] not in "ZX"
    return False


def status_of(pid):
    """/proc/PID/status as a dict of strings."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return {key: value.strip() for key, _, value in
                (line.partition(":") for line in file.read().splitlines())}


def resident(pid):
    """Bytes of memory in use now."""
    return int(status_of(pid)["VmRSS"].split()[0]) * 1024


def descriptors(pid, kind="socket:"):
    """How many are open of this kind."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith(kind)
    return count
