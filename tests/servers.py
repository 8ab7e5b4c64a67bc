"""Servers for the tests of stores: real S3, files over HTTP, and a proxy that misbehaves."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

#: What nobody may ever see in a bank, a log or an error.
SECRETS = ("tvbankdummykeyid", "tvbankdummysecret", "tvbankdummytoken")


@dataclass(frozen=True)
class Request:
    """One request that a server saw, and the bytes of the body that it answered with."""

    method: str
    path: str
    range: str | None
    bytes: int


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that went away is none."""


class Recording:
    """A server in this process that remembers its requests; a context manager."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self.requests: list[Request] = []
        owner = self

        class Handler(handler):
            server_owner = owner
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments):
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def gets(self) -> list[Request]:
        """Requests that read, listings apart."""
        return [seen for seen in self.requests if seen.method == "GET"]


class FileServer(Recording):
    """Files of a folder over HTTP, with ranges unless told otherwise; with tags if told so."""

    def __init__(self, folder: Path, *, ranges: bool = True, tags: bool = False) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = folder / unquote(self.path).lstrip("/")
                asked = self.headers.get("Range") if ranges else None
                data = path.read_bytes() if path.is_file() else None
                part = part_of(data, asked)
                tag = f'"{zlib.crc32(data)}"' if tags and data is not None else None
                same = tag is not None and self.headers.get("If-None-Match") == tag
                body = b"" if part is None or same else data[slice(*part)]
                self.send_response(404 if data is None else 304 if same else 416 if part is None
                                   else 206 if asked else 200)  # fmt: skip
                if tag is not None:
                    self.send_header("ETag", tag)
                if data is not None and part is not None and asked:
                    self.send_header("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Last-Modified", self.date_time_string(0))
                self.server_owner.requests.append(Request("GET", self.path, asked, len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_other(self):
                self.server_owner.requests.append(Request(self.command, self.path, None, 0))
                self.send_response(405)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_DELETE = do_PROPFIND = do_HEAD = do_other  # noqa: N815

        super().__init__(Handler)


def part_of(data: bytes | None, asked: str | None) -> tuple[int, int] | None:
    """Start and stop of the range that is asked for; ``None`` if there is no such thing."""
    if data is None:
        return None
    if not asked:
        return 0, len(data)
    first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", asked).groups()
    if not first:
        return max(0, len(data) - int(last)), len(data)
    start, stop = int(first), min(len(data), int(last) + 1 if last else len(data))
    return (start, stop) if start < stop else None


#: Its earlier name, by which programs outside of the tests import it.
_part = part_of

#: Called with a request's number, its method and path: what goes wrong, or None.
Plan = Callable[[int, str, str], str | None]


class Proxy(Recording):
    """Hands requests on to another server, and misbehaves as planned.

    ``503``, ``500``, ``429``, ``403``: this status instead of an answer. ``lost``: the request is
    carried out, the answer is not given. ``reset``: the connection ends before an answer, ``torn``:
    within its body. ``short``: half of the body, and a length that says that it is all. ``flip``: a
    bit of the body is another. ``hang``: no answer until the client has gone. ``stale``: the first
    answer that the path ever had.
    """

    def __init__(self, port: int, plan: Plan = lambda *_request: None) -> None:
        self.plan = plan
        self._first: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {}
        self._lock = threading.Lock()
        self._count = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one_request(self):
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def do_any(self):
                self.server_owner._serve(self, port)

            do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = do_PROPFIND = do_any  # noqa: N815

        super().__init__(Handler)

    def _serve(self, handler, port):
        with self._lock:
            number, self._count = self._count, self._count + 1
        fault = self.plan(number, handler.command, handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if fault == "hang":
            handler.connection.settimeout(5)
            with contextlib.suppress(OSError):
                handler.connection.recv(1)
            handler.close_connection = True
            return
        if fault == "reset":
            _reset(handler)
            return
        if fault and fault.isdigit():
            answer = f"<Error><Code>Planned</Code><K>{SECRETS[0]}</K></Error>".encode()
            status, headers = int(fault), []
        else:
            status, headers, answer = self._upstream(handler, port, body)
        path = f"{handler.command} {handler.path} {handler.headers.get('Range')}"
        if fault == "lost":
            _reset(handler)
            return
        if fault == "stale" and path in self._first:
            status, headers, answer = self._first[path]
        self._first.setdefault(path, (status, headers, answer))
        if fault == "flip" and answer:
            answer = answer[:-1] + bytes([answer[-1] ^ 1])
        if fault == "short":
            answer = answer[: len(answer) // 2]
        self.requests.append(
            Request(handler.command, handler.path, handler.headers.get("Range"), len(answer))
        )
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        if fault == "torn":
            handler.wfile.write(answer[: len(answer) // 2])
            _reset(handler)
        elif handler.command != "HEAD":
            handler.wfile.write(answer)

    def _upstream(self, handler, port, body):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {k: v for k, v in handler.headers.items() if k.lower() != "connection"}
            connection.request(handler.command, handler.path, body, headers)
            answer = connection.getresponse()
            dropped = ("content-length", "transfer-encoding", "connection", "date", "server")
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in dropped]
            return answer.status, kept, answer.read()
        finally:
            connection.close()


def _reset(handler):
    handler.close_connection = True
    handler.wfile.flush()
    handler.connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
    )  # a reset, not an end
    handler.connection.close()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """A process of moto's S3 server with a bucket ``bucket``; its port."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        try:
            for _ in range(600):
                try:
                    call(f"http://127.0.0.1:{port}/bucket", "PUT")
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def call(url: str, method: str) -> bytes:
    """Send a request without a body."""
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return answer.read()


def s3_environment(port: int) -> dict[str, str]:
    """Where clients find that server, and its dummy credentials."""
    key, secret, token = SECRETS
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": token,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables, for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def nginx(folder: Path, work: Path) -> Iterator[str] | None:
    """A process of nginx that serves a folder; its URL, or ``None`` where there is no nginx."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        yield None
        return
    port = free_port()
    (work / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {work}/pid; error_log {work}/log;\n"
        "events {}\n"
        "http { access_log off;\n"
        + "".join(f"{kind}_temp_path {work}/{kind};\n" for kind in
                  ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f"server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
    )  # fmt: skip
    with subprocess.Popen(
        [program, "-c", work / "nginx.conf", "-e", work / "log"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
