"""What the webhook answers about Datasets and runtimes: no, or yes with warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from addon_framework.api.data import Dataset, JuiceFSRuntime
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Key
from addon_framework.kube.informer import AnyInformer
from addons.cache_runtime.admission.review import Reviewer
from addons.cache_runtime.agent.backends import Resolver
from addons.cache_runtime.agent.references import References
from addons.cache_runtime.hub.names import COPY_ANNOTATION
from runtimes.juicefs import JuiceFSBackend

KEY = {"name": "metaurl", "valueFrom": {"secretKeyRef": {"name": "jfs", "key": "metaurl"}}}
FILES: Json = {"mountPoint": "juicefs:///", "name": "fs1", "path": "/", "encryptOptions": [KEY]}


class Objects(dict[Key, Json]):
    """What an informer has."""

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.values()))


def made(resource: Resource, spec: Json) -> Json:
    metadata = {"namespace": "demo", "name": "m", "uid": "u"}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


async def reviewed(obj: Json, *there: Json, old: Json | None = None) -> Json:
    """The response to its creation, or change, where others are there already."""
    caches = {resource: Objects() for resource in (Dataset.RESOURCE, JuiceFSRuntime.RESOURCE)}
    for each in there:
        resource = next(r for r in caches if r.kind == each["kind"])
        caches[resource][Key("demo", "m")] = each

    def cache(resource: Resource) -> AnyInformer:
        return cast(AnyInformer, caches[resource])

    reviewer = Reviewer(Resolver([JuiceFSBackend()], "us", cache), cache, (), cast(References, None))
    request = {"uid": "r", "kind": {"kind": obj["kind"]}, "namespace": "demo", "object": obj}
    request["oldObject"] = old
    answer = await reviewer.validate({"apiVersion": "admission.k8s.io/v1", "request": request})
    response: Json = answer["response"]
    return response


async def test_fields_without_effect_are_warned_of_by_whichever_comes_second() -> None:
    dataset = made(Dataset.RESOURCE, {"mounts": [{**FILES, "shared": True}]})
    runtime = made(JuiceFSRuntime.RESOURCE, {"worker": {"options": {"a": "b"}}})
    for obj, there in ((dataset, runtime), (runtime, dataset)):
        said = await reviewed(obj, there)
        assert said["allowed"]
        assert [each.partition(": has no effect: ")[0] for each in said["warnings"]] == [
            "JuiceFSRuntime demo/m: spec.worker",
            "Dataset demo/m: spec.mounts[0].shared",
        ]
    assert "warnings" not in await reviewed(runtime)


async def test_what_is_refused_is_not_warned_of() -> None:
    dataset = made(Dataset.RESOURCE, {"mounts": [{**FILES, "shared": True}], "accessModes": ["Read"]})
    said = await reviewed(dataset, made(JuiceFSRuntime.RESOURCE, {}))
    assert (said["allowed"], said["status"]["code"]) == (False, 422)
    assert "Dataset demo/m: spec.accessModes[0]: 'Read' must be one of" in said["status"]["message"]
    assert "warnings" not in said


async def test_a_work_does_not_take_over_what_a_cluster_has_of_its_own() -> None:
    def of(**metadata: Any) -> Json:
        dataset = made(Dataset.RESOURCE, {"mounts": [FILES]})
        return {**dataset, "metadata": {**dataset["metadata"], **metadata}}

    copied = of(annotations={COPY_ANNOTATION: "true"})
    refused = await reviewed(copied, old=of())
    assert not refused["allowed"]
    assert "Dataset demo/m of this cluster is no copy of the hub's" in refused["status"]["message"]
    work = {"kind": "AppliedManifestWork", "name": "hash-dataset-demo.m"}
    for old in (None, copied, of(ownerReferences=[work])):
        assert (await reviewed(copied, old=old))["allowed"]
    assert (await reviewed(of(labels={"a": "b"}), old=of()))["allowed"]


async def test_what_the_hub_sends_is_not_paired_with_what_a_cluster_has_of_its_own() -> None:
    def of(resource: Resource, spec: Json, **metadata: Any) -> Json:
        obj = made(resource, spec)
        return {**obj, "metadata": {**obj["metadata"], **metadata}}

    def dataset(**metadata: Any) -> Json:
        return of(Dataset.RESOURCE, {"mounts": [FILES]}, **metadata)

    def runtime(**metadata: Any) -> Json:
        return of(JuiceFSRuntime.RESOURCE, {}, **metadata)

    copied: Json = {"annotations": {COPY_ANNOTATION: "true"}}
    by_work: Json = {"ownerReferences": [{"kind": "AppliedManifestWork", "name": "hash-dataset-demo.m"}]}
    for copy, own, why in (
        (runtime(**copied), dataset(), "Dataset demo/m of this cluster is no copy of the hub's"),
        (dataset(**copied), runtime(), "JuiceFSRuntime demo/m of this cluster is no copy of the hub's"),
    ):
        refused = await reviewed(copy, own)
        assert why in refused["status"]["message"]
    for one, other in (
        (runtime(**copied), dataset(**copied)),
        (dataset(**copied), runtime(**by_work)),
        (runtime(), dataset()),
        (runtime(), dataset(**copied)),
    ):
        assert (await reviewed(one, other))["allowed"]
    # A runtime of the cluster's that came later does not keep the hub's changes away.
    assert (await reviewed(dataset(**copied, labels={"a": "b"}), runtime(), old=dataset(**copied)))["allowed"]
