"""Registration's pure parts: RBAC, certificate checks, taints, labels, cluster sets."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.hub.addons.identity import check_addon_csr, permissions, registration_status
from addon_framework.hub.addons.tokens import token_objects
from addon_framework.hub.clustersets import eligible_sets, is_member
from addon_framework.hub.registration import rbac
from addon_framework.hub.registration.csr import CsrError, check_cluster_csr, is_settled, subject_of
from addon_framework.hub.registration.features import feature_labels
from addon_framework.hub.registration.taints import wanted_taints
from addon_framework.plugins import CustomSigner, KubeClient
from tests.unit.hub.certificates import csr

Json = dict[str, Any]
GROUP, ALL = "system:open-cluster-management:c1", "system:open-cluster-management:managed-clusters"
NAME = "open-cluster-management.io/cluster-name"
LABELS = {NAME: "c1"}
USER = "system:open-cluster-management:cluster:c1:addon:a:agent:a"
GROUPS = ["system:open-cluster-management:cluster:c1:addon:a", "system:open-cluster-management:addon:a"]


def test_a_clusters_rights_are_ocms() -> None:
    rules = rbac.cluster_role("c1", accepted=True)["rules"]
    assert {(r, v) for rule in rules for r in rule["resources"] for v in rule["verbs"]} == {
        *(("certificatesigningrequests", v) for v in ("create", "get", "list", "watch")),
        ("managedclusters/clientcertificates", "renew"),
        *(("managedclusters", v) for v in ("get", "list", "update", "watch")),
        *(("managedclusters/status", v) for v in ("patch", "update")),
    }
    assert all(r["resourceNames"] == ["c1"] for r in rules if "managedclusters" in r["resources"])
    denied = rbac.cluster_role("c1", accepted=False)["rules"]
    assert [(r["resources"], r["verbs"], r["resourceNames"]) for r in denied] == [
        (["managedclusters"], ["get", "list", "watch"], ["c1"])
    ]


def test_names_of_bindings_are_ocms() -> None:
    registration, work = rbac.role_bindings("c1")
    assert registration["metadata"]["name"] == "open-cluster-management:managedcluster:c1:registration"
    assert registration["roleRef"]["name"] == "open-cluster-management:managedcluster:registration"
    assert work["metadata"]["name"] == "open-cluster-management:managedcluster:c1:work"
    assert work["metadata"]["finalizers"] == ["cluster.open-cluster-management.io/manifest-work-cleanup"]
    assert work["subjects"] == [{"apiGroup": rbac.RBAC, "kind": "Group", "name": GROUP}]


def test_no_cluster_may_create_or_delete_works_or_read_secrets() -> None:
    for role in rbac.common_roles():
        for rule in role["rules"]:
            assert "secrets" not in rule["resources"]
            if "manifestworks" in rule["resources"]:
                assert not {"create", "delete"} & set(rule["verbs"])


def test_a_sound_request_passes() -> None:
    subject = check_cluster_csr(csr("c1-x", LABELS, f"{GROUP}:agent", [GROUP, ALL]))
    assert subject.common_name == f"{GROUP}:agent"
    assert check_cluster_csr(csr("c1-x", LABELS, f"{GROUP}:agent", [GROUP])).organizations == {GROUP}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (csr("x", {}, f"{GROUP}:a", [GROUP]), "label .*cluster-name is missing"),
        (csr("x", LABELS, f"{GROUP}:a", [GROUP], signer="x.io/y"), r"spec\.signerName is x\.io/y"),
        (csr("x", LABELS, f"{GROUP}:a", [ALL]), "organizations asked for"),
        (csr("x", LABELS, f"{GROUP}:a", [GROUP, "system:masters"]), "system:masters"),
        (csr("x", LABELS, "system:open-cluster-management:c2:a", [GROUP]), "is not an agent of cluster c1"),
        (csr("x", LABELS, "system:open-cluster-management:c10:a", [GROUP]), "is not an agent of cluster c1"),
        (csr("x", LABELS, f"{GROUP}:", [GROUP]), "is not an agent of cluster c1"),
        (csr("x", LABELS, f"{GROUP}:a:b", [GROUP]), "is not an agent of cluster c1"),
        (csr("x", {NAME: "managed-clusters"}, f"{ALL}:a", [ALL]), "no cluster may be named"),
        # "cluster" is a name like any other, and what add-on agents of all clusters are called begins so.
        (csr("x", {NAME: "cluster"}, USER, ["system:open-cluster-management:cluster"]), "is not an agent"),
        (
            {"metadata": {"labels": LABELS}, "spec": {"signerName": "kubernetes.io/kube-apiserver-client"}},
            "PEM",
        ),
    ],
)
def test_an_unsound_request_says_what_is_wrong(request_: Json, message: str) -> None:
    with pytest.raises(CsrError, match=message):
        check_cluster_csr(request_)


def test_settled_requests() -> None:
    assert not is_settled({})
    assert is_settled({"status": {"conditions": [{"type": "Denied"}]}})


def addon(**status: Any) -> Json:
    return {"metadata": {"name": "a", "namespace": "c1", "uid": "u"}, "status": status}


def addon_csr(
    name: str = "addon-c1-a-x",
    user: str = USER,
    groups: list[str] = GROUPS,
    by: str = f"{GROUP}:agent",
    signer: str = "kubernetes.io/kube-apiserver-client",
) -> Json:
    return csr(name, LABELS, user, groups, username=by, signer=signer)


def test_a_registered_request_of_an_addon_passes() -> None:
    request = addon_csr()
    check_addon_csr(request, addon(), subject_of(request), [KubeClient()])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (addon_csr(by="system:open-cluster-management:c2:agent"), "not an agent of cluster c1"),
        (addon_csr(by="system:open-cluster-management:c1"), "not an agent of cluster c1"),
        (addon_csr(by=f"{GROUP}:x:agent"), "not an agent of cluster c1"),
        (addon_csr(name="c1-x"), "does not begin"),
        (addon_csr(user="system:admin"), "not a registration"),
        (addon_csr(groups=[*GROUPS, "system:authenticated"]), "not a registration"),
        (addon_csr(groups=GROUPS[:1]), "not a registration"),
        (addon_csr(signer="x.io/y"), "not a registration"),
    ],
)
def test_other_requests_of_an_addon_do_not(request_: Json, message: str) -> None:
    with pytest.raises(CsrError, match=message):
        check_addon_csr(request_, addon(), subject_of(request_), [KubeClient()])


def test_what_the_cluster_has_written_into_the_status_is_no_registration() -> None:
    other = "system:open-cluster-management:cluster:c2:addon:a"
    written = {"user": f"{other}:agent:a", "groups": [other]}
    signer = "kubernetes.io/kube-apiserver-client"
    request = addon_csr(user=written["user"], groups=written["groups"])  # type: ignore[arg-type]
    tampered = addon(registrations=[{"signerName": signer, "subject": written}])
    with pytest.raises(CsrError, match="not a registration"):
        check_addon_csr(request, tampered, subject_of(request), [KubeClient()])


def test_registrations_on_the_wire() -> None:
    custom = CustomSigner("x.io/y", user="u", groups=("g",), organization_units=("o",))
    assert registration_status([KubeClient(), custom], "c1", "a") == [
        {"signerName": "kubernetes.io/kube-apiserver-client", "subject": {"user": USER, "groups": GROUPS}},
        {"signerName": "x.io/y", "subject": {"user": "u", "groups": ["g"], "organizationUnit": ["o"]}},
    ]


def test_by_token_the_agent_is_a_service_account() -> None:
    user = {"user": "system:serviceaccount:c1:a-agent"}
    assert registration_status([KubeClient(), CustomSigner("x.io/y")], "c1", "a", tokens=True) == [
        {"signerName": "kubernetes.io/kube-apiserver-client", "subject": user},
        {"signerName": "x.io/y", "subject": {"user": USER, "groups": GROUPS}},
    ]
    asked = rbac.rule(["g"], ["r"], ["get"])
    _, binding = permissions(addon(kubeClientDriver="token"), [asked])
    assert [(s["kind"], s["name"]) for s in binding["subjects"]] == [("User", user["user"])]


def test_a_cluster_may_ask_for_tokens_of_the_addons_account_only() -> None:
    (_, account), (_, role), (_, binding) = token_objects(addon())
    assert account["metadata"]["name"] == "a-agent"
    assert role["rules"] == [rbac.rule([""], ["serviceaccounts/token"], ["create"], ["a-agent"])]
    assert [s["name"] for s in binding["subjects"]] == [GROUP]
    assert {o["metadata"]["namespace"] for o in (account, role, binding)} == {"c1"}


def test_permissions_reach_only_this_clusters_agents() -> None:
    role, binding = permissions(addon(), [rbac.rule(["g"], ["r"], ["get"])])
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "c1"
    assert [s["name"] for s in binding["subjects"]] == [GROUPS[0]]


def test_taints_follow_available_and_leave_others_alone() -> None:
    unreachable, unavailable = (
        f"cluster.open-cluster-management.io/{name}" for name in ("unreachable", "unavailable")
    )
    mine = {"key": "gpu", "effect": "NoSelect", "timeAdded": "t0"}

    def cluster(status: str | None, *taints: Json) -> Json:
        conditions = [{"type": "ManagedClusterConditionAvailable", "status": status}] if status else []
        return {"spec": {"taints": list(taints)}, "status": {"conditions": conditions}}

    added = {"key": unreachable, "effect": "NoSelect", "timeAdded": "t1"}
    assert wanted_taints(cluster(None, mine), "t1") == [mine, added]
    assert wanted_taints(cluster("Unknown", mine, added), "t2") == [mine, added]
    assert wanted_taints(cluster("False", added), "t2") == [
        {"key": unavailable, "effect": "NoSelect", "timeAdded": "t2"}
    ]
    assert wanted_taints(cluster("True", added, mine), "t2") == [mine]


def test_feature_labels() -> None:
    def of(name: str, status: str | None, **metadata: Any) -> Json:
        conditions = [{"type": "Available", "status": status}] if status else []
        return {"metadata": {"name": name, **metadata}, "status": {"conditions": conditions}}

    addons = [
        of("a", "True"),
        of("b", "False"),
        of("c", "Unknown"),
        of("d", None),
        of("e", "True", deletionTimestamp="t"),
    ]
    prefix = "feature.open-cluster-management.io/addon-"
    assert feature_labels(addons) == {
        f"{prefix}a": "available",
        f"{prefix}b": "unhealthy",
        f"{prefix}c": "unreachable",
        f"{prefix}d": "unreachable",
    }


def test_cluster_sets() -> None:
    cluster = {
        "metadata": {
            "name": "c",
            "labels": {"cluster.open-cluster-management.io/clusterset": "eu", "gpu": "1"},
        }
    }
    exclusive = {"metadata": {"name": "eu"}, "spec": {}}
    other = {"metadata": {"name": "us"}, "spec": {}}
    by_label = {
        "metadata": {"name": "gpus"},
        "spec": {
            "clusterSelector": {
                "selectorType": "LabelSelector",
                "labelSelector": {"matchLabels": {"gpu": "1"}},
            }
        },
    }
    everything = {
        "metadata": {"name": "global"},
        "spec": {"clusterSelector": {"selectorType": "LabelSelector", "labelSelector": {}}},
    }
    sets = [exclusive, other, by_label, everything]
    assert {s["metadata"]["name"] for s in sets if is_member(cluster, s)} == {"eu", "gpus", "global"}
    assert is_member({"metadata": {"name": "d"}}, everything)
    assert eligible_sets([], ["b", "a"]) == ["a", "b"]
    assert eligible_sets(["b", "x"], ["b", "a"]) == ["b"]
