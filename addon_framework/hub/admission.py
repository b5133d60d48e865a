"""Who lets clusters in, moves them between sets, binds sets, and has works applied as an account: policies,
for what OCM has webhooks.

So they hold whether or not anything of ours runs. The rights that they ask for are OCM's. Pure.
"""

from __future__ import annotations

from addon_framework.api.meta import Json, Resource
from addon_framework.api.names import CLUSTER_GROUP, CLUSTER_SET_LABEL, REGISTER_GROUP, WORK_GROUP

API = "admissionregistration.k8s.io"
POLICIES = Resource(API, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False)
BINDINGS = Resource(
    API, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespaced=False
)
_LABEL = f"'{CLUSTER_SET_LABEL}'"


def admission_objects() -> list[tuple[Resource, Json]]:
    """The policies, and what puts each in force."""
    policies = (_of_clusters(), _of_set_bindings(), _of_works())
    return [(resource, obj) for policy in policies for resource, obj in _in_force(policy)]


def _of_clusters() -> Json:
    """Who lets them in, and into which set."""
    accept = _may(REGISTER_GROUP, "managedclusters", "accept", "object.metadata.name", "update")
    moved = [
        (
            f"variables.before == variables.now || variables.{which} == '' || "
            f"{_may(CLUSTER_GROUP, 'managedclustersets', 'join', f'variables.{which}', 'create')}",
            f"request.userInfo.username + ' may not add clusters to, or remove them from, "
            f"ManagedClusterSet ' + variables.{which}",
        )
        for which in ("before", "now")
    ]
    return _policy(
        f"managedclusters.{CLUSTER_GROUP}",
        CLUSTER_GROUP,
        "managedclusters",
        [
            ("before", _set_of("oldObject")),
            ("now", _set_of("object")),
            ("accepted", f"oldObject != null && {_accepts('oldObject')}"),
        ],
        [
            (
                f"!({_accepts('object')}) || variables.accepted || {accept}",
                "'spec.hubAcceptsClient: ' + request.userInfo.username + ' may not accept the cluster'",
            ),
            *moved,
        ],
    )


def _of_set_bindings() -> Json:
    """Who gives a namespace a set's clusters."""
    bind = _may(CLUSTER_GROUP, "managedclustersets", "bind", "object.spec.clusterSet", "create")
    return _policy(
        f"managedclustersetbindings.{CLUSTER_GROUP}",
        CLUSTER_GROUP,
        "managedclustersetbindings",
        [],
        [
            (
                "object.metadata.name == object.spec.clusterSet",
                "'metadata.name must be that of the set, ' + object.spec.clusterSet",
            ),
            (
                f"request.operation != 'CREATE' || {bind}",
                "request.userInfo.username + ' may not bind ManagedClusterSet ' + object.spec.clusterSet",
            ),
        ],
    )


def _of_works() -> Json:
    """Who has them applied as an account of the cluster."""
    work = f"authorizer.group('{WORK_GROUP}').resource('manifestworks').namespace(object.metadata.namespace)"
    return _policy(
        f"manifestworks.{WORK_GROUP}",
        WORK_GROUP,
        "manifestworks",
        [("before", f"oldObject == null ? '' : {_executor('oldObject')}"), ("now", _executor("object"))],
        [
            (
                "variables.now == variables.before || variables.now == '' || "
                f"{work}.name(variables.now).check('execute-as').allowed()",
                "'spec.executor: ' + request.userInfo.username + ' may not have works applied as ' + "
                "variables.now",
            ),
        ],
    )


def _set_of(where: str) -> str:
    labelled = f"has({where}.metadata.labels) && {_LABEL} in {where}.metadata.labels"
    return f"{where} != null && {labelled} ? {where}.metadata.labels[{_LABEL}] : ''"


def _accepts(where: str) -> str:
    return f"has({where}.spec) && has({where}.spec.hubAcceptsClient) && {where}.spec.hubAcceptsClient"


def _executor(where: str) -> str:
    """The user that a work is applied as, '' for the agent itself. A change of the rest asks for nothing."""
    subject = f"{where}.spec.executor.subject"
    fields = [f"{where}.spec", f"{where}.spec.executor", subject, f"{subject}.serviceAccount"]
    account = f"{subject}.serviceAccount"
    user = f"'system:serviceaccount:' + {account}.namespace + ':' + {account}.name"
    return f"{' && '.join(f'has({field})' for field in fields)} ? {user} : ''"


def _may(group: str, resource: str, subresource: str, name: str, verb: str) -> str:
    """Whether the user holds a right that only stands for something, as RBAC would have it."""
    asked = f"authorizer.group('{group}').resource('{resource}').subresource('{subresource}')"
    return f"{asked}.name({name}).check('{verb}').allowed()"


def _policy(
    name: str,
    group: str,
    resource: str,
    variables: list[tuple[str, str]],
    validations: list[tuple[str, str]],
) -> Json:
    rule = {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [resource],
    }
    return {
        "apiVersion": POLICIES.api_version,
        "kind": POLICIES.kind,
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "variables": [{"name": key, "expression": source} for key, source in variables],
            "validations": [
                {"expression": source, "messageExpression": message, "reason": "Forbidden"}
                for source, message in validations
            ],
        },
    }


def _in_force(policy: Json) -> list[tuple[Resource, Json]]:
    name = policy["metadata"]["name"]
    binding = {
        "apiVersion": BINDINGS.api_version,
        "kind": BINDINGS.kind,
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return [(POLICIES, policy), (BINDINGS, binding)]
