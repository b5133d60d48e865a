"""Configurations of admission webhooks, and how a webhook is reached."""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names


def _configuration(obj: Json, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        where, name = f"webhooks[{index}].name", hook.get("name") or ""
        if not name:
            yield cause.required(where)
            continue
        yield from cause.broken(where, name, names.subdomain(name))
        if name.count(".") < 2:
            why = "should be a domain with at least three segments separated by dots"
            yield cause.invalid(where, name, why)
        if name in seen:
            yield cause.duplicate(where, name)
        seen.add(name)


def _hook(hook: Json, path: str) -> Iterator[Cause]:
    where, versions = f"{path}admissionReviewVersions", hook.get("admissionReviewVersions") or []
    if not versions:
        yield cause.required(where, "must specify one of v1, v1beta1")
    elif not {"v1", "v1beta1"} & set(versions):
        yield cause.invalid(where, versions, "must include at least one of v1, v1beta1")
    for index, version in enumerate(versions):
        if names.dns1035(version) or version in versions[:index]:
            why = "must be a DNS label and not repeated"
            yield cause.invalid(f"{where}[{index}]", version, why)
    yield from client_config(hook.get("clientConfig") or {}, f"{path}clientConfig")


def _rule(rule: Json, path: str) -> Iterator[Cause]:
    for field in ("operations", "apiGroups", "apiVersions"):
        if "*" in (rule.get(field) or ()) and len(rule[field]) > 1:
            yield cause.invalid(f"{path}{field}", rule[field], "if '*' is present, must not specify others")
    yield from _resources(rule.get("resources") or [], f"{path}resources")


def _resources(names: list[str], path: str) -> Iterator[Cause]:
    """What another one covers must not be there."""
    for index, name in enumerate(names):
        resource, slash, sub = name.partition("/")
        for cover in dict.fromkeys((f"{resource}/*", f"*/{sub}")) if slash else ():
            if cover in names[:index]:
                why = f"if '{cover}' is present, must not specify {name}"
                yield cause.invalid(f"{path}[{index}]", name, why)
    if "*/*" in names and len(names) > 1:
        yield cause.invalid(path, names, "if '*/*' is present, must not specify other resources")
    if "*" in names and any("/" not in name for name in names if name != "*"):
        why = "if '*' is present, must not specify other resources without subresources"
        yield cause.invalid(path, names, why)


def client_config(config: Json, path: str) -> Iterator[Cause]:
    """One of url and service, and a bundle that is one."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield cause.required(path, "exactly one of url or service is required")
    elif service is None:
        yield from _url(str(url), f"{path}.url")
    else:
        for field, shown in (("namespace", "name"), ("name", "namespace")):  # as kube-apiserver has it
            if not service.get(field):
                yield cause.required(f"{path}.service.{shown}", f"service {field} is required")
        if (route := service.get("path")) and not route.startswith("/"):
            yield cause.invalid(f"{path}.service.path", route, "must start with a '/'")
    if bundle := config.get("caBundle"):
        try:
            ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
        except (binascii.Error, ValueError, ssl.SSLError):
            why = "unable to load root certificates: unable to parse bytes as PEM block"
            yield cause.invalid(f"{path}.caBundle", "<bundle>", why)


def _url(url: str, path: str) -> Iterator[Cause]:
    form = "; desired format: https://host[/path]"
    try:
        parts: Any = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        yield cause.required(path, f"url must be a valid URL: {error}{form}")
        return
    if parts.scheme != "https":
        yield cause.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{form}")
    if not host:
        yield cause.invalid(path, host or "", f"host must be specified{form}")
    for name, said in (("fragments", parts.fragment), ("query parameters", parts.query)):
        if said:
            yield cause.invalid(path, said, f"{name} are not permitted in the URL")


_GROUP = "admissionregistration.v1"
CHECKS: dict[str, Any] = {
    f"{_GROUP}.MutatingWebhookConfiguration": _configuration,
    f"{_GROUP}.ValidatingWebhookConfiguration": _configuration,
    f"{_GROUP}.MutatingWebhook": _hook,
    f"{_GROUP}.ValidatingWebhook": _hook,
    f"{_GROUP}.RuleWithOperations": _rule,
}
