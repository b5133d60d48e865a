"""What every add-on must keep to, as a test class that its author subclasses.

class TestHello(AddonContract):
    addon = "hello-addon"  # the name of the entry point
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from addon_framework.api.meta import Json
from addon_framework.hub.addons.packing import TooLarge, pack
from addon_framework.hub.addons.places import BadManifest, mode_values
from addon_framework.hub.addons.predelete import split_hooks
from addon_framework.hub.addons.works import WORKLOADS, check, plural
from addon_framework.plugins import (
    CurrentCluster,
    CustomSigner,
    Hooks,
    KubeClient,
    Lease,
    Plugin,
    PluginError,
    Plugins,
    Registration,
    SingleNamespace,
    Work,
    Workload,
    discover,
)

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.:]*[a-z0-9])?")  # colons: RBAC
_ESCALATING = {"bind", "escalate", "impersonate"}
_CLUSTER, _NAMESPACE, _ELSEWHERE = "contract-cluster", "contract-namespace", "contract-elsewhere"


class AddonContract:
    """Subclass it, say which add-on, and pytest checks the contract.

    `target` tests a class that is not installed. `variables` are those an AddOnDeploymentConfig would give;
    `labels` are the cluster's.
    """

    addon: ClassVar[str]
    target: ClassVar[Any] = None
    variables: ClassVar[Mapping[str, Any]] = {}
    labels: ClassVar[Mapping[str, str]] = {}

    # What the tests ask, for a subclass to use in tests of its own

    @pytest.fixture
    def plugin(self) -> Plugin:
        """The add-on as the hub manager loads it."""
        if self.target is not None:
            return Plugins().add(self.addon, self.target)
        found = discover().get(self.addon)
        assert found is not None, (
            f'no entry point "{self.addon}" in the group boundaryless.addons: is the package installed '
            "(pip install -e .), and the name the one in its pyproject.toml?"
        )
        return found

    def manifests(self, plugin: Plugin, namespace: str = _NAMESPACE, **variables: Any) -> list[Json]:
        """What the add-on ships to one cluster."""
        result = plugin.call("addon_manifests", **self.arguments(namespace, **variables)) or []
        return list(result)

    def arguments(self, namespace: str = _NAMESPACE, **variables: Any) -> dict[str, Any]:
        """The arguments of `addon_manifests`."""
        cluster = {
            "apiVersion": "cluster.open-cluster-management.io/v1",
            "kind": "ManagedCluster",
            "metadata": {"name": _CLUSTER, "uid": "cluster-uid", "labels": dict(self.labels)},
            "spec": {"hubAcceptsClient": True},
            "status": {"version": {"kubernetes": "v1.34.0"}, "clusterClaims": [], "conditions": []},
        }
        addon = {
            "apiVersion": "addon.open-cluster-management.io/v1alpha1",
            "kind": "ManagedClusterAddOn",
            "metadata": {"name": self.addon, "namespace": _CLUSTER, "uid": "addon-uid"},
            "spec": {},
            "status": {"namespace": namespace},
        }
        values = {
            **self.variables,
            **variables,
            "cluster_name": _CLUSTER,
            "addon_name": self.addon,
            "install_namespace": namespace,
            "hub_kubeconfig_secret": f"{self.addon}-hub-kubeconfig",
            **mode_values(addon, hosted=False),
        }
        return {"cluster": cluster, "addon": addon, "values": values}

    def registrations(self, plugin: Plugin) -> Sequence[Registration]:
        """The hub identities of the agent; as the manager does, none said is one KubeClient."""
        found = plugin.call("addon_registrations", cluster_name=_CLUSTER)
        return [KubeClient()] if found is None else list(found)

    # The contract

    def test_it_loads_and_describes_itself_by_the_name_of_its_entry_point(self, plugin: Plugin) -> None:
        """Also refuses hooks that do not exist."""
        try:
            description = plugin.describe()
        except PluginError as error:
            pytest.fail(str(error))
        assert description.name == self.addon

    def test_every_hook_is_marked(self, plugin: Plugin) -> None:
        """A method without @hookimpl is never called."""
        instance = plugin.load()
        known = {name for name in vars(Hooks) if not name.startswith("_")}
        unmarked = [
            name
            for name in dir(instance)
            if (name in known or name.startswith("addon_")) and not hasattr(getattr(instance, name), _MARK)
        ]
        assert not unmarked, f"put @hookimpl on: {', '.join(unmarked)}"

    def test_the_agent_is_a_coroutine(self, plugin: Plugin) -> None:
        """`async def addon_agent`."""
        agent = getattr(plugin.load(), "addon_agent", None)
        assert agent is None or inspect.iscoroutinefunction(agent), "addon_agent must be an `async def`"

    def test_manifests_are_pure(self, plugin: Plugin) -> None:
        """Same arguments, same objects, and the arguments stay as they were."""
        given = self.arguments()
        before = copy.deepcopy(given)
        first = copy.deepcopy(plugin.call("addon_manifests", **given))
        assert given == before, "addon_manifests changes its arguments"
        assert plugin.call("addon_manifests", **given) == first, "addon_manifests differs from call to call"

    def test_manifests_are_valid_objects(self, plugin: Plugin) -> None:
        """By what a ManifestWork takes and, where the package kubernetes-validate is there, by Kubernetes."""
        manifests = self.manifests(plugin)
        try:
            check(manifests)
        except BadManifest as error:
            pytest.fail(str(error))
        for obj in manifests:
            name = obj["metadata"]["name"]
            assert _NAME.fullmatch(name), f"{obj['kind']}: metadata.name {name!r} is not a name"
        problems = [problem for obj in manifests if (problem := _schema_problem(obj))]
        assert not problems, "\n".join(problems)

    def test_manifests_fit_into_works(self, plugin: Plugin) -> None:
        """No object is larger than a ManifestWork may be."""
        try:
            pack(self.manifests(plugin), {})
        except TooLarge as error:
            pytest.fail(str(error))

    def test_manifests_follow_the_install_namespace(self, plugin: Plugin) -> None:
        """An AddOnDeploymentConfig moves the agent; nothing may name its usual namespace."""
        usual = plugin.describe().install_namespace
        stayed = [
            f"{obj['kind']} {obj['metadata']['name']}"
            for obj in self.manifests(plugin, _ELSEWHERE)
            if usual in (obj["metadata"].get("namespace"), obj["metadata"]["name"])
        ]
        assert not stayed, f"not in values['install_namespace'] but in {usual}: {', '.join(stayed)}"

    def test_health_can_be_told(self, plugin: Plugin) -> None:
        """What the health is told by is among the manifests."""
        health, (manifests, _) = plugin.describe().prober, split_hooks(self.manifests(plugin))
        if isinstance(health, Workload):
            kinds = {obj["kind"] for obj in manifests}
            assert kinds & WORKLOADS.keys(), "health is Workload, and there is no Deployment or DaemonSet"
        elif isinstance(health, Lease):
            assert any(_pod_spec(obj) for obj in manifests), "health is Lease, and nothing runs to renew it"
        elif isinstance(health, Work):
            there = {
                (plural(o["kind"]), o["metadata"].get("namespace", ""), o["metadata"]["name"])
                for o in manifests
            }
            lost = [p.name for p in health.probes if (p.resource, p.namespace, p.name) not in there]
            assert not lost, f"probed, and not among the manifests: {', '.join(lost)}"

    def test_hub_permissions_are_scoped(self, plugin: Plugin) -> None:
        """An agent gets on the hub what it needs, by name: nothing by wildcard, no way to get more."""
        for entry in plugin.call("addon_hub_permissions", cluster_name=_CLUSTER) or []:
            if isinstance(entry, CurrentCluster | SingleNamespace):
                continue
            assert isinstance(entry, Mapping), f"{entry!r} is neither a rule nor a hub permission"
            _assert_scoped(entry)
            if "secrets" in entry.get("resources", ()):
                assert entry.get("resourceNames"), f"name the Secrets of {dict(entry)} in resourceNames"

    def test_rights_on_the_cluster_are_scoped(self, plugin: Plugin) -> None:
        """The agent is no administrator of its cluster."""
        for obj in self.manifests(plugin):
            if obj["kind"] in ("Role", "ClusterRole"):
                for rule in obj.get("rules") or []:
                    everything = all("*" in rule.get(key, ()) for key in ("apiGroups", "resources"))
                    assert not everything, f"{obj['kind']} {obj['metadata']['name']} covers all resources"
            elif obj["kind"] == "ClusterRoleBinding":
                role = obj.get("roleRef", {}).get("name")
                assert role != "cluster-admin", f"{obj['metadata']['name']} binds cluster-admin"

    def test_registrations_and_pods_agree(self, plugin: Plugin) -> None:
        """A pod that mounts an identity nobody asks for would wait for ever; a signer must sign."""
        registrations = self.registrations(plugin)
        kube_client = any(isinstance(each, KubeClient) for each in registrations)
        mounted = set(_secrets(self.manifests(plugin)))
        assert kube_client or f"{self.addon}-hub-kubeconfig" not in mounted, (
            f"a pod mounts the Secret {self.addon}-hub-kubeconfig, and addon_registrations has no KubeClient"
        )
        for each in registrations:
            if isinstance(each, CustomSigner) and each.signing_ca is None:
                signs = plugin.implements("addon_csr_sign")
                assert signs, f"{each.signer_name}: give it a signing_ca, or implement addon_csr_sign"
        if plugin.call("addon_hub_permissions", cluster_name=_CLUSTER):
            assert kube_client, "addon_hub_permissions are of no use without a KubeClient"

    def test_hub_manifests_are_valid_objects(self, plugin: Plugin) -> None:
        """And the same each time."""
        first = list(plugin.call("addon_hub_manifests") or [])
        try:
            check(first)
        except BadManifest as error:
            pytest.fail(str(error))
        assert list(plugin.call("addon_hub_manifests") or []) == first
        problems = [problem for obj in first if (problem := _schema_problem(obj))]
        assert not problems, "\n".join(problems)

    def test_commands_have_help(self, plugin: Plugin) -> None:
        """`fleetadm --help` shows it."""
        for command in plugin.call("addon_commands") or []:
            assert command.help, f"command {command.name} has no docstring"


_MARK = "boundaryless_impl"  # what pluggy calls the attribute that @hookimpl sets


def _assert_scoped(rule: Mapping[str, Any]) -> None:
    for key in ("apiGroups", "resources", "verbs"):
        assert "*" not in rule.get(key, ()), f"{key} has a wildcard: {dict(rule)}"
        assert rule.get(key), f"{key} is missing: {dict(rule)}"
    assert not _ESCALATING & set(rule["verbs"]), f"a verb that lets the agent get more rights: {dict(rule)}"
    assert not rule.get("nonResourceURLs"), f"a Role holds in a namespace, and has no URLs: {dict(rule)}"


def _schema_problem(obj: Json) -> str:
    try:
        import kubernetes_validate
    except ImportError:
        return ""
    version = ".".join(kubernetes_validate.latest_version().split(".")[:2])
    try:
        kubernetes_validate.validate(obj, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return ""  # a custom resource
    except kubernetes_validate.ValidationError as error:
        where = ".".join(map(str, error.path)) or "object"
        return f"{obj['kind']} {obj['metadata']['name']}: {where}: {str(error).splitlines()[0]}"
    return ""


def _pod_spec(obj: Json) -> Json:
    spec: Json = obj.get("spec") or {}
    if obj["kind"] == "Pod":
        return spec
    if obj["kind"] == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template: Json = spec.get("template") or {}
    found: Json = template.get("spec") or {}
    return found if found.get("containers") else {}


def _secrets(manifests: Sequence[Json]) -> Iterable[str]:
    for obj in manifests:
        for volume in _pod_spec(obj).get("volumes") or []:
            if name := (volume.get("secret") or {}).get("secretName"):
                yield name
