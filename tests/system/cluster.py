"""Who else programs the node's kernel: Flannel and kube-proxy, with the rules that they make.

A flavour is how they do it: `nft`, `iptables-nft` or `iptables-legacy`.  kube-proxy here
knows these services (its IPVS mode needs a module that kernels for tests rarely have):

    10.43.0.10:80, NODE:30080     pod1:8080      a Service, and its NodePort
    NODE:30081                    pod1:8080      one with externalTrafficPolicy: Local
    10.43.0.20:80                 PARTNER2:80    a Service whose endpoint is the partner
"""
import threading
from typing import NamedTuple

from world import NODE, PARTNER2, POD1

FLAVOURS = ("nft", "iptables-nft", "iptables-legacy")
NODE_PORT = 30080
LOCAL_NODE_PORT = 30081
POD_PORT = 8080
SERVICE = {4: "10.43.0.10", 6: "fd43::10"}
PARTNER_SERVICE = {4: "10.43.0.20", 6: "fd43::20"}
SERVICE_CIDR = "10.43.0.0/16, fd43::/112"
CLUSTER = {4: "10.42.0.0/16", 6: "fd42::/48"}
PODS = {4: "10.42.0.0/24", 6: "fd42::/64"}  # of this node
MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}


class Site(NamedTuple):
    """What the rules of one node differ in."""
    pods: dict = PODS
    node: dict = NODE
    endpoint: dict = POD1  # of the Service


def _both(make, site):
    return make(4, site) + make(6, site)


# Flannel: pkg/trafficmngr/nftables and pkg/trafficmngr/iptables.

def _flannel_nft(v, site):
    ip = "ip" if v == 4 else "ip6"
    table = f"{ip} flannel-ipv{v}"
    return f"""
table {table} {{ }}
delete table {table}
table {table} {{
	chain forward {{
		type filter hook forward priority filter;
		{ip} saddr {CLUSTER[v]} accept
		{ip} daddr {CLUSTER[v]} accept
	}}
	chain postrtg {{
		type nat hook postrouting priority srcnat;
		meta mark 0x4000 return
		{ip} saddr {site.pods[v]} {ip} daddr {CLUSTER[v]} return
		{ip} saddr {CLUSTER[v]} {ip} daddr {site.pods[v]} return
		{ip} saddr != {site.pods[v]} {ip} daddr {CLUSTER[v]} return
		{ip} saddr {CLUSTER[v]} {ip} daddr != {MULTICAST[v]} masquerade fully-random
		{ip} saddr != {CLUSTER[v]} {ip} daddr {CLUSTER[v]} masquerade fully-random
	}}
}}
"""


def _flannel_iptables(v, site):
    return f"""
*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
-A FLANNEL-POSTRTG -s {site.pods[v]} -d {CLUSTER[v]} -j RETURN
-A FLANNEL-POSTRTG -s {CLUSTER[v]} -d {site.pods[v]} -j RETURN
-A FLANNEL-POSTRTG ! -s {CLUSTER[v]} -d {site.pods[v]} -j RETURN
-A FLANNEL-POSTRTG -s {CLUSTER[v]} ! -d {MULTICAST[v]} -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s {CLUSTER[v]} -d {CLUSTER[v]} -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s {CLUSTER[v]} -j ACCEPT
-A FLANNEL-FWD -d {CLUSTER[v]} -j ACCEPT
COMMIT
"""


# kube-proxy: its chains cut down to the services above.

def _kube_nft(v, site):
    ip = "ip" if v == 4 else "ip6"
    table = f"{ip} kube-proxy"
    return f"""
table {table} {{ }}
delete table {table}
table {table} {{
	chain nat-prerouting {{
		type nat hook prerouting priority dstnat;
		jump services
	}}
	chain nat-output {{
		type nat hook output priority -100;
		jump services
	}}
	chain services {{
		{ip} daddr {SERVICE[v]} tcp dport 80 goto svc-pod
		{ip} daddr {PARTNER_SERVICE[v]} tcp dport 80 dnat to {_at(PARTNER2[v], 80)}
		{ip} daddr {site.node[v]} tcp dport {NODE_PORT} goto ext-pod
		{ip} daddr {site.node[v]} tcp dport {LOCAL_NODE_PORT} goto svc-pod
	}}
	chain ext-pod {{
		{ip} saddr {CLUSTER[v]} goto svc-pod
		jump mark-for-masquerade
		goto svc-pod
	}}
	chain svc-pod {{
		{ip} saddr {site.endpoint[v]} jump mark-for-masquerade
		meta l4proto tcp dnat to {_at(site.endpoint[v], POD_PORT)}
	}}
	chain mark-for-masquerade {{
		meta mark set meta mark or 0x4000
	}}
	chain nat-postrouting {{
		type nat hook postrouting priority srcnat;
		meta mark & 0x4000 == 0 return
		meta mark set meta mark xor 0x4000
		masquerade fully-random
	}}
	chain filter-forward {{
		type filter hook forward priority filter - 110;
		ct state invalid drop
	}}
}}
"""


def _kube_iptables(v, site):
    return f"""
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-EXT-POD - [0:0]
:KUBE-SVC-POD - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING 1 -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d {SERVICE[v]} -p tcp --dport 80 -j KUBE-SVC-POD
-A KUBE-SERVICES -d {PARTNER_SERVICE[v]} -p tcp --dport 80 -j DNAT --to {_at(PARTNER2[v], 80)}
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -d {site.node[v]} -p tcp --dport {NODE_PORT} -j KUBE-EXT-POD
-A KUBE-NODEPORTS -d {site.node[v]} -p tcp --dport {LOCAL_NODE_PORT} -j KUBE-SVC-POD
-A KUBE-EXT-POD -s {CLUSTER[v]} -j KUBE-SVC-POD
-A KUBE-EXT-POD -j KUBE-MARK-MASQ
-A KUBE-EXT-POD -j KUBE-SVC-POD
-A KUBE-SVC-POD -s {site.endpoint[v]} -j KUBE-MARK-MASQ
-A KUBE-SVC-POD -p tcp -j DNAT --to {_at(site.endpoint[v], POD_PORT)}
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""


def _at(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Cluster:
    """Flannel's and kube-proxy's rules in one flavour; either can be left out."""

    def __init__(self, gw, flavour="nft", kube_proxy=True, site=Site()):
        self._gw = gw
        self.flavour = flavour
        self._kube_proxy = kube_proxy
        self._site = site
        self._end = threading.Event()
        self._keeper = None

    def install(self):
        """As after a start of both: theirs is complete, and nobody else's is touched."""
        if self.flavour == "nft":
            self._gw.nft(_both(_flannel_nft, self._site)
                         + (_both(_kube_nft, self._site) if self._kube_proxy else ""))
            return
        self.remove()
        for v in (4, 6):
            self._restore(v, _flannel_iptables(v, self._site))
            if self._kube_proxy:
                self._restore(v, _kube_iptables(v, self._site))

    def remove(self):
        if self.flavour == "nft":
            for table in ("ip flannel-ipv4", "ip6 flannel-ipv6", "ip kube-proxy",
                          "ip6 kube-proxy"):
                self._gw.run("nft", "delete", "table", *table.split())
            return
        for v in (4, 6):
            self._restore(v, "*nat\nCOMMIT\n*filter\nCOMMIT\n", flush=True)

    def _restore(self, v, rules, flush=False):
        program = "iptables" if v == 4 else "ip6tables"
        kind = self.flavour.partition("-")[2]
        done = self._gw.run(f"{program}-{kind}-restore", *([] if flush else ["--noflush"]),
                            input=rules)
        assert done.returncode == 0, f"{done.stderr}\n{rules}"

    def text(self):
        """All of it as the kernel has it, without counters."""
        if self.flavour == "nft":
            listed = self._gw.run("nft", "-s", "list", "ruleset").stdout
            return "table".join(part for part in listed.split("table ")
                                if "flannel" in part or "kube" in part)
        kind = self.flavour.partition("-")[2]
        return "".join(
            line for program in ("iptables", "ip6tables")
            for line in self._gw.run(f"{program}-{kind}-save").stdout.splitlines(True)
            if not line.startswith(("#", ":")))
