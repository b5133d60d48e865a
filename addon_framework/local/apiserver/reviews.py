"""Questions to the server about identities and rights: access, token and subject reviews.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from collections.abc import Iterator

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.authn import AUDIENCES, Tokens, User
from addon_framework.local.apiserver.rbac import Access, Authorizer
from addon_framework.local.apiserver.schemas import Cause, cause


class Reviews:
    """Answers by kind; nothing is stored."""

    def __init__(self, authorizer: Authorizer, tokens: Tokens) -> None:
        self._authorizer, self._tokens = authorizer, tokens

    def answer(self, user: User, kind: str, namespace: str, review: Json) -> Json:
        """The review with its status."""
        spec, sent = review.get("spec") or {}, (review.get("metadata") or {}).get("namespace")
        if namespace and sent not in (None, "", namespace):
            why = "the namespace of the provided object does not match the namespace sent on the request"
            raise status.bad_request(why)
        return {"metadata": {}, **review, "status": self._status(user, kind, namespace, spec)}

    def _status(self, user: User, kind: str, namespace: str, spec: Json) -> Json:
        match kind:
            case "SelfSubjectReview":
                return {"userInfo": user.info()}
            case "TokenReview":
                if not spec.get("token"):
                    raise status.bad_request("token is required for TokenReview in authentication")
                return self._token(spec)
            case "SelfSubjectRulesReview":
                if not spec.get("namespace"):
                    raise status.bad_request("no namespace on request")
                return self._rules(user, spec)
        if causes := list(_wrong(spec, kind, namespace)):
            raise status.invalid_options("", causes, "authorization.k8s.io")
        if kind != "SelfSubjectAccessReview":
            user = User(spec.get("user") or "", tuple(spec.get("groups") or ()))
        return {"allowed": self._authorizer.allowed(user, _access(spec))}

    def _token(self, spec: Json) -> Json:
        audiences = spec.get("audiences") or list(AUDIENCES)
        found = self._tokens.user(str(spec.get("token") or ""), audiences)
        if found is None:
            return {"user": {}, "error": "invalid bearer token"}
        return {"authenticated": True, "user": found.info(), "audiences": audiences}

    def _rules(self, user: User, spec: Json) -> Json:
        if user.is_admin:
            everything: Json = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            return {
                "resourceRules": [everything],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": False,
            }
        rules = list(self._authorizer.rules(user, spec.get("namespace") or ""))
        return {
            "resourceRules": [rule for rule in rules if rule.get("resources")],
            "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
            "incomplete": False,
        }


def _wrong(spec: Json, kind: str, namespace: str) -> Iterator[Cause]:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    field = "spec.nonResourceAttributes"
    if resource is not None and other is not None:
        yield cause.invalid(field, other, "cannot be specified in combination with resourceAttributes")
    elif resource is None and other is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield cause.invalid("spec.resourceAttributes", None, why)
    for each in ("fieldSelector", "labelSelector"):
        selector = (resource or {}).get(each) or {}
        if selector.get("rawSelector") and selector.get("requirements"):
            where = f"spec.resourceAttributes.{each}.rawSelector"
            why = "may not specified at the same time as requirements"
            yield cause.invalid(where, selector["rawSelector"], why)
    if kind != "SelfSubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        yield cause.invalid("spec.user", "", "at least one of user or group must be specified")
    if kind == "LocalSubjectAccessReview":
        if resource is not None and (resource.get("namespace") or "") != namespace:
            where, sent = "spec.resourceAttributes.namespace", resource.get("namespace") or ""
            yield cause.invalid(where, sent, "must match metadata.namespace")
        if other is not None:
            yield cause.invalid(field, other, "disallowed on this kind of request")


def _access(spec: Json) -> Access:
    if (other := spec.get("nonResourceAttributes")) is not None:
        return Access(other.get("verb", ""), path=other.get("path", ""))
    resource = spec["resourceAttributes"]
    names = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Access(*(resource.get(each) or "" for each in names))
