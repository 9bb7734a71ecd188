"""image/kubernetes: what it says agrees with what egretd does."""
import copy
import ipaddress
import os
import re
import signal
import subprocess

import pytest

from daemon import EGRETD, PROXY_UID, ROOT, status_of
from manifests import (MANIFESTS, OVERLAYS, config, container, example, one, pod, render,
                       workloads)

CAPABILITIES = {"Deployment": {"NET_ADMIN", "NET_RAW", "SETGID", "SETUID"},
                "DaemonSet": {"NET_ADMIN", "SETGID", "SETUID"}}
GRACE = 2  # seconds that egretd gives a proxy beyond drain-timeout


def check(directory, things, *args):
    for name, text in one(things, "ConfigMap")["data"].items():
        (directory / name).write_text(text, encoding="utf-8")
    return subprocess.run([EGRETD, "-t", "-c", str(directory / "egret.ini"), *args],
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_egretd_takes_the_config_map(overlay, tmp_path):
    roles = [("--role", "gateway")]
    if overlay != "single":
        roles.append(("--role", "agent"))
    for role in roles:
        done = check(tmp_path, render(overlay), *role)
        assert done.returncode == 0, done.stderr


def test_an_overlay_with_a_mistake_in_its_policy_is_refused(tmp_path):
    things = copy.deepcopy(render("single"))
    one(things, "ConfigMap")["data"]["acl.ini"] += "colour = red\n"
    done = check(tmp_path, things)
    assert done.returncode == 1 and re.search(r"acl\.ini:\d+: .*colour", done.stderr)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_config_map_has_one_name_for_good(overlay):
    """So that kubelet swaps its files, and an edit restarts nothing."""
    assert one(render(overlay), "ConfigMap")["metadata"]["name"] == "egret"
    for workload in workloads(render(overlay)):
        names = [v["configMap"]["name"] for v in pod(workload)["volumes"] if "configMap" in v]
        assert names == ["egret"]
        for c in pod(workload)["initContainers"] + pod(workload)["containers"]:
            mount, = (m for m in c["volumeMounts"] if m["name"] == "config")
            assert mount["mountPath"] == "/etc/egret" and "subPath" not in mount


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_image_and_version_are_those_of_the_makefile(overlay):
    with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as file:
        version = re.search(r"^VERSION := (\S+)", file.read(), re.M).group(1)
    for workload in workloads(render(overlay)):
        for c in pod(workload)["initContainers"] + pod(workload)["containers"]:
            assert c["image"] == f"egret:{version}"
            assert c["command"][:3] == ["/usr/bin/egretd", "-c", "/etc/egret/egret.ini"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ports_and_probes_are_those_of_egret_ini(overlay):
    things = render(overlay)
    admin = int(config(things, "listen", "admin").rpartition(":")[2])
    proxy = int(config(things, "listen", "proxy").rpartition(":")[2])
    probe = int(config(things, "probe-port", "gateway") or 9129)
    assert one(things, "Service")["spec"]["ports"][0]["targetPort"] == proxy
    assert one(things, "EndpointSlice")["ports"][0]["port"] == proxy
    for workload in workloads(things):
        c = container(workload)
        ports = {p["name"]: p["containerPort"] for p in c["ports"]}
        assert all(p["hostPort"] == p["containerPort"] for p in c["ports"])
        gateway = workload["kind"] == "Deployment"
        assert ports == ({"http-proxy": proxy, "admin": admin, "probe": probe} if gateway else
                         {"admin": admin})
        paths = {kind: c[f"{kind}Probe"]["httpGet"]
                 for kind in ("startup", "liveness", "readiness")}
        assert paths == {"startup": {"path": "/healthz", "port": "admin"},
                         "liveness": {"path": "/healthz", "port": "admin"},
                         "readiness": {"path": "/readyz", "port": "admin"}}
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": str(admin),
                               "prometheus.io/path": "/metrics"}
        mounts = {m["mountPath"] for m in c["volumeMounts"]}
        assert os.path.dirname(config(things, "control", "admin")) in mounts


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_gateway_has_time_to_drain(overlay):
    seconds = int(config(render(overlay), "drain-timeout", "proxy").removesuffix("s"))
    gateway = pod(one(render(overlay), "Deployment"))
    assert gateway["terminationGracePeriodSeconds"] > seconds + GRACE


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_host_port_is_free_before_the_next_pod_wants_it(overlay):
    for workload in workloads(render(overlay)):
        update = workload["spec"].get("strategy") or workload["spec"]["updateStrategy"]
        assert update == {"type": "RollingUpdate",
                          "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_workers_are_as_many_as_the_cpus_they_may_use(overlay):
    limit = container(one(render(overlay), "Deployment"))["resources"]["limits"]["cpu"]
    assert config(render(overlay), "workers", "proxy") == limit


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_in_the_nodes_network_and_know_the_clusters_names(overlay):
    for workload in workloads(render(overlay)):
        spec = pod(workload)
        names = {kind: one(render(overlay), kind)["metadata"]["name"]
                 for kind in ("PriorityClass", "ServiceAccount")}
        assert spec["hostNetwork"] is True
        assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
        assert spec["priorityClassName"] == names["PriorityClass"]
        assert spec["serviceAccountName"] == names["ServiceAccount"]
        guard, = spec["initContainers"]
        assert guard["command"][3:] == ["--guard"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_container_has_more_than_it_needs(overlay):
    for workload in workloads(render(overlay)):
        guard, main = pod(workload)["initContainers"][0], container(workload)
        for c in (guard, main):
            context = c["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert context["capabilities"]["drop"] == ["ALL"]
            for bounds in ("requests", "limits"):
                assert set(c["resources"][bounds]) == {"cpu", "memory"}
        assert guard["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
        assert set(main["securityContext"]["capabilities"]["add"]) == CAPABILITIES[workload["kind"]]


@pytest.mark.parametrize("kind", CAPABILITIES)
def test_each_capability_is_explained(kind):
    path = {"Deployment": "base/gateway.yaml", "DaemonSet": "cluster/agent.yaml"}[kind]
    with open(os.path.join(MANIFESTS, path), encoding="utf-8") as file:
        explained = re.findall(r"^ +- ([A-Z_]+) +# \S.*$", file.read(), re.M)
    assert set(explained) == CAPABILITIES[kind]


def limited(script, context):
    """A command's prefix: root with a container's capabilities, and /proc/sys for reading alone."""
    bounds = ",".join(f"+{name.lower()}" for name in context["capabilities"]["add"])
    script.write_text("#!/bin/sh -e\nmount --bind /proc/sys /proc/sys\n"
                      "mount -o remount,ro,bind /proc/sys\n"
                      f"exec setpriv --bounding-set=-all,{bounds} --inh-caps=-all --no-new-privs "
                      '"$@"\n', encoding="ascii")
    script.chmod(0o755)
    return ("unshare", "-m", str(script))


@pytest.mark.parametrize("kind", CAPABILITIES)
def test_the_capabilities_suffice(world, egretd, tmp_path, kind):
    """The guard's, and egretd's: up to the end of a proxy that hangs."""
    workload = one(render("cluster"), kind)
    guard, main = (limited(tmp_path / name, c["securityContext"]) for name, c in (
        ("guard", pod(workload)["initContainers"][0]), ("main", container(workload))))
    agent = {"gateways": "gw1 45.0.0.9 10.42.7.0", "egress-ip": "45.0.0.77"}
    daemon = egretd(nat=True, start=False, prefix=main,
                    args=("--role", "agent") if kind == "DaemonSet" else (), config={
                        "gateway": agent if kind == "DaemonSet" else {},
                        "nat": {"manage-address": "yes"}})
    world.sysctl(**{"net.ipv4.conf.all.src_valid_mark": 1})
    done = world.gw.run(*guard, EGRETD, "-c", daemon.path("egret.ini"), "--guard")
    assert done.returncode == 0, done.stderr
    daemon.start()
    gate, proxy = status_of(daemon.gate), status_of(daemon.proxy)
    assert int(gate["CapEff"], 16).bit_count() == len(CAPABILITIES[kind])
    assert (proxy["CapEff"], proxy["Uid"].split()[0]) == ("0" * 16, str(PROXY_UID))
    os.kill(daemon.proxy, signal.SIGSTOP)
    assert daemon.stop() == 0
    assert "not permitted" not in daemon.log(), daemon.log()


def test_agents_are_on_every_node_that_is_no_gateway():
    for overlay, key, value in (("cluster", "egret.io/gateway", "true"),
                                ("failover", "egret.io/gateway", "true"),
                                ("role-label", "role", "egress-gateway")):
        gateway = pod(one(render(overlay), "Deployment"))
        agent = pod(one(render(overlay), "DaemonSet"))
        assert gateway["nodeSelector"] == {key: value}
        term, = (agent["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                 ["nodeSelectorTerms"])
        assert term == {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}
        assert agent["tolerations"] == [{"operator": "Exists"}]
        assert agent["containers"][0]["command"][3:] == ["--role", "agent"]
    assert one(render("failover"), "Deployment")["spec"]["replicas"] == 2
    assert not [t for t in render("single") if t["kind"] == "DaemonSet"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_leads_where_the_gateway_sees_pods(overlay):
    things = render(overlay)
    service, ends = one(things, "Service"), one(things, "EndpointSlice")
    assert "selector" not in service["spec"]
    assert ends["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    assert ends["ports"][0]["name"] == service["spec"]["ports"][0]["name"]
    address, = (e["addresses"][0] for e in ends["endpoints"])
    pods = ipaddress.ip_network(config(things, "pod-cidr", "gateway").split(",")[0])
    gateways = config(things, "gateways", "gateway")
    if overlay == "failover":  # an address that moves, and is a partner
        acl = one(things, "ConfigMap")["data"]["acl.ini"]
        section = acl.partition("[partner egress-proxy]")[2].partition("[")[0]
        assert re.findall(r"^(?:cidr|ports) *= (.*)", section, re.M) == [
            address, str(ends["ports"][0]["port"])]
    else:
        assert ipaddress.ip_address(address) in pods
        assert not gateways or gateways.split()[2] == address


def test_no_proxy_has_what_stays_in_the_cluster():
    data = example("proxy-environment")[0]["data"]
    things = render("single")
    service, namespace = one(things, "Service"), one(things, "Namespace")["metadata"]["name"]
    port = service["spec"]["ports"][0]["port"]
    url = f"http://{service['metadata']['name']}.{namespace}.svc.cluster.local:{port}"
    exceptions = data["NO_PROXY"].split(",")
    for lower in ("http_proxy", "https_proxy", "no_proxy"):
        assert data[lower] == data[lower.upper()]
    assert data["HTTP_PROXY"] == data["HTTPS_PROXY"] == url
    for key in ("pod-cidr", "exclude-cidr"):  # pods, services
        assert config(things, key, "gateway").split(",")[0] in exceptions
    assert {".svc", ".cluster.local", "localhost", "127.0.0.1"} <= set(exceptions)


def test_network_policies_let_pass_names_the_proxy_and_a_partner():
    policies = {p["metadata"]["name"]: p["spec"] for p in example("network-policies")}
    assert all(p["policyTypes"] == ["Egress"] for p in policies.values())
    assert "egress" not in policies["default-deny-egress"]
    rule, = policies["allow-egress-proxy"]["egress"]
    net = ipaddress.ip_network(rule["to"][0]["ipBlock"]["cidr"])
    for overlay in ("single", "cluster", "role-label"):
        ends = one(render(overlay), "EndpointSlice")
        assert all(ipaddress.ip_address(e["addresses"][0]) in net for e in ends["endpoints"])
        assert rule["ports"][0]["port"] == ends["ports"][0]["port"]


def test_the_pod_monitor_finds_pods_and_port():
    monitor, = example("pod-monitor")
    labels = monitor["spec"]["selector"]["matchLabels"]
    where, = monitor["spec"]["podMetricsEndpoints"]
    for workload in workloads(render("cluster")):
        assert labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        assert where["port"] in [p["name"] for p in container(workload)["ports"]]
    assert where["path"] == "/metrics"
