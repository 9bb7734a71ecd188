"""egretd in a container: its image unpacked by umoci and run by runc, as Kubernetes would.

The security context is that of a pod with hostNetwork whose root is read-only and that may not gain
privileges; all capabilities are dropped but those that docs/install.md names; the system calls are
those of the default profile; the configuration comes from a volume as of a ConfigMap.
"""
import itertools
import json
import os
import platform
import re
import resource
import shutil
import subprocess

from daemon import ROOT, Daemon
from world import wait_for

CAPABILITIES = ("NET_ADMIN", "NET_RAW", "SETGID", "SETUID")
PROFILE = "/usr/share/containers/seccomp.json"
ARCHITECTURES = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}
REVISION = "0" * 40
DATE = 1700000000

_numbers = itertools.count()


with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as makefile:
    VERSION = re.search(r"^VERSION := (\S+)", makefile.read(), re.MULTILINE)[1]


def build(out, egretd):
    """The image of these programs; returns the directory."""
    programs = (egretd, os.path.join(os.path.dirname(egretd), "egretctl"))
    done = subprocess.run(
        ["/usr/bin/python3", "-B", os.path.join(ROOT, "image/build.py"), "--version", VERSION,
         "--revision", REVISION, "--date", str(DATE), "--etc", os.path.join(ROOT, "etc"),
         "--out", out, *programs], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return out


def unpack(archive, directory):
    """A bundle of the OCI archive's image."""
    layout, bundle = os.path.join(directory, "layout"), os.path.join(directory, "bundle")
    os.makedirs(directory, exist_ok=True)
    subprocess.run(["skopeo", "copy", "-q", f"oci-archive:{archive}", f"oci:{layout}:test"],
                   check=True, timeout=60)
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:test", bundle], check=True, timeout=60)
    return bundle


def seccomp(capabilities):
    """The default profile for these capabilities on this machine, as the runtime takes it."""
    name, architecture = ARCHITECTURES[platform.machine()]
    with open(PROFILE, encoding="utf-8") as file:
        profile = json.load(file)

    def applies(rule):
        wants, unless = rule["includes"], rule["excludes"]
        return (name in wants.get("arches", [name]) and name not in unless.get("arches", [])
                and set(wants.get("caps", [])) <= set(capabilities)
                and not set(unless.get("caps", [])) & set(capabilities))

    def translated(rule):
        keys = ("names", "action", "args", "errnoRet")
        return {key: rule[key] for key in keys if rule.get(key) is not None}
    architectures = next(a for a in profile["archMap"] if a["architecture"] == architecture)
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [architecture, *architectures["subArchitectures"]],
        "syscalls": [translated(rule) for rule in profile["syscalls"] if applies(rule)],
    }


def bind(source, destination, *options):
    return {"destination": destination, "type": "bind", "source": source,
            "options": ["rbind", "nosuid", "nodev", *options]}


class Container(Daemon):
    """A daemon whose files are a ConfigMap's and whose root is the image's."""

    def __init__(self, world, directory, bundle, acl, capabilities=CAPABILITIES,
                 node_sysctls=True, config=None, **options):
        self._name = f"egret-{os.getpid()}-{next(_numbers)}"
        self._image = bundle
        self._state = os.path.join(directory, "runc")
        self._bundle = os.path.join(directory, "bundle")
        self._volume = os.path.join(directory, "volume")
        self._files, self._edits = {}, 0
        self._capabilities = [f"CAP_{name}" for name in capabilities]
        self._mounts = [
            bind(self._volume, "/etc/egret", "ro"),
            {"destination": "/run/egret", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "nodev", "noexec", "mode=0755", "size=1m"]}]
        if node_sysctls:
            self._mounts.append(bind("/proc/sys/net", "/host/proc/sys/net"))
        config = dict(config or {})
        config["admin"] = {"control": "/run/egret/control.sock"} | config.get("admin", {})
        os.makedirs(self._bundle)
        super().__init__(world, directory, acl, config=config, nat=True, **options)

    def write(self, name, text):
        """As the kubelet does: all files anew, in a directory to which a link is then turned."""
        self._files[name] = text
        before, self._edits = f"..{self._edits}", self._edits + 1
        now = os.path.join(self._volume, f"..{self._edits}")
        os.makedirs(now)
        for each, content in self._files.items():
            with open(os.path.join(now, each), "w", encoding="utf-8") as file:
                file.write(content)
            link = os.path.join(self._volume, each)
            if not os.path.lexists(link):
                os.symlink(f"..data/{each}", link)
        link = os.path.join(self._volume, "..data")
        os.symlink(os.path.basename(now), link + "_tmp")
        os.rename(link + "_tmp", link)
        shutil.rmtree(os.path.join(self._volume, before), ignore_errors=True)

    def argv(self, *args):
        self._configure(args)
        return (*self._prefix, *self._runc("run", "--bundle", self._bundle, self._name))

    def exec(self, *argv):
        """A program of the image in the running container."""
        return self._ask("exec", self._name, *argv)

    @property
    def gate(self):
        """Its pid outside."""
        def pid():
            done = self._ask("state", self._name)
            return done.returncode == 0 and json.loads(done.stdout)["pid"]
        return wait_for("the container to be there", pid)

    def close(self):
        try:
            super().close()
        finally:
            self._ask("delete", "--force", self._name)

    def _runc(self, *args):
        return ("runc", "--root", self._state, *args)

    def _ask(self, *args):
        return subprocess.run(self._runc(*args), capture_output=True, text=True, timeout=30,
                              check=False)

    def _configure(self, args):
        """What umoci made of the image's own configuration, with the context of the pod."""
        with open(os.path.join(self._image, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        process, linux = config["process"], config["linux"]
        process["terminal"] = False
        process["args"] += [*self._args, *args]
        process["noNewPrivileges"] = True
        process["capabilities"] = {kind: self._capabilities
                                   for kind in ("bounding", "effective", "permitted")}
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]
        config["root"] = {"path": os.path.join(self._image, "rootfs"), "readonly": True}
        config["mounts"] = [mount for mount in config["mounts"]
                            if mount["type"] not in ("bind", "cgroup")] + self._mounts
        linux["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")] + [
            {"type": "network", "path": f"/run/netns/{self.namespace.name}"}]
        linux["seccomp"] = seccomp(self._capabilities)
        with open(os.path.join(self._bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
