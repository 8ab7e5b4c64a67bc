"""Answers over HTTP: of one that is too large little is received; an odd one is one sentence."""

import gzip
import http.server
import itertools
import os

import banks
import numpy as np
import obstore
import pytest
import servers
from safetensors.numpy import save_file

import tvbank
from tvbank.checkpoint import open_checkpoint
from tvbank.errors import StorageError
from tvbank.storage import open_storage
from tvbank.storage._answers import neighbours, receive
from tvbank.storage.objects import ObjectStorage

DATA = bytes(range(256)) * 512


class Answer:
    """An answer of obstore's that never ends, and counts the pieces that are taken from it."""

    def __init__(self, length=None, coding=None):
        self.attributes = {"Content-Encoding": coding} if coding else {}
        self.length, self.taken = length, 0

    def stream(self, min_chunk_size):
        data = itertools.repeat(b"x" * min_chunk_size) if self.length is None else iter(
            [DATA[: self.length][at : at + min_chunk_size]
             for at in range(0, self.length, min_chunk_size)]
        )  # fmt: skip
        for piece in data:
            self.taken += len(piece)
            yield piece


@pytest.mark.parametrize("most", [1, 26, 2**22 - 1, 2**22, 2**22 + 1, 3 * 2**22 + 5])
def test_of_an_answer_without_end_little_more_is_taken_than_was_asked_for(most):
    answer = Answer()
    assert len(receive(answer, most)) == most
    assert answer.taken <= most + 2**22


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 1000, len(DATA)])
@pytest.mark.parametrize("most", [None, 1, 256, 10**6])
def test_a_short_answer_is_taken_whole(length, most, monkeypatch):
    monkeypatch.setattr("tvbank.storage._answers._PIECE", 256)
    assert receive(Answer(length), most) == DATA[: min(length, most or length)]


def test_neighbours():
    assert neighbours([]) == []
    assert neighbours([(5, 9), (0, 5), (7, 8)]) == [(0, 9)]
    assert neighbours([(10**6, 10**6 + 1), (0, 5)]) == [(0, 5), (10**6, 10**6 + 1)]
    assert neighbours([(0, 100), (2, 3), (50, 60)]) == [(0, 100)]


class Odd(servers.Recording):
    """A server of one object that answers in an odd way."""

    def __init__(self, kind, data=DATA, folder=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                path = self.path.lstrip("/")
                content = data if folder is None else (folder / path).read_bytes() \
                    if (folder / path).is_file() else None  # fmt: skip
                self.server_owner.requests.append(servers.Request(self.command, path, asked, 0))
                if content is None:
                    self.answer(404, {}, b"")
                    return
                suffix = (asked or "").startswith("bytes=-")
                part = servers.part_of(content, asked) if content else None
                whole = {} if part is None else {
                    "Content-Range": f"bytes {part[0]}-{part[1] - 1}/{len(content)}"
                }  # fmt: skip
                body = b"" if part is None else content[slice(*part)]
                if kind == "head refused" and self.command == "HEAD":
                    self.answer(405, {}, b"")
                elif (part is None and asked) or (kind == "no suffix 416" and suffix):
                    self.answer(416, {}, b"")
                elif kind in ("no suffix 400", "no suffix 501", "no suffix 405") and suffix:
                    self.answer(int(kind[-3:]), {}, b"<Error><Code>NotImplemented</Code></Error>")
                elif kind == "suffix whole" and suffix:
                    self.answer(200, {}, content)
                elif kind == "suffix from start" and suffix:
                    last = int(asked[7:])
                    where = {"Content-Range": f"bytes 0-{last}/{len(content)}"}
                    self.answer(206, where, content[: last + 1])
                elif kind == "no ranges" and asked:
                    self.answer(200, {}, content)
                elif kind == "every range 416" and asked:
                    self.answer(416, {}, b"")
                elif kind == "other range" and asked:
                    where = {"Content-Range": f"bytes 0-{len(body) - 1}/{len(content)}"}
                    self.answer(206, where, content[: len(body)])
                elif kind == "no content range" and asked:
                    self.answer(206, {}, body)
                elif kind == "gzip":
                    coded = {**(whole if asked else {}), "Content-Encoding": "gzip"}
                    self.answer(206 if asked else 200, coded, gzip.compress(body))
                elif kind == "chunked":
                    self.answer(206 if asked else 200, whole if asked else {}, body, chunked=True)
                elif kind == "304":
                    self.answer(304, {}, b"")
                elif kind == "redirect" and not path.startswith("moved/"):
                    self.answer(302, {"Location": f"/moved/{path}"}, b"")
                elif kind == "circle":
                    self.answer(302, {"Location": f"/{path}"}, b"")
                elif kind == "region":
                    self.answer(301, {"x-amz-bucket-region": "eu-central-1"}, b"")
                elif kind == "region 400":
                    text = "<Error><Code>AuthorizationHeaderMalformed</Code>" \
                        "<Region>eu-west-1</Region><K>tvbankdummysecret</K></Error>"  # fmt: skip
                    self.answer(400, {}, text.encode())
                elif kind == "403":
                    self.answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
                elif kind == "last modified":
                    odd = {"Last-Modified": "https://a:tvbankdummysecret@b?sig=tvbankdummysecret"}
                    self.answer(206 if asked else 200, odd | (whole if asked else {}), body)
                else:
                    self.answer(206 if asked else 200, whole if asked else {}, body)

            do_HEAD = do_GET  # noqa: N815

            def answer(self, status, headers, body, chunked=False):
                self.send_response(status)
                length = {"Transfer-Encoding": "chunked"} if chunked else {
                    "Content-Length": str(len(body))
                }  # fmt: skip
                for item in {**headers, **length}.items():
                    self.send_header(*item)
                self.end_headers()
                if self.command != "HEAD":
                    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
                    self.wfile.write(framed if chunked else body)

        super().__init__(Handler)


SUFFIXES = ["no suffix 416", "no suffix 400", "no suffix 405", "no suffix 501", "suffix whole",
            "suffix from start"]  # fmt: skip


@pytest.mark.parametrize("kind", SUFFIXES)
def test_servers_that_count_ranges_from_the_start_only(kind):
    with Odd(kind) as server:
        storage = ObjectStorage(server.url, {"max_retries": 0})
        for length in (0, 1, 7, len(DATA), len(DATA) + 5):
            expected = DATA[len(DATA) - length :] if 0 < length < len(DATA) else DATA
            assert storage.get_tail("a", length) == (expected if length else b"", len(DATA))
        assert storage.identify("a")[0] == len(DATA)
        asked = [seen.range for seen in server.requests]
        assert len([one for one in asked if one and one.startswith("bytes=-")]) == 1


@pytest.mark.parametrize("kind", ["no suffix 416", "head refused", "plain"])
def test_an_empty_object_has_no_end(kind):
    with Odd(kind, b"") as server:
        storage = open_storage(server.url)
        assert storage.get_tail("a", 7) == (b"", 0)
        assert storage.identify("a") == (0, "")
        assert storage.get_ranges("a", [(0, 3), (100_000, 100_001)]) == [b"", b""]


@pytest.mark.parametrize("kind", [kind for kind in SUFFIXES if "501" not in kind])
def test_banks_zip_files_and_checkpoints_on_such_servers(kind, tmp_path):
    expected = banks.all_numbers(banks.small_bank(tmp_path / "bank"))
    tvbank.pack(tmp_path / "bank", tmp_path / "b.zip")
    save_file(banks.base_model(), tmp_path / "base.safetensors")
    with Odd(kind, folder=tmp_path) as server:
        assert banks.all_numbers(tvbank.open(f"{server.url}/bank")) == expected
        assert banks.all_numbers(tvbank.open(f"{server.url}/b.zip")) == expected
        with open_checkpoint(f"{server.url}/base.safetensors") as checkpoint:
            assert set(checkpoint.tensors) == set(banks.base_model())


WORDS = {
    "no ranges": "does not answer requests for ranges",
    "every range 416": "does not answer requests for ranges",
    "other range": "sent other bytes than were asked for",
    "no content range": "sent other bytes than were asked for",
    "gzip": r"compresses what it sends \(Content-Encoding: gzip\).*turn compression off",
    "chunked": r"without Content-Length \(in chunks\)",
    "304": "304 Not Modified: a cache on the way",
    "circle": "redirects in a circle",
    "region": "another region: set AWS_REGION",
    "region 400": "400 Bad Request .*another region: set AWS_REGION.*eu-west-1",
    "403": "may not do that, or there is no such object",
    "last modified": "the client says: .*Invalid last modified",
}


@pytest.mark.parametrize("store", ["http", "s3"])
@pytest.mark.parametrize("kind", WORDS)
def test_an_odd_answer_is_one_sentence_with_the_key_and_the_remedy(kind, store, monkeypatch):
    monkeypatch.setattr("tvbank.storage.objects._TRIES", 1)
    with Odd(kind) as server, servers.environment(servers.s3_environment(server.port)):
        storage = ObjectStorage(server.url if store == "http" else "s3://bucket/x",
                                {"max_retries": 0})  # fmt: skip
        uses = [lambda: storage.identify("zarr.json"), lambda: storage.get_tail("zarr.json", 5)]
        if kind != "every range 416":  # else it reads as an object without those bytes
            uses.append(lambda: storage.get_ranges("zarr.json", [(9, 12), (90_000, 90_007)]))
        if kind not in ("no ranges", "every range 416", "other range", "no content range"):
            uses.append(lambda: storage.get("zarr.json", 20))
        for use in uses:
            with pytest.raises(StorageError, match=f"'zarr.json': .*{WORDS[kind]}") as caught:
                use()
            shown = str(caught.value)
            assert shown.isprintable()
            assert "tvbankdummysecret" not in shown


def test_a_redirect_is_followed():
    with Odd("redirect") as server:
        storage = open_storage(server.url)
        assert storage.get("a") == DATA
        assert storage.get_ranges("a", [(1, 4), (100_000, 100_009)])[0] == DATA[1:4]
        assert storage.get_tail("a", 5) == (DATA[-5:], len(DATA))


def test_nobody_asks_for_compression():
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Accept-Encoding"))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with servers.Recording(Handler) as server, pytest.raises(tvbank.TvbankError):
        tvbank.open(server.url)
    assert set(seen) == {"identity"}


class Endless(servers.Recording):
    """Adds many bytes to every answer, and says so in its length; counts what was taken."""

    def __init__(self, folder, more):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path, asked = folder / self.path.lstrip("/"), self.headers.get("Range")
                data = path.read_bytes() if path.is_file() else b""
                start, stop = servers.part_of(data, asked)
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(stop - start + more))
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
                self.end_headers()
                sent = 0
                try:
                    self.wfile.write(data[start:stop])
                    while sent < more:
                        sent += self.wfile.write(bytes(min(2**20, more - sent)))
                except OSError:
                    self.close_connection = True
                self.server_owner.sent.append(sent)

        super().__init__(Handler)
        self.sent = []


def test_every_kind_of_request_closes_the_connection_of_an_answer_that_is_too_large(tmp_path):
    more = 2**30
    (tmp_path / "a").write_bytes(DATA)
    save_file({"w": np.zeros(4, np.float32)}, tmp_path / "x.safetensors")
    with Endless(tmp_path, more) as server:
        storage = open_storage(server.url)
        assert storage.get("a", len(DATA))[: len(DATA)] == DATA
        assert len(storage.get("a", 10)) == 11
        assert storage.get_tagged("a", 10)[0] == DATA[:11]
        assert storage.get_ranges("a", [(1, 5), (90_000, 90_010)])[0] == DATA[1:5]
        assert storage.get_tail("a", 9) == (DATA[-9:], len(DATA))
        assert storage.identify("a")[0] == len(DATA)
        with open_checkpoint(f"{server.url}/x.safetensors") as checkpoint:
            assert not checkpoint.read("w").any()
        sent = list(server.sent)
    assert len(sent) >= 5
    assert max(sent) < more / 16  # what the sockets' buffers held


def test_a_bank_whose_server_sends_more_is_refused_or_read(tmp_path):
    bank = banks.small_bank(tmp_path / "bank")
    with Endless(tmp_path, 2**26) as server, pytest.raises(tvbank.TvbankError):
        tvbank.open(f"{server.url}/bank")
    assert bank.verify() == []


def test_a_client_of_obstore_returns_the_bytes_that_the_file_has(tmp_path):
    data = os.urandom(9 * 2**20)
    (tmp_path / "a").write_bytes(data)
    with servers.FileServer(tmp_path) as server:
        storage = open_storage(server.url)
        assert storage.get("a") == data == bytes(obstore.get(storage._store, "a").bytes())
        assert storage.get("a", len(data)) == data
        assert storage.get_ranges("a", [(3, 8 * 2**20)]) == [data[3 : 8 * 2**20]]
