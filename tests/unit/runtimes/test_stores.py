"""Where a bucket is, by the names that people have in their Datasets."""

from __future__ import annotations

import subprocess
import sys

import pytest

from addon_framework.api.data import LocalRuntime
from addon_framework.api.meta import Json
from runtimes.interface import Cache
from runtimes.local import LocalBackend
from runtimes.source import SourceError
from runtimes.source.stores import place

PRIVATE = "http://10.0.0.9:9000"


@pytest.mark.parametrize(
    ("url", "options", "where", "region"),
    [
        ("s3://b/p", {}, "https://s3.us-east-1.amazonaws.com/b", "us-east-1"),
        ("s3://b", {"region": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com/b", "eu-west-1"),
        ("s3://b", {"fs.s3.endpoint": "s3.eu-west-1.amazonaws.com"}, "", "eu-west-1"),
        ("s3://b", {"endpoint": PRIVATE}, f"{PRIVATE}/b", "us-east-1"),
        ("s3://b", {"addressing": "virtual"}, "https://b.s3.us-east-1.amazonaws.com", "us-east-1"),
        ("s3://b", {"endpoint": "oss-cn-beijing.aliyuncs.com"}, "https://b.oss-cn-beijing.aliyuncs.com", ""),
        ("oss://b/p", {"region": "cn-hangzhou"}, "https://b.oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ("oss://b", {"region": "oss-cn-hangzhou"}, "https://b.oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        (
            "oss://b",
            {"fs.oss.endpoint": "oss-cn-shanghai-internal.aliyuncs.com"},
            "https://b.oss-cn-shanghai-internal.aliyuncs.com",
            "cn-shanghai",
        ),
        ("oss://b", {"endpoint": PRIVATE}, f"{PRIVATE}/b", ""),
        (
            "oss://b",
            {"endpoint": "https://b.oss-cn-x.aliyuncs.com"},
            "https://b.oss-cn-x.aliyuncs.com",
            "cn-x",
        ),
        (
            "cos://b-125",
            {"fs.cosn.bucket.region": "ap-beijing"},
            "https://b-125.cos.ap-beijing.myqcloud.com",
            "ap-beijing",
        ),
        (
            "obs://b",
            {"fs.obs.endpoint": "obs.cn-north-4.myhuaweicloud.com"},
            "https://b.obs.cn-north-4.myhuaweicloud.com",
            "cn-north-4",
        ),
        ("gs://b/p", {}, "https://storage.googleapis.com/b", "auto"),
        ("minio://b/p", {"minio-url": "http://minio:9000"}, "http://minio:9000/b", "us-east-1"),
        ("minio://minio:9000/b/p", {}, "http://minio:9000/b", "us-east-1"),
        ("s3://b", {"alluxio.underfs.s3.endpoint": PRIVATE}, f"{PRIVATE}/b", "us-east-1"),
        (
            "s3://b",
            {"alluxio.underfs.s3.endpoint": "http://s3.x", "alluxio.underfs.s3.disable.dns.buckets": "false"},
            "http://b.s3.x",
            "us-east-1",
        ),
        # Ours win.
        ("oss://b", {"fs.oss.endpoint": "http://a", "endpoint": "http://c"}, "http://b.c", ""),
    ],
)
def test_a_buckets_place(url: str, options: dict[str, str], where: str, region: str) -> None:
    found = place(url, options)
    if where:
        assert f"{found.endpoint.geturl()}{found.root}" == where
    assert found.bucket.startswith("b")
    assert found.prefix == ("p" if url.endswith("/p") else "")
    if region:
        assert found.region == region


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("s3://", {}, "must be s3://bucket/prefix"),
        ("oss://b", {}, "option endpoint or region is needed"),
        ("minio://b", {}, "option endpoint is needed"),
        ("s3://b", {"addressing": "dns"}, "'dns' must be path or virtual"),
    ],
)
def test_what_is_missing_is_said(url: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        place(url, options)
    assert caught.value.permanent


def secret(name: str) -> Json:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": name}}}


def cache_of(url: str, options: dict[str, str], *secrets: str) -> Cache:
    mount = {"mountPoint": url, "name": "m", "options": options}
    mount["encryptOptions"] = [secret(name) for name in secrets]
    dataset: Json = {"metadata": {"name": "d", "namespace": "n"}, "spec": {"mounts": [mount]}}
    runtime: Json = {
        "apiVersion": LocalRuntime.RESOURCE.api_version,
        "kind": LocalRuntime.RESOURCE.kind,
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {},
    }
    return Cache.of(dataset, runtime, image="i")


@pytest.mark.parametrize(
    ("url", "options", "secrets"),
    [
        ("oss://b", {"fs.oss.endpoint": "e"}, ("fs.oss.accessKeyId", "fs.oss.accessKeySecret")),
        ("cos://b", {"fs.cos.endpoint": "e"}, ("fs.cos.accessKeyId", "fs.cos.accessKeySecret")),
        ("cosn://b", {"region": "r"}, ("fs.cosn.userinfo.secretId", "fs.cosn.userinfo.secretKey")),
        ("obs://b", {"fs.obs.endpoint": "e"}, ("fs.obs.accessKeyId", "fs.obs.accessKeySecret")),
        ("gs://b", {}, ("fs.gcs.accessKeyId", "fs.gcs.secretAccessKey")),
        ("minio://b", {"minio-url": "http://m"}, ("minio-access-key", "minio-access-secret")),
        ("oss://b", {"region": "r"}, ("aws.accessKeyId", "aws.secretKey")),
    ],
)
def test_accounts_by_the_names_of_each_store(
    url: str, options: dict[str, str], secrets: tuple[str, str]
) -> None:
    cache, backend = cache_of(url, options, *secrets), LocalBackend()
    assert backend.validate(cache) == []
    assert backend.lists(cache.sources[0])
    (worker,) = backend.components(cache)
    given = {
        v["name"]: v["valueFrom"]["secretKeyRef"]["key"] for v in worker.pod["containers"][0]["env"][1:3]
    }
    assert given == {"SOURCE0_ACCESS_KEY": secrets[0], "SOURCE0_SECRET_KEY": secrets[1]}


@pytest.mark.parametrize(
    ("url", "options", "secrets", "words"),
    [
        ("oss://b", {}, (), "spec.mounts[0]: oss://b: option endpoint or region is needed"),
        (
            "oss://b",
            {"fs.cos.endpoint": "e", "region": "r"},
            (),
            "spec.mounts[0].options: unknown fs.cos.endpoint",
        ),
        (
            "oss://b",
            {"region": "r", "fs.oss.accessKeySecret": "x"},
            (),
            "options.fs.oss.accessKeySecret: is a secret; write it into encryptOptions",
        ),
        (
            "oss://b",
            {"region": "r"},
            ("fs.oss.accessKeyId",),
            "encryptOptions: has fs.oss.accessKeyId, and nothing that belongs to it; one of aws.secretKey,",
        ),
        ("b/prefix", {}, (), "mountPoint: 'b/prefix' must be a URL, such as s3://bucket/prefix"),
        ("gs://b", {"fs.gcs.credential.path": "/x"}, (), "unknown fs.gcs.credential.path; known: endpoint"),
        ("s3://b", {"caBundle": "no certificate"}, (), "option caBundle: has no certificates"),
        ("hdfs://nn:9000/x", {}, (), "AlluxioRuntime and JindoRuntime read hdfs://"),
        ("hdfs://nn:9000/x", {}, (), "pyarrow, Java and Hadoop's libraries; webhdfs:// needs none of these"),
        ("juicefs:///x", {}, (), "JuiceFSRuntime reads juicefs://"),
        ("smb://h/x", {}, (), 'needs a driver that is not in the image: SMB requires "smbprotocol"'),
        ("gopher://h/x", {}, (), "nothing here knows gopher://"),
        ("memory://x", {}, (), "nothing here knows memory://"),
        ("ftp://h/x", {"endpoint": "x"}, (), "spec.mounts[0].options: unknown endpoint; known: host, port"),
        ("ftp://h/x", {}, ("aws.accessKeyId",), "spec.mounts[0].encryptOptions: unknown aws.accessKeyId"),
        ("ftp://h/x", {"password": "x"}, (), "spec.mounts[0].options.password: is a secret; write it into"),
        ("ftp://u:p@h/x", {}, (), "has a password; write it into encryptOptions"),
    ],
)
def test_what_cannot_work_is_refused(
    url: str, options: dict[str, str], secrets: tuple[str, ...], words: str
) -> None:
    problems = LocalBackend().validate(cache_of(url, options, *secrets))
    assert any(words in problem for problem in problems), problems
    assert all("Dataset n/d: spec.mounts[0]" in problem for problem in problems)
    assert not any("u:p@" in problem for problem in problems)


@pytest.mark.parametrize(
    ("url", "secrets", "listed"),
    [
        ("s3://b", (), True),
        ("oss://b", (), True),
        ("sftp://h/x", (), True),
        ("gcs://b", (), False),  # its driver might find the agent's own identity
        ("gcs://b", ("token",), True),
        ("pvc://claim", (), False),
        ("local:///x", (), False),
    ],
)
def test_the_agent_lists_for_nobody_what_only_itself_may_see(
    url: str, secrets: tuple[str, ...], listed: bool
) -> None:
    assert LocalBackend().lists(cache_of(url, {}, *secrets).sources[0]) == listed


def test_a_driver_may_be_in_the_image_though_it_is_not_here() -> None:
    cache = cache_of("smb://h/x", {})
    object.__setattr__(cache, "image", "")  # as fleetadm asks, which does not know the image
    assert LocalBackend().validate(cache) == []


def test_a_loader_that_needs_no_driver_imports_none() -> None:
    program = (
        "import sys, runtimes.local.loader; "
        "runtimes.local.loader.open_source('oss://b', {'region': 'r'}, None); "
        "print([m for m in ('fsspec', 'paramiko', 'runtimes.source.drivers', 'boto3') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"
