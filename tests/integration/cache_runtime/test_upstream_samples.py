"""What Fluid's CRDs accept is accepted here: field by field, and every sample of its repository.

FLUID_SOURCE=<checkout or git directory of fluid-cloudnative/fluid>; `make samples` prints the report.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon_framework.api.core import NAMESPACES
from addon_framework.api.crd import load_crds
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError, Client, apply_crds
from addon_framework.plugins import RUNTIMES, discover
from addon_framework.testing import EmbeddedApiServer
from addon_framework.testing.servers import ApiServer, EnvtestApiServer
from runtimes.interface import Cache
from runtimes.node_directories import NodeDirectories
from runtimes.validation import problems
from tests.integration.cache_runtime import upstream

ROOT = upstream.source()
pytestmark = pytest.mark.skipif(ROOT is None, reason="FLUID_SOURCE names no copy of Fluid's repository")
# What makes no sense is refused here at once, and nowhere there: it would only fail later, or never be seen.
ON_PURPOSE = (
    "spec.replicas: minimum 0 here",
    "spec.runAfter.name: minLength 1 here",
    "spec.runAfter.affinityStrategy.dependOn.name: minLength 1 here",
    "spec.runAfter.affinityStrategy.policy: enum ['', 'Require', 'Prefer'] here",
)


# What stands for something in the text around it, or needs what cannot be had here.
PLACEHOLDERS = (
    "metaurl is needed (community edition)",
    "spec.mounts: JuiceFS takes exactly one, there are 0",
    "ThinRuntimeProfile ceph-profile does not exist",
    "CacheRuntimeClass demofs",
    "'nfs://nas-mount-point-address:/sub/path'",
)


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """Fluid's YAML and Markdown."""
    assert ROOT is not None
    return upstream.read(ROOT)


@pytest.fixture
async def theirs(files: dict[str, str], tmp_path: Path) -> AsyncIterator[Client]:
    """A server with Fluid's CRDs in place of ours."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    server: ApiServer = EnvtestApiServer(tmp_path, Path(assets)) if assets else EmbeddedApiServer(tmp_path)
    server.start()
    try:
        async with Client.from_kubeconfig(server.kubeconfig) as client:
            await apply_crds(client, upstream.crds(files).values(), field_manager="tests")
            await client.create(NAMESPACES, {"metadata": {"name": "samples"}})
            yield client
    finally:
        server.stop()


def test_no_field_is_stricter_than_fluids(files: dict[str, str]) -> None:
    ours = {crd["spec"]["names"]["plural"]: crd["spec"] for crd in load_crds()}
    found = []
    for plural, crd in upstream.crds(files).items():
        here, there = ours.get(plural), crd["spec"]
        if here is None:
            found.append(f"{plural}: no such kind here")
            continue
        found += upstream.stricter(_schema(there), _schema(here), plural)
        for name in ("kind", "shortNames", "plural", "singular"):
            if there["names"].get(name) != here["names"].get(name):
                found.append(f"{plural}: names.{name} differs")
        for name, said in (there["versions"][0].get("subresources") or {}).items():
            if (here["versions"][0].get("subresources") or {}).get(name) != said:
                found.append(f"{plural}: subresource {name} differs")
    assert not [told for told in found if not any(reason in told for reason in ON_PURPOSE)]


async def test_every_sample_that_fluid_accepts_is_accepted(
    files: dict[str, str], theirs: Client, client: Client, namespace: str, crds_installed: None
) -> None:
    samples, broken = upstream.samples(files)
    counts: Counter[str] = Counter({"not YAML": len(broken)})
    told, regressions = [], []
    for sample in samples:
        there = await _refusal(theirs, sample.document, "samples")
        here = await _refusal(client, sample.document, namespace)
        counts[f"{'refused' if there else 'accepted'} there, {'refused' if here else 'accepted'} here"] += 1
        if there or here:
            told.append(f"{sample.origin} {sample.document['kind']}: here {here or 'accepted'}")
        if here and not there:
            regressions.append(told[-1])
    print("", *sorted(told), "", *(f"not YAML: {origin}" for origin in broken), "", sep="\n")
    print(f"{len(samples)} documents:", *(f"{n} {what}" for what, n in sorted(counts.items())), sep="\n  ")
    assert len(samples) > 300
    assert not regressions


def test_what_samples_say_of_a_dataset_and_its_runtime_can_be_set_up(files: dict[str, str]) -> None:
    backends = {b.resource.kind: b for plugin in discover(RUNTIMES).usable() if (b := plugin.load())}
    documents = [sample for sample in upstream.samples(files)[0] if upstream.is_whole(sample.document)]
    named = {(each.document["kind"], each.document["metadata"]["name"]): each.document for each in documents}
    counts: Counter[str] = Counter()
    refused = []
    for dataset, runtime in upstream.pairs(documents):
        backend = backends.get(runtime["kind"])
        if backend is None:
            continue
        kind = backend.profile
        profile = named.get((kind.resource.kind, runtime["spec"].get(kind.field, ""))) if kind else None
        cache = Cache.of(dataset, runtime, image="us", profile=profile)
        said = [*problems(backend, cache), *NodeDirectories().problems(cache)]
        found = [each for each in said if not any(p in each for p in PLACEHOLDERS)]
        refused += found
        counts[f"{'refused' if found else 'accepted'} {runtime['kind']}"] += 1
    print("", *(f"{number} {what}" for what, number in sorted(counts.items())), *refused, sep="\n  ")
    assert counts.total() > 50
    assert not refused


def _schema(spec: Json) -> Json:
    schema: Json = spec["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


async def _refusal(client: Client, document: Json, namespace: str) -> str:
    """Why it is not accepted, without and with keeping it; nothing when it is. Unknown fields count."""
    body = {**document, "metadata": {**(document.get("metadata") or {})}}
    body["metadata"].pop("namespace", None)
    try:
        resource = await client.resource_for(document["apiVersion"], document["kind"])
        where = namespace if resource.namespaced else None
        for dry in ({"dryRun": "All"}, {}):
            params = {"fieldValidation": "Strict", **dry}
            made = await client.request("POST", resource.path(where), body=body, params=params)
    except ApiError as error:
        return str(error)
    await client.delete(resource, made["metadata"]["name"], where)
    return ""
