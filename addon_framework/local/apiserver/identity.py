"""Whose request it is: by certificate, by token, or in somebody else's name."""

from __future__ import annotations

from aiohttp import web

from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.authn import ANONYMOUS, Tokens, User, user_from_certificate
from addon_framework.local.apiserver.rbac import Access, Authorizer

_ACCOUNT = "system:serviceaccount:"


def identify(request: web.BaseRequest, tokens: Tokens, authorizer: Authorizer) -> User:
    """The user that the request acts as. Raises 401, and 403 for names that may not be taken."""
    return _impersonated(request, _authenticated(request, tokens), authorizer)


def _authenticated(request: web.BaseRequest, tokens: Tokens) -> User:
    ssl = request.transport.get_extra_info("ssl_object") if request.transport else None
    if ssl is not None and (der := ssl.getpeercert(binary_form=True)):
        return user_from_certificate(der)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return ANONYMOUS
    user = tokens.user(token.strip())
    if user is None:
        raise status.unauthorized()
    return user


def _impersonated(request: web.BaseRequest, user: User, authorizer: Authorizer) -> User:
    """https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/"""
    name = request.headers.get("Impersonate-User")
    groups: list[str] = request.headers.getall("Impersonate-Group", [])
    if name is None:
        if groups:
            raise status.bad_request("requested groups without impersonating a user")
        return user
    accesses = [Access("impersonate", resource="groups", name=group) for group in groups]
    if name.startswith(_ACCOUNT) and name.count(":") == 3:
        namespace, account = name.removeprefix(_ACCOUNT).split(":")
        accesses.append(Access("impersonate", resource="serviceaccounts", namespace=namespace, name=account))
        groups = groups or ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    else:
        accesses.append(Access("impersonate", resource="users", name=name))
    for access in accesses:
        if not authorizer.allowed(user, access):
            raise status.forbidden(
                f'{access.resource} "{access.name}" is forbidden: User "{user.name}" cannot impersonate '
                f'resource "{access.resource}" in API group "" at the cluster scope'
            )
    if name != "system:anonymous" and "system:authenticated" not in groups:
        groups = [*groups, "system:authenticated"]
    return User(name, tuple(groups))
