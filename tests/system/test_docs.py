"""What docs/, the man pages and the completion say is what the programs do."""
import json
import os
import re
import subprocess

import pytest

from daemon import ACL, EGRETD, ROOT

CTL = os.path.join(os.path.dirname(EGRETD), "egretctl")
PAGES = {"egretd.8": "egretd", "egretctl.1": "egretctl", "egret.ini.5": "egret.ini", "acl.ini.5": "policy"}


def table():
    return json.loads(subprocess.run([CTL, "help", "--json"], capture_output=True, text=True,
                                     check=True).stdout)


def page(name):
    with open(os.path.join(ROOT, "docs", name + ".md"), encoding="utf-8") as file:
        return file.read()


def output(*argv, **options):
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT, **options).stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The man pages, made anew."""
    directory = tmp_path_factory.mktemp("man")
    output("make", "-s", f"BUILD={directory}", "man")
    return directory / "man"


# egretctl

def test_docs_tell_every_command_with_its_options():
    sections = {part.partition("\n")[0]: part for part in page("egretctl").split("\n### ")[1:]}
    for command in table():
        assert command["name"] in sections, command["name"]
        for word in command["words"].split() + re.findall(r"[A-Z]{3,}|\bID\b", command["arguments"]):
            assert word in sections[command["name"]], (command["name"], word)
    assert len(sections) == len(table())


def test_docs_tell_every_path_of_the_control_socket(egretd):
    daemon = egretd(ACL)
    answer = json.loads(daemon.namespace.run("curl", "-sS", "--unix-socket", daemon.path("control"),
                                             "http://egret/").stdout)
    told = re.findall(r"`((?:GET|POST) /[a-z/]*)`", page("egretctl"))
    assert sorted(told) == sorted(answer["paths"])


# Completion, as bash asks for it.

def complete(*words):
    script = ('. ctl/egretctl.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _egretctl; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    return set(output("bash", "-c", script, "egretctl", "egretctl", *words).split())


def test_completion_knows_every_command():
    first = {command["name"].split()[0] for command in table()}
    assert complete("") == first | {"purge", "help", "-s", "--json", "--help", "--version"}
    assert complete("-s", "/x", "st") == {"status"}
    for group in {name for name in first if name not in {c["name"] for c in table()}}:
        assert complete(group, "") == {command["name"].split()[1] for command in table()
                                       if command["name"].startswith(group + " ")}


@pytest.mark.parametrize("command", table() if os.path.exists(CTL) else [], ids=lambda c: c["name"])
def test_completion_knows_the_words_of_each(command):
    common = {"--json", "--help"}
    offered = complete(*command["name"].split(), "")
    files = set(os.listdir(ROOT)) if command["name"] in ("check", "tail") else set()
    assert offered - files == set(command["words"].split()) | common


def test_completion_knows_values():
    assert complete("explain", "--protocol", "") == {"tcp", "udp"}
    assert complete("tail", "--verdict", "d") == {"deny"}
    assert complete("nat", "plan", "-c", "etc/egret") == {"etc/egret.ini"}
    assert complete("cache", "purge", "pa") == {"partner"} == complete("purge", "pa")


# egret.ini

def test_the_page_of_keys_is_the_table():
    """etc/egret.ini is: tests/unit/daemon/config/config_test.c."""
    made = output("awk", "-f", "docs/keys.awk", "etc/egret.ini")
    assert made == page("egret.ini"), "a key has changed: make keys"
    with open(os.path.join(ROOT, "etc/egret.ini"), encoding="utf-8") as file:
        keys = re.findall(r"^([a-z-]+) = ", file.read(), re.M)
    assert re.findall(r"^### (.*)", page("egret.ini"), re.M) == keys and len(keys) > 40


# egretd

def test_docs_tell_every_option_of_egretd():
    usage = output(EGRETD, "--help")
    for option in re.findall(r"--?[a-z]+", usage):
        assert f"`{option}" in page("egretd") or f", `{option}" in page("egretd"), option


# man pages

@pytest.mark.parametrize("name", PAGES)
def test_man_pages_are_well_formed(built, name):
    path = str(built / name)
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True,
                          check=False).stdout
    assert [line for line in lint.splitlines() if "missing section argument" not in line] == []
    text = re.sub(".\b", "", output("mandoc", "-T", "ascii", "-O", "width=120", path))
    title, section = name.rsplit(".", 1)
    assert f"{title}({section})" in text and re.search(rf"NAME\n +{re.escape(title)} - \w", text)
    words = re.findall(r"\w+", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", page(PAGES[name])))
    assert len(re.findall(r"\w+", text)) > 0.9 * len(words), "something is missing"
