"""Questions to the server about identities and rights: access, token and subject reviews.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.authn import AUDIENCES, Tokens, User
from addon_framework.local.apiserver.rbac import Access, Authorizer


class Reviews:
    """Answers by kind; nothing is stored."""

    def __init__(self, authorizer: Authorizer, tokens: Tokens) -> None:
        self._authorizer, self._tokens = authorizer, tokens

    def answer(self, user: User, kind: str, namespace: str, review: Json) -> Json:
        """The review with its status."""
        spec = review.get("spec") or {}
        if not isinstance(spec, dict):
            raise status.bad_request("spec must be an object")
        if kind == "SelfSubjectReview":
            return {**review, "status": {"userInfo": user.info()}}
        if kind == "TokenReview":
            return {**review, "status": self._token(spec)}
        if kind == "SelfSubjectRulesReview":
            return {**review, "status": self._rules(user, spec)}
        subject = user
        if kind != "SelfSubjectAccessReview":
            if not spec.get("user") and not spec.get("groups"):
                raise status.bad_request(
                    'spec.user: Invalid value: "": at least one of user or group must be specified'
                )
            subject = User(spec.get("user") or "", tuple(spec.get("groups") or ()))
        allowed = self._authorizer.allowed(subject, _access(spec, kind, namespace))
        return {**review, "status": {"allowed": allowed}}

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


def _access(spec: Json, kind: str, namespace: str) -> Access:
    resource: Json = spec.get("resourceAttributes") or {}
    other: Json = spec.get("nonResourceAttributes") or {}
    if bool(resource) == bool(other):
        raise status.bad_request(
            "spec: exactly one of resourceAttributes and nonResourceAttributes must be given"
        )
    if other:
        return Access(other.get("verb", ""), path=other.get("path", ""))
    where = namespace if kind == "LocalSubjectAccessReview" else resource.get("namespace", "")
    return Access(
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        where,
        resource.get("name", ""),
    )
