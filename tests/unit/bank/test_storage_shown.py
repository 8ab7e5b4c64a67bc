"""Nothing secret of a URL is shown: not in errors of tvbank's, not in those of others."""

import traceback

import banks
import numpy as np
import pytest

import tvbank
from tvbank.checkpoint import identify_checkpoint, open_checkpoint
from tvbank.errors import UsageError
from tvbank.storage import redact, refuse_credentials, words_of

#: Parts of passwords, none of which may be seen.
PARTS = ("tvhush", "hunter", "SECRET")

SECRETS = [
    "hunter2", "hun/tvhush", "hun tvhush", "hun@tvhush", "hun%tvhush", "hun%20tvhush", "hun?tvhush",
    "hun#tvhush", "hun:tvhush", "tvhush/", "/tvhush", "12/tvhush", "hun\ttvhush", "hun\"tvhush",
    "hun'tvhush", "hun\\tvhush", "hun[tvhush]", "hun&tvhush=1", "tvhush://hunter2", "@tvhush",
]  # fmt: skip


def urls():
    for secret in SECRETS:
        for scheme in (
            "https",
            "http",
            "s3",
            "gs",
            "az",
            "ftp",
            "hf",
            "memory",
            "simplecache::https",
        ):
            yield f"{scheme}://user:{secret}@host/bank"
        yield f"https://user:{secret}@host.example.org:8443/a/b/bank.zip"
        yield f"https://:{secret}@host/x.safetensors"
    for secret in ("tvhush", "tvhush:", "tv hunter2", "tv?hunter2", "tv#hunter2"):
        yield f"https://{secret}@host/bank"
    for query in ("X-Amz-Signature=SECRET&X-Amz-Date=1", "sig=SECRET", "token=SECRET", "SECRET"):
        yield f"https://host/bank?{query}"
        yield f"https://host/bank.zip?{query}"
        yield f"s3://bucket/x.safetensors?{query}"
        yield f"https://host/x.pt?{query}"
        yield f"https://host/bank#{query}"
        yield f"https://host/bank?{query} more SECRET"
    yield "https:/user:hunter2@host/bank"
    yield "s3:/user:hunter2@bucket/x.safetensors"
    yield "https://user:hunter2@hos℀t/bank"
    yield "https://user:hunter2@[host/bank"
    yield "https://user:hunter2@host/x.pt"
    yield "zip://x::https://user:hunter2@host/b"


def told(error):
    shown = "".join(traceback.format_exception_only(error)) + repr(error) + str(vars(error))
    while error is not None:
        shown += str(error)
        error = error.__cause__ or error.__context__
    return shown


def manifest(place):
    return {"bank": place, "tasks": {"t": {"checkpoint": place}}}


@pytest.mark.parametrize("url", list(urls()))
def test_a_url_with_a_secret_is_refused_and_the_secret_is_not_shown(url, capfd):
    uses = [tvbank.open, open_checkpoint, identify_checkpoint, refuse_credentials,
            lambda place: tvbank.create(place, {"w": np.zeros(3, np.float32)}),
            lambda place: tvbank.copy(place, "memory://shown"),
            lambda place: tvbank.build(manifest(place))]  # fmt: skip
    if "://" not in url:
        uses.remove(refuse_credentials)
    for use in uses:
        with pytest.raises(UsageError) as caught:
            use(url)
        shown = told(caught.value)
        assert not [part for part in PARTS if part in shown], shown
    assert not [part for part in PARTS if part in "".join(capfd.readouterr())]


@pytest.mark.parametrize(
    "url",
    [
        "https://host:8080/pkg@1.0/bank", "http://127.0.0.1:9000/a@b/c", "http://localhost:1/a@b",
        "http://[::1]:80/a@b", "https://cdn.example.org/npm/x@1.2.3", "s3://bucket/a@b:c",
        "hf://owner/model@main/bank", "github://owner:repository@main/bank",
        "abfss://container@account.dfs.core.windows.net/bank", "sftp://someone@host/bank",
        "simplecache::s3://bucket/bank", "http://[::1]/bank", "s3://bucket/50%25 off+more",
        "https://minio:9000/bank", "memory://a:b",
    ],
)  # fmt: skip
def test_what_is_no_secret_is_left(url):
    assert refuse_credentials(url) == url


@pytest.mark.parametrize("path", ["C:/models", "./https:/x", "a:b", "/s3:/x", "user@host:x"])
def test_paths_are_no_urls(path):
    with pytest.raises(tvbank.errors.BankNotFoundError):
        tvbank.open(path)


@pytest.mark.parametrize("secret", SECRETS)
def test_texts_of_others(secret):
    text = f"GET https://user:{secret}@host/x?sig=SECRET failed"
    assert not [part for part in PARTS if part in redact(text)]
    assert not [part for part in PARTS if part in words_of(ValueError(text))]


@pytest.mark.parametrize(
    "text",
    [
        "failed for X-Amz-Signature=SECRET&x=1", "{'secret_access_key': 'SECRET SECRET'}",
        "AccountKey=SECRET;x", "Authorization: Bearer SECRET", 'token = "SECRET"',
        "password:SECRET",
        "url http://host:80/x and https://u:SECRET@h/y", "x-amz-security-token: SECRET",
        "http://u:SECRET SECRET@h",
    ],
)  # fmt: skip
def test_values_of_telling_names(text):
    assert "SECRET" not in redact(text)


def test_words_are_one_printable_line():
    shown = words_of(ValueError("\n\x1b[31mred\u202e and " + "long" * 200 + "\nsecond"))
    assert shown.isprintable()
    assert "second" not in shown
    assert len(shown) == 300
    remedy = "Error when retrieving token from sso: Token has expired; run aws sso login"
    for text in (remedy, "there are no credentials: set them", "Error loading SSO Token: log in"):
        assert words_of(ValueError(text)) == text


def test_nothing_of_a_url_is_noted_in_a_bank():
    place = tvbank.storage.MemoryStorage()
    with pytest.raises(UsageError):
        tvbank.create(place, "https://user:hunter2@host/x.safetensors")
    assert not any(b"hunter2" in data for data in banks.contents(place).values())


def test_a_url_where_a_file_is_to_be_written_or_a_manifest_read(tmp_path):
    bank = banks.small_bank(tmp_path / "bank")
    base = banks.base_model()
    for secret in ("hunter2", "hun/ter2", "hun ter2"):
        for place in (f"https://user:{secret}@host/x", f"https:/user:{secret}@host/x"):
            for use in (
                lambda place=place: tvbank.pack(bank.storage, f"{place}.zip"),
                lambda place=place: tvbank.export(
                    bank, "exact", out=f"{place}.safetensors", base=base
                ),
                lambda place=place: tvbank.build(f"{place}.toml"),
            ):  # fmt: skip
                with pytest.raises(UsageError, match="is a URL: give the path of a file") as caught:
                    use()
                assert "ter2" not in told(caught.value)


@pytest.mark.parametrize("arguments", [["ls", "a"], [], ["verify", "b"]])
def test_complaints_about_arguments_quote_no_password(arguments, capfd, monkeypatch):
    from tvbank.cli import main

    for url in ("https://user:hunter2@host/bank", "https://user:hun ter2@host?sig=ter2"):
        monkeypatch.setattr("sys.argv", ["tvbank", *arguments, url])
        with pytest.raises(SystemExit):
            main()
        shown = "".join(capfd.readouterr())
        assert "ter2" not in shown
        assert "host" in shown


def test_a_scheduler_whose_address_holds_a_password(tmp_path):
    bank = banks.small_bank(tmp_path / "bank")
    wanted = {"bank": bank.location, "tasks": {"t": {"checkpoint": "x"}}}
    with pytest.raises(UsageError, match="no user or password") as caught:
        tvbank.build(wanted, scheduler="tcp://user:hun/ter2@127.0.0.1:1")
    assert "ter2" not in told(caught.value)
