"""Built-in kinds whose own rules controllers rely on."""

from __future__ import annotations

import base64

import pytest

from addon_framework.api.meta import Json
from tests.conformance.api import Api
from tests.conformance.objects import config_map, config_maps


def namespaced(namespace: str, plural: str, name: str = "", group: str = "") -> str:
    root = f"/apis/{group}/v1" if group else "/api/v1"
    return f"{root}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


async def test_43_leases_are_locks(api: Api, namespace: str) -> None:
    path = namespaced(namespace, "leases", group="coordination.k8s.io")
    spec = {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-02T03:04:05.678901Z",
        "renewTime": "2026-01-02T03:04:05.678901Z",
    }
    made = (await api.post(path, {"metadata": {"name": "l"}, "spec": spec})).ok(201)
    assert made["spec"] == spec
    first = {**made, "spec": {**spec, "holderIdentity": "b"}}
    (await api.put(f"{path}/l", first)).ok()
    (await api.put(f"{path}/l", {**made, "spec": {**spec, "holderIdentity": "c"}})).is_status(409, "Conflict")
    bad = await api.patch(f"{path}/l", {"spec": {"leaseDurationSeconds": 0}})
    bad.is_status(422, "Invalid")
    assert bad.causes == {"spec.leaseDurationSeconds": "FieldValueInvalid"}
    odd = await api.patch(f"{path}/l", {"spec": {"renewTime": "yesterday"}})
    odd.is_status(422, "Invalid")
    assert odd.causes == {"patch": "FieldValueInvalid"}
    made["spec"]["renewTime"] = "yesterday"
    (await api.put(f"{path}/l", made)).is_status(400, "BadRequest")


async def test_44_two_groups_one_store_of_events(api: Api, namespace: str) -> None:
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": "p"},
        "reason": "Tested",
        "message": "hello",
        "type": "Normal",
        "source": {"component": "suite"},
    }
    (await api.post(namespaced(namespace, "events"), event)).ok(201)
    other = (await api.get(namespaced(namespace, "events", "e", "events.k8s.io"))).ok()
    assert other["apiVersion"] == "events.k8s.io/v1"
    assert (other["regarding"]["name"], other["note"]) == ("p", "hello")
    new = {
        "metadata": {"name": "n"},
        "eventTime": "2026-01-02T03:04:05.678901Z",
        "regarding": {"kind": "Pod", "namespace": namespace, "name": "p"},
        "reason": "Tested",
        "note": "again",
        "type": "Warning",
        "action": "Test",
        "reportingController": "example.com/suite",
        "reportingInstance": "one",
    }
    (await api.post(namespaced(namespace, "events", group="events.k8s.io"), new)).ok(201)
    core = (await api.get(namespaced(namespace, "events", "n"))).ok()
    assert (core["apiVersion"], core["message"], core["involvedObject"]["name"]) == ("v1", "again", "p")
    selected = await api.get(
        namespaced(namespace, "events"), fieldSelector="involvedObject.name=p,type=Warning"
    )
    assert [each["metadata"]["name"] for each in selected.ok()["items"]] == ["n"]


async def test_44_events_that_repeat(api: Api, namespace: str) -> None:
    event = {
        "metadata": {"name": "e"},
        "eventTime": "2026-01-02T03:04:05.678901Z",
        "regarding": {"kind": "Pod", "namespace": namespace, "name": "p"},
        "reason": "Tested",
        "type": "Normal",
        "action": "Test",
        "reportingController": "example.com/suite",
        "reportingInstance": "one",
    }
    (await api.post(namespaced(namespace, "events", group="events.k8s.io"), event)).ok(201)
    series = {"count": 3, "lastObservedTime": "2026-01-02T03:05:05.678901Z"}
    path = namespaced(namespace, "events", "e", "events.k8s.io")
    assert (await api.patch(path, {"series": series})).ok()["series"] == series
    assert (await api.get(namespaced(namespace, "events", "e"))).ok()["series"] == series
    lonely = await api.patch(path, {"series": {**series, "count": 1}})
    lonely.is_status(422, "Invalid")
    assert lonely.causes == {"series.count": "FieldValueInvalid"}
    other = {"regarding": {"name": "other"}, "note": "new", "reason": "Other", "type": "Warning"}
    changed = await api.patch(path, {**other, "eventTime": "2026-01-02T03:04:06.000000Z"})
    changed.is_status(422, "Invalid")
    assert set(changed.causes) == {"involvedObject", "message", "reason", "type", "eventTime"}


def secret(name: str, **content: object) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **content}


async def test_45_secrets(api: Api, namespace: str) -> None:
    path = namespaced(namespace, "secrets")
    coded = base64.b64encode(b"v").decode()
    made = (await api.post(path, secret("a", data={"a": coded}, stringData={"b": "v"}))).ok(201)
    assert (made["type"], made["data"]) == ("Opaque", {"a": coded, "b": coded})
    assert "stringData" not in made
    answer = await api.patch(f"{path}/a", {"type": "other"})
    answer.is_status(422, "Invalid")
    assert answer.causes == {"type": "FieldValueInvalid"}
    assert (await api.post(path, secret("b", data={"a": "%%%"}))).is_status(400, "BadRequest")
    assert (await api.post(path, secret("c", data={"a b": coded}))).is_status(422, "Invalid")
    tls = await api.post(path, secret("d", type="kubernetes.io/tls"))
    tls.is_status(422, "Invalid")
    assert set(tls.causes) == {"data[tls.crt]", "data[tls.key]"}


@pytest.mark.parametrize("plural", ["secrets", "configmaps"])
async def test_45_what_is_immutable_stays(api: Api, namespace: str, plural: str) -> None:
    path = namespaced(namespace, plural)
    value = base64.b64encode(b"1").decode()
    made = await api.post(path, {"metadata": {"name": "a"}, "data": {"k": value}, "immutable": True})
    made.ok(201)
    answer = await api.patch(f"{path}/a", {"data": {"k": base64.b64encode(b"2").decode()}})
    answer.is_status(422, "Invalid")
    assert answer.causes == {"data": "FieldValueForbidden"}
    (await api.patch(f"{path}/a", {"immutable": False})).is_status(422, "Invalid")
    (await api.patch(f"{path}/a", {"metadata": {"labels": {"a": "b"}}})).ok()


async def test_45_config_maps_with_bytes(api: Api, namespace: str) -> None:
    coded = base64.b64encode(b"\x00\xff").decode()
    obj = config_map("a", {"t": "text"}) | {"binaryData": {"b": coded}}
    assert (await api.post(config_maps(namespace), obj)).ok(201)["binaryData"] == {"b": coded}
    twice = config_map("b", {"k": "text"}) | {"binaryData": {"k": coded}}
    (await api.post(config_maps(namespace), twice)).is_status(422, "Invalid")


def service(name: str, **spec: object) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports, **spec}}


async def test_46_services_get_an_address(api: Api, namespace: str) -> None:
    path = namespaced(namespace, "services")
    made = (await api.post(path, service("a"))).ok(201)
    spec = made["spec"]
    assert (spec["type"], spec["ports"][0]["protocol"]) == ("ClusterIP", "TCP")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    other = (await api.post(path, service("b"))).ok(201)
    assert other["spec"]["clusterIP"] != spec["clusterIP"]
    answer = await api.patch(f"{path}/a", {"spec": {"clusterIP": other["spec"]["clusterIP"]}})
    answer.is_status(422, "Invalid")
    (await api.post(path, service("c", clusterIP=spec["clusterIP"]))).is_status(422, "Invalid")
    headless = (await api.post(path, service("d", clusterIP="None"))).ok(201)
    assert headless["spec"]["clusterIP"] == "None"
    again = (await api.put(f"{path}/a", {**made, "spec": {**spec, "selector": {"x": "y"}}})).ok()
    assert again["spec"]["clusterIP"] == spec["clusterIP"]


async def test_46_node_ports(api: Api, namespace: str) -> None:
    path = namespaced(namespace, "services")
    port = (await api.post(path, service("a", type="NodePort"))).ok(201)["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port < 32768
    taken = service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    (await api.post(path, taken)).is_status(422, "Invalid")
    assert (await api.post(path, service("c", ports=[]))).is_status(422, "Invalid")


def pod(**spec: object) -> Json:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def test_46_defaults_of_pods(api: Api, namespace: str) -> None:
    made = (await api.post(namespaced(namespace, "pods"), pod())).ok(201)
    spec = made["spec"]
    assert (spec["restartPolicy"], spec["dnsPolicy"]) == ("Always", "ClusterFirst")
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    assert (made["status"]["phase"], made["status"]["qosClass"]) == ("Pending", "BestEffort")


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"containers": []}, "spec.containers", "FieldValueRequired"),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy", "FieldValueNotSupported"),
        ({"volumes": [{"name": "V!"}]}, "spec.volumes[0].name", "FieldValueInvalid"),
        (
            {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            "spec.containers[0].volumeMounts[0].name",
            "FieldValueNotFound",
        ),
        (
            {"containers": [{"name": "c", "image": "i"}] * 2},
            "spec.containers[1].name",
            "FieldValueDuplicate",
        ),
        (
            {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "-1"}}}]},
            "spec.containers[0].resources.limits[cpu]",
            "FieldValueInvalid",
        ),
        (
            {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 70000}]}]},
            "spec.containers[0].ports[0].containerPort",
            "FieldValueInvalid",
        ),
    ],
)
async def test_46_pods_are_validated(api: Api, namespace: str, spec: Json, field: str, reason: str) -> None:
    answer = await api.post(namespaced(namespace, "pods"), pod(**spec))
    answer.is_status(422, "Invalid")
    assert answer.causes.get(field) == reason, answer.causes


async def test_46_pods_hardly_change(api: Api, namespace: str) -> None:
    path = namespaced(namespace, "pods")
    (await api.post(path, pod())).ok(201)
    image = {"spec": {"containers": [{"name": "c", "image": "other"}]}}
    strategic = "application/strategic-merge-patch+json"
    (await api.patch(f"{path}/p", image, strategic)).ok()
    answer = await api.patch(f"{path}/p", {"spec": {"hostNetwork": True}})
    assert "pod updates may not change fields other than" in answer.is_status(422, "Invalid")["message"]


async def test_52_binding_and_eviction(api: Api, namespace: str) -> None:
    path = namespaced(namespace, "pods")
    (await api.post(path, pod(terminationGracePeriodSeconds=0))).ok(201)
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "node-of-nobody"}}
    assert (await api.post(f"{path}/p/binding", binding)).code == 201
    bound = (await api.get(f"{path}/p")).ok()
    assert bound["spec"]["nodeName"] == "node-of-nobody"
    again = await api.post(f"{path}/p/binding", binding)
    again.is_status(409, "Conflict")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await api.post(f"{path}/p/eviction", eviction)).code == 201
