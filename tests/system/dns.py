"""A real DNS server (dnsmasq) with names that tests change, and two that are broken."""
import os
import signal
import socket
import struct
import threading

from world import DNS, PARTNER1, PARTNER2, stop, wait_for

NAMES = {
    "partner1.test": (PARTNER1[4], PARTNER1[6]),
    "partner2.test": (PARTNER2[4], PARTNER2[6]),
    "v4.partner1.test": (PARTNER1[4],),
    "v6.partner1.test": (PARTNER1[6],),
    "denied.example": (PARTNER1[4],),
    "loopback.partner1.test": ("127.0.0.1",),
    "loopback6.partner1.test": ("::1",),
    "private.partner1.test": ("10.9.9.9",),
    "pod.partner1.test": ("10.42.0.12",),
    "metadata.partner1.test": ("169.254.169.254",),
    "mapped.partner1.test": ("::ffff:127.0.0.1",),
    "nat64.partner1.test": ("64:ff9b::7f00:1",),
    "unique-local.partner1.test": ("fd00::1",),
    "unspecified.partner1.test": ("0.0.0.0",),
    "mixed.partner1.test": ("127.0.0.1", PARTNER1[4], "::1"),
    "gateway.partner1.test": ("45.0.0.2",),
    "changing.partner1.test": (PARTNER1[4],),
    "dead.partner1.test": ("45.0.1.99",),
}


def query(namespace, name, kind=1, server=DNS, timeout=2):
    """The rcode and the raw answer of one question; kind 1: A, 28: AAAA."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with namespace.socket(kind=socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect((server, 53))
        s.send(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + question + b"\0"
               + struct.pack("!2H", kind, 1))
        answer = s.recv(4096)
    return answer[3] & 15, answer


class Dnsmasq:
    """Answers for *.test and denied.example: servfail.test fails, silent.test never answers.
    Asked for what it does not know it says NXDOMAIN."""

    def __init__(self, namespace, directory):
        self.namespace = namespace
        self.hosts = os.path.join(directory, "dns-hosts")
        self.log = os.path.join(directory, "dns-log")
        self.names = dict(NAMES)
        self._write()
        self._silent = self._bind(5302)
        self._failing = self._bind(5301)
        self._thread = threading.Thread(target=self._fail, daemon=True)
        self._thread.start()
        self._process = namespace.start(
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", f"--addn-hosts={self.hosts}", f"--listen-address={DNS}",
            "--bind-interfaces", "--user=root", "--pid-file=", "--local-ttl=1", "--local=/#/",
            f"--server=/servfail.test/{DNS}#5301", f"--server=/silent.test/{DNS}#5302",
            "--log-queries", f"--log-facility={self.log}")
        try:
            self._wait("partner1.test", PARTNER1[4])
        except BaseException:
            self.close()
            raise

    def close(self):
        stop(self._process)
        self._failing.sendto(b"", (DNS, 5301))  # ends the thread
        self._thread.join(10)
        self._failing.close()
        self._silent.close()

    def set(self, name, *addresses):
        """From now on `name` has these IPv4 addresses."""
        self.names[name] = addresses
        self._write()
        self._process.send_signal(signal.SIGHUP)
        self._wait(name, addresses[0])

    def asked(self, name):
        """How often was the name asked for?"""
        with open(self.log, encoding="utf-8") as file:
            return sum(f"] {name} from" in line for line in file)

    def _write(self):
        with open(self.hosts, "w", encoding="ascii") as file:
            for name, addresses in self.names.items():
                file.writelines(f"{address} {name}\n" for address in addresses)

    def _wait(self, name, address):
        def answers():
            try:
                return socket.inet_aton(address) in query(self.namespace, name, timeout=0.2)[1]
            except OSError:
                return False
        wait_for(f"dnsmasq to say {name} = {address}", answers)

    def _bind(self, port):
        s = self.namespace.socket(kind=socket.SOCK_DGRAM)
        s.bind((DNS, port))
        return s

    def _fail(self):
        while True:
            question, asker = self._failing.recvfrom(4096)
            if not question:
                return
            reply = bytearray(question)
            reply[2:4] = b"\x81\x82"  # response, recursion, SERVFAIL
            self._failing.sendto(reply, asker)
