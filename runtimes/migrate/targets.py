"""Where a migration writes: a bucket, or a directory that the pod mounts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from runtimes.source import Credentials, Object
from runtimes.source.stores import STORES, place

PART = 16 << 20  # of an upload; S3 allows 10,000 of them
_PIECE = 1 << 20
_ATTRIBUTE, _METADATA = "user.boundaryless.source", "source-version"


class Writer(Protocol):
    """One file being written."""

    def write(self, data: bytes) -> None:
        """The next part."""

    def finish(self) -> None:
        """Makes it appear, whole."""


class Target(Protocol):
    """Raises OSError."""

    def has(self, path: str, obj: Object) -> bool:
        """Whether this version of a file is there."""

    def writing(self, path: str, obj: Object) -> AbstractContextManager[Writer]:
        """Leaves nothing when it is not finished."""


def open_target(
    url: str, options: Mapping[str, str], directory: str, credentials: Credentials | None
) -> Target:
    """s3://bucket/prefix, or another store's, or file:///path, and a directory below."""
    if url.partition("://")[0] in STORES:
        return BucketTarget(url, options, directory, credentials)
    return DirectoryTarget(Path(url.removeprefix("file://")) / directory)


class DirectoryTarget:
    """A file appears by rename. Which version it is of is kept in an attribute, where the file system can."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, path: str, obj: Object) -> bool:
        """By attribute, else by checksum."""
        found = self._root / path
        try:
            if found.stat().st_size != obj.size:
                return False
        except OSError:
            return False
        with contextlib.suppress(OSError):
            return os.getxattr(found, _ATTRIBUTE) == _version(obj).encode()
        digest = obj.hasher()
        if obj.checksum is None or digest is None:
            return False
        with found.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest() == obj.checksum[1]

    @contextmanager
    def writing(self, path: str, obj: Object) -> Iterator[Writer]:
        """Beside its place, under a name of its own."""
        place = self._root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}.part")
        try:
            with temporary.open("wb") as file:
                yield _FileWriter(file, temporary, place, _version(obj))
        finally:
            temporary.unlink(missing_ok=True)


class _FileWriter:
    def __init__(self, file: Any, temporary: Path, place: Path, version: str) -> None:
        self._file, self._temporary, self._place, self._version = file, temporary, place, version

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        with contextlib.suppress(OSError):
            os.setxattr(self._temporary, _ATTRIBUTE, self._version.encode())
        self._temporary.replace(self._place)


class BucketTarget:
    """An object appears when its upload is complete; its version is in its metadata."""

    def __init__(
        self, url: str, options: Mapping[str, str], directory: str, credentials: Credentials | None
    ) -> None:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        secret = credentials.options if credentials is not None else {}
        found = place(url, {**options, **secret})
        self._bucket = found.bucket
        self._prefix = "/".join(part for part in (found.prefix, directory.strip("/")) if part)
        signed = credentials is not None and bool(credentials.access_key)
        # Checksums that nobody asked for are understood by S3 itself, and by what passes for it.
        checksums = "when_supported" if url.startswith("s3://") else "when_required"
        self._authority = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115 - as long as we
        self._authority.write(found.authority)
        self._authority.flush()
        config = Config(
            retries={"max_attempts": 8, "mode": "standard"},
            max_pool_connections=64,
            s3={"addressing_style": "virtual" if found.virtual else "path"},
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            **({} if signed else {"signature_version": UNSIGNED}),
        )
        self._client = boto3.client(
            "s3",
            endpoint_url=found.server.geturl(),
            region_name=found.region,
            verify=self._authority.name if found.authority else None,
            aws_access_key_id=credentials.access_key if credentials else None,
            aws_secret_access_key=credentials.secret_key if credentials else None,
            aws_session_token=(credentials.token or None) if credentials else None,
            config=config,
        )

    def has(self, path: str, obj: Object) -> bool:
        """By size and version."""
        from botocore.exceptions import ClientError

        with _as_os_error():
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=self._key(path))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
        if found["ContentLength"] != obj.size:
            return False
        return bool(
            found["Metadata"].get(_METADATA) == _version(obj) or (obj.md5 and found["ETag"] == f'"{obj.md5}"')
        )

    @contextmanager
    def writing(self, path: str, obj: Object) -> Iterator[Writer]:
        """Small files at once, large ones in parts."""
        writer = _Upload(self._client, self._bucket, self._key(path), obj)
        with _as_os_error():
            try:
                yield writer
            finally:
                writer.abort()

    def _key(self, path: str) -> str:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise OSError(f"{path!r} has a name that no object can have: it is not UTF-8") from None
        return f"{self._prefix}/{path}".lstrip("/")


class _Upload:
    def __init__(self, client: Any, bucket: str, key: str, obj: Object) -> None:
        self._client, self._at = client, {"Bucket": bucket, "Key": key}
        self._metadata = {_METADATA: _version(obj)}
        self._single = obj.size <= PART
        self._data, self._upload = b"", ""
        self._parts: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        if self._single:
            self._data = data
            return
        if not self._upload:
            made = self._client.create_multipart_upload(**self._at, Metadata=self._metadata)
            self._upload = made["UploadId"]
        number = len(self._parts) + 1
        sent = self._client.upload_part(**self._at, UploadId=self._upload, PartNumber=number, Body=data)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def finish(self) -> None:
        if self._single:
            self._client.put_object(**self._at, Body=self._data, Metadata=self._metadata)
            return
        parts = {"Parts": self._parts}
        self._client.complete_multipart_upload(**self._at, UploadId=self._upload, MultipartUpload=parts)
        self._upload = ""

    def abort(self) -> None:
        """Parts of an upload that nobody finishes cost money."""
        if self._upload:
            self._client.abort_multipart_upload(**self._at, UploadId=self._upload)


def _version(obj: Object) -> str:
    """Of a source's file, in letters that metadata can hold."""
    return hashlib.sha256(f"{obj.size} {obj.etag}".encode()).hexdigest()[:32]


@contextmanager
def _as_os_error() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error
