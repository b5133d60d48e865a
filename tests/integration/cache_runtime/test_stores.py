"""Stores that speak S3's protocol in their own ways: buckets in hosts, names of options, checksums."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anycrc
import pytest

from addon_framework.local.pki import Authority
from runtimes.local import loader
from runtimes.migrate import program
from runtimes.source import Credentials, SourceError, open_source
from tests.integration.cache_runtime.faultyproxy import Asked, Fault, FaultyProxy, faulty
from tests.integration.cache_runtime.objectstore import ACCESS_KEY, BUCKET, DOMAIN, SECRET_KEY, ObjectStore

ACCOUNT = Credentials(ACCESS_KEY, SECRET_KEY)
SOURCE = {"SOURCE0_ACCESS_KEY": ACCESS_KEY, "SOURCE0_SECRET_KEY": SECRET_KEY}


@pytest.fixture
def asked_names(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names below the store's domain exist: those that somebody asked for."""
    resolve, asked = socket.getaddrinfo, set[str]()

    def names(host: Any, *rest: Any, **more: Any) -> Any:
        if not str(host).endswith(DOMAIN):
            return resolve(host, *rest, **more)
        asked.add(host)
        return resolve("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", names)
    return asked


@pytest.fixture
def strict(store: ObjectStore, asked_names: set[str]) -> Iterator[FaultyProxy]:
    """The store as OSS and COS are: it knows buckets by the host's name alone."""

    def refuse(asked: Asked) -> Fault | None:
        by_path = asked.path.partition("?")[0].strip("/").partition("/")[0] == BUCKET
        return Fault(status=403, code="SecondLevelDomainForbidden") if by_path else None

    with faulty(store.endpoint) as proxy:
        proxy.rule = refuse
        yield proxy


def endpoint(server: FaultyProxy | ObjectStore) -> str:
    return f"http://{DOMAIN}:{server.endpoint.rpartition(':')[2]}"


def load(directory: Path, url: str, options: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Any:
    """What a load says at its end."""
    sources = [{"url": url, "path": "/", "options": options}]
    assert loader.run({"directory": str(directory), "sources": sources}, SOURCE) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return next(said for said in reports if said["report"] == "done")


@pytest.mark.parametrize(
    ("scheme", "option"),
    [("oss", "fs.oss.endpoint"), ("cosn", "fs.cosn.bucket.endpoint_suffix"), ("obs", "endpoint")],
)
def test_buckets_are_parts_of_hosts_where_paths_are_refused(
    scheme: str,
    option: str,
    strict: FaultyProxy,
    model: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = load(tmp_path, f"{scheme}://{BUCKET}/llama", {option: endpoint(strict)}, capsys)
    assert (done["files"], done["unverified"]) == (len(model), 0)
    for path, content in model.items():
        assert (tmp_path / "data" / path).read_bytes() == content


def test_a_refused_style_is_said(strict: FaultyProxy, model: dict[str, bytes]) -> None:
    options = {"endpoint": endpoint(strict)}
    with pytest.raises(SourceError, match=r"Forbidden.*; say addressing: virtual") as caught:
        list(open_source(f"s3://{BUCKET}/llama", options, ACCOUNT).objects())
    assert caught.value.permanent
    source = open_source(f"s3://{BUCKET}/llama", {**options, "addressing": "virtual"}, ACCOUNT)
    assert {obj.path for obj in source.objects()} == set(model)


def test_a_migration_writes_there_too(
    store: ObjectStore, asked_names: set[str], model: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    for path, content in {"small": b"1", "sub/large": bytes(40 << 20)}.items():
        (tmp_path / path).write_bytes(content)
    there = {"url": f"oss://{BUCKET}/moved-kin", "options": {"fs.oss.endpoint": endpoint(store)}}
    source = {"url": f"file://{tmp_path}", "path": "/", "options": {}}
    account = {"TARGET_ACCESS_KEY": ACCESS_KEY, "TARGET_SECRET_KEY": SECRET_KEY}
    program.run({"sources": [source], "to": there}, account)
    assert asked_names == {f"{BUCKET}.{DOMAIN}"}
    found = store.client().list_objects_v2(Bucket=BUCKET, Prefix="moved-kin/")["Contents"]
    assert {each["Key"]: each["Size"] for each in found} == {
        "moved-kin/small": 1,
        "moved-kin/sub/large": 40 << 20,
    }


@pytest.mark.parametrize(
    ("kind", "model_of_crc", "header", "written"),
    [
        ("crc64xz", "CRC64-XZ", "x-oss-hash-crc64ecma", str),
        ("crc32c", "CRC32C", "x-goog-hash", lambda v: f"crc32c={base64.b64encode(v.to_bytes(4)).decode()}"),
    ],
)
def test_checksums_by_other_names_are_compared(
    kind: str,
    model_of_crc: str,
    header: str,
    written: Any,
    store: ObjectStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of objects in parts, whose ETags are no digests at these stores."""
    content = bytes(range(256)) * 40_000
    client, key = store.client("when_required"), f"named/{kind}"
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)
    part = {"Bucket": BUCKET, "Key": key, "UploadId": upload["UploadId"]}
    half = 5 << 20
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**part, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate((content[:half], content[half:]), 1)
    ]
    client.complete_multipart_upload(**part, MultipartUpload={"Parts": parts})
    right = anycrc.Model(model_of_crc).calc(content)
    options, url = {"addressing": "path"}, f"oss://{BUCKET}/named/{kind}"
    with faulty(store.endpoint) as proxy:
        options["endpoint"] = proxy.endpoint
        proxy.rule = lambda asked: Fault(headers={header: written(right)})
        source = open_source(url, options, ACCOUNT)
        (obj,) = source.objects()
        assert "-2" in obj.etag
        assert (source.detailed(obj).checksum or ("",))[0] == kind
        assert load(tmp_path / "right", url, options, capsys)["unverified"] == 0
        proxy.rule = lambda asked: Fault(headers={header: written(right ^ 1)})
        with pytest.raises(SourceError, match=f"the bytes that came are not the object's: {kind.upper()} is"):
            load(tmp_path / "wrong", url, options, capsys)
    assert not list((tmp_path / "wrong" / "data").rglob("*"))


def test_what_was_appended_to_is_not_known_by_its_etag(
    store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = b"line\n" * 1000
    store.client("when_required").put_object(Bucket=BUCKET, Key="appended/log", Body=content)
    headers = {"x-oss-object-type": "Appendable"}
    with faulty(store.endpoint) as proxy:
        proxy.rule = lambda asked: Fault(headers=headers)
        url, options = f"oss://{BUCKET}/appended", {"endpoint": proxy.endpoint}
        assert load(tmp_path / "without", url, options, capsys)["unverified"] == 1
        headers["x-oss-hash-crc64ecma"] = str(anycrc.Model("CRC64-XZ").calc(content))
        assert load(tmp_path / "with", url, options, capsys)["unverified"] == 0
    assert (tmp_path / "with/data/log").read_bytes() == content


def test_a_private_authority_is_trusted_where_the_source_says_so(
    store: ObjectStore, model: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority.create("private")
    pair = authority.issue("store", usage="server auth", addresses=["127.0.0.1"])
    (tmp_path / "pem").write_bytes(pair.key + pair.cert)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "pem")
    with faulty(store.endpoint, tls=tls) as proxy:
        options = {"endpoint": proxy.endpoint}
        with pytest.raises(SourceError, match=r"unable to get local issuer.*caBundle"):
            list(open_source(f"s3://{BUCKET}/llama", options, ACCOUNT).objects())
        options["caBundle"] = authority.cert_pem.decode()
        done = load(tmp_path / "cache", f"s3://{BUCKET}/llama", options, capsys)
    assert done["files"] == len(model)
