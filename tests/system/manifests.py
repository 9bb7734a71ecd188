"""image/kubernetes as kubectl renders it, and ways to what is in it."""
import functools
import os
import re
import subprocess

import yaml

from daemon import ROOT

MANIFESTS = os.path.join(ROOT, "image/kubernetes")
OVERLAYS = ("single", "cluster", "failover", "role-label")


@functools.cache
def render(overlay):
    done = subprocess.run(["kubectl", "kustomize", os.path.join(MANIFESTS, overlay)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def example(name):
    with open(os.path.join(MANIFESTS, f"examples/{name}.yaml"), encoding="utf-8") as file:
        return list(yaml.safe_load_all(file))


def one(things, kind, name=None):
    found, = (t for t in things if t["kind"] == kind and name in (None, t["metadata"]["name"]))
    return found


def pod(thing):
    return thing["spec"]["template"]["spec"]


def container(thing):
    main, = pod(thing)["containers"]
    return main


def workloads(things):
    return [t for t in things if t["kind"] in ("Deployment", "DaemonSet")]


def config(things, key, section):
    """The value of a key in the overlay's egret.ini."""
    inside = None
    for line in one(things, "ConfigMap")["data"]["egret.ini"].splitlines():
        name = re.fullmatch(r"\[(.*)\]", line.strip())
        inside = name.group(1) if name else inside
        found = re.match(rf"{re.escape(key)}\s*=\s*(.*?)\s*(;.*)?$", line)
        if found and inside == section:
            return found.group(1)
    return None
