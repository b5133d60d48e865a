"""AWS Signature Version 4 for requests without a body.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Credentials:
    """Of an S3 account; `options` are others of a source that are secret, by their names."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


def encode_query(query: Mapping[str, str]) -> str:
    """As both the URL and the signature need it: sorted, and everything but unreserved characters escaped."""
    return "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))


def signed_headers(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    credentials: Credentials,
    region: str,
    now: datetime | None = None,
) -> dict[str, str]:
    """`headers` with those that authenticate the request. `path` and `query` are already encoded."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    result = {**headers, "x-amz-date": moment, "x-amz-content-sha256": EMPTY_SHA256}
    if credentials.token:
        result["x-amz-security-token"] = credentials.token
    signed = {"host": host, **{name.lower(): value.strip() for name, value in result.items()}}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    canonical = "\n".join((method, path, query, lines, names, EMPTY_SHA256))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (moment[:8], region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(), "sha256").hex()
    result["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return result
