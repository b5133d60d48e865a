"""What the built-in admission of a Kubernetes API server adds to objects and refuses.

Namespaces' life, service accounts of pods, cluster IPs, the requester of a CSR, and the rule that nobody may
grant what they do not hold.
"""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.local.apiserver import limitranger, status
from addon_framework.local.apiserver.addresses import Addresses
from addon_framework.local.apiserver.authn import User
from addon_framework.local.apiserver.rbac import GROUP as RBAC
from addon_framework.local.apiserver.rbac import Access, Authorizer
from addon_framework.local.apiserver.registry import Kind
from addon_framework.local.apiserver.schemas import cause
from addon_framework.local.apiserver.store import Store

PERMANENT_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
PROTECTED = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}
"""Kinds whose objects stay while they are used, and the finalizers that see to it."""
_NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class Admission:
    """One server's admission chain."""

    def __init__(self, store: Store, authorizer: Authorizer, service_cidr: str) -> None:
        self._store, self._authorizer = store, authorizer
        self._addresses = Addresses(store, service_cidr)

    def namespace(self, kind: Kind, obj: Json, namespace: str) -> None:
        """New content needs a namespace that is there and stays."""
        if not kind.namespaced:
            return
        found = self._store.get("namespaces", ("", namespace))
        if found is None:
            raise status.StatusError(
                404,
                "NotFound",
                f'namespaces "{namespace}" not found',
                {"name": namespace, "kind": "namespaces"},
            )
        if found["metadata"].get("deletionTimestamp"):
            name, because = _called(obj), "because it is being terminated"
            why = f"unable to create new content in namespace {namespace} {because}"
            error = status.forbidden(f'{kind.key} "{name}" is forbidden: {why}', kind, name)
            cause = {"reason": "NamespaceTerminating", "field": "metadata.namespace"}
            cause["message"] = f"namespace {namespace} is being terminated"
            error.details = {**(error.details or {}), "causes": [cause]}
            raise error

    def mutate(self, user: User, kind: Kind, obj: Json, current: Json | None, subresource: str) -> None:
        """Fills in, in place, what the server decides."""
        if subresource:
            if kind.key == "certificatesigningrequests.certificates.k8s.io":
                _time_csr_conditions(obj)
            return
        if current is None:
            if (finalizer := PROTECTED.get(kind.key)) is not None:
                there = obj["metadata"].get("finalizers") or []
                obj["metadata"]["finalizers"] = list(dict.fromkeys([*there, finalizer]))
            create = {
                "namespaces": self._new_namespace,
                "pods": self._new_pod,
            }.get(kind.key)
            if create is not None:
                create(obj)
            if kind.key == "certificatesigningrequests.certificates.k8s.io":
                obj["spec"] = (obj.get("spec") or {}) | user.info()
                for name in {"uid", "extra"} - user.info().keys():
                    obj["spec"].pop(name, None)
        elif kind.key == "certificatesigningrequests.certificates.k8s.io":
            obj["spec"] = current["spec"]
        elif kind.key == "namespaces":
            obj.setdefault("spec", {})["finalizers"] = (current.get("spec") or {}).get("finalizers")
            if obj["spec"]["finalizers"] is None:
                del obj["spec"]["finalizers"]
        if kind.key == "services":
            self._addresses.assign(kind, obj, current)

    def validate(self, user: User, kind: Kind, obj: Json, current: Json | None, subresource: str) -> None:
        """Refuses what this user may not do although the endpoint is theirs."""
        if kind.group == RBAC and not user.is_admin:
            self._no_escalation(user, kind, obj, current)
        if kind.key in limitranger.LIMITED and not subresource:
            self._limit(kind, obj, current)
        if kind.key == "certificatesigningrequests.certificates.k8s.io" and current is not None:
            self._csr_change(user, kind, obj, current, subresource)

    def delete(self, kind: Kind, current: Json) -> None:
        """Refuses to delete what must stay."""
        name = current["metadata"]["name"]
        if kind.key == "namespaces" and name in PERMANENT_NAMESPACES:
            raise status.forbidden(
                f'namespaces "{name}" is forbidden: this namespace may not be deleted', kind, name
            )

    # Kinds

    def _new_namespace(self, obj: Json) -> None:
        given = obj.setdefault("spec", {}).get("finalizers") or []
        obj["spec"]["finalizers"] = given if "kubernetes" in given else [*given, "kubernetes"]
        obj["status"] = {"phase": "Active"}

    def _new_pod(self, obj: Json) -> None:
        limitranger.fill(obj, self._limit_ranges(obj))
        obj["status"] = {"phase": "Pending", "qosClass": qos(obj)}
        spec = obj.get("spec")
        if not isinstance(spec, dict):
            return
        self._prioritize(obj, spec)
        self._check_runtime(obj, spec)
        tolerations = spec.setdefault("tolerations", [])
        for key in _NOT_READY:
            if not any(
                t.get("key") in (key, "", None) and t.get("effect") in ("NoExecute", None)
                for t in tolerations
            ):
                tolerations.append(
                    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                )
        self._service_account(obj, spec)

    def _prioritize(self, obj: Json, spec: Json) -> None:
        """https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/"""
        classes = "priorityclasses.scheduling.k8s.io"
        if name := spec.get("priorityClassName"):
            found = self._store.get(classes, ("", name))
            if found is None:
                raise _pod_refused(obj, f"no PriorityClass with name {name} was found")
        else:
            found = next((each for each in self._store.list(classes) if each.get("globalDefault")), {})
            if found:
                spec["priorityClassName"] = found["metadata"]["name"]
        wanted = {
            "priority": found.get("value", 0),
            "preemptionPolicy": found.get("preemptionPolicy", "PreemptLowerPriority"),
        }
        for field, value in wanted.items():
            if spec.get(field) not in (None, "", value):
                what = f"the {'integer' if field == 'priority' else 'string'} value of {field}"
                why = f"must not be provided in pod spec; priority admission controller computed {value} from"
                raise _pod_refused(obj, f"{what} ({spec[field]}) {why} the given PriorityClass name")
        spec.update(wanted)

    def _check_runtime(self, obj: Json, spec: Json) -> None:
        """https://kubernetes.io/docs/concepts/containers/runtime-class/"""
        name, overhead = spec.get("runtimeClassName"), None
        if name:
            found = self._store.get("runtimeclasses.node.k8s.io", ("", name))
            if found is None:
                raise _pod_refused(obj, f'pod rejected: RuntimeClass "{name}" not found')
            overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead and not spec.get("overhead"):
            spec["overhead"] = overhead
        elif (spec.get("overhead") or None) != (overhead or None):
            why = "Pod Overhead set without corresponding RuntimeClass defined Overhead"
            raise _pod_refused(obj, f"pod rejected: {why}")

    def _service_account(self, obj: Json, spec: Json) -> None:
        """https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/"""
        namespace = obj["metadata"]["namespace"]
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = self._store.get("serviceaccounts", (namespace, name))
        if account is None:
            why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise _pod_refused(obj, why)
        mounts_it = spec.get("automountServiceAccountToken")
        if mounts_it is None:
            mounts_it = account.get("automountServiceAccountToken")
        if mounts_it is False:
            return
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        missing = [
            container
            for container in containers
            if not any(m.get("mountPath") == _TOKEN_DIR for m in container.get("volumeMounts") or ())
        ]
        if not missing:
            return
        volume = f"kube-api-access-{obj['metadata']['uid'][-5:]}"
        spec.setdefault("volumes", []).append({"name": volume, "projected": _token_projection()})
        for container in missing:
            container.setdefault("volumeMounts", []).append(
                {"name": volume, "mountPath": _TOKEN_DIR, "readOnly": True}
            )

    def _limit_ranges(self, obj: Json) -> list[Json]:
        return self._store.list("limitranges", obj["metadata"]["namespace"])

    def _limit(self, kind: Kind, obj: Json, current: Json | None) -> None:
        """Of what a pod may take nothing changes later; a claim may grow while it is wanted."""
        if current is not None and (kind.key == "pods" or current["metadata"].get("deletionTimestamp")):
            return
        if why := limitranger.excess(kind.key, obj, self._limit_ranges(obj)):
            name = _called(obj)
            raise status.forbidden(f'{kind.key} "{name}" is forbidden: {why}', kind, name)

    # Permissions

    def _no_escalation(self, user: User, kind: Kind, obj: Json, current: Json | None) -> None:
        """https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping"""
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
        if kind.plural in ("roles", "clusterroles"):
            if current is not None and current.get("rules") == obj.get("rules"):
                return
            access = Access("escalate", RBAC, kind.plural, "", namespace, name)
            wanted = list(obj.get("rules") or [])
        else:
            if current is not None and current.get("subjects") == obj.get("subjects"):
                return
            reference = obj["roleRef"]
            plural = "clusterroles" if reference["kind"] == "ClusterRole" else "roles"
            access = Access("bind", RBAC, plural, "", namespace, reference["name"])
            wanted = self._authorizer.role_rules(reference, namespace)
        if self._authorizer.allowed(user, access):
            return
        if missing := self._authorizer.missing(user, namespace, wanted):
            raise status.forbidden(
                f'{kind.key} "{name}" is forbidden: user "{user.name}" (groups={list(user.groups)}) is '
                f"attempting to grant RBAC permissions not currently held: {'; '.join(missing)}",
                kind,
                name,
            )

    def _csr_change(self, user: User, kind: Kind, obj: Json, current: Json, subresource: str) -> None:
        """Approving and signing need a right on the signer.

        https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#authorization
        """
        name, signer = current["metadata"]["name"], current["spec"]["signerName"]
        old, new = current.get("status") or {}, obj.get("status") or {}
        verb = ""
        if subresource == "approval":
            verb = "approve"
            if old.get("certificate") != new.get("certificate"):
                wrong = cause.forbidden("status.certificate", "not by /approval")
                raise status.invalid(kind, name, [wrong])
        elif subresource == "status":
            decided = [[c for c in s.get("conditions") or () if c["type"] != "Failed"] for s in (old, new)]
            if decided[0] != decided[1]:
                wrong = cause.forbidden("status.conditions", "approve or deny by the approval subresource")
                raise status.invalid(kind, name, [wrong])
            verb = "sign" if old.get("certificate") != new.get("certificate") else ""
        if not verb:
            return
        domain = signer.split("/")[0]
        for resource_name in (signer, f"{domain}/*"):
            if self._authorizer.allowed(
                user, Access(verb, "certificates.k8s.io", "signers", "", "", resource_name)
            ):
                return
        raise status.forbidden(
            f'certificatesigningrequests.certificates.k8s.io "{name}" is forbidden: user not permitted to '
            f'{verb} requests with signerName "{signer}"',
            kind,
            name,
        )


def _called(obj: Json) -> str:
    """What has no name of its own yet is called by the beginning of the one it will get."""
    metadata = obj["metadata"]
    return str(metadata.get("name") or metadata.get("generateName") or "Unknown")


def _pod_refused(pod: Json, why: str) -> status.StatusError:
    name = _called(pod)
    details = {"name": name, "kind": "pods"}
    return status.StatusError(403, "Forbidden", f'pods "{name}" is forbidden: {why}', details)


def _time_csr_conditions(obj: Json) -> None:
    now = now_rfc3339()
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            condition["lastTransitionTime"] = now


def qos(pod: Json) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    some, all_equal = False, bool(containers)
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            some = some or name in limits or name in requests
            limit = limits.get(name)
            all_equal = all_equal and limit is not None and requests.get(name, limit) == limit
    return "Guaranteed" if all_equal else "Burstable" if some else "BestEffort"


def _token_projection() -> Json:
    return {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {
                "downwardAPI": {
                    "items": [
                        {
                            "path": "namespace",
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                        }
                    ]
                }
            },
        ],
    }
