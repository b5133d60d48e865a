"""The order of manifests, what is special about each, and what stays."""

from __future__ import annotations

from addon_framework.api.core import CONFIGMAPS, DEPLOYMENTS, NAMESPACES
from addon_framework.spoke.work.targets import Target, defined_kinds, is_orphaned, options_for, rank

A = Target(CONFIGMAPS, "ns", "a")


def identifier(
    name: str, namespace: str = "ns", group: str = "", resource: str = "configmaps"
) -> dict[str, str]:
    return {"group": group, "resource": resource, "namespace": namespace, "name": name}


def test_what_others_need_comes_first() -> None:
    kinds = [
        "Widget",
        "Deployment",
        "Service",
        "ConfigMap",
        "ServiceAccount",
        "Role",
        "Namespace",
        "APIService",
    ]
    ordered = sorted(kinds, key=lambda kind: rank({"kind": kind}))
    assert ordered == [
        "Namespace",
        "Role",
        "ServiceAccount",
        "ConfigMap",
        "Service",
        "Deployment",
        "APIService",
        "Widget",
    ]


def test_for_each_option_the_first_entry_that_has_it_wins() -> None:
    first = {"resourceIdentifier": identifier("a*"), "feedbackRules": [{"type": "WellKnownStatus"}]}
    second = {
        "resourceIdentifier": identifier("*", "*"),
        "feedbackRules": [{"type": "JSONPaths"}],
        "updateStrategy": {"type": "CreateOnly"},
    }
    options = options_for([first, second], A)
    assert options.strategy == "CreateOnly"
    assert options.feedback_rules == [{"type": "WellKnownStatus"}]
    assert (
        options_for([{**second, "resourceIdentifier": identifier("*", "*", "apps")}], A).strategy == "Update"
    )
    assert options_for([{**second, "resourceIdentifier": identifier("[a]")}], A).strategy == "Update"


def test_orphans_by_policy_and_by_exact_rule() -> None:
    assert is_orphaned({"propagationPolicy": "Orphan"}, A)
    assert not is_orphaned(None, A)
    rules = {"orphaningRules": [identifier("a")]}
    option = {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": rules}
    assert is_orphaned(option, A)
    assert not is_orphaned(option, Target(CONFIGMAPS, "other", "a"))
    assert not is_orphaned(option, Target(DEPLOYMENTS, "ns", "a"))
    assert not is_orphaned({**option, "propagationPolicy": "Foreground"}, A)


def test_crds_tell_kinds_before_a_server_does() -> None:
    crd = {
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "foxes.x.io"},
        "spec": {
            "group": "x.io",
            "scope": "Cluster",
            "names": {"plural": "foxes", "kind": "Fox"},
            "versions": [{"name": "v1"}, {"name": "v2"}],
        },
    }
    found = defined_kinds([{"kind": "Namespace"}, crd])
    resource, name = found[("x.io/v2", "Fox")]
    assert (resource.plural, resource.namespaced, name) == ("foxes", False, "foxes.x.io")
    assert str(Target(NAMESPACES, "", "x")) == "Namespace x"
