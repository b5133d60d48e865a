"""What is wrong with a JuiceFSRuntime or its Dataset, and what of them has no effect, by field. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from addon_framework.api.quantity import parse_quantity
from runtimes.fuse import root_only
from runtimes.interface import Cache, Source
from runtimes.juicefs import gateway
from runtimes.juicefs.flags import FORMAT_OPTIONS, below, fuse_options, is_copy
from runtimes.options import flag_problems, is_plain, unknown_options
from runtimes.pods import CREDENTIALS
from runtimes.schemes import elsewhere
from runtimes.source.s3 import OPTIONS
from runtimes.tiers import tier_problems
from runtimes.workloads import volume_problems

NOTHING = "a copy of a bucket has nothing that the bucket has not; load it anew"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])")
_NO_PODS = "there are no such pods: clients cache on their own nodes; say it of spec.fuse"
_WITHOUT_EFFECT = {
    "spec.master": _NO_PODS,
    "spec.worker": _NO_PODS,
    "spec.jobWorker": _NO_PODS,
    "spec.runAs": "a client mounts as root; files belong to whom they belong in JuiceFS",
    "spec.initUsers": "a client mounts as root",
    "spec.disablePrometheus": "clients are not scraped",
    "spec.tieredstore.levels.high": "JuiceFS has no high water-mark",
    "Dataset.spec.owner": "files belong to whom they belong in JuiceFS",
    "Dataset.spec.mounts.shared": "JuiceFS has one mount only",
}
_OF_FILE_SYSTEMS = {"spec.replicas": "each client caches on its own node; there is one on every node"}
_OF_COPIES = {"spec.tieredstore.levels.low": "a copy is whole"}


def without_effect(cache: Cache) -> dict[str, str]:
    """By way."""
    return {**_WITHOUT_EFFECT, **(_OF_COPIES if is_copy(cache) else _OF_FILE_SYSTEMS), **root_only(cache)}


def problems(cache: Cache) -> list[str]:
    """One source, of a kind it can mount or be filled from."""
    where, title = f"Dataset {cache.namespace}/{cache.name}: spec.mounts", cache.title
    if len(cache.sources) != 1:
        return [f"{where}: JuiceFS takes exactly one, there are {len(cache.sources)}"]
    source = cache.sources[0]
    if source.scheme == "s3":
        found = list(_copy(cache))
    elif source.scheme == "juicefs":
        found = list(_file_system(source, where))
    else:
        wrong = f"{where}[0].mountPoint: {source.url!r} must be juicefs:///path or s3://bucket/prefix"
        found = [f"{wrong}{elsewhere(source.scheme, cache.runtime['kind'])}"]
    found += [*tier_problems(cache, limited=False), *volume_problems(cache, ("fuse",))]
    if len((cache.spec.get("tieredstore") or {}).get("levels") or []) > 1:
        found.append(f"{title}: spec.tieredstore.levels: JuiceFS takes one, which may have several paths")
    if cache.spec.get("volumeClaimTemplates"):
        found.append(
            f"{title}: spec.volumeClaimTemplates: {_NO_PODS}; a claim can be one of spec.volumes, and "
            "spec.tieredstore says where the cache is"
        )
    found += [
        f"{title}: spec.fuse.options.{name}: is of the Dataset's mount, not of the client"
        for name in (*FORMAT_OPTIONS, "quota")
        if name in ((cache.spec.get("fuse") or {}).get("options") or {})
    ]
    found += gateway.problems(cache) if source.scheme in ("s3", "juicefs") else ()
    if found:
        return found
    found += [
        f"{title}: spec.configs: {text!r} has characters that a flag cannot have"
        for text in cache.spec.get("configs") or []
        if not is_plain(text)
    ]
    return [*found, *flag_problems(f"{title}: spec.fuse.options", fuse_options(cache))]


def _copy(cache: Cache) -> Iterator[str]:
    where = f"Dataset {cache.namespace}/{cache.name}: spec"
    yield from unknown_options(cache, 0, OPTIONS, [*CREDENTIALS])
    if not cache.read_only:
        yield f"{where}.accessModes: a copy of a bucket can only be ReadOnlyMany"
    if cache.dataset.spec.data_restore_location is not None:
        yield f"{where}.dataRestoreLocation: {NOTHING}"
    for level in (cache.spec.get("tieredstore") or {}).get("levels") or []:
        if level.get("volumeType", "hostPath") != "hostPath":
            yield (
                f"{cache.title}: spec.tieredstore.levels[0].volumeType: must be hostPath, since a DataLoad "
                "fills the directory of the node"
            )
        if "," in str(level.get("path")) or ":" in str(level.get("path")):
            yield f"{cache.title}: spec.tieredstore.levels[0].path: a copy is in one directory"


def _file_system(source: Source, where: str) -> Iterator[str]:
    if "metaurl" not in source.secrets:
        yield f"{where}[0].encryptOptions: metaurl is needed (community edition)"
    if not _NAME.fullmatch(source.name):
        yield f"{where}[0].name: {source.name!r} must be 3 to 63 letters, digits and dashes"
    for name in source.secrets:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            yield f"{where}[0].encryptOptions: {name!r} cannot be a variable"
    if said := source.options.get("quota"):
        try:
            enough = parse_quantity(said) >= 1 << 30
        except ValueError:
            enough = False
        if not enough:
            yield f"{where}[0].options.quota: {said!r} must be a quantity of at least 1Gi"
        if not below(source):
            yield f"{where}[0].options.quota: is of a directory; name it: juicefs:///directory"
