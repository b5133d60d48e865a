"""What an identity may do: Roles, ClusterRoles and their bindings, and the rule against escalation.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.authn import User
from addon_framework.local.apiserver.store import Event, Store

GROUP = "rbac.authorization.k8s.io"
_ROLES, _CLUSTER_ROLES = f"roles.{GROUP}", f"clusterroles.{GROUP}"
_BINDINGS, _CLUSTER_BINDINGS = f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}"

Subject = tuple[str, str]  # User or Group, and its name


@dataclass(frozen=True)
class Access:
    """One question: may this be done? `path` instead of a resource for non-resource URLs."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def what(self) -> str:
        """resource or resource/subresource."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Authorizer:
    """Answers from the store. The bindings of a subject are found by index, kept current by its events."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index: dict[Subject, dict[str, Json]] = {}  # the bindings of each by their uid
        for resource in (_BINDINGS, _CLUSTER_BINDINGS):
            for binding in store.list(resource):
                self._bind(None, binding)
        store.listen(self._changed)

    def allowed(self, user: User, access: Access) -> bool:
        """Whether any rule that applies to the user covers the access."""
        if user.is_admin:
            return True
        return any(covers(rule, access) for rule in self.rules(user, access.namespace))

    def rules(self, user: User, namespace: str) -> Iterator[Json]:
        """Every rule the user has in a namespace, cluster-wide ones included."""
        for binding in self._bindings(user):
            bound_in = binding["metadata"].get("namespace", "")
            if bound_in and bound_in != namespace:
                continue
            yield from self.role_rules(binding["roleRef"], bound_in)

    def role_rules(self, reference: Json, namespace: str) -> list[Json]:
        """The rules of a referenced role; none if it does not exist."""
        if reference["kind"] == "ClusterRole":
            role = self._store.get(_CLUSTER_ROLES, ("", reference["name"]))
        else:
            role = self._store.get(_ROLES, (namespace, reference["name"]))
        return list((role or {}).get("rules") or [])

    def missing(self, user: User, namespace: str, wanted: Iterable[Json]) -> list[str]:
        """What of `wanted` the user does not hold: those may not be granted to anybody."""
        if user.is_admin:
            return []
        held = list(self.rules(user, namespace))
        missing = []
        for access in (access for rule in wanted for access in _expand(rule, namespace)):
            if not any(covers(rule, access) for rule in held):
                name = f" {access.name!r}" if access.name else ""
                missing.append(f"{access.verb} {access.path or access.what()}{name}")
        return missing

    def _bindings(self, user: User) -> Iterable[Json]:
        found: dict[str, Json] = {}
        for subject in (("User", user.name), *(("Group", group) for group in user.groups)):
            found |= self._index.get(subject, {})
        return found.values()

    def _changed(self, event: Event) -> None:
        if event.resource in (_BINDINGS, _CLUSTER_BINDINGS):
            self._bind(event.old, None if event.type == "DELETED" else event.obj)

    def _bind(self, old: Json | None, new: Json | None) -> None:
        """One binding only: every cluster of a hub has several."""
        if old is not None:
            for subject in _subjects(old):
                bindings = self._index.get(subject, {})
                bindings.pop(old["metadata"]["uid"], None)
                if not bindings:
                    self._index.pop(subject, None)
        if new is not None:
            for subject in _subjects(new):
                self._index.setdefault(subject, {})[new["metadata"]["uid"]] = new


def _subjects(binding: Json) -> Iterator[Subject]:
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            kind, name = "User", f"system:serviceaccount:{namespace}:{name}"
        yield kind, name


def covers(rule: Json, access: Access) -> bool:
    """Whether one PolicyRule allows one access."""
    if not _any(rule.get("verbs"), access.verb):
        return False
    if access.path:
        return any(
            url == "*" or url == access.path or (url.endswith("*") and access.path.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs") or ()
        )
    if not _any(rule.get("apiGroups"), access.group):
        return False
    resources = rule.get("resources") or ()
    matched = "*" in resources or access.what() in resources
    if not matched and access.subresource:
        matched = f"*/{access.subresource}" in resources
    if not matched:
        return False
    names = rule.get("resourceNames") or ()
    return not names or (bool(access.name) and access.name in names)


def _any(allowed: Iterable[str] | None, value: str) -> bool:
    allowed = allowed or ()
    return "*" in allowed or value in allowed


def _expand(rule: Json, namespace: str) -> Iterator[Access]:
    """A rule as single accesses; a star stays a star, so that only a star covers it."""
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield Access(verb, path=path)
        for group in rule.get("apiGroups") or ():
            for full in rule.get("resources") or ():
                resource, _, sub = full.partition("/")
                for name in rule.get("resourceNames") or ("",):
                    yield Access(verb, group, resource, sub, namespace, name)
