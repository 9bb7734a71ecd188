/*
 * commands.c - the table: what help, the man page and the completion say of each command.
 */
#include "base/check.h"
#include "ctl/command.h"

const struct command commands[] = {
	{"status", "", "what is in force, and how egretd is", "", "", status_run},
	{"reload", "", "read the files again",
		"Answers when the new ones are in force, or says why not (1).", "", reload_run},
	{"check", "[DIR|FILE]", "check egret.ini, acl.ini and all they name, without egretd",
		"DIR has an egret.ini; default /etc/egret.  0: they are good; 1: an error, with\n"
		"file and line.\n"
		"  --role ROLE      gateway or agent, whatever egret.ini says",
		"--role", check_run},
	{"explain", "SOURCE [METHOD] TARGET", "what would become of a flow, and why",
		"TARGET is host:port (CONNECT) or http://host/path.  Tells every section that was\n"
		"considered, the line that decides, and what NAT does with the flow when it does\n"
		"not go through the proxy.  0: it may pass, or depends on the name's addresses;\n"
		"1: it is denied.\n"
		"  -c FILE          ask this egret.ini and its policy, without egretd\n"
		"  --address A      what the target's name resolves to; may be repeated, none is\n"
		"                   none.  Without: what egretd's DNS says, unless the name is\n"
		"                   denied whatever its addresses\n"
		"  --protocol P     of the flow by NAT: tcp (default) or udp",
		"-c --address --protocol", explain_run},
	{"rules", "", "each section of acl.ini: hits, and the last one",
		"Requests and CONNECTs that are over since the proxy started; and of what goes "
		"past\n"
		"the proxy, flows that the kernel has translated and packets that it has refused.\n"
		"  --unused         only those without a hit",
		"--unused", rules_run},
	{"nat plan", "", "what the policy asks of the kernel, as nft reads it",
		"  -c FILE          of this egret.ini and its policy, without egretd", "-c",
		nat_plan_run},
	{"nat show", "", "what is in force in the kernel, and what it has refused", "", "",
		nat_show_run},
	{"nat verify", "", "hold the kernel against the plan",
		"0: table, routes, addresses and kernel parameters are as planned; 1: not.", "",
		nat_verify_run},
	{"cache stats", "", "what is stored, and what it was good for", "", "", cache_stats_run},
	{"cache purge", "url URL|prefix URL|partner NAME|tag TAG",
		"take responses out of the cache",
		"What is stored under this URL, under all that begin so, of this partner, or with\n"
		"this tag (Surrogate-Key, Cache-Tag) leaves; answers how many.  `purge` alone is "
		"the\n"
		"same.",
		"url prefix partner tag", cache_purge_run},
	{"dns", "NAME", "a name as the gateway sees it, with the guard's judgement",
		"0: it has an address that may be dialled; 1: none.\n"
		"  --source ADDRESS what the policy says of this client\n"
		"  --port PORT      and of this port; default 443",
		"--source --port", dns_run},
	{"connections list", "", "clients and tunnels of the proxy",
		"  --source ADDRESS only those of this client\n"
		"  --partner NAME   only those of this section\n"
		"  --limit N        at most N, 1-1000 (default 1000); says when there are more",
		"--source --partner --limit", connections_list_run},
	{"connections kill", "ID", "cut one", "", "", connections_kill_run},
	{"tail", "[FILE|-]", "the access log, as a person reads it",
		"FILE: a log in egret's json format, - is the standard input; without: that of "
		"the\n"
		"egretd that runs.\n"
		"  -n N             the last N lines that fit (default 10)\n"
		"  -f, --follow     and those that come\n"
		"  --source A       only of this client\n"
		"  --partner NAME   only of this section\n"
		"  --verdict V      only allow, deny or report\n"
		"  --status S       only this status; 5xx is all of a class",
		"-n -f --follow --source --partner --verdict --status", tail_run},
	{"top", "", "partners and sources, live",
		"q ends it.\n"
		"  -d SECONDS       between two looks (default 2)\n"
		"  -n N             ends after N looks; without a terminal one",
		"-d -n", top_run},
	{"who", "ADDRESS:PORT", "which pod was behind a translated address",
		"  --at TIME        10:03:07 (the last one, UTC) or 2026-11-25T10:03:07Z;\n"
		"                   without: now, or last\n"
		"  --protocol P     tcp or udp; without: both\n"
		"  --log FILE       the log, when egretd does not run",
		"--at --protocol --log", who_run},
	{"release", "ADDRESS|all", "this node drops the egress address",
		"With manage-address = yes: before anything else, until it is claimed or egretd "
		"is\n"
		"started again; other gateways are told.",
		"all", release_run},
	{"claim", "ADDRESS|all", "the way back of release", "", "all", claim_run},
};
const size_t n_commands = COUNT_OF(commands);
