"""What docs/*.md and README.md show is true.

    ```ini       a policy, or keys of egret.ini, or both: egretd takes it; lists that it names are
                 there, empty
    ```sh run    commands that need no cluster: a shell runs them, a page's blocks one after the
                 other in one directory that has image/ and build/
    links        lead to a file, and to a heading of it
"""
import glob
import os
import re
import subprocess

import pytest

from daemon import EGRETD, ROOT

PAGES = sorted(os.path.relpath(path, ROOT) for path in
               [*glob.glob(os.path.join(ROOT, "docs/*.md")), os.path.join(ROOT, "README.md")])
MACHINE = {"gateway", "proxy", "cache", "dns", "log", "admin", "nat"}  # sections of egret.ini
CAPTURE = "[proxy]\ncapture-listen = 0.0.0.0:15001\n"
BLOCK = r"^```{} *\n(.*?)^```$"


def page(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def blocks(name, kind):
    return re.findall(BLOCK.format(kind), page(name), re.M | re.S)


def snippets():
    return [pytest.param(text, id=f"{name}-{n}") for name in PAGES
            for n, text in enumerate(blocks(name, "ini"), 1)]


def split(text):
    """(egret.ini, acl.ini)"""
    parts = {True: "", False: ""}
    for section in re.split(r"^(?=\[)", text, flags=re.M):
        parts[section[1:].partition("]")[0] in MACHINE] += section
    return parts[True], parts[False]


def check(directory, text):
    machine, policy = split(text)
    if re.search(r"^capture\b", policy, re.M) and "[proxy]" not in machine:
        machine += CAPTURE
    (directory / "egret.ini").write_text(machine, encoding="utf-8")
    (directory / "acl.ini").write_text(policy, encoding="utf-8")
    for name in re.findall(r"^(?:hosts|cidr)-file *= *(\S+)", policy, re.M):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("", encoding="utf-8")
    return subprocess.run([EGRETD, "-t", "-c", str(directory / "egret.ini")], capture_output=True,
                          text=True, timeout=60)


def test_there_is_something_to_check():
    assert len(snippets()) >= 10
    assert blocks("docs/kubernetes.md", "sh run") and blocks("docs/migration.md", "sh run")


@pytest.mark.parametrize("text", snippets())
def test_egretd_takes_what_the_docs_show(text, tmp_path):
    done = check(tmp_path, text)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", ("[partner x]\nhosts = x.test\ncolour = red\n",
                                  "[nat]\nflow-sink = yes\n"))
def test_it_would_not_take_a_mistake(text, tmp_path):
    assert check(tmp_path, text).returncode == 1


@pytest.mark.parametrize("name", ("docs/kubernetes.md", "docs/migration.md"))
def test_commands_that_need_no_cluster_work(name, tmp_path):
    os.symlink(os.path.join(ROOT, "image"), tmp_path / "image")
    os.symlink(os.path.dirname(EGRETD), tmp_path / "build")
    for commands in blocks(name, "sh run"):
        done = subprocess.run(["sh", "-eux", "-c", commands], cwd=tmp_path, capture_output=True,
                              text=True, timeout=120)
        assert done.returncode == 0, done.stderr


def anchors(name):
    """As they are made of headings: lower case, no punctuation, a hyphen for each blank."""
    headings = re.findall(r"^#+ (.*)$", page(name), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    text = re.sub(r"^```.*?^```$", "", page(name), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
        assert os.path.exists(os.path.join(ROOT, other)), target
        assert not anchor or anchor in anchors(other), target


def test_files_of_the_manifests_that_the_docs_name_exist():
    for name in ("docs/kubernetes.md", "docs/migration.md"):
        for path in re.findall(r"image/kubernetes(?:/[\w.-]+)+", page(name)):
            assert os.path.exists(os.path.join(ROOT, path)), path
        for path in re.findall(r"`((?:examples|base|cluster|failover|single)/[\w.-]+)`",
                               page(name)):
            assert os.path.exists(os.path.join(ROOT, "image/kubernetes", path)), path
