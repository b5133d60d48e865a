"""Whose request it is: by certificate, by token, or in somebody else's name."""

from __future__ import annotations

from urllib.parse import unquote

from aiohttp import web

from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.authn import ANONYMOUS, Tokens, User, user_from_certificate
from addon_framework.local.apiserver.rbac import Access, Authorizer
from addon_framework.local.apiserver.schemas import names

_ACCOUNT, _EXTRA = "system:serviceaccount:", "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"


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
    headers = request.headers
    name, uid = headers.get("Impersonate-User", ""), headers.get("Impersonate-Uid", "")
    groups: list[str] = headers.getall("Impersonate-Group", [])
    extra: dict[str, list[str]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA):
            extra.setdefault(unquote(header[len(_EXTRA) :].lower()), []).append(value)
    if not name:
        if groups or uid or extra:
            raise status.bad_request("requested groups, a uid or extras without impersonating a user name")
        return user
    accesses = [Access("impersonate", resource="groups", name=group) for group in groups]
    accesses += [
        Access("impersonate", _AUTHENTICATION, "userextras", key, name=value)
        for key, values in extra.items()
        for value in values
    ]
    if uid:
        accesses.append(Access("impersonate", _AUTHENTICATION, "uids", name=uid))
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    if name.startswith(_ACCOUNT) and not names.label(namespace) and not names.subdomain(account):
        accesses.append(Access("impersonate", "", "serviceaccounts", "", namespace, account))
        groups = groups or ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    else:
        accesses.append(Access("impersonate", resource="users", name=name))
    for access in accesses:
        if not authorizer.allowed(user, access):
            raise status.forbidden_access(user.name, access)
    if name != "system:anonymous" and not {"system:authenticated", "system:unauthenticated"} & set(groups):
        groups = [*groups, "system:authenticated"]
    return User(name, tuple(groups), uid, extra)
