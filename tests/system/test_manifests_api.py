"""image/kubernetes: every object is what the API of Kubernetes 1.34 takes; those of other APIs, what
their CustomResourceDefinitions say."""
import copy
import json
import os
import re

import jsonschema
import pytest

from daemon import ROOT
from manifests import OVERLAYS, container, example, one, pod, render, workloads

EXAMPLES = ("network-policies", "proxy-environment", "pod-monitor", "argocd-application")

with open(os.path.join(ROOT, "tests/kubernetes/schemas.json"), encoding="ascii") as _file:
    SCHEMAS = json.load(_file)


def validate(thing):
    model = SCHEMAS["kinds"][f"{thing['apiVersion']}/{thing['kind']}"]
    jsonschema.validate(thing, {"$ref": f"#/definitions/{model}",
                                "definitions": SCHEMAS["definitions"]})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_what_the_api_takes(overlay):
    assert SCHEMAS["version"] == "v1.34.0"
    for thing in render(overlay):
        validate(thing)
        scope = None if thing["kind"] in ("Namespace", "PriorityClass") else "egret"
        assert thing["metadata"].get("namespace") == scope


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_too(name):
    for thing in example(name):
        validate(thing)


def misspell(thing):
    pod(thing)["hostnetwork"] = pod(thing).pop("hostNetwork")


def remove_selector(thing):
    del thing["spec"]["selector"]


def quote_port(thing):
    container(thing)["ports"][0]["containerPort"] = "3128"


def misplace_probe(thing):
    pod(thing)["livenessProbe"] = container(thing).pop("livenessProbe")


@pytest.mark.parametrize("spoil", (misspell, remove_selector, quote_port, misplace_probe))
def test_what_the_api_would_not_take_is_refused_here(spoil):
    gateway = copy.deepcopy(one(render("single"), "Deployment"))
    validate(gateway)
    spoil(gateway)
    with pytest.raises(jsonschema.ValidationError):
        validate(gateway)


def spoil_monitor(thing):
    thing["spec"]["podMetricsEndpoints"][0]["scrapeInterval"] = "15s"


def spoil_application(thing):
    thing["spec"]["syncPolicy"]["automated"]["prune"] = "no"


@pytest.mark.parametrize("name, spoil", (("pod-monitor", spoil_monitor),
                                         ("pod-monitor", remove_selector),
                                         ("argocd-application", spoil_application)))
def test_what_other_apis_would_not_take_is_refused_here(name, spoil):
    thing, = example(name)
    spoil(thing)
    with pytest.raises(jsonschema.ValidationError):
        validate(thing)


# What the API server checks beyond the schema.

VALUES = {
    "dnsPolicy": {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "protocol": {"TCP", "UDP", "SCTP"},
    "operator": {"In", "NotIn", "Exists", "DoesNotExist"},
    "medium": {"", "Memory"},
    "addressType": {"IPv4", "IPv6"},
    "policyTypes": {"Egress", "Ingress"},
    "topologyKey": {"kubernetes.io/hostname"},
}


def walk(thing):
    """(key, value) of all objects in it; of a list each element."""
    for key, value in thing.items():
        for one_value in value if isinstance(value, list) else [value]:
            yield key, one_value
            if isinstance(one_value, dict):
                yield from walk(one_value)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_words_are_those_that_the_api_knows(overlay):
    things = render(overlay) + example("network-policies")
    known = [(key, value) for thing in things for key, value in walk(thing) if key in VALUES]
    assert [(k, v) for k, v in known if v not in VALUES[k]] == []
    assert {key for key, _ in known} == set(VALUES)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_belongs_together_has_one_name(overlay):
    names = [(t["kind"], t["metadata"]["name"]) for t in render(overlay)]
    assert len(names) == len(set(names))
    for workload in workloads(render(overlay)):
        spec, template = workload["spec"], workload["spec"]["template"]
        assert (spec["selector"]["matchLabels"].items()
                <= template["metadata"]["labels"].items())
        volumes = [v["name"] for v in pod(workload)["volumes"]]
        assert len(volumes) == len(set(volumes))
        mounted = set()
        for c in pod(workload)["initContainers"] + pod(workload)["containers"]:
            mounted |= {m["name"] for m in c["volumeMounts"]}
            for resource, limit in c["resources"]["limits"].items():
                assert amount(c["resources"]["requests"][resource]) <= amount(limit)
        assert mounted == set(volumes)
        ports = [p["name"] for p in container(workload)["ports"]]
        assert len(ports) == len(set(ports)) and all(len(name) <= 15 for name in ports)


def amount(text):
    number, unit = re.fullmatch(r"(\d+)(m|Mi|Gi|)", text).groups()
    return int(number) * {"m": 0.001, "Mi": 2 ** 20, "Gi": 2 ** 30, "": 1}[unit]
