"""An AddOnTemplate answers the hooks of a plug-in as OCM's own engine would."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.hub.addons.identity import permissions
from addon_framework.hub.addons.images import BadRegistries, mirrored, mirrors_of
from addon_framework.hub.addons.sources import source_of
from addon_framework.hub.addons.template import TemplateAddon, template_name, template_plugin
from addon_framework.hub.addons.values import BadValues, decorate, moves, relocate
from addon_framework.kube import Key
from addon_framework.plugins import (
    AddonDescription,
    CurrentCluster,
    CustomSigner,
    KubeClient,
    PluginError,
    Plugins,
    SigningCA,
    SingleNamespace,
    Workload,
)

Json = dict[str, Any]
SIGNER = "example.com/agents"


def workload(kind: str = "Deployment") -> Json:
    container = {"name": "c", "image": "i", "env": [{"name": "OWN", "value": "{{COLOR}}"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "agent-{{CLUSTER_NAME}}", "namespace": "ns1"},
        "spec": {"template": {"spec": {"containers": [container], "initContainers": [{"name": "i"}]}}},
    }


def template(*manifests: Json, registration: list[Json] | None = None, name: str = "a") -> Json:
    spec: Json = {"addonName": name, "agentSpec": {"workload": {"manifests": list(manifests)}}}
    if registration is not None:
        spec["registration"] = registration
    return {"metadata": {"name": "t"}, "spec": spec}


def values(**more: Any) -> Json:
    return {"cluster_name": "c1", "install_namespace": "ns", "addon_name": "a", **more}


def render(source: Json, **more: Any) -> list[Json]:
    result: list[Json] = template_plugin("a", source).call(
        "addon_manifests", cluster={}, addon={}, values=values(**more)
    )
    return result


def test_variables_are_filled_in_and_users_may_not_replace_the_built_in_ones() -> None:
    data = {"{{KEY}}": "{{CLUSTER_NAME}}/{{ INSTALL_NAMESPACE }} {{HUB_KUBECONFIG}} {{NONE}}|"}
    source = template({"kind": "ConfigMap", "data": data}, registration=[{"type": "KubeClient"}])
    [obj] = render(source, KEY='k"', CLUSTER_NAME="other")
    assert obj["data"] == {'k"': "c1/ns /managed/hub-kubeconfig/kubeconfig |"}
    [obj] = render(source, KEY="k", HUB_KUBECONFIG="/elsewhere")
    assert obj["data"]["k"] == "c1/ns /elsewhere |"
    assert TemplateAddon("a", source).unset(values()) == ["KEY", "NONE"]


def test_a_variable_that_is_no_string_is_refused() -> None:
    with pytest.raises(PluginError, match="variable size is a int; a template takes strings only"):
        render(template(), size=3)


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_agents_get_ocms_environment_and_volumes(kind: str) -> None:
    signer = {"signerName": SIGNER, "signingCA": {"name": "ca", "namespace": "ns2"}}
    registration = [{"type": "KubeClient"}, {"type": "CustomSigner", "customSigner": signer}]
    [obj] = render(template(workload(kind), registration=registration), COLOR="blue")
    assert obj["metadata"]["name"] == "agent-c1"
    pod = obj["spec"]["template"]["spec"]
    assert pod["containers"][0]["env"] == [
        {"name": "OWN", "value": "blue"},
        {"name": "HUB_KUBECONFIG", "value": "/managed/hub-kubeconfig/kubeconfig"},
        {"name": "CLUSTER_NAME", "value": "c1"},
        {"name": "INSTALL_NAMESPACE", "value": "ns"},
    ]
    assert pod["containers"][0]["volumeMounts"] == [
        {"name": "hub-kubeconfig", "mountPath": "/managed/hub-kubeconfig"},
        {"name": "cert-example-com-agents", "mountPath": "/managed/example.com-agents"},
    ]
    assert pod["volumes"] == [
        {"name": "hub-kubeconfig", "secret": {"secretName": "a-hub-kubeconfig"}},
        {
            "name": "cert-example-com-agents",
            "secret": {"secretName": "a-example.com-agents-client-cert"},
        },
    ]
    assert pod["initContainers"] == [{"name": "i"}]


def test_without_registration_nothing_is_mounted_and_no_kubeconfig_is_named() -> None:
    [obj] = render(template(workload()))
    pod = obj["spec"]["template"]["spec"]
    assert "volumes" not in pod
    assert [e["name"] for e in pod["containers"][0]["env"]] == ["OWN", "CLUSTER_NAME", "INSTALL_NAMESPACE"]
    assert template_plugin("a", template()).call("addon_registrations", cluster_name="c1") == []


def test_registrations_and_hub_permissions() -> None:
    one = {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": "reader"}}
    two = {
        "type": "SingleNamespace",
        "singleNamespace": {"namespace": "shared", "roleRef": {"kind": "ClusterRole", "name": "w"}},
    }
    signer = {
        "signerName": SIGNER,
        "subject": {"user": "u", "groups": ["g"], "organizationUnit": ["o"]},
        "signingCA": {"name": "ca"},
    }
    source = template(
        registration=[
            {"type": "KubeClient", "kubeClient": {"hubPermissions": [one, two]}},
            {"type": "CustomSigner", "customSigner": signer},
        ]
    )
    plugin = template_plugin("a", source)
    assert plugin.describe().prober == Workload()
    assert plugin.call("addon_registrations", cluster_name="c1") == [
        KubeClient(),
        CustomSigner(SIGNER, "u", ["g"], ["o"], SigningCA("ca", "open-cluster-management-hub")),
    ]
    wanted = plugin.call("addon_hub_permissions", cluster_name="c1")
    assert wanted == [CurrentCluster("reader"), SingleNamespace("shared", "w", "ClusterRole")]
    addon = {"metadata": {"name": "a", "namespace": "c1", "uid": "u"}}
    here, shared = permissions(addon, wanted)
    assert here["metadata"]["namespace"] == "c1"
    assert here["roleRef"]["name"] == "reader"
    assert "ownerReferences" in here["metadata"]
    assert shared["metadata"]["namespace"] == "shared"
    assert shared["metadata"]["name"].endswith(":clusterrole:w:c1")
    assert "ownerReferences" not in shared["metadata"]
    group = "system:open-cluster-management:cluster:c1:addon:a"
    assert [b["subjects"][0]["name"] for b in (here, shared)] == [group, group]


@pytest.mark.parametrize(
    ("registration", "message"),
    [
        ({"type": "X"}, r"AddOnTemplate t: spec.registration\[0\].type is 'X'"),
        ({"type": "CustomSigner"}, r"spec.registration\[0\].customSigner needs signerName and signingCA"),
        (
            {"type": "KubeClient", "kubeClient": {"hubPermissions": [{"type": "CurrentCluster"}]}},
            r"registration\[0\].kubeClient.hubPermissions\[0\].currentCluster.clusterRoleName is missing",
        ),
        (
            {"type": "KubeClient", "kubeClient": {"hubPermissions": [{"type": "SingleNamespace"}]}},
            r"hubPermissions\[0\].singleNamespace needs namespace and roleRef",
        ),
    ],
)
def test_errors_name_the_field(registration: Json, message: str) -> None:
    plugin = template_plugin("a", template(registration=[registration]))
    hook = "addon_hub_permissions" if "kubeClient" in registration else "addon_registrations"
    with pytest.raises(PluginError, match=message):
        plugin.call(hook, cluster_name="c1")


def test_a_template_of_another_addon_is_refused() -> None:
    with pytest.raises(PluginError, match=r'AddOnTemplate t: spec\.addonName is "b"'):
        template_plugin("a", template(name="b")).describe()


def test_the_template_is_the_one_that_configuration_decided_on() -> None:
    entry = {
        "group": "addon.open-cluster-management.io",
        "resource": "addontemplates",
        "name": "asked",
        "desiredConfig": {"name": "decided"},
    }
    assert template_name({"status": {"configReferences": [entry]}}) == "decided"
    assert template_name({}) == ""


def test_manifests_follow_the_install_namespace_only_where_a_config_says_one() -> None:
    description = AddonDescription(name="a", relocatable=True)
    default = {"spec": {"agentInstallNamespace": "open-cluster-management-agent-addon"}}
    assert moves(description, [default])
    assert not moves(description, [])
    assert not moves(description, [{"spec": {"agentInstallNamespace": ""}}])
    assert not moves(AddonDescription(name="a"), [default])
    subject = {"kind": "ServiceAccount", "name": "s", "namespace": "old"}
    group = {"kind": "Group", "name": "g"}
    objects = relocate(
        [
            {"kind": "Namespace", "metadata": {"name": "old"}},
            {"kind": "ConfigMap", "metadata": {"name": "m", "namespace": "old"}},
            {"kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "subjects": [subject, group]},
        ],
        "new",
    )
    assert objects[0]["metadata"] == {"name": "new"}
    assert objects[1]["metadata"] == {"name": "m", "namespace": "new"}
    assert objects[2]["metadata"] == {"name": "b"}
    assert objects[2]["subjects"] == [{**subject, "namespace": "new"}, group]


def test_a_proxys_authority_is_shipped_and_mounted() -> None:
    config = {"spec": {"proxyConfig": {"httpsProxy": "https://p", "caBundle": "UEVN"}}}
    agent, bundle = decorate([workload()], [config], name="a")
    assert bundle["metadata"] == {"name": "a-proxy-ca", "namespace": "ns1"}
    assert bundle["data"] == {"ca-bundle.crt": "PEM"}
    pod = agent["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "proxy-ca-bundle", "configMap": {"name": "a-proxy-ca"}}]
    env = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
    assert env["CA_BUNDLE_FILE_PATH"] == "/managed/proxy-ca/ca-bundle.crt"
    assert env["https_proxy"] == "https://p"
    bad = {"spec": {"proxyConfig": {"caBundle": "%%"}}}
    with pytest.raises(BadValues, match="caBundle is not base64"):
        decorate([workload()], [bad], name="a")


def test_a_clusters_image_registries_give_way_to_those_of_a_config() -> None:
    text = '{"registries": [{"source": "quay.io", "mirror": "near"}]}'
    cluster = {"metadata": {"annotations": {"open-cluster-management.io/image-registries": text}}}

    def image(*configs: Json) -> str:
        obj = workload()
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "quay.io/x:1"
        [result] = decorate([obj], configs, name="a", mirrors=mirrors_of(cluster))
        return str(result["spec"]["template"]["spec"]["containers"][0]["image"])

    assert image() == "near/x:1"
    assert image({"spec": {"registries": [{"source": "quay.io", "mirror": "far"}]}}) == "far/x:1"
    assert image({"spec": {"registries": [{"source": "docker.io", "mirror": "far"}]}}) == "near/x:1"
    with pytest.raises(BadRegistries, match="image-registries of the cluster is not"):
        mirrors_of({"metadata": {"annotations": {"open-cluster-management.io/image-registries": "[]"}}})


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("quay.io/ocm/agent:v1", "m/agent:v1"),
        ("quay.io/ocm/agent@sha256:ab", "m/agent@sha256:ab"),
        ("quay.io/ocm/agent/tool", "m/agent/tool"),
        ("quay.io/ocm/agents:v1", "near/agents:v1"),  # the longest source that ends where a part of it ends
        ("quay.io/other:v1", "quay.io/other:v1"),
        ("docker.io/library/busybox", "second/busybox"),  # of equals the later one
    ],
)
def test_the_longest_source_of_an_image_says_its_mirror(image: str, wanted: str) -> None:
    table = [
        {"source": "quay.io/ocm/agent", "mirror": "m/agent"},
        {"source": "quay.io/ocm", "mirror": "near/"},
        {"source": "docker.io/library", "mirror": "first"},
        {"source": "docker.io/library/", "mirror": "second"},
    ]
    assert mirrored(image, table) == wanted


def test_an_empty_source_is_every_image_that_no_other_knows() -> None:
    table = [{"mirror": "all.io/x"}, {"source": "quay.io/ocm", "mirror": "near"}]
    assert mirrored("quay.io/ocm/a/b:1", table) == "near/a/b:1"
    assert mirrored("docker.io/c/d:1", table) == "all.io/x/d:1"
    assert mirrored("docker.io/c/d:1", [{"source": "", "mirror": ""}]) == "d:1"


def test_beside_ocms_own_manager_templates_are_left_to_it() -> None:
    class Caches:
        def cache(self, resource: Any) -> dict[Any, Json]:
            return {Key("", "t"): template()}

    entry = {
        "group": "addon.open-cluster-management.io",
        "resource": "addontemplates",
        "desiredConfig": {"name": "t"},
    }
    addon = {"metadata": {"name": "a"}, "status": {"configReferences": [entry]}}
    found = source_of(Caches(), Plugins(), addon)  # type: ignore[arg-type]
    assert found is not None
    assert found.origin == "AddOnTemplate t"
    assert source_of(Caches(), Plugins(), addon, templates=False) is None  # type: ignore[arg-type]
    plugins = Plugins()
    installed = plugins.add("a", object())
    assert source_of(Caches(), plugins, addon) is installed  # type: ignore[arg-type]
