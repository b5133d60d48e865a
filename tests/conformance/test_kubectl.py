"""kubectl as people use it; it is the strictest client there is."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
import yaml

from addon_framework.api.crd import load_crds
from addon_framework.api.meta import Json
from addon_framework.testing import eventually
from tests.conformance.api import Api
from tests.conformance.conftest import Define, Kubectl
from tests.conformance.objects import Custom, config_map, config_maps, deployment, deployments
from tests.conformance.test_signing import CSRS, csr, request_for


@pytest.fixture
def k(kubectl: Kubectl, namespace: str) -> Kubectl:
    """kubectl in the test's namespace."""

    async def run(*arguments: str, given: str = "", fails: bool = False) -> str:
        return await kubectl("--namespace", namespace, *arguments, given=given, fails=fails)

    return run


def manifest(*objects: Json) -> str:
    return yaml.safe_dump_all(objects)


async def test_55_get_in_every_form(k: Kubectl) -> None:
    await k("apply", "-f", "-", given=manifest(deployment("web", replicas=3)))
    table = await k("get", "deployments")
    assert table.split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert "web" in table
    assert "0/3" in table
    assert "SELECTOR" in await k("get", "deploy", "-o", "wide")
    assert json.loads(await k("get", "deploy", "web", "-o", "json"))["spec"]["replicas"] == 3
    assert yaml.safe_load(await k("get", "deploy/web", "-o", "yaml"))["kind"] == "Deployment"
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await k("get", "deploy", "web", "-o", path) == "busybox"
    assert await k("get", "deploy", "-o", "custom-columns=N:.metadata.name", "--no-headers") == "web\n"
    assert await k("get", "deploy", "-o", "name") == "deployment.apps/web\n"
    assert "deployment.apps/web" in await k("get", "all")
    assert 'deployments.apps "none" not found' in await k("get", "deploy", "none", fails=True)
    assert "the server doesn't have a resource type" in await k("get", "nonsense", fails=True)


async def test_55_apply_and_diff(k: Kubectl) -> None:
    obj = deployment("web")
    assert "created" in await k("apply", "-f", "-", given=manifest(obj))
    assert "unchanged" in await k("apply", "-f", "-", given=manifest(obj))
    assert await k("diff", "-f", "-", given=manifest(obj)) == ""
    obj["spec"]["replicas"] = 2
    obj["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "busybox"})
    await k("diff", "-f", "-", given=manifest(obj), fails=True)
    assert "configured" in await k("apply", "-f", "-", given=manifest(obj))
    del obj["spec"]["template"]["spec"]["containers"][1]
    await k("apply", "-f", "-", given=manifest(obj))
    names = "jsonpath={.spec.template.spec.containers[*].name}"
    assert await k("get", "deploy", "web", "-o", names) == "c"


async def test_55_server_side_apply(k: Kubectl) -> None:
    obj = config_map("a", {"k": "1"})
    assert "serverside-applied" in await k("apply", "--server-side", "-f", "-", given=manifest(obj))
    await k("patch", "configmap", "a", "--type", "merge", "-p", '{"data":{"k":"2"}}')
    refused = await k("apply", "--server-side", "-f", "-", given=manifest(obj), fails=True)
    assert "Apply failed with 1 conflict" in refused
    assert ".data.k" in refused
    await k("apply", "--server-side", "--force-conflicts", "-f", "-", given=manifest(obj))
    assert await k("get", "configmap", "a", "-o", "jsonpath={.data.k}") == "1"


async def test_55_from_client_to_server_side(k: Kubectl) -> None:
    obj = config_map("a", {"k": "1", "old": "1"})
    await k("apply", "-f", "-", given=manifest(obj))
    changed = config_map("a", {"k": "2"})
    await k("apply", "--server-side", "-f", "-", given=manifest(changed))
    assert json.loads(await k("get", "cm", "a", "-o", "jsonpath={.data}")) == {"k": "2"}


async def test_55_bad_manifests(k: Kubectl) -> None:
    typo = deployment("web")
    typo["spec"]["replicsa"] = 1
    for way in ((), ("--server-side",)):
        assert "spec.replicsa" in await k("apply", *way, "-f", "-", given=manifest(typo), fails=True)
    wrong = deployment("web")
    wrong["spec"]["replicas"] = "many"
    assert "spec.replicas" in await k("apply", "-f", "-", given=manifest(wrong), fails=True)
    missing = deployment("web")
    del missing["spec"]["template"]["spec"]["containers"][0]["image"]
    assert "containers[0].image" in await k("apply", "-f", "-", given=manifest(missing), fails=True)
    assert 'no matches for kind "Nothing"' in await k(
        "apply", "-f", "-", given="apiVersion: v1\nkind: Nothing\nmetadata: {name: a}\n", fails=True
    )


OURS: list[tuple[str, Json, str]] = [
    (
        "ManagedCluster",
        {"apiVersion": "cluster.open-cluster-management.io/v1", "spec": {"hubAcceptsClient": "yes"}},
        "spec.hubAcceptsClient",
    ),
    (
        "Placement",
        {"apiVersion": "cluster.open-cluster-management.io/v1beta1", "spec": {"numberOfCluster": 1}},
        "spec.numberOfCluster",
    ),
    (
        "ManifestWork",
        {"apiVersion": "work.open-cluster-management.io/v1", "spec": {"workload": {"manifests": {}}}},
        "spec.workload.manifests",
    ),
    (
        "Dataset",
        {"apiVersion": "data.fluid.io/v1alpha1", "spec": {"mounts": [{"name": "x"}]}},
        "spec.mounts[0].mountPoint",
    ),
]


@pytest.fixture
async def our_crds(kubectl: Kubectl, crds_installed: None) -> None:
    """As kubectl sees them."""


@pytest.mark.parametrize(("kind", "content", "field"), OURS, ids=[kind for kind, _, _ in OURS])
@pytest.mark.parametrize("way", [(), ("--server-side",)], ids=["client", "server"])
async def test_25_our_own_kinds_are_checked(
    k: Kubectl, our_crds: None, way: tuple[str, ...], kind: str, content: Json, field: str
) -> None:
    obj = {"kind": kind, "metadata": {"name": "a"}, **content}
    assert field in await k("apply", *way, "-f", "-", given=manifest(obj), fails=True)


async def test_25_our_definitions_apply_from_a_folder(k: Kubectl, tmp_path: Path, our_crds: None) -> None:
    for number, crd in enumerate(load_crds("all")):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(crd))
    out = await k("apply", "--server-side", "--force-conflicts", "-f", str(tmp_path))
    assert out.count("serverside-applied") == len(load_crds("all"))
    await k("wait", "--for", "condition=Established", "crd", "--all", "--timeout=60s")


async def test_55_explain_says_what_our_fields_mean(k: Kubectl, our_crds: None) -> None:
    for path, words in {
        "dataset.spec.mounts.mountPoint": "Where the data is",
        "dataload.spec.target.path": "A directory or file of the Dataset",
        "juicefsruntime.spec.fuse.cleanPolicy": "When the client on a node goes",
        "inferencedeployment.spec.replicas": "Replicas on each cluster",
    }.items():
        assert words in await k("explain", path)


async def test_55_patches(k: Kubectl) -> None:
    await k("apply", "-f", "-", given=manifest(deployment("web", a="1", b="2")))
    strategic = '{"spec":{"template":{"spec":{"containers":[{"name":"b","image":"3"}]}}}}'
    await k("patch", "deploy", "web", "-p", strategic)
    images = "jsonpath={.spec.template.spec.containers[*].image}"
    assert await k("get", "deploy", "web", "-o", images) == "1 3"
    operation = '[{"op":"replace","path":"/spec/replicas","value":4}]'
    await k("patch", "deploy", "web", "--type", "json", "-p", operation)
    assert await k("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "4"
    await k("set", "image", "deploy/web", "a=9")
    assert await k("get", "deploy", "web", "-o", images) == "9 3"
    status = '{"status":{"replicas":4}}'
    await k("patch", "deploy", "web", "--subresource", "status", "--type", "merge", "-p", status)
    assert await k("get", "deploy", "web", "-o", "jsonpath={.status.replicas}") == "4"


async def test_55_labels_and_annotations(k: Kubectl) -> None:
    await k("create", "configmap", "a", "--from-literal=k=v")
    await k("label", "cm", "a", "tier=front")
    await k("annotate", "cm", "a", "note=hello")
    assert "--overwrite is false" in await k("label", "cm", "a", "tier=back", fails=True)
    assert await k("get", "cm", "-l", "tier in (front)", "-o", "name") == "configmap/a\n"
    assert await k("get", "cm", "-l", "tier=back", "-o", "name") == ""
    await k("label", "cm", "a", "tier-")
    assert await k("get", "cm", "-l", "!tier", "--field-selector", "metadata.name=a", "-o", "name")
    assert "is not a known field selector" in await k("get", "cm", "--field-selector", "data.k=v", fails=True)


async def test_37_scale(k: Kubectl, api: Api, namespace: str) -> None:
    await k("create", "deployment", "web", "--image=busybox", "--replicas=1")
    assert "scaled" in await k("scale", "deploy", "web", "--replicas=3")
    assert "xpected replicas" in await k(
        "scale", "deploy", "web", "--current-replicas=7", "--replicas=1", fails=True
    )
    found = (await api.get(deployments(namespace, "web") + "/scale")).ok()
    assert (found["spec"]["replicas"], found["status"]["selector"]) == (3, "app=web")


async def test_55_create_by_command(k: Kubectl) -> None:
    """These go out in Protobuf."""
    await k("create", "secret", "generic", "s", "--from-literal=p=w")
    assert await k("get", "secret", "s", "-o", "jsonpath={.data.p}") == base64.b64encode(b"w").decode()
    await k("create", "serviceaccount", "bob")
    await k("create", "role", "reader", "--verb=get,list", "--resource=pods,deployments.apps")
    await k("create", "rolebinding", "reads", "--role=reader", "--serviceaccount=default:bob")
    rules = json.loads(await k("get", "role", "reader", "-o", "jsonpath={.rules}"))
    assert {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]} in rules
    await k("create", "job", "j", "--image=busybox", "--", "sleep", "1")
    command = "jsonpath={.spec.template.spec.containers[0].command}"
    assert json.loads(await k("get", "job", "j", "-o", command)) == ["sleep", "1"]
    await k("create", "service", "clusterip", "svc", "--tcp=80:8080")
    assert await k("get", "svc", "svc", "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"
    await k("create", "quota", "q", "--hard=cpu=1,memory=1Gi")
    assert json.loads(await k("get", "quota", "q", "-o", "jsonpath={.spec.hard}"))["memory"] == "1Gi"
    assert 'configmaps "a" already exists' in await _twice(k)


async def _twice(k: Kubectl) -> str:
    await k("create", "configmap", "a")
    return await k("create", "configmap", "a", fails=True)


async def test_40_rights(k: Kubectl, namespace: str, controllers: None) -> None:
    assert await k("auth", "can-i", "create", "pods") == "yes\n"
    await k("create", "serviceaccount", "bob")
    await k("create", "role", "reader", "--verb=get", "--resource=pods")
    await k("create", "rolebinding", "reads", "--role=reader", f"--serviceaccount={namespace}:bob")
    bob = f"--as=system:serviceaccount:{namespace}:bob"
    assert await k("auth", "can-i", "get", "pods", bob) == "yes\n"
    await k("auth", "can-i", "delete", "pods", bob, fails=True)
    assert "pods" in await k("auth", "can-i", "--list", bob)
    assert "cannot list resource" in await k("get", "secrets", bob, fails=True)
    assert len((await k("create", "token", "bob", "--duration=20m")).split(".")) == 3
    assert f"system:serviceaccount:{namespace}:bob" in await k("auth", "whoami", bob)


async def test_41_certificates(k: Kubectl, api: Api, controllers: None) -> None:
    _, request = request_for("jane", "devs")
    names = [(await api.post(CSRS, csr(request))).ok(201)["metadata"]["name"] for _ in range(2)]
    assert "approved" in await k("certificate", "approve", names[0])
    assert "denied" in await k("certificate", "deny", names[1])
    await k("wait", "--for=jsonpath={.status.certificate}", f"csr/{names[0]}", "--timeout=60s")
    table = await k("get", "csr", *names)
    assert "Approved,Issued" in table
    assert "Denied" in table
    await k("delete", "csr", *names)


async def test_33_resources(k: Kubectl, define: Define) -> None:
    custom = await define(Custom({}))
    out = await k("api-resources", "--no-headers", "--cached=false")
    lines = {line.split()[0]: line.split() for line in out.splitlines()}
    assert lines["deployments"][1:] == ["deploy", "apps/v1", "true", "Deployment"]
    assert lines["nodes"][1:] == ["no", "v1", "false", "Node"]
    assert f"{custom.group}/v1" in out
    assert "apps/v1" in (await k("api-versions")).split()
    assert "Server Version" in await k("version")


async def test_34_explain(k: Kubectl, define: Define) -> None:
    schema: Json = {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {"size": {"type": "integer", "description": "How big it is."}},
        }
    }
    custom = await define(Custom(schema))
    text = await eventually(lambda: k("explain", f"widgets.{custom.group}.spec"))  # it is published later
    assert "size\t<integer> -required-" in text
    assert "How big it is." in text
    assert "replicas\t<integer>" in await k("explain", "deployment.spec")
    assert "<[]Container>" in await k("explain", "pod.spec.containers")
    await k("explain", "pods.spec.nothing", fails=True)


async def test_55_describe(k: Kubectl) -> None:
    await k("apply", "-f", "-", given=manifest(deployment("web"), config_map("a", {"key": "value"})))
    assert "Replicas:" in await k("describe", "deploy", "web")
    assert "value" in await k("describe", "cm", "a")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "ConfigMap", "name": "a", "apiVersion": "v1"},
        "reason": "Tested",
        "message": "by the suite",
        "type": "Normal",
    }
    namespace = (await k("get", "cm", "a", "-o", "jsonpath={.metadata.namespace}")).strip()
    event["involvedObject"]["namespace"] = namespace  # type: ignore[index]
    await k("create", "-f", "-", given=manifest(event))
    assert "by the suite" in await k("get", "events")


async def test_55_wait(k: Kubectl, api: Api, namespace: str) -> None:
    await k("create", "deployment", "web", "--image=busybox")
    ready = asyncio.create_task(
        k("wait", "deploy/web", "--for=jsonpath={.status.readyReplicas}=1", "--timeout=60s")
    )
    condition = {"type": "Available", "status": "True", "reason": "Test", "message": ""}
    status = {"status": {"replicas": 1, "readyReplicas": 1, "conditions": [condition]}}
    await api.patch(deployments(namespace, "web") + "/status", status)
    assert "condition met" in await ready
    assert "condition met" in await k("wait", "deploy/web", "--for=condition=Available", "--timeout=60s")
    assert "timed out" in await k("wait", "deploy/web", "--for=condition=Odd", "--timeout=1s", fails=True)
    gone = asyncio.create_task(k("wait", "deploy/web", "--for=delete", "--timeout=60s"))
    await k("delete", "deploy", "web", "--wait=false")
    await gone


async def test_55_watch(kubectl: Kubectl, k: Kubectl, api: Api, namespace: str) -> None:
    await k("create", "configmap", "a")
    watching = asyncio.create_task(
        k("get", "cm", "--field-selector=metadata.name=a", "-w", "--output-watch-events", "--no-headers",
          "--request-timeout=3s")
    )  # fmt: skip
    async with asyncio.timeout(20):
        while not watching.done():
            await api.patch(config_maps(namespace, "a"), {"data": {"n": str(len(asyncio.all_tasks()))}})
            await asyncio.wait({watching}, timeout=0.2)
    assert "ADDED" in await watching


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
async def test_18_cascades(k: Kubectl, api: Api, namespace: str, controllers: None, cascade: str) -> None:
    owner = (await api.post(config_maps(namespace), config_map("owner"))).ok(201)
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    await api.post(config_maps(namespace), config_map("owned", ownerReferences=[reference]))
    await k("delete", "cm", "owner", f"--cascade={cascade}", "--timeout=60s")
    if cascade == "orphan":
        await k("wait", "cm/owned", "--for=jsonpath={.metadata.name}=owned", "--timeout=60s")
    else:
        await k("wait", "cm/owned", "--for=delete", "--timeout=60s")


async def test_55_delete(k: Kubectl) -> None:
    for name in "abc":
        await k("create", "configmap", name)
    await k("label", "cm", "a", "b", "x=y")
    assert (await k("delete", "cm", "-l", "x=y")).count("deleted") == 2
    assert "not found" in await k("delete", "cm", "a", fails=True)
    assert await k("delete", "cm", "a", "--ignore-not-found") == ""
    assert "dry run)" in await k("delete", "cm", "c", "--dry-run=server")
    await k("get", "cm", "c")


async def test_55_prune_replace_and_raw(k: Kubectl, namespace: str) -> None:
    both = [config_map(name, labels={"app": "p"}) for name in ("a", "b")]
    await k("apply", "-f", "-", given=manifest(*both))
    flags = ("--prune", "-l", "app=p", "--prune-allowlist=core/v1/ConfigMap")
    assert "pruned" in await k("apply", *flags, "-f", "-", given=manifest(both[0]))
    assert "replaced" in await k("replace", "-f", "-", given=manifest(config_map("a", {"k": "v"})))
    raw = json.loads(await k("get", "--raw", config_maps(namespace, "a")))
    assert raw["data"] == {"k": "v"}
