"""An add-on class as objects that any OCM hub runs without our process: an AddOnTemplate and what it needs.

The class is asked once, with variables in place of what differs from cluster to cluster. Then it is asked
again for two clusters that there might be, and the template must say the same: what a class computes from a
cluster cannot be put into a template, and is found that way.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from addon_framework.api.addon import AddOnDeploymentConfig, AddOnTemplate
from addon_framework.api.meta import Json
from addon_framework.api.names import LIFECYCLE_ANNOTATION
from addon_framework.hub.addons.management import management
from addon_framework.hub.addons.places import mode_values
from addon_framework.hub.addons.render_hub import hub_side
from addon_framework.hub.addons.render_values import (
    CLUSTER_NAME,
    INSTALL_NAMESPACE,
    Inexpressible,
    Known,
    Variables,
)
from addon_framework.hub.addons.template import ADDON_TEMPLATE, TemplateAddon
from addon_framework.hub.addons.values import render_values
from addon_framework.hub.addons.works import check
from addon_framework.plugins import (
    ADDON_DEPLOYMENT_CONFIG,
    AddonDescription,
    NoProbe,
    Plugin,
    PluginError,
    Work,
    Workload,
)
from addon_framework.plugins.manifests import KUBECONFIG_DIR

_INJECTED = {
    "HUB_KUBECONFIG": f"{KUBECONFIG_DIR}/kubeconfig",
    "CLUSTER_NAME": CLUSTER_NAME,
    "INSTALL_NAMESPACE": INSTALL_NAMESPACE,
}
_IN_PODS = ("Deployment", "DaemonSet")
_VARIABLE = re.compile(r"\{\{(.*?)\}\}")
_ONLY_LIVE = {
    "addon_hub_controllers": "its controllers run in the hub manager",
    "addon_csr_approve": "it decides itself on certificate requests",
    "addon_csr_sign": "it signs certificates itself",
    "mutate_manifests": "it changes the manifests of other add-ons",
    "placement_scores": "it scores clusters for placements",
    "decision_observed": "it observes decisions",
}


class CannotRender(ValueError):
    """The class does what a template cannot say; each of `problems` is one line.

    `found` are the variables that nobody declared: the class asked for them.
    """

    def __init__(self, name: str, problems: Sequence[str], found: Sequence[str] = ()) -> None:
        super().__init__(f"add-on {name} cannot be a template:" + "".join(f"\n  - {p}" for p in problems))
        self.problems, self.found = list(problems), list(found)


@dataclass
class Rendered:
    """Objects in the order to apply them, and what a person should know of them."""

    objects: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def render_addon(
    plugin: Plugin,
    *,
    variables: Mapping[str, str] | None = None,
    namespace: str = "open-cluster-management-hub",
    placements: Sequence[tuple[str, str]] = (),
) -> Rendered:
    """Raises CannotRender with everything that is in the way, or PluginError.

    `variables` are those of the class with their defaults, where it does not say itself; `namespace` is that
    of the AddOnDeploymentConfig with the defaults; `placements` say where to install, none is by hand.
    Variables that were not named, and that the class does more with than to write them down, are fixed.
    """
    given = dict(variables or {})

    def attempt(fixed: Sequence[str]) -> Rendered:
        return _render(plugin, Variables(given, fixed), namespace, placements)

    fixed: list[str] = []
    while True:
        try:
            rendered = attempt(fixed)
            break
        except CannotRender as error:
            if not error.found:
                raise
            fixed += error.found
    for name in list(fixed):  # not all of them need be
        with contextlib.suppress(CannotRender):
            fewer = [other for other in fixed if other != name]
            rendered, fixed = attempt(fewer), fewer
    return rendered


def _render(
    plugin: Plugin, asked: Variables, namespace: str, placements: Sequence[tuple[str, str]]
) -> Rendered:
    description = plugin.describe()
    problems = _only_live(plugin, description)
    notes = _health_notes(description)
    manifests: list[Json] = []
    try:
        manifests = _ask(plugin, description, CLUSTER_NAME, INSTALL_NAMESPACE, asked)
        check(manifests)
    except (Inexpressible, ValueError) as error:
        problems.append(str(error))
    except PluginError as error:
        problems.append(_why(error))
    hub = hub_side(plugin, problems)
    moving = all(_namespace(m) in ("", INSTALL_NAMESPACE) for m in manifests)
    where = description.install_namespace
    given = _given(hub.registrations, moving)
    manifests = [_tidy(_placed(each, where, moving), given, problems) for each in manifests]
    template = _object(AddOnTemplate, plugin.name)
    agent: Json = {"workload": {"manifests": manifests}}
    if description.manifest_configs:
        agent["manifestConfigs"] = [dict(each) for each in description.manifest_configs]
    template["spec"] = {"addonName": plugin.name, "agentSpec": agent}
    if hub.registrations:
        template["spec"]["registration"] = hub.registrations
    if not problems:
        problems += _unfaithful(plugin, description, template, asked.defaults, moving)
    if problems:
        raise CannotRender(plugin.name, problems, asked.found)
    if not moving:
        notes.append(f"it has objects in several namespaces, so the agent stays in {where}")
    config = _object(AddOnDeploymentConfig, plugin.name, namespace)
    config["spec"] = {"agentInstallNamespace": where if moving else ""}
    if asked.defaults:
        config["spec"]["customizedVariables"] = [
            {"name": name, "value": value} for name, value in asked.defaults.items()
        ]
    management = _management(description, namespace, placements)
    return Rendered([*hub.objects, config, template, management], [*notes, *asked.notes])


def _management(description: AddonDescription, namespace: str, placements: Sequence[tuple[str, str]]) -> Json:
    result = management(description)
    result["metadata"]["annotations"] = {LIFECYCLE_ANNOTATION: "addon-manager"}
    kinds = (
        (ADDON_TEMPLATE, {"name": description.name}),
        (ADDON_DEPLOYMENT_CONFIG, {"name": description.name, "namespace": namespace}),
    )
    result["spec"]["supportedConfigs"] = [
        {"group": kind.group, "resource": kind.resource, "defaultConfig": default} for kind, default in kinds
    ]
    if placements:
        result["spec"]["installStrategy"] = {
            "type": "Placements",
            "placements": [{"namespace": where, "name": name} for where, name in placements],
        }
    return result


def _only_live(plugin: Plugin, description: AddonDescription) -> list[str]:
    problems = [f"{hook}: {why}" for hook, why in _ONLY_LIVE.items() if plugin.implements(hook)]
    others = [kind for kind in description.supported_configs if kind != ADDON_DEPLOYMENT_CONFIG]
    problems += [f"supported_configs: it reads {k.resource}.{k.group}, which only code can" for k in others]
    if isinstance(description.prober, Work) and description.prober.check is not None:
        problems.append("health: it judges with a function; a template's health is that of its workloads")
    return problems


def _health_notes(description: AddonDescription) -> list[str]:
    if isinstance(description.prober, Workload):
        return []
    kind = "no probe" if isinstance(description.prober, NoProbe) else type(description.prober).__name__
    return [f"health is told by the workloads, not by {kind}"]


def _ask(
    plugin: Plugin, description: AddonDescription, cluster: str, namespace: str, variables: dict[str, Any]
) -> list[Json]:
    """The manifests for a cluster of which only the name is known."""
    notes = variables.notes if isinstance(variables, Variables) else []
    plain = {"metadata": {"name": description.name, "namespace": cluster}}
    managed = _known("ManagedCluster", {"name": cluster}, notes)
    addon = _known("ManagedClusterAddOn", plain["metadata"], notes)
    values = render_values({"metadata": {"name": cluster}}, plain, namespace, [])
    variables.update(values | mode_values(plain, hosted=False))
    answer = plugin.call("addon_manifests", cluster=managed, addon=addon, values=variables)
    return [copy.deepcopy(dict(each)) for each in answer or []]


def _known(kind: str, metadata: Json, notes: list[str]) -> Known:
    return Known(kind, {"metadata": Known(f"{kind}.metadata", metadata, notes)}, notes)


def _why(error: PluginError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Inexpressible):
            return f"addon_manifests: {cause}"
        cause = cause.__cause__
    hint = "; is it a variable? --variable NAME=DEFAULT says so" if "undefined" in str(error) else ""
    return f"addon_manifests fails without a cluster: {error}{hint}"


def _placed(manifest: Json, namespace: str, moving: bool) -> Json:
    """Namespaces by name, as OCM reads them; it moves them all where an AddOnDeploymentConfig says so."""
    if not moving:
        fixed: Json = _replace(manifest, INSTALL_NAMESPACE, namespace)
        return fixed
    metadata = manifest.get("metadata") or {}
    for holder, name in (
        (metadata, "namespace"),
        *(((metadata, "name"),) if manifest.get("kind") == "Namespace" else ()),
        *((subject, "namespace") for subject in manifest.get("subjects") or []),
    ):
        if holder.get(name) == INSTALL_NAMESPACE:
            holder[name] = namespace
    return manifest


def _namespace(manifest: Json) -> str:
    metadata = manifest.get("metadata") or {}
    return str(metadata.get("name" if manifest.get("kind") == "Namespace" else "namespace") or "")


@dataclass(frozen=True)
class _Given:
    """What OCM puts into every agent's pod itself."""

    env: Mapping[str, str]
    secret: bool  # of a KubeClient


def _given(registrations: Sequence[Json], moving: bool) -> _Given:
    env = dict(_INJECTED)
    if not registrations:
        env.pop("HUB_KUBECONFIG")
    if not moving:  # nobody says which it is
        env.pop("INSTALL_NAMESPACE")
    return _Given(env, any(each["type"] == "KubeClient" for each in registrations))


def _tidy(manifest: Json, given: _Given, problems: list[str]) -> Json:
    """Without what is given: it would be there twice."""
    if manifest.get("kind") not in _IN_PODS:
        return manifest
    pod = ((manifest.get("spec") or {}).get("template") or {}).get("spec") or {}
    for container in pod.get("containers") or []:
        env = container.get("env") or []
        _keep(container, "env", [each for each in env if each["name"] not in given.env])
        problems += [
            f"{manifest['kind']} {manifest['metadata']['name']}: OCM sets {each['name']} to "
            f"{given.env[each['name']]} in container {container['name']}, not to {each.get('value')!r}"
            for each in env
            if each["name"] in given.env and each.get("value") != given.env[each["name"]]
        ]
        if given.secret:
            mounts = container.get("volumeMounts") or []
            _keep(container, "volumeMounts", [m for m in mounts if m["mountPath"] != KUBECONFIG_DIR])
    if given.secret:
        volumes = pod.get("volumes") or []
        _keep(pod, "volumes", [volume for volume in volumes if volume["name"] != "hub-kubeconfig"])
    return manifest


def _keep(holder: Json, name: str, items: list[Json]) -> None:
    if items:
        holder[name] = items
    else:
        holder.pop(name, None)


def _unfaithful(
    plugin: Plugin, description: AddonDescription, template: Json, defaults: Mapping[str, str], moving: bool
) -> list[str]:
    """Where the template says something else than the class, for clusters and namespaces there might be."""
    known = {CLUSTER_NAME, INSTALL_NAMESPACE, *(f"{{{{{name}}}}}" for name in defaults)}
    text = str(template["spec"]["agentSpec"]["workload"])
    problems = [
        f"{{{{{name}}}}} is in the manifests as it is, and OCM would take it for a variable"
        for name in sorted({n for n in _VARIABLE.findall(text) if f"{{{{{n}}}}}" not in known})
    ]
    namespaces = (description.install_namespace, "elsewhere") if moving else (description.install_namespace,)
    given = _Given(_INJECTED, _given(template["spec"].get("registration") or [], moving).secret)
    spec = {name: value for name, value in template["spec"].items() if name != "registration"}
    alone = TemplateAddon(plugin.name, {**template, "spec": spec})  # puts no Secrets into the pods
    others = {name: f"{value}x" for name, value in defaults.items()}
    samples = [("cluster1", namespaces[0], defaults), ("a-cluster-of-another-name", namespaces[-1], others)]
    for cluster, namespace, chosen in samples:
        values = {**chosen}
        try:
            own = _ask(plugin, description, cluster, namespace, values)
        except PluginError as error:
            if chosen is others and others:
                continue  # it may refuse a value, and says so when it is asked live
            return [*problems, _why(error)]
        filled = alone.addon_manifests(values)
        ours = [_tidy(each, given, []) for each in own]
        theirs = [_tidy(_moved(each, description.install_namespace, namespace), given, []) for each in filled]
        for mine, its in zip(ours, theirs, strict=False):
            if path := _difference(mine, its):
                what = f"{mine.get('kind')} {(mine.get('metadata') or {}).get('name')}"
                problems.append(f"{what}: {path} is computed from what differs between clusters")
        if len(ours) != len(theirs):
            problems.append("how many manifests there are depends on the cluster or on a variable")
    return list(dict.fromkeys(problems))


def _moved(manifest: Json, before: str, after: str) -> Json:
    metadata = manifest.get("metadata") or {}
    if metadata.get("namespace") == before:
        metadata["namespace"] = after
    if manifest.get("kind") == "Namespace":
        metadata["name"] = after if metadata.get("name") == before else metadata.get("name")
    for subject in manifest.get("subjects") or []:
        if subject.get("namespace") == before:
            subject["namespace"] = after
    return manifest


def _difference(one: Any, other: Any, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(n for n in other if n not in one)]:
            if found := _difference(one.get(name), other.get(name), f"{path}.{name}"):
                return found
        return ""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next((f for i, (a, b) in pairs if (f := _difference(a, b, f"{path}[{i}]"))), "")
    return "" if one == other else path.lstrip(".")


def _replace(value: Any, text: str, by: str) -> Any:
    if isinstance(value, str):
        return value.replace(text, by)
    if isinstance(value, dict):
        return {name: _replace(item, text, by) for name, item in value.items()}
    return [_replace(item, text, by) for item in value] if isinstance(value, list) else value


def _object(kind: Any, name: str, namespace: str = "") -> Json:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": kind.RESOURCE.api_version, "kind": kind.RESOURCE.kind, "metadata": metadata}
