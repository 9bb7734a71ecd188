"""The container image: what is in it, who can read it, and egret at work in it."""
import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile

import pytest

import container
from daemon import EGRETD, PROXY_UID, ROOT, SANITIZED, Curl, is_running, status_of
from origin import Listener
from world import EGRESS, EGRESS_BANK, NODE, PARTNER1, PARTNER2, wait_for

pytestmark = pytest.mark.skipif(SANITIZED, reason="the image is made of the plain build")

ACL = """
[partner one]
hosts = partner1.test
ports = 80, 7000
[partner few]
hosts = v4.partner1.test
ports = 80
rate  = 1/1h
burst = 2
[partner bank]
cidr      = 45.0.2.0/24, 2a00:0:0:2::/64
egress-ip = 45.0.0.20, 2a00::20
"""
ONE = "http://partner1.test"
VALID_MARK = "net.ipv4.conf.all.src_valid_mark"
MOST_COMPRESSED = 8e6


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The directory of what `make image` makes."""
    return container.build(str(tmp_path_factory.mktemp("image")), EGRETD)


@pytest.fixture(scope="module")
def bundle(image, tmp_path_factory):
    return container.unpack(f"{image}/egret-oci.tar", str(tmp_path_factory.mktemp("unpacked")))


@pytest.fixture
def contained(world, dns, bundle, tmp_path_factory):
    """contained(acl, ...): egretd in a container, for one test."""
    made = []

    def make(acl=ACL, start=True, **options):
        directory = str(tmp_path_factory.mktemp("container"))
        made.append(container.Container(world, directory, bundle, acl, start=False, **options))
        if start:
            made[-1].start()
        return made[-1]
    make.made = made
    yield make
    for one in made:
        one.close()
    world.masquerade()


# The archives.

def inspected(archive):
    done = subprocess.run(["skopeo", "inspect", archive], capture_output=True, text=True,
                          timeout=60, check=True)
    return json.loads(done.stdout)


def blob(archive, digest):
    with tarfile.open(archive) as tar:
        data = tar.extractfile("blobs/" + digest.replace(":", "/")).read()
    assert "sha256:" + hashlib.sha256(data).hexdigest() == digest
    return data


@pytest.fixture(scope="module")
def layer(image):
    """The compressed layer of the OCI archive."""
    found = inspected(f"oci-archive:{image}/egret-oci.tar")["Layers"]
    assert len(found) == 1
    return blob(f"{image}/egret-oci.tar", found[0])


def licences(image):
    with open(f"{image}/licences", encoding="ascii") as file:
        return file.read().strip()


def test_both_archives_are_the_same_image(image, layer, tmp_path):
    for kind in ("oci", "docker"):
        told = inspected(f"{kind}-archive:{image}/egret-{kind}.tar")
        assert told["Os"] == "linux" and told["Created"] == "2023-11-14T22:13:20Z"
        labels = {name.rpartition(".")[2]: value for name, value in told["Labels"].items()}
        assert labels["version"] == container.VERSION
        assert labels["revision"] == container.REVISION
        assert labels["licenses"] == licences(image)
        subprocess.run(["skopeo", "copy", "-q", f"{kind}-archive:{image}/egret-{kind}.tar",
                        f"oci:{tmp_path}/{kind}:copy"], check=True, timeout=60)
    with open(f"{image}/digest", encoding="ascii") as file:
        assert inspected(f"oci-archive:{image}/egret-oci.tar")["Digest"] == file.read().strip()
    docker = json.loads(tarfile.open(f"{image}/egret-docker.tar").extractfile(
        "manifest.json").read())
    assert docker[0]["RepoTags"] == [f"egret:{container.VERSION}"]
    tar = tarfile.open(f"{image}/egret-docker.tar").extractfile(docker[0]["Layers"][0]).read()
    assert tar == gzip.decompress(layer)


def test_it_is_small_and_has_nothing_but_what_egret_needs(layer, tmp_path):
    assert len(layer) < MOST_COMPRESSED
    (tmp_path / "layer").write_bytes(layer)
    with tarfile.open(tmp_path / "layer") as tar:
        entries = tar.getmembers()
    assert [e.name for e in entries] == sorted(e.name for e in entries)
    assert all((e.uid, e.gid, e.mtime) == (0, 0, container.DATE) for e in entries)
    assert all(e.mode == 0o755 if e.isdir() else e.mode & ~0o111 == 0o644 for e in entries)
    files = {e.name for e in entries if not e.isdir()}
    libraries = {name for name in files if re.match(r"lib(64)?/", name)}
    assert libraries and all(".so." in name for name in libraries)
    assert files - libraries == {"usr/bin/egretd", "usr/bin/egretctl", "etc/egret/egret.ini",
                                 "etc/egret/acl.ini", "etc/ssl/certs/ca-certificates.crt"}


def test_the_bill_of_materials_names_every_package(image, layer, tmp_path):
    with open(f"{image}/egret.spdx.json", encoding="utf-8") as file:
        sbom = json.load(file)
    assert sbom["spdxVersion"] == "SPDX-2.3"
    packages = {p["name"]: p for p in sbom["packages"]}
    assert packages["egret"]["licenseDeclared"] == "Apache-2.0"
    assert packages["libmnl0"]["licenseDeclared"] == "LGPL-2.1-only"
    named = set(licences(image).replace("(", "").replace(")", "").split(" AND "))
    assert named == {p["licenseDeclared"] for p in packages.values()}
    assert {"Apache-2.0", "GPL-2.0-or-later", "MPL-2.0", "BSD-2-Clause OR GPL-2.0-or-later"} <= named
    assert {"ca-certificates", "libc6", "libcap-ng0", "libev4"} <= set(packages)
    for name, package in packages.items():
        if name != "egret":
            asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], timeout=20,
                                   capture_output=True, text=True, check=True).stdout
            assert package["versionInfo"] == asked
    contained_ids = {r["relatedSpdxElement"] for r in sbom["relationships"]
                     if r["relationshipType"] == "CONTAINS"}
    assert contained_ids == {p["SPDXID"] for p in sbom["packages"]} - {"SPDXRef-egret"}


def test_two_builds_have_one_digest(image, tmp_path):
    """In another directory, by somebody with other habits."""
    signal.alarm(600)  # all is compiled anew, beside other tests
    copy = tmp_path / "elsewhere" / "egret"
    shutil.copytree(ROOT, copy, copy_function=shutil.copyfile,
                    ignore=shutil.ignore_patterns("build", ".git", "tests", "docs"))
    environment = dict(os.environ, TZ="Pacific/Auckland", LC_ALL="C", MAKEFLAGS="-j2",
                       SOURCE_DATE_EPOCH=str(container.DATE), REVISION=container.REVISION)
    done = subprocess.run(["make", "image"], cwd=copy, env=environment, umask=0o077, timeout=590,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("egret-oci.tar", "egret-docker.tar", "egret.spdx.json", "digest"):
        with open(f"{image}/{name}", "rb") as one:
            assert one.read() == (copy / "build/image" / name).read_bytes(), name


def tree(root):
    """Names, modes and contents below it."""
    found = {}
    for directory, below, files in os.walk(root):
        for name in below + files:
            path = os.path.join(directory, name)
            content = b""
            if name in files:
                with open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, root)] = (os.stat(path).st_mode, content)
    return found


def test_the_containerfile_makes_the_same_of_the_same_files(image, tmp_path):
    storage = ("--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver",
               "vfs")
    archive = tmp_path / "buildah.tar"
    subprocess.run(["buildah", *storage, "bud", "--isolation", "chroot", "--quiet", "-f",
                    f"{ROOT}/image/Containerfile", "--build-arg", f"VERSION={container.VERSION}",
                    "--build-arg", f"REVISION={container.REVISION}",
                    "--build-arg", f"LICENCES={licences(image)}", "-t", f"oci-archive:{archive}",
                    image],
                   check=True, timeout=120, capture_output=True)
    ours = inspected(f"oci-archive:{image}/egret-oci.tar")
    theirs = inspected(f"oci-archive:{archive}")
    assert theirs["Labels"].pop("io.buildah.version")
    assert theirs["Labels"] == {name: ours["Labels"][name] for name in theirs["Labels"]}
    assert theirs["Env"] == ours["Env"]
    trees = [tree(f"{container.unpack(path, str(tmp_path / kind))}/rootfs")
             for kind, path in (("ours", f"{image}/egret-oci.tar"), ("theirs", archive))]
    assert trees[0] == trees[1]


# At work.

def mapped(pid):
    """The files that a process has in its memory, as it names them."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as file:
        return {line.split()[5] for line in file if line.split()[5:]
                and line.split()[5].startswith("/") and not line.rstrip().endswith("(deleted)")}


def test_a_pod_of_kubernetes_is_all_that_it_needs(contained, bundle):
    """Uids, capabilities, system calls; and the image has those libraries that are loaded."""
    daemon = contained()
    gate, proxy = status_of(daemon.gate), status_of(daemon.proxy)
    for status in (gate, proxy):
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert gate["Uid"].split() == ["0"] * 4 and proxy["Uid"].split() == [str(PROXY_UID)] * 4
    assert int(gate["CapEff"], 16).bit_count() == len(container.CAPABILITIES)
    assert int(proxy["CapEff"], 16) == int(proxy["CapPrm"], 16) == 0
    loaded = mapped(daemon.gate) | mapped(daemon.proxy)
    there = {"/" + name for name, (_, content) in tree(f"{bundle}/rootfs").items()
             if content and name.split("/")[0] in ("lib", "lib64", "usr")}
    assert there - loaded == {"/usr/bin/egretctl"}
    assert loaded <= there
    assert daemon.exec("egretctl", "status").returncode == 0
    assert daemon.exec("/bin/sh", "-c", ":").returncode != 0


@pytest.mark.parametrize("version", (4, 6))
def test_partners_see_egress_addresses(world, contained, origin1, origin2, version):
    daemon = contained()
    for partner, egress in ((PARTNER1, EGRESS), (PARTNER2, EGRESS_BANK)):
        host = f"[{partner[6]}]" if version == 6 else partner[4]
        assert Curl(world.pod1, f"http://{host}/whoami", timeout=5).text == egress[version]
    host = f"[{PARTNER2[6]}]" if version == 6 else PARTNER2[4]
    assert daemon.curl(f"http://{host}/whoami", version=version).text == EGRESS_BANK[version]


def test_requests_tunnels_denials_and_rates(world, contained, origin1):
    daemon = contained()
    assert daemon.get(ONE + "/whoami").text in EGRESS.values()
    tunnel = daemon.curl("--proxytunnel", ONE + "/whoami")
    assert tunnel.connect_status == 200 and tunnel.text in EGRESS.values()
    denied = daemon.get("http://denied.example/")
    assert denied.status == 403 and denied.get("Proxy-Status")
    statuses = [daemon.get("http://v4.partner1.test/whoami") for _ in range(3)]
    assert [response.status for response in statuses] == [200, 200, 429]
    assert statuses[-1].get("Retry-After")


def test_an_edit_of_the_config_map_takes_effect(contained, origin1):
    daemon = contained()
    assert daemon.get("http://denied.example/whoami").status == 403
    daemon.reload(ACL + "[partner new]\nhosts = denied.example\n", sig=False)
    assert daemon.get("http://denied.example/whoami").status == 200
    daemon.reload(ACL + "color = red\n", sig=False, good=False)
    assert "color" in daemon.admin("/readyz").text
    assert daemon.get("http://denied.example/whoami").status == 200


def test_sigterm_drains_and_the_rules_stay(world, contained, origin2):
    daemon = contained(config={"proxy": {"drain-timeout": "30s"}})
    with Listener(world.partner1, 7000) as far, daemon.wire() as wire:
        wire.send(f"GET {ONE}:7000/ HTTP/1.1\r\nHost: a\r\n\r\n")
        with far.accept() as origin:
            origin.head()
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            head = wire.head()
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("stopping: connections have 30 s to end")
            origin.send("later")
            assert wire.body(head) == b"firstlater"
    assert daemon.stop() == 0
    address = f"http://{PARTNER2[4]}/whoami"
    assert Curl(world.pod1, address, timeout=5).text == EGRESS_BANK[4]
    assert daemon.command("--remove").returncode == 0
    assert Curl(world.pod1, address, timeout=5).text == NODE[4]


# What it is given.

@pytest.fixture
def unset(world):
    """The node's kernel parameter is not what egret needs."""
    before = world.gw.run("sysctl", "-n", VALID_MARK).stdout.strip()
    world.sysctl(**{VALID_MARK: 0})
    yield
    world.sysctl(**{VALID_MARK: before})


def test_kernel_parameters_are_set_where_the_nodes_are_mounted(world, unset, contained):
    daemon = contained(start=False, node_sysctls=False)
    done = daemon.command()
    assert done.returncode == 1
    assert "src_valid_mark = 1: /proc/sys is read-only" in done.stderr
    contained()
    assert world.gw.run("sysctl", "-n", VALID_MARK).stdout == "1\n"


@pytest.mark.parametrize("capability,told", [
    ("NET_ADMIN", "NAT needs CAP_NET_ADMIN"),
    ("NET_RAW", "another node with the same egress address would not be noticed"),
    ("SETGID", "drop privileges: setgroups: Operation not permitted"),
    ("SETUID", "drop privileges: setresuid: Operation not permitted"),
])
def test_each_capability_is_needed(contained, capability, told):
    daemon = contained(start=False, capabilities=set(container.CAPABILITIES) - {capability})
    daemon.start(ready=False)
    daemon.wait_log(re.escape(told))
    with contextlib.suppress(AssertionError):
        daemon.stop()


def test_a_proxy_that_hangs_is_killed(contained):
    """It is another user's, and CAP_KILL is not there."""
    daemon = contained()
    proxy = daemon.proxy
    os.kill(proxy, signal.SIGSTOP)
    daemon.signal(signal.SIGTERM)
    daemon.wait_log("stopping: connections have")
    daemon.signal(signal.SIGTERM)
    wait_for("the proxy to end", lambda: not is_running(proxy))
    assert daemon.stop() == 0
