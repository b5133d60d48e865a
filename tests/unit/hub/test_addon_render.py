"""An add-on class as an AddOnTemplate: what can be said, what cannot, and that nothing is said wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from addon_framework.hub.addons.render import CannotRender, Rendered, render_addon
from addon_framework.hub.addons.template import TemplateAddon
from addon_framework.plugins import (
    AddonDescription,
    CurrentCluster,
    CustomSigner,
    KubeClient,
    Plugin,
    Plugins,
    Registration,
    SigningCA,
    SingleNamespace,
    Work,
    agent_manifests,
    hookimpl,
)

Json = dict[str, Any]
RULE = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}


def config_map(data: Json, namespace: str = "") -> Json:
    metadata = {"name": "m"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Base:
    """An agent, and whatever a test adds."""

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="hello", display_name="Hello", install_namespace="hello-ns")

    @hookimpl
    def addon_manifests(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
        agent = agent_manifests("hello", values["install_namespace"], values["cluster_name"])
        return [*agent, *self.more(cluster, addon, values)]

    def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
        return []


def plugin(target: Any) -> Plugin:
    return Plugins().add("hello", target)


def kinds(rendered: Rendered) -> list[str]:
    return [obj["kind"] for obj in rendered.objects]


def one(rendered: Rendered, kind: str) -> Json:
    [found] = [obj for obj in rendered.objects if obj["kind"] == kind]
    return found


def workload(rendered: Rendered) -> list[Json]:
    manifests: list[Json] = one(rendered, "AddOnTemplate")["spec"]["agentSpec"]["workload"]["manifests"]
    return manifests


def test_an_agent_becomes_a_template_with_its_defaults() -> None:
    rendered = render_addon(plugin(Base()), placements=[("ns", "all")])
    assert kinds(rendered) == ["AddOnDeploymentConfig", "AddOnTemplate", "ClusterManagementAddOn"]
    spec = one(rendered, "ClusterManagementAddOn")["spec"]
    assert spec["addOnMeta"] == {"displayName": "Hello"}
    assert [c["defaultConfig"]["name"] for c in spec["supportedConfigs"]] == ["hello", "hello"]
    assert spec["installStrategy"]["placements"] == [{"namespace": "ns", "name": "all"}]
    assert one(rendered, "AddOnDeploymentConfig")["spec"] == {"agentInstallNamespace": "hello-ns"}
    assert one(rendered, "AddOnTemplate")["spec"]["registration"] == [{"type": "KubeClient"}]
    deployment = workload(rendered)[-1]
    assert deployment["metadata"]["namespace"] == "hello-ns"
    pod = deployment["spec"]["template"]["spec"]
    assert "volumes" not in pod
    assert pod["containers"][0]["env"] == [{"name": "ADDON_NAME", "value": "hello"}]
    assert "volumeMounts" not in pod["containers"][0]


def test_filled_again_it_has_what_ocm_puts_there_once() -> None:
    rendered = render_addon(plugin(Base()))
    values = {"cluster_name": "c1", "install_namespace": "hello-ns"}
    filled = TemplateAddon("hello", one(rendered, "AddOnTemplate")).addon_manifests(values)
    pod = filled[-1]["spec"]["template"]["spec"]
    env = {e["name"]: e["value"] for e in pod["containers"][0]["env"]}
    assert env["CLUSTER_NAME"] == "c1"
    assert env["HUB_KUBECONFIG"] == "/managed/hub-kubeconfig/kubeconfig"
    assert [v["name"] for v in pod["volumes"]] == ["hub-kubeconfig"]


def test_what_is_asked_for_as_text_is_a_variable() -> None:
    class Greeter(Base):
        def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
            text = f"{values.get('text', 'hello')} {cluster['metadata']['name']} of {values['owner']}"
            return [
                config_map({"text": text, "size": str(values.get("size", 3))}, values["install_namespace"])
            ]

    rendered = render_addon(plugin(Greeter()), variables={"owner": "me"})
    assert workload(rendered)[-1]["data"] == {"text": "{{text}} {{CLUSTER_NAME}} of {{owner}}", "size": "3"}
    assert one(rendered, "AddOnDeploymentConfig")["spec"]["customizedVariables"] == [
        {"name": "owner", "value": "me"},
        {"name": "text", "value": "hello"},
    ]
    assert any("size is fixed at 3" in note for note in rendered.notes)


def test_a_variable_that_is_computed_with_is_fixed() -> None:
    class Parses(Base):
        def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
            names = [name for name in values.get("names", "").split(",") if name]
            size = int(values.get("size", "3"))
            data = dict.fromkeys(names, "") | {"size": str(size), "text": values.get("text", "hello")}
            return [config_map(data, values["install_namespace"])]

    rendered = render_addon(plugin(Parses()))
    assert workload(rendered)[-1]["data"] == {"size": "3", "text": "{{text}}"}
    assert any("size is fixed at '3': the class computes with it" in note for note in rendered.notes)
    with pytest.raises(CannotRender, match="addon_manifests"):
        render_addon(plugin(Parses()), variables={"size": "4"})


def test_rights_on_the_hub_become_roles_that_the_add_on_manager_may_bind() -> None:
    class Privileged(Base):
        @hookimpl
        def addon_hub_permissions(self) -> list[Any]:
            return [RULE, CurrentCluster("view"), SingleNamespace("shared", "reader")]

        @hookimpl
        def addon_registrations(self) -> list[Registration]:
            authority = SigningCA("ca", "shared")
            return [KubeClient(), CustomSigner("example.com/a", user="u", groups=["g"], signing_ca=authority)]

    rendered = render_addon(plugin(Privileged()))
    client, signer = one(rendered, "AddOnTemplate")["spec"]["registration"]
    name = "open-cluster-management:addon:hello:agent"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    assert client["kubeClient"]["hubPermissions"] == [
        {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": name}},
        {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": "view"}},
        {"type": "SingleNamespace", "singleNamespace": {"namespace": "shared", "roleRef": role}},
    ]
    assert signer["customSigner"]["subject"] == {"user": "u", "groups": ["g"]}
    roles = [obj for obj in rendered.objects if obj["kind"] == "ClusterRole"]
    assert roles[0]["metadata"]["name"] == name
    assert roles[0]["rules"] == [RULE]
    bound = [(r["resources"], r["resourceNames"]) for r in roles[1]["rules"]]
    assert bound == [(["clusterroles"], [name]), (["clusterroles"], ["view"]), (["roles"], ["reader"])]


def test_without_access_to_the_hub_there_is_no_registration() -> None:
    class Alone(Base):
        @hookimpl
        def addon_registrations(self) -> list[Registration]:
            return []

        @hookimpl
        def addon_manifests(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
            return agent_manifests(
                "hello", values["install_namespace"], values["cluster_name"], hub_access=False
            )

    assert "registration" not in one(render_addon(plugin(Alone())), "AddOnTemplate")["spec"]


def test_objects_in_several_namespaces_stay_where_they_are() -> None:
    class Spread(Base):
        def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
            return [config_map({"where": values["install_namespace"]}, "kube-system")]

    rendered = render_addon(plugin(Spread()))
    assert one(rendered, "AddOnDeploymentConfig")["spec"] == {"agentInstallNamespace": ""}
    assert workload(rendered)[-1]["data"] == {"where": "hello-ns"}
    env = workload(rendered)[-2]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "INSTALL_NAMESPACE", "value": "hello-ns"} in env


class ReadsLabels(Base):
    def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
        return [config_map({"zone": cluster["metadata"]["labels"]["zone"]})]


class ReadsClaims(Base):
    def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
        return [config_map({"claims": str(cluster.get("status"))})]


class Computes(Base):
    def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
        return [config_map({"name": values["cluster_name"].upper()})]


class Counts(Base):
    def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
        return [config_map({})] if len(values["cluster_name"]) > 12 else []


class Overrides(Base):
    @hookimpl
    def addon_manifests(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
        env = {"CLUSTER_NAME": "mine"}
        return agent_manifests("hello", values["install_namespace"], values["cluster_name"], env=env)


class HasBraces(Base):
    def more(self, cluster: Json, addon: Json, values: Any) -> list[Json]:
        return [config_map({"alert": "{{ $labels.pod }} is down"})]


class Judges(Base):
    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="hello", health=Work(check=lambda values: ""))


class Controls(Base):
    @hookimpl
    def addon_hub_controllers(self) -> list[Any]:
        return []

    @hookimpl
    def addon_csr_approve(self) -> bool:
        return True


class SignsItself(Base):
    @hookimpl
    def addon_registrations(self) -> list[Registration]:
        return [CustomSigner("example.com/a")]


class RightsByName(Base):
    @hookimpl
    def addon_hub_permissions(self, cluster_name: str) -> list[Any]:
        return [{**RULE, "resourceNames": [f"of-{cluster_name}"]}]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (ReadsLabels, ["ManagedCluster.metadata.labels", "differs from cluster to cluster"]),
        (ReadsClaims, ["ManagedCluster.status"]),
        (Computes, ["ConfigMap m: data.name is computed from what differs between clusters"]),
        (Counts, ["how many manifests there are depends on the cluster"]),
        (Overrides, ["Deployment hello-agent: OCM sets CLUSTER_NAME", "'mine'"]),
        (HasBraces, ["{{ $labels.pod }} is in the manifests as it is"]),
        (Judges, ["health: it judges with a function"]),
        (Controls, ["addon_hub_controllers: its controllers", "addon_csr_approve: it decides itself"]),
        (SignsItself, ["example.com/a needs a signing_ca"]),
        (RightsByName, ["the cluster's name is in it"]),
    ],
)
def test_what_a_template_cannot_say_is_named(target: type[Base], said: list[str]) -> None:
    with pytest.raises(CannotRender) as caught:
        render_addon(plugin(target()))
    for text in said:
        assert text in str(caught.value)


@pytest.mark.parametrize("name", ["resource-scorer", "cache-runtime"])
def test_the_built_in_ones_that_need_no_controller_of_theirs(name: str) -> None:
    from addon_framework.plugins import discover

    rendered = render_addon(discover().require(name))
    assert one(rendered, "AddOnTemplate")["spec"]["addonName"] == name
