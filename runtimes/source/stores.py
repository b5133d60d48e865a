"""Stores that speak S3's protocol: where they are, how buckets are addressed, what options are called.

Besides our own names of options those that Fluid's users have in their Datasets: JindoCache's
`fs.<scheme>.endpoint`, Alluxio's, Hadoop's of COS, and those of Fluid's sample for MinIO.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from runtimes.source.objects import SourceError

AUTHORITY = "caBundle"  # certificates (PEM) that are trusted in place of the system's; may be a secret option
OPTIONS = ("endpoint", "region", "addressing", AUTHORITY)
_ADDRESSING = ("path", "virtual")
# Whose servers refuse paths that begin with the bucket, whatever the scheme.
_VIRTUAL = re.compile(r"(.+\.)?(aliyuncs\.com|myqcloud\.com|tencentcos\.cn|myhuaweicloud\.com)")
_DNS_BUCKETS = "alluxio.underfs.s3.disable.dns.buckets"


@dataclass(frozen=True)
class Store:
    """What is behind a scheme. `{region}` in `host` is the option's; `region` is used where none is said.

    `options` and `secrets` are other names of ours: OPTIONS, and the parts of an account.
    """

    host: str
    region: str = ""
    virtual: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


KEY, SECRET = "ACCESS_KEY", "SECRET_KEY"  # parts of an account
_COS = Store(
    "cos.{region}.myqcloud.com",
    virtual=True,
    options={
        "fs.cos.endpoint": "endpoint",
        "fs.cos.region": "region",
        "fs.cosn.bucket.endpoint_suffix": "endpoint",
        "fs.cosn.bucket.region": "region",
    },
    secrets={
        "fs.cos.accessKeyId": KEY,
        "fs.cos.accessKeySecret": SECRET,
        "fs.cos.access.key": KEY,
        "fs.cos.secret.key": SECRET,
        "fs.cosn.userinfo.secretId": KEY,
        "fs.cosn.userinfo.secretKey": SECRET,
    },
)
STORES = {
    "s3": Store(
        "s3.{region}.amazonaws.com",
        "us-east-1",
        options={
            "fs.s3.endpoint": "endpoint",
            "fs.s3.region": "region",
            "alluxio.underfs.s3.endpoint": "endpoint",
            "alluxio.underfs.s3.region": "region",
            "alluxio.underfs.s3.endpoint.region": "region",
            _DNS_BUCKETS: "addressing",
        },
        secrets={
            "fs.s3.accessKeyId": KEY,
            "fs.s3.accessKeySecret": SECRET,
            "s3a.accessKeyId": KEY,
            "s3a.secretKey": SECRET,
        },
    ),
    "oss": Store(
        "oss-{region}.aliyuncs.com",
        virtual=True,
        options={"fs.oss.endpoint": "endpoint", "fs.oss.region": "region"},
        secrets={
            "fs.oss.accessKeyId": KEY,
            "fs.oss.accessKeySecret": SECRET,
            "fs.oss.sessionToken": "TOKEN",
        },
    ),
    "cos": _COS,
    "cosn": _COS,
    "obs": Store(
        "obs.{region}.myhuaweicloud.com",
        virtual=True,
        options={"fs.obs.endpoint": "endpoint"},
        secrets={
            "fs.obs.accessKeyId": KEY,
            "fs.obs.accessKeySecret": SECRET,
            "fs.obs.accessKey": KEY,
            "fs.obs.secretKey": SECRET,
        },
    ),
    "gs": Store(
        "storage.googleapis.com",
        "auto",
        secrets={"fs.gcs.accessKeyId": KEY, "fs.gcs.secretAccessKey": SECRET},
    ),
    "minio": Store(
        "",
        "us-east-1",
        options={"minio-url": "endpoint"},
        secrets={"minio-access-key": KEY, "minio-access-secret": SECRET},
    ),
}


@dataclass(frozen=True)
class Place:
    """A bucket's address: requests go below `root` at `endpoint`, which is `server` with the bucket."""

    bucket: str
    prefix: str
    endpoint: SplitResult
    server: SplitResult
    region: str
    virtual: bool  # the endpoint's host has the bucket in it
    authority: str

    @property
    def root(self) -> str:
        """The path of the bucket."""
        return "" if self.virtual else f"/{self.bucket}"


def option_names(scheme: str) -> tuple[str, ...]:
    """Ours first."""
    return (*OPTIONS, *STORES[scheme].options)


def secret_names(scheme: str) -> Mapping[str, str]:
    """Other names of the parts of an account, for one scheme."""
    return STORES[scheme].secrets if scheme in STORES else {}


def place(url: str, options: Mapping[str, str]) -> Place:
    """Where a bucket is. Raises SourceError, which says what is missing."""
    scheme, _, rest = url.partition("://")
    store, said = STORES[scheme], _ours(scheme, options)
    bucket, _, prefix = rest.partition("/")
    given = said.get("endpoint", "")
    if (
        scheme == "minio" and not given and ":" in bucket
    ):  # minio://host:port/bucket/prefix, as JuiceFS has it
        given, (bucket, _, prefix) = f"http://{bucket}", prefix.partition("/")
    if not bucket:
        raise SourceError(f"{url}: the URL must be {scheme}://bucket/prefix", permanent=True)
    region = said.get("region", "").removeprefix(f"{scheme}-")
    endpoint = _endpoint(given or store.host.format(region=region or store.region or "{region}"))
    if not endpoint.hostname or "{" in endpoint.netloc:
        needed = "endpoint or region" if store.host else "endpoint"
        raise SourceError(f"{url}: option {needed} is needed", permanent=True)
    addressing = said.get("addressing")
    if addressing not in (None, *_ADDRESSING):
        raise SourceError(f"{url}: option addressing: {addressing!r} must be path or virtual", permanent=True)
    virtual = addressing == "virtual" if addressing else _is_virtual(store, endpoint.hostname)
    region = region or _region(store, endpoint.hostname) or store.region or "us-east-1"
    server = endpoint
    if virtual:
        server = endpoint._replace(netloc=endpoint.netloc.removeprefix(f"{bucket}."))
        endpoint = server._replace(netloc=f"{bucket}.{server.netloc}")
    return Place(bucket, prefix.strip("/"), endpoint, server, region, virtual, said.get(AUTHORITY, ""))


def _ours(scheme: str, options: Mapping[str, str]) -> dict[str, str]:
    """By our own names, which win."""
    names = STORES[scheme].options
    said = {names[name]: value for name, value in options.items() if name in names}
    if _DNS_BUCKETS in options:
        said["addressing"] = "path" if options[_DNS_BUCKETS] == "true" else "virtual"
    return {**said, **{name: value for name, value in options.items() if name not in names}}


def _endpoint(text: str) -> SplitResult:
    return urlsplit(text if "://" in text else f"https://{text}")


def _is_virtual(store: Store, host: str) -> bool:
    """An address of the network has no names below it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return store.virtual or _VIRTUAL.fullmatch(host) is not None
    return False


def _region(store: Store, host: str) -> str:
    """Of the store's own endpoints, perhaps those that are only reached from within."""
    before, _, after = store.host.partition("{region}")
    match = re.fullmatch(rf"(?:.+\.)?{re.escape(before)}([a-z0-9-]+?)(?:-internal)?{re.escape(after)}", host)
    return match[1] if match and after else ""
