"""The loader at a real S3 server, through a proxy that is slow, throttles, cuts, corrupts or refuses."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from runtimes.local import loader
from runtimes.local.assembly import RANGE, THERE, ranges
from runtimes.source import SourceError
from runtimes.source.checksums import crc
from tests.integration.cache_runtime.faultyproxy import Asked, Fault, FaultyProxy, faulty
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectStore

MIB = 1 << 20


class Bench:
    """One prefix of the bucket, one cache directory, and the loader between them."""

    def __init__(self, store: ObjectStore, proxy: FaultyProxy, prefix: str, directory: Path) -> None:
        self.store, self.proxy, self.prefix, self.directory = store, proxy, prefix, directory
        self.client = store.client()
        self.environment = {"SOURCE0_ACCESS_KEY": ACCESS_KEY, "SOURCE0_SECRET_KEY": SECRET_KEY}

    def put(self, **files: bytes) -> None:
        """Objects by name."""
        for name, content in files.items():
            self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}", Body=content)

    @property
    def specification(self) -> Json:
        """As the backend writes it."""
        options = {"endpoint": self.proxy.endpoint}
        source = {"url": f"s3://{BUCKET}/{self.prefix}", "path": "/", "options": options}
        return {"directory": str(self.directory), "sources": [source], "owner": "LocalRuntime t/t"}

    def load(self) -> int:
        """Once, in this process."""
        return loader.run(self.specification, self.environment)

    def spawn(self) -> subprocess.Popen[str]:
        """In a process of its own."""
        environment = {**os.environ, **self.environment, "CACHE": json.dumps(self.specification)}
        command = [sys.executable, "-m", "runtimes.local.loader"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    @property
    def cached(self) -> dict[str, bytes]:
        """What pods would see."""
        data = self.directory / "data"
        return {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}


@pytest.fixture
def bench(store: ObjectStore, tmp_path: Path) -> Iterator[Bench]:
    with faulty(store.endpoint) as proxy:
        yield Bench(store, proxy, f"faults/{tmp_path.name}", tmp_path / "cache")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused for long is refused soon."""
    monkeypatch.setattr(
        loader.patiently, "__kwdefaults__", {**loader.patiently.__kwdefaults__, "patience": 0.5}
    )


def reads(proxy: FaultyProxy) -> list[Asked]:
    return [asked for asked in proxy.asked if asked.range]


def said(capsys: pytest.CaptureFixture[str], kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [line for line in lines if line["report"] == kind]


def test_a_slow_source_is_waited_for_and_its_rate_is_told(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.put(a=b"a" * 12_000)
    bench.proxy.rule = lambda asked: Fault(rate=6_000) if asked.range else None
    began = time.monotonic()
    assert bench.load() == 0
    took = time.monotonic() - began
    done = said(capsys, "done")[0]
    assert 12_000 / took <= done["rate"] < 7_000
    assert bench.cached == {"a": b"a" * 12_000}


def test_a_throttled_source_is_asked_less_and_not_before_it_says(bench: Bench) -> None:
    bench.put(**{f"f{n}": os.urandom(1000) for n in range(40)})
    refused: list[Asked] = []

    def rule(asked: Asked) -> Fault | None:
        if asked.range and (not refused or asked.at < refused[0].at + 3):
            refused.append(asked)
            return Fault(status=503, headers={"Retry-After": "1"})
        return None

    bench.proxy.rule = rule
    assert bench.load() == 0
    assert len(bench.cached) == 40
    first = refused[0].at
    # What was under way together is refused together; then nobody asks before the second is over, and
    # each time at most half as many do.
    assert len([a for a in reads(bench.proxy) if a.at < first + 0.9]) <= 16
    assert len(refused) <= 16 + 8 + 4 + 2


def test_a_body_that_ends_early_is_read_again(bench: Bench) -> None:
    content = os.urandom(3 * MIB)
    bench.put(a=content)
    bench.proxy.rule = lambda asked: Fault(cut=MIB) if asked.range and len(reads(bench.proxy)) < 3 else None
    assert bench.load() == 0
    assert bench.cached == {"a": content}
    assert len(reads(bench.proxy)) == 3


def test_an_answer_of_another_range_is_refused(bench: Bench) -> None:
    bench.put(a=b"x" * 100)

    def rule(asked: Asked) -> Fault | None:
        return Fault(body=b"<html>sign in</html>") if asked.range is None else None

    bench.proxy.rule = rule
    with pytest.raises(SourceError, match="not with a listing"):
        bench.load()
    bench.proxy.rule = lambda asked: Fault(body=b"<ListBuck") if asked.range is None else None
    with pytest.raises(SourceError, match="its listing cannot be read"):
        loader.patiently(lambda: loader.plan(bench.specification, bench.environment), patience=0.02)
    bench.proxy.rule = lambda asked: None
    assert bench.load() == 0


def test_corrupted_bytes_are_never_shown(bench: Bench) -> None:
    content = os.urandom(3 * MIB)
    bench.put(good=b"good", bad=content)
    bench.proxy.rule = lambda asked: Fault(flip=True) if asked.range and "/bad" in asked.path else None
    with pytest.raises(SourceError, match="bad: the bytes that came are not the object's: MD5 is"):
        bench.load()
    assert "bad" not in bench.cached
    bench.proxy.rule = lambda asked: None
    assert bench.load() == 0
    assert bench.cached == {"good": b"good", "bad": content}


@pytest.mark.parametrize("kind", ["CRC32", "SHA256", "MD5"])
def test_uploads_in_parts_are_verified_by_their_parts(
    bench: Bench, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    content = random.Random(1).randbytes(19 * MIB)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=6 * MIB)
    asked = {"ChecksumAlgorithm": kind} if kind != "MD5" else {}
    client = bench.store.client(checksums="when_required")  # else boto3 asks for CRC32 unasked
    client.upload_fileobj(io.BytesIO(content), BUCKET, f"{bench.prefix}/big", Config=parts, ExtraArgs=asked)
    assert "-4" in bench.client.head_object(Bucket=BUCKET, Key=f"{bench.prefix}/big")["ETag"]
    assert_verified(bench, capsys, content, kind)


def assert_verified(bench: Bench, capsys: pytest.CaptureFixture[str], content: bytes, kind: str) -> None:
    """A bit that is another one is found, whatever part it is in."""
    bench.proxy.rule = lambda asked: Fault(flip=True) if asked.range == "bytes=8388608-16777215" else None
    with pytest.raises(SourceError, match=f"big: the bytes that came are not the object's: {kind} is"):
        bench.load()
    assert bench.cached == {}
    bench.proxy.rule = lambda asked: None
    assert bench.load() == 0
    assert said(capsys, "done")[0]["unverified"] == 0
    assert bench.cached == {"big": content}


def upload(bench: Bench, content: bytes, kind: str, of: str) -> None:
    """In parts, with the checksums that Amazon's SDKs send unasked. The store refuses wrong ones."""
    found = crc(kind.lower())
    assert found is not None
    key = {"Bucket": BUCKET, "Key": f"{bench.prefix}/big"}

    def checksum(data: bytes) -> dict[str, str]:
        return {f"Checksum{kind}": base64.b64encode(found.digest(found.of(data))).decode()}

    begun = bench.client.create_multipart_upload(**key, ChecksumAlgorithm=kind, ChecksumType=of)
    key["UploadId"] = begun["UploadId"]
    parts = []
    for number, at in enumerate(range(0, len(content), 6 * MIB), 1):
        part = content[at : at + 6 * MIB]
        answer = bench.client.upload_part(**key, PartNumber=number, Body=part, **checksum(part))
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **checksum(part)})
    whole = checksum(content) if of == "FULL_OBJECT" else {}
    bench.client.complete_multipart_upload(**key, MultipartUpload={"Parts": parts}, ChecksumType=of, **whole)


@pytest.mark.parametrize(
    ("kind", "of"), [("CRC64NVME", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT"), ("CRC32C", "COMPOSITE")]
)
def test_what_amazons_sdks_upload_is_verified(
    bench: Bench, capsys: pytest.CaptureFixture[str], kind: str, of: str
) -> None:
    content = random.Random(1).randbytes(19 * MIB)
    upload(bench, content, kind, of)
    assert_verified(bench, capsys, content, kind)


def test_without_a_checksum_the_size_is_all_and_that_is_told(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    content = os.urandom(11 * MIB)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=6 * MIB)
    bench.client.upload_fileobj(io.BytesIO(content), BUCKET, f"{bench.prefix}/big", Config=parts)
    # A server that does not know part numbers says how long the whole is.
    bench.proxy.rule = lambda asked: Fault(status=200) if asked.method == "HEAD" else None
    assert bench.load() == 0
    assert said(capsys, "done")[0]["unverified"] == 1
    assert bench.cached == {"big": content}


def test_a_bucket_that_changes_while_it_is_read(bench: Bench) -> None:
    bench.put(a=b"old" * 1000, b=b"b" * 10, goes=b"gone")
    changed, one_by_one = threading.Event(), threading.Lock()

    def rule(asked: Asked) -> Fault | None:
        with one_by_one:  # who reads beside the first reads what was changed as well
            if asked.range and not changed.is_set():
                bench.put(a=b"newer" * 1000, comes=b"came")
                bench.client.delete_object(Bucket=BUCKET, Key=f"{bench.prefix}/goes")
                changed.set()
        return None

    bench.proxy.rule = rule
    assert bench.load() == 0
    assert bench.cached == {"a": b"newer" * 1000, "b": b"b" * 10, "comes": b"came"}


def test_credentials_that_end_while_it_loads(bench: Bench) -> None:
    bench.put(**{f"f{n}": os.urandom(100_000) for n in range(60)})

    def rule(asked: Asked) -> Fault | None:
        ended = asked.key == ACCESS_KEY and len(reads(bench.proxy)) > 20
        return Fault(status=403, code="ExpiredToken") if ended else None

    bench.proxy.rule = rule
    with pytest.raises(SourceError, match=r"access denied \(ExpiredToken.*check the keys") as caught:
        bench.load()
    assert caught.value.permanent
    had = len(bench.cached)
    assert 0 < had < 60
    before = bench.proxy.sent
    bench.proxy.rule = lambda asked: None
    assert bench.load() == 0
    assert len(bench.cached) == 60
    assert bench.proxy.sent - before < (60 - had + 1) * 100_000 + 50_000  # only what was missing


async def test_a_loader_that_is_killed_while_it_loads_goes_on_where_it_was(bench: Bench) -> None:
    content = random.Random(2).randbytes(60 * MIB)
    bench.put(a=content)
    first = f"bytes=0-{RANGE - 1}"
    bench.proxy.rule = lambda asked: Fault(stall=MIB) if asked.range == first else None

    def all_but_the_first() -> bool:
        journals = [path.read_bytes() for path in bench.directory.rglob("*.done")]
        return [journal.count(THERE) for journal in journals] == [ranges(len(content)) - 1]

    process = bench.spawn()
    await eventually(all_but_the_first)
    process.kill()
    process.wait()
    assert bench.cached == {}
    bench.proxy.rule = lambda asked: None
    again = bench.spawn()
    words, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert bench.cached == {"a": content}
    (done,) = (line for line in map(json.loads, words.splitlines()) if line["report"] == "done")
    assert done["bytes"] == len(content)
    assert done["origin"] == RANGE


ODD = (
    "a b",
    "a%20b",
    "plus+",
    "q?x",
    "hash#y",
    "new\nline",
    "cr\rx",
    "tab\t",
    "\x01control",
    "ünï 漢 🐘",
    "..hidden",
    ".dot",
    "quote'\"",
    "amp&<>",
    "semi;colon",
    "trail ",
    " lead",
    "a*b[c]{d}|e~`^",
    "x" * 250,
    "empty",
    "deep/er/" + "y" * 200,
)


def test_names_with_every_byte_that_a_key_may_have(bench: Bench) -> None:
    files = {name: name.encode() if name != "empty" else b"" for name in ODD}
    bench.put(**files)
    bench.client.put_object(Bucket=BUCKET, Key=f"{bench.prefix}/a directory/", Body=b"")
    assert bench.load() == 0
    assert bench.cached == files


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("../escaped", "cannot be a file"),
        ("a/../../escaped", "cannot be a file"),
        ("a//b", "cannot be a file"),
        ("n" * 300, "300 bytes between slashes"),
    ],
)
def test_names_that_no_file_can_have_are_refused_by_name(bench: Bench, key: str, words: str) -> None:
    """This store takes no such keys, others do: the listing is edited on its way."""
    bench.put(fine=b"1")
    pages: list[bytes] = []

    def rule(asked: Asked) -> Fault | None:
        if asked.range is None and not pages:
            pages.append(
                f"<ListBucketResult><Contents><Key>{bench.prefix}/{key}</Key><Size>1</Size></Contents>"
                "</ListBucketResult>".encode()
            )
        return Fault(body=pages[0]) if asked.range is None else None

    bench.proxy.rule = rule
    with pytest.raises(SourceError, match=words) as caught:
        bench.load()
    assert caught.value.permanent
    assert bench.cached == {}


def test_an_object_that_is_a_directory_too_is_refused(bench: Bench) -> None:
    bench.put(**{"a": b"file", "a/b": b"below it"})
    with pytest.raises(SourceError, match="'a' is an object and has 'a/b' below it"):
        bench.load()


def test_many_small_files_cost_the_same_each(bench: Bench) -> None:
    """A listing of several pages, and an index that is not written once per file."""
    count = 1_500
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: bench.put(**{f"d{n % 50}/f{n:06}": b"%d" % n}), range(count)))
    assert bench.load() == 0
    assert len(bench.cached) == count
    assert len([a for a in bench.proxy.asked if "list-type" in a.path]) == 2
    assert sorted(os.listdir(bench.directory / "partial")) == []
