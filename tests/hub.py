"""A server that answers as the Hugging Face hub does, and the other host that it sends readers to.

A repository is a list of commits, each a mapping of paths to bytes. Small texts come from the hub
itself; all else by a redirect to the other host, with a signature in the URL, as those of LFS and
Xet do. Both remember their requests, and which of them came with a token.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from servers import Recording, Request, part_of

#: What no other host than the hub may ever see.
TOKEN = "hf_tvbankdummytoken"

_LARGE = 1000


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Make a commit that has these files, and no others."""
        text = repr((sorted(files), len(self.commits), branch))
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class Hub:
    """Both hosts; a context manager."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}  # what was uploaded, by SHA-256
        self.tokens_elsewhere: list[str] = []
        self.between: list = []  # called once each, before a commit is taken
        self._hub, self._elsewhere = Recording(_handler(self)), Recording(_elsewhere(self))
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self._stack.enter_context(self._hub)
        self._stack.enter_context(self._elsewhere)
        return self

    def __exit__(self, *_error):
        self._stack.close()

    @property
    def url(self) -> str:
        return self._hub.url

    @property
    def elsewhere(self) -> str:
        return self._elsewhere.url

    @property
    def requests(self) -> list[Request]:
        """What both hosts were asked, the hub first."""
        return [*self._hub.requests, *self._elsewhere.requests]

    def forget(self) -> None:
        self._hub.requests.clear()
        self._elsewhere.requests.clear()

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> Repository:
        repository = self.repositories[name] = Repository(private)
        repository.commit(files)
        return repository


class _Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status: int, body: object = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        asked = self.headers.get("Range")
        self.server_owner.requests.append(Request(self.command, self.path, asked, len(data)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def answer_part(self, data: bytes, **headers: str) -> None:
        asked = self.headers.get("Range")
        part = part_of(data, asked)
        if part is None:
            self.answer(416)
        elif asked:
            where = f"bytes {part[0]}-{part[1] - 1}/{len(data)}"
            self.answer(206, data[slice(*part)], Content_Range=where, **headers)
        else:
            self.answer(200, data, **headers)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            read = b""
            while size := int(self.rfile.readline(), 16):
                read += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return read
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


def _elsewhere(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(_Handler):
        def do_GET(self):
            hub.tokens_elsewhere += filter(None, [self.headers.get("Authorization")])
            path = urlsplit(self.path)
            digest = path.path.rpartition("/")[2]
            if digest not in hub.objects or parse_qs(path.query).get("Signature") != [digest[:8]]:
                self.answer(403)
            else:
                self.answer_part(hub.objects[digest], ETag=f'"{digest}"')

        def do_PUT(self):
            hub.tokens_elsewhere += filter(None, [self.headers.get("Authorization")])
            data = self.body()
            hub.objects[hashlib.sha256(data).hexdigest()] = data
            self.answer(200, ETag='"part"')

    return Handler


def _handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(_Handler):
        def do_any(self):
            path = unquote(urlsplit(self.path).path)
            for method, pattern, do in _ROUTES:
                if self.command in method and (match := re.fullmatch(pattern, path)):
                    do(hub, self, **match.groupdict())
                    return
            self.answer(404, {"error": f"no route {self.command} {path}"})

        do_GET = do_HEAD = do_POST = do_any  # noqa: N815

        def repository(self, name: str) -> Repository | None:
            """The repository, if it may be seen; otherwise the hub's answer is given."""
            found = hub.repositories.get(name)
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if found is None or (found.private and not known):
                self.answer(401, {"error": "Invalid username or password."},
                            X_Error_Code="RepoNotFound")  # fmt: skip
                return None
            return found

        def permitted(self) -> bool:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, {"error": "Invalid credentials in Authorization header"})
                return False
            return True

    return Handler


def _revision(hub, request, repo, revision):
    if (found := request.repository(repo)) is None:
        return
    sha = found.find(revision or "main")
    if sha is None:
        request.answer(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
        return
    files = [{"rfilename": path} for path in found.commits[sha]]
    request.answer(200, {"id": repo, "sha": sha, "siblings": files, "private": found.private,
                         "tags": [], "downloads": 0, "likes": 0})  # fmt: skip


def _resolve(hub, request, repo, revision, path):
    if (found := request.repository(repo)) is None:
        return
    sha = found.find(revision)
    data = found.commits[sha].get(path) if sha else None
    if data is None:
        code = "EntryNotFound" if sha else "RevisionNotFound"
        request.answer(404, b"Entry not found", X_Error_Code=code)
        return
    digest = hashlib.sha256(data).hexdigest()
    common = {"X_Repo_Commit": sha, "X_Error_Code": ""}
    if len(data) <= _LARGE and not data.startswith(b"\0"):
        request.answer_part(data, ETag=f'"{digest[:40]}"', **common)
        return
    hub.objects[digest] = data
    signed = f"{hub.elsewhere}/xet-bridge/{digest}?Signature={digest[:8]}&Expires=1"
    request.answer(302, b"Found. Redirecting", Location=signed, X_Linked_Size=str(len(data)),
                   X_Linked_ETag=f'"{digest}"', X_Xet_Hash=digest, **common)  # fmt: skip


def _tree(hub, request, repo, revision, path=None):
    if (found := request.repository(repo)) is None:
        return
    files = found.commits[found.find(revision)]
    request.answer(200, [
        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for name, data in files.items()
        if name.startswith(path or "")
    ])  # fmt: skip


def _create(hub, request):
    asked = json.loads(request.body())
    if not request.permitted():
        return
    name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
    url = {"url": f"{hub.url}/{name}", "name": name, "id": name}
    if name in hub.repositories:
        request.answer(409, {"error": "You already created this model repo", **url})
        return
    hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"},
            private=asked.get("visibility") == "private" or bool(asked.get("private")))  # fmt: skip
    request.answer(200, url)


def _branch(hub, request, repo, branch):
    request.body()
    if request.permitted() and (found := request.repository(repo)):
        if branch in found.branches:
            request.answer(409, {"error": "Reference already exists"})
            return
        found.branches[branch] = found.branches["main"]
        request.answer(200, {})


def _validate(hub, request):
    request.body()
    request.answer(200, {"errors": [], "warnings": []})


def _preupload(hub, request, repo, revision):
    asked = json.loads(request.body())
    if not (request.permitted() and request.repository(repo)):
        return
    answer = []
    for file in asked["files"]:
        sample = base64.b64decode(file["sample"])
        large = file["size"] > _LARGE or b"\0" in sample
        mode = "lfs" if large else "regular"
        answer.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
    request.answer(200, {"files": answer})


def _batch(hub, request, repo):
    asked = json.loads(request.body())
    if not request.permitted():
        return
    objects = []
    for each in asked["objects"]:
        upload = {"href": f"{hub.elsewhere}/upload/{each['oid']}", "header": {}}
        more = {} if each["oid"] in hub.objects else {"actions": {"upload": upload}}
        objects.append({**each, **more})
    request.answer(200, {"transfer": "basic", "objects": objects})


def _commit(hub, request, repo, revision):
    lines = [json.loads(line) for line in request.body().splitlines() if line.strip()]
    if not (request.permitted() and (found := request.repository(repo))):
        return
    if hub.between:
        hub.between.pop()()
    header = lines[0]["value"]
    parent = found.branches.get(revision)
    if parent is None:
        request.answer(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
        return
    if header.get("parentCommit") not in (None, parent):
        request.answer(412, {"error": "A commit has happened since. Please refresh and try again."})
        return
    files = dict(found.commits[parent])
    for line in lines[1:]:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = hub.objects[value["oid"]]
        elif line["key"] == "deletedFile":
            del files[value["path"]]
        else:
            raise AssertionError(line["key"])
    sha = found.commit(files, revision)
    request.answer(200, {"success": True, "commitOid": sha, "hookOutput": "",
                         "commitUrl": f"{hub.url}/{repo}/commit/{sha}"})  # fmt: skip


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
_ROUTES = (
    ("GET", rf"/api/models/{_REPO}(/revision/(?P<revision>.+))?", _revision),
    ("GET", rf"/api/models/{_REPO}/tree/(?P<revision>[^/]+)(/(?P<path>.*))?", _tree),
    ("GET HEAD", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.*)", _resolve),
    ("POST", r"/api/repos/create", _create),
    ("POST", rf"/api/models/{_REPO}/branch/(?P<branch>.+)", _branch),
    ("POST", r"/api/validate-yaml", _validate),
    ("POST", rf"/api/models/{_REPO}/preupload/(?P<revision>.+)", _preupload),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", _batch),
    ("POST", rf"/api/models/{_REPO}/commit/(?P<revision>.+)", _commit),
)  # fmt: skip
