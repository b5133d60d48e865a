"""DataMigrate: copies data into a Dataset's storage, or out of it. Pure.

A Dataset whose mounts are buckets is read and written there, past any cache; any other through its claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from addon_framework.api.data import DataMigrate
from addon_framework.api.meta import Json, from_dict
from addon_framework.kube import Key
from addons.cache_runtime.agent.affinities import joined
from addons.cache_runtime.agent.backends import Binding
from addons.cache_runtime.agent.operations.kinds import (
    Kind,
    Part,
    Plan,
    RefusedError,
    invalid,
    own_namespace,
    title,
)
from runtimes.interface import Migration, SecretKey, Source, Task
from runtimes.mounts import secret_options
from runtimes.source.stores import STORES, option_names
from runtimes.sources import readable

# Fluid's launcher reaches its workers by ssh.
_PARALLEL_OPTIONS = ("sshSecretName", "sshPort", "sshReadyTimeoutSeconds")
_OF_STORES = {name for scheme in STORES for name in option_names(scheme)}


class Migrate(Kind):
    """What writes into a Dataset has it for itself; `block` keeps others away from its source too."""

    resource = DataMigrate.RESOURCE
    role = "migrate"
    finalizer = "fluid-datamigrate-controller-finalizer"

    def targets(self, op: Json) -> list[Key]:
        """The Datasets of both ends."""
        return [key for _, key in _datasets(op)]

    def writes(self, op: Json, bindings: Sequence[Binding]) -> bool:
        """Into a Dataset, or when told so."""
        spec = op.get("spec") or {}
        return bool(spec.get("block") or (spec.get("to") or {}).get("dataset"))

    def check(self, op: Json) -> None:
        """One of two at each end, and a Dataset at one of them at least."""
        spec = op.get("spec") or {}
        for field in ("from", "to"):
            end = spec.get(field) or {}
            if bool(end.get("dataset")) == bool(end.get("externalStorage")):
                raise RefusedError(
                    "DataOperationNotValid",
                    f"{title(op)}: spec.{field}: give either dataset or externalStorage",
                )
        if not _datasets(op):
            raise RefusedError(
                "DataOperationNotValid", f"{title(op)}: spec: one of from and to must be a Dataset"
            )
        own_namespace(op, _datasets(op))
        if names := sorted(set(spec.get("parallelOptions") or {}) - set(_PARALLEL_OPTIONS)):
            known = ", ".join(_PARALLEL_OPTIONS)
            raise invalid(op, "spec.parallelOptions", f"unknown {', '.join(names)}; known: {known}")
        for field in ("from", "to"):
            path = str(((spec.get(field) or {}).get("dataset") or {}).get("path") or "")
            if ".." in path.split("/"):
                raise invalid(op, f"spec.{field}.dataset.path", f"{path!r} must stay in the Dataset")

    def supports(self, op: Json, bindings: Sequence[Binding]) -> None:
        """A runtime that migrates, and the one that `runtimeType` names."""
        wanted = str((op.get("spec") or {}).get("runtimeType") or "")
        if wanted and wanted not in {binding.backend.type for binding in bindings}:
            there = ", ".join(f"{b.cache.name} has {b.backend.type}" for b in bindings)
            raise invalid(op, "spec.runtimeType", f"{wanted!r} is not the Dataset's: {there}")
        self._work(op, bindings)

    def notes(self, op: Json) -> str:
        """Our own program copies, and its pods need not talk to each other."""
        spec = op.get("spec") or {}
        unused = [f"spec.{name}" for name in ("image", "imageTag", "parallelOptions") if spec.get(name)]
        if not unused:
            return ""
        return f"{', '.join(unused)}: not needed, since our own image copies and its pods need no ssh"

    def watched(self, op: Json, bindings: Sequence[Binding]) -> Binding:
        """What it copies from; that may be no Dataset's."""
        if from_dict(DataMigrate, op).spec.from_.external_storage is None:
            return bindings[-1]
        sources, _ = self._from(op, {}, _of_stores(op))
        binding = bindings[0]
        return replace(binding, cache=replace(binding.cache, sources=tuple(sources)))

    def secrets(self, op: Json) -> set[SecretKey]:
        """Of the storage that no Dataset describes."""
        found: set[SecretKey] = set()
        typed = from_dict(DataMigrate, op).spec
        for end in (typed.from_, typed.to):
            if end.external_storage is not None:
                found |= set(secret_options(end.external_storage.encrypt_options).values())
        return found

    def plan(self, op: Json, bindings: Sequence[Binding], pods: Sequence[Json], affinity: Json) -> Plan:
        """As many pods as the operation wants, each with its part of the files."""
        spec = op.get("spec") or {}
        used, task = self._work(op, bindings)
        for binding in bindings:
            claimed = any(source.url.startswith(f"pvc://{binding.cache.name}/") for source in used)
            if claimed and (binding.dataset.get("status") or {}).get("phase") not in (
                "Bound",
                "DataMigrating",
            ):
                return Plan(waiting=f"waiting for Dataset {binding.cache.name} to be Bound")
        pod: Json = {"tolerations": list(spec.get("tolerations") or []), **task.pod}
        if spec.get("nodeSelector"):
            pod["nodeSelector"] = spec["nodeSelector"]
        if rules := joined(spec.get("affinity") or {}, affinity):
            pod["affinity"] = rules
        pods_wanted = int(spec.get("parallelism") or 1)
        count = {"name": "PODS", "value": str(pods_wanted)}
        more = {"imagePullPolicy": spec["imagePullPolicy"]} if spec.get("imagePullPolicy") else {}
        pod["containers"] = [{**c, "env": [*c.get("env", []), count], **more} for c in pod["containers"]]
        return Plan([Part(f"{op['metadata']['name']}-migrate-migrate", pod, pods=pods_wanted)])

    def _work(self, op: Json, bindings: Sequence[Binding]) -> tuple[list[Source], Task]:
        """What is read and written, and by which task. Raises RefusedError."""
        typed = from_dict(DataMigrate, op)
        by_key = {Key(b.cache.namespace, b.cache.name): b for b in bindings}
        options = _of_stores(op)
        sources, base = self._from(op, by_key, options)
        target, directory = self._to(op, by_key, options)
        others = {k: v for k, v in typed.spec.options.items() if k not in options}
        wanted = typed.spec.runtime_type
        by = next((b for b in bindings if b.backend.type == wanted), bindings[0])
        task = by.backend.migrate(by.cache, Migration(tuple(sources), base, target, directory, others))
        if isinstance(task, str):
            raise RefusedError("DataOperationNotValid", f"{title(op)}: spec.{task}")
        if task is None:
            raise RefusedError(
                "DataOperationNotSupport", f"{title(op)}: {by.runtime.get('kind')} cannot migrate data"
            )
        return [*sources, target], task

    def _from(
        self, op: Json, bindings: dict[Key, Binding], options: dict[str, str]
    ) -> tuple[list[Source], str]:
        end = from_dict(DataMigrate, op).spec.from_
        if end.external_storage is not None:
            secrets = secret_options(end.external_storage.encrypt_options)
            return [_external(end.external_storage.uri, options, secrets)], ""
        assert end.dataset is not None
        cache = bindings[Key(end.dataset.namespace, end.dataset.name)].cache
        if all(map(readable, cache.sources)):
            return list(cache.sources), end.dataset.path.strip("/")
        return [Source(f"pvc://{cache.name}/{end.dataset.path.strip('/')}", "", "/")], ""

    def _to(self, op: Json, bindings: dict[Key, Binding], options: dict[str, str]) -> tuple[Source, str]:
        """The place, and a directory below it."""
        end, where = from_dict(DataMigrate, op).spec.to, f"{title(op)}: spec.to"
        if end.external_storage is not None:
            secrets = secret_options(end.external_storage.encrypt_options)
            return _external(end.external_storage.uri, options, secrets), ""
        assert end.dataset is not None
        cache, path = (
            bindings[Key(end.dataset.namespace, end.dataset.name)].cache,
            end.dataset.path.strip("/"),
        )
        inside = [s for s in cache.sources if f"{path}/".startswith(f"{s.path.strip('/')}/".lstrip("/"))]
        source = max(inside, key=lambda s: len(s.path), default=None)
        if source is not None and source.scheme in STORES and readable(source):
            if source.read_only:
                raise RefusedError(
                    "DataOperationNotValid",
                    f"{where}.dataset: mount {source.name or source.url} of {cache.name} is readOnly",
                )
            return source, path[len(source.path.strip("/")) :].strip("/")
        if cache.read_only:
            places = [s.path for s in cache.sources if s.scheme in STORES and readable(s) and not s.read_only]
            text = f"{where}.dataset: {cache.name} cannot be written to; "
            if places:
                text += f"path must be in a mount that is a bucket: {', '.join(places)}"
            else:
                text += "spec.accessModes needs ReadWriteMany, or a mount that is a bucket and not readOnly"
            raise RefusedError("DataOperationNotValid", text)
        return Source(f"pvc://{cache.name}/", "", "/"), path


def _of_stores(op: Json) -> dict[str, str]:
    """Options that are about the storage, not about copying."""
    options = from_dict(DataMigrate, op).spec.options
    return {name: value for name, value in options.items() if name in _OF_STORES}


def _external(uri: str, options: dict[str, str], secrets: dict[str, SecretKey]) -> Source:
    """juicefs's minio://host:port/bucket/ is S3 without TLS."""
    if uri.startswith("minio://"):
        host, _, rest = uri.removeprefix("minio://").partition("/")
        return Source(f"s3://{rest}", "", "/", {"endpoint": f"http://{host}", **options}, secrets)
    scheme = uri.partition("://")[0]
    known = option_names(scheme) if scheme in STORES else ()
    return Source(uri, "", "/", {k: v for k, v in options.items() if k in known}, secrets)


def _datasets(op: Json) -> list[tuple[str, Key]]:
    found = []
    for field in ("to", "from"):
        dataset = ((op.get("spec") or {}).get(field) or {}).get("dataset") or {}
        if dataset:
            namespace = dataset.get("namespace") or op["metadata"]["namespace"]
            found.append((f"{field}.dataset", Key(namespace, dataset.get("name", ""))))
    return found
