"""Servers beyond the gateway: one whose every byte a test decides, and nginx."""
import contextlib
import os
import socket
import threading
from urllib.parse import urlsplit

from wire import Closed, Wire
from world import stop, wait_for


class Exchange(Wire):
    """A connection to the origin, with the request that it carries now."""

    def __init__(self, s, peer):
        super().__init__(s)
        self.peer = peer
        self.request = None
        self.path = ""

    def take_body(self):
        self.request.body = self.body(self.request)
        return self.request.body

    def reply(self, status=200, body=b"", *fields, phrase="OK"):
        body = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status} {phrase}", *fields]
        if status not in (204, 304):
            lines.append(f"Content-Length: {len(body)}")
        bare = self.request.start[0] == "HEAD" or status in (204, 304)
        self.send("\r\n".join(lines) + "\r\n\r\n", b"" if bare else body)


def whoami(exchange):
    """Tells the source address that the partner sees."""
    exchange.take_body()
    exchange.reply(200, exchange.peer, "Content-Type: text/plain")


def echo(exchange):
    """The request as it came: its head, an empty line, its body."""
    body = exchange.take_body()
    exchange.reply(200, exchange.request.raw + b"\r\n\r\n" + body)


def _server(namespace, address, port, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = namespace.socket(family, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind((address, port))
    return s


def _plain(address):
    return address.removeprefix("::ffff:")


class Origin:
    """An HTTP/1.1 server, a thread a connection.  `paths` says who answers what."""

    def __init__(self, namespace, port=80, address="::"):
        self.paths = {"/whoami": whoami, "/echo": echo}
        self.connections = 0
        self.open = set()  # exchanges whose connection is open
        self.requests = []
        self.port = port
        self._threads = []
        self._socket = _server(namespace, address, port)
        self._socket.listen(1024)
        self._start(self._accept)

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        for exchange in list(self.open):
            with contextlib.suppress(OSError):
                exchange.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._socket.close()

    def forget(self):
        """Counts from here."""
        self.connections = 0
        self.requests.clear()

    def seen(self, path):
        return [request for request in self.requests if urlsplit(request.start[1]).path == path]

    def hang_up(self):
        """Closes every connection, as a server does that is tired of waiting."""
        for exchange in list(self.open):
            with contextlib.suppress(OSError):
                exchange.finish()

    def drop_idle(self):
        """The same, and returns when the proxy has closed its side too."""
        self.hang_up()
        wait_for("the connections to end", lambda: not self.open)

    def _start(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, peer = self._socket.accept()
                self.connections += 1
                s.settimeout(60)
                exchange = Exchange(s, _plain(peer[0]))
                self.open.add(exchange)
                self._start(self._serve, exchange)

    def _serve(self, exchange):
        with contextlib.suppress(OSError, Closed, ValueError):
            while not exchange.file.closed:
                exchange.request = exchange.head()
                exchange.path = urlsplit(exchange.request.start[1]).path
                self.requests.append(exchange.request)
                self.paths.get(exchange.path, self._not_found)(exchange)
        self.open.discard(exchange)
        with contextlib.suppress(OSError):
            exchange.close()

    @staticmethod
    def _not_found(exchange):
        exchange.take_body()
        exchange.reply(404, f"no {exchange.path} here")


class Listener:
    """A TCP server that does nothing by itself: the test takes connections from it."""

    def __init__(self, namespace, port, address="::"):
        self._socket = _server(namespace, address, port)
        self._socket.settimeout(10)
        self._socket.listen(64)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def accept(self):
        s, peer = self._socket.accept()
        s.settimeout(10)
        wire = Wire(s)
        wire.peer = _plain(peer[0])
        return wire

    def close(self):
        self._socket.close()


class UdpWhoami:
    """Answers every datagram with the source address that it came from."""

    def __init__(self, namespace, port):
        self.port = port
        self._socket = _server(namespace, "::", port, socket.SOCK_DGRAM)
        self._namespace = namespace
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            data, peer = self._socket.recvfrom(2048)
            if data == b"end":
                return
            self._socket.sendto(_plain(peer[0]).encode(), peer)

    def close(self):
        with self._namespace.socket(kind=socket.SOCK_DGRAM) as s:
            s.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join(10)
        self._socket.close()


NGINX = """
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
	access_log off;
	sendfile on;
	default_type application/octet-stream;
	client_body_temp_path {dir}/nginx-body;
	proxy_temp_path {dir}/nginx-proxy;
	fastcgi_temp_path {dir}/nginx-fastcgi;
	uwsgi_temp_path {dir}/nginx-uwsgi;
	scgi_temp_path {dir}/nginx-scgi;
	client_max_body_size 0;
	keepalive_requests 1000000;
	if_modified_since before;
	server {{
		listen 8080;
		listen [::]:8080;
		listen 443 ssl;
		listen [::]:443 ssl;
		listen 8443 ssl;
		listen [::]:8443 ssl;
		ssl_certificate {dir}/origin.pem;
		ssl_certificate_key {dir}/origin.key;
		root {dir}/www;
		location = /whoami {{ default_type text/plain; return 200 "$remote_addr"; }}
		location = /zipped {{ gzip on; gzip_types *; gzip_min_length 1; alias {dir}/www/text; }}
	}}
}}
"""


class Nginx:
    """nginx on 8080, and with TLS on 443 and 8443, serving the files in `www`."""

    def __init__(self, namespace, directory):
        self.directory = directory
        self.www = os.path.join(directory, "www")
        os.mkdir(self.www)
        self.ca = os.path.join(directory, "origin.pem")
        namespace.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                      "/CN=partner1.test", "-addext", "subjectAltName=DNS:partner1.test",
                      "-keyout", os.path.join(directory, "origin.key"), "-out", self.ca,
                      check=True)
        config = os.path.join(directory, "nginx.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write("user root;\n" + NGINX.format(dir=directory))
        self.write("1k", b"k" * 1024)
        self.write("text", b"the quick brown fox\n" * 1000)
        self._process = namespace.start("nginx", "-p", directory, "-c", config)
        try:
            wait_for("nginx", lambda: self._answers(namespace))
        except BaseException:
            self.close()
            raise

    def close(self):
        stop(self._process, seconds=20)

    def write(self, name, data):
        path = os.path.join(self.www, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    @staticmethod
    def _answers(namespace):
        try:
            with namespace.connect("127.0.0.1", 8443):
                return True
        except OSError:
            return False
