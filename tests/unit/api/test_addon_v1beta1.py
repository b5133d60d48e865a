"""v1alpha1 and v1beta1 of the add-on API: what one says in the other, and back without loss."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from addon_framework.api.addon_v1beta1 import INSTALL_NAMESPACE_ANNOTATION, NEW, NO_DEFAULT, OLD, convert

Json = dict[str, Any]
KUBE = "kubernetes.io/kube-apiserver-client"


def management(api_version: str, **parts: Any) -> Json:
    metadata = {"name": "hello", "uid": "1", "annotations": {"a": "b"}}
    return {"apiVersion": api_version, "kind": "ClusterManagementAddOn", "metadata": metadata, **parts}


def managed(api_version: str, annotations: Json | None = None, **parts: Any) -> Json:
    metadata: Json = {"name": "hello", "namespace": "c1"}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": api_version, "kind": "ManagedClusterAddOn", "metadata": metadata, **parts}


def test_default_configs() -> None:
    kind = {"group": "g", "resource": "configs"}
    old = management(
        OLD,
        spec={
            "supportedConfigs": [
                {**kind, "defaultConfig": {"namespace": "n", "name": "d"}},
                {"group": "", "resource": "secrets"},
            ],
            "installStrategy": {"type": "Manual"},
        },
        status={"defaultconfigReferences": [{**kind, "desiredConfig": {"name": "d", "specHash": "h"}}]},
    )
    new = management(
        NEW,
        spec={
            "defaultConfigs": [
                {**kind, "namespace": "n", "name": "d"},
                {"group": "", "resource": "secrets", "name": NO_DEFAULT},
            ],
            "installStrategy": {"type": "Manual"},
        },
        status={"defaultConfigReferences": [{**kind, "desiredConfig": {"name": "d", "specHash": "h"}}]},
    )
    assert convert(old, NEW) == new
    assert convert(new, OLD) == old


def test_install_namespace_is_an_annotation_and_the_driver_is_in_the_registration() -> None:
    subject = {"user": "u", "groups": ["g"]}
    where = {"namespace": "n", "name": "c"}
    old = managed(
        OLD,
        spec={"installNamespace": "somewhere", "configs": []},
        status={
            "kubeClientDriver": "token",
            "registrations": [
                {"signerName": KUBE, "subject": subject},
                {"signerName": "example.com/a", "subject": {**subject, "organizationUnit": ["o"]}},
            ],
            "configReferences": [
                {"group": "g", "resource": "r", **where, "desiredConfig": {**where, "specHash": "h"}}
            ],
        },
    )
    signer = {"signerName": "example.com/a", "subject": {**subject, "organizationUnits": ["o"]}}
    new = managed(
        NEW,
        {INSTALL_NAMESPACE_ANNOTATION: "somewhere"},
        spec={"configs": []},
        status={
            "registrations": [
                {"type": "kubeClient", "kubeClient": {"subject": subject, "driver": "token"}},
                {"type": "customSigner", "customSigner": signer},
            ],
            "configReferences": [
                {"group": "g", "resource": "r", "desiredConfig": {**where, "specHash": "h"}}
            ],
        },
    )
    assert convert(old, NEW) == new
    assert convert(new, OLD) == old


def test_a_merge_patch_keeps_its_nulls() -> None:
    patch = {"kind": "ClusterManagementAddOn", "status": {"defaultconfigReferences": None}}
    assert convert(patch, NEW)["status"] == {"defaultConfigReferences": None}
    patch = {"kind": "ManagedClusterAddOn", "spec": {"installNamespace": None}}
    assert convert(patch, NEW)["metadata"]["annotations"] == {INSTALL_NAMESPACE_ANNOTATION: None}


def test_nothing_is_changed_in_place() -> None:
    old = managed(OLD, {"x": "y"}, spec={"installNamespace": "n"}, status={"kubeClientDriver": "csr"})
    before = repr(old)
    convert(convert(old, NEW), OLD)
    assert repr(old) == before


names = st.text("abc", min_size=1, max_size=3)
kinds = st.fixed_dictionaries({"group": st.text("gh", max_size=1), "resource": names})
where = st.fixed_dictionaries({"name": names}, optional={"namespace": names})
subjects = st.fixed_dictionaries({"user": names}, optional={"groups": st.lists(names, min_size=1)})
conditions = st.lists(st.fixed_dictionaries({"type": names, "status": names}))


@st.composite
def old_management(draw: st.DrawFn) -> Json:
    supported = [
        {**kind, **({"defaultConfig": draw(where)} if draw(st.booleans()) else {})}
        for kind in draw(st.lists(kinds, max_size=3))
    ]
    progress = [{"namespace": "n", "name": "p", "conditions": draw(conditions)}]
    status = {
        "defaultconfigReferences": [{**draw(kinds), "desiredConfig": draw(where)}],
        "installProgressions": progress,
    }
    spec = {"supportedConfigs": supported, "addOnMeta": {"displayName": draw(names)}}
    return management(OLD, spec=spec, **({"status": status} if draw(st.booleans()) else {}))


@st.composite
def old_managed(draw: st.DrawFn) -> Json:
    units = st.fixed_dictionaries({}, optional={"organizationUnit": st.lists(names, min_size=1)})
    registrations = [
        {"signerName": signer, "subject": draw(subjects) | (draw(units) if signer != KUBE else {})}
        for signer in draw(st.lists(st.sampled_from([KUBE, "a.io/b", "c.io/d"]), unique=True))
    ]
    status: Json = {"registrations": registrations, "conditions": draw(conditions), "namespace": draw(names)}
    if any(each["signerName"] == KUBE for each in registrations) and draw(st.booleans()):
        status["kubeClientDriver"] = draw(st.sampled_from(["csr", "token"]))
    references = []
    for kind in draw(st.lists(kinds, max_size=2)):
        config = draw(where)
        references.append({**kind, **config, "desiredConfig": {**config, "specHash": draw(names)}})
    status["configReferences"] = references
    spec = {"installNamespace": draw(names), "configs": []} if draw(st.booleans()) else {"configs": []}
    return managed(OLD, {"k": "v"} if draw(st.booleans()) else None, spec=spec, status=status)


@given(st.one_of(old_management(), old_managed()))
def test_there_and_back(obj: Json) -> None:
    assert convert(convert(obj, NEW), OLD) == obj
    new = convert(obj, NEW)
    assert convert(convert(new, OLD), NEW) == new
