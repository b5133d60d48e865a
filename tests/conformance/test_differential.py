"""The same requests to kube-apiserver and to the embedded server: what one refuses the other refuses too.

With the same code, reason and fields. Runs where `KUBEBUILDER_ASSETS` has kube-apiserver.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import aiohttp
import pytest
import yaml

from addon_framework.api.core import NAMESPACES
from addon_framework.api.crd import load_crds
from addon_framework.api.meta import Json
from addon_framework.kube import Client, apply_crds
from addon_framework.kube.config import load_kubeconfig
from addon_framework.testing import EmbeddedApiServer, eventually
from addon_framework.testing.servers import EnvtestApiServer
from tests.conformance.api import Answer, Api
from tests.conformance.differential import LEFT, LEFT_UPDATES, Mutant, mutants, shown, specimens, verdict

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
# What the embedded server completes like kube-apiserver, to the letter.
COMPLETED = ("ConfigMap", "Secret", "ServiceAccount", "Role", "RoleBinding", "Deployment", "Service")
# Controllers write to them, or they cannot be updated so.
UNSTEADY = ("Event-", "Namespace-", "CustomResourceDefinition-", "Secret-specimen-token")
NAMED = {f"{obj['kind']}-{obj['metadata']['name']}": obj for obj in specimens("NAMESPACE")}
PATHS = dict[tuple[str, str], tuple[str, bool]]


class Pair:
    """The two servers, asked alike."""

    def __init__(self, real: Api, embedded: Api, namespace: str, paths: PATHS) -> None:
        self.real, self.embedded, self.namespace, self._paths = real, embedded, namespace, paths

    def path(self, obj: Json) -> str:
        """Of the collection that an object belongs to."""
        root, namespaced = self._paths[obj["apiVersion"], obj["kind"]]
        base, _, plural = root.rpartition("/")
        return f"{base}/namespaces/{self.namespace}/{plural}" if namespaced else root

    async def both(self, ask: Callable[[Api], Awaitable[Answer]]) -> tuple[Answer, Answer]:
        """The answers of the real and of the embedded one."""
        real, embedded = await asyncio.gather(ask(self.real), ask(self.embedded))
        return real, embedded

    async def differences(
        self, changed: Iterator[Mutant], ask: Callable[[Api, Mutant], Awaitable[Answer]]
    ) -> list[str]:
        """What they do not agree on."""
        found: list[str] = []

        async def compare(mutant: Mutant) -> None:
            async with limit:
                try:
                    real = await ask(self.real, mutant)
                except aiohttp.ServerDisconnectedError:
                    return  # 1.36 itself falls over a definition without a schema but with selectable fields
                embedded = await ask(self.embedded, mutant)
            if verdict(real) != verdict(embedded):
                found.append(f"{mutant.what}: real {verdict(real)}, embedded {verdict(embedded)}")

        limit = asyncio.Semaphore(4)
        await asyncio.gather(*(compare(mutant) for mutant in changed))
        return found


async def _paths(api: Api) -> PATHS:
    paths: PATHS = {}
    groups = (await api.get("/apis")).ok()["groups"]
    for root in [
        "api/v1",
        *(f"apis/{each['groupVersion']}" for group in groups for each in group["versions"]),
    ]:
        for resource in (await api.get(f"/{root}")).ok()["resources"]:
            if "/" not in resource["name"]:
                key = root.partition("/")[2], resource["kind"]
                paths[key] = f"/{root}/{resource['name']}", resource["namespaced"]
    return paths


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, api_server: object) -> Iterator[EmbeddedApiServer]:
    if not isinstance(api_server, EnvtestApiServer):
        pytest.skip("needs kube-apiserver in KUBEBUILDER_ASSETS")
    server = EmbeddedApiServer(tmp_path_factory.mktemp("embedded"), service_cidr="127.8.0.0/24")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def pair(
    api: Api, namespace: str, embedded: EmbeddedApiServer, crds_installed: None
) -> AsyncIterator[Pair]:
    other = Api(load_kubeconfig(embedded.kubeconfig))
    async with Client.from_kubeconfig(embedded.kubeconfig) as client:
        await client.create(NAMESPACES, {"metadata": {"name": namespace}})
        await apply_crds(client, load_crds("all"), field_manager="boundaryless-tests")
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    for each in (api, other):
        if (await each.get(account)).code == 404:
            await each.post(account.rpartition("/")[0], {"metadata": {"name": "default"}})
    yield Pair(api, other, namespace, await _paths(api))
    await other.delete(f"/api/v1/namespaces/{namespace}")
    await other.close()


def within(found: list[str], left: dict[str, int], name: str) -> None:
    allowed = left.get(name, 0)
    assert len(found) <= allowed, f"{len(found)} differ where {allowed} may: " + "\n".join(found[:20])


def sample(name: str, namespace: str) -> Json:
    (obj,) = (each for each in specimens(namespace) if f"{each['kind']}-{each['metadata']['name']}" == name)
    return obj


async def create(pair: Pair, api: Api, body: Json) -> Answer:
    return await api.post(pair.path(body), body, dryRun="All", fieldValidation="Strict")


@pytest.mark.parametrize("name", NAMED)
async def test_they_refuse_the_same_creations(pair: Pair, name: str) -> None:
    obj = sample(name, pair.namespace)
    real, mine = await pair.both(lambda api: create(pair, api, obj))
    assert (real.code, mine.code) == (201, 201), (real.raw, mine.raw)
    if obj["kind"] in COMPLETED:
        assert shown(real) == shown(mine)

    async def ask(api: Api, mutant: Mutant) -> Answer:
        return await api.post(pair.path(obj), mutant.body, dryRun="All", fieldValidation="Strict")

    within(await pair.differences(mutants(obj), ask), LEFT, name)


@pytest.mark.parametrize("name", [name for name in NAMED if not name.startswith(UNSTEADY)])
async def test_they_refuse_the_same_updates(pair: Pair, name: str) -> None:
    obj = sample(name, pair.namespace)
    path, at = pair.path(obj), obj["metadata"]["name"]
    obj["metadata"].pop("ownerReferences", None)  # of an owner that is not there
    for api in (pair.real, pair.embedded):
        (await api.post(path, obj)).ok(201)
    try:
        now = {id(api): (await api.get(f"{path}/{at}")).ok() for api in (pair.real, pair.embedded)}

        async def ask(api: Api, mutant: Mutant) -> Answer:
            body = {**now[id(api)], **{key: value for key, value in mutant.body.items() if key != "metadata"}}
            body.update(dict.fromkeys(obj.keys() - mutant.body.keys() - {"metadata"}))
            return await api.put(f"{path}/{at}", body, dryRun="All", fieldValidation="Strict")

        changed = (each for each in mutants(obj) if not each.what.startswith("metadata"))
        within(await pair.differences(changed, ask), LEFT_UPDATES, name)
    finally:
        for api in (pair.real, pair.embedded):
            await api.patch(f"{path}/{at}", {"metadata": {"finalizers": None}})
            await api.delete(f"{path}/{at}", gracePeriodSeconds=0)


async def test_they_show_the_same_tables(pair: Pair) -> None:
    """kubectl get prints what a server makes of an object."""
    different = []
    for obj in specimens(pair.namespace):
        path = pair.path(obj)
        answers = await pair.both(
            lambda api, path=path, obj=obj: api.post(path, obj, dryRun="All", accept=TABLE)
        )
        real, mine = (table(answer.ok(201)) for answer in answers)
        different += [
            f"{obj['kind']}: real {one}, embedded {other}"
            for one, other in zip_longest(real, mine)
            if one != other
        ]
    assert not different, "\n".join(different)


def table(said: Json) -> list[tuple[Json, object]]:
    """Columns with their cells; what is made anew for every object is left out."""
    (row,) = said["rows"]
    cells = []
    for column, cell in zip(said["columnDefinitions"], row["cells"], strict=True):
        made = (
            column["name"] in ("Age", "Cluster-IP")
            or column["type"] == "date"
            or "controller-uid" in str(cell)
        )
        del column["description"]
        cells.append((column, "" if made else cell))
    return cells


def ours() -> list[Json]:
    found = [
        obj for file in sorted(SAMPLES.glob("*.yaml")) for obj in yaml.safe_load_all(file.read_text()) if obj
    ]
    return [obj for obj in found if "." in obj["apiVersion"].partition("/")[0]]


@pytest.mark.parametrize("obj", ours(), ids=lambda obj: f"{obj['kind']}-{obj['metadata']['name']}")
async def test_they_refuse_the_same_of_our_own_kinds(pair: Pair, obj: Json) -> None:
    obj = {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "namespace"}}

    async def agreed() -> bool:
        real, mine = await pair.both(lambda api: create(pair, api, obj))
        assert (real.code, mine.code) == (201, 201), (real.raw, mine.raw)
        return shown(real) == shown(mine)

    await eventually(agreed)
    name = f"{obj['kind']}-{obj['metadata']['name']}"
    within(await pair.differences(mutants(obj), lambda api, each: create(pair, api, each.body)), LEFT, name)
