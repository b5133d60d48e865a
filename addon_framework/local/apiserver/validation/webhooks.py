"""Configurations of admission webhooks, and how a webhook is reached."""

from __future__ import annotations

import base64
import binascii
import ssl
from typing import Any
from urllib.parse import urlsplit

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.schemas import Cause, cause, names

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_ENUMS = {
    "failurePolicy": ("Fail", "Ignore"),
    "matchPolicy": ("Equivalent", "Exact"),
    "sideEffects": ("None", "NoneOnDryRun"),
    "reinvocationPolicy": ("IfNeeded", "Never"),
}


def default_webhooks(obj: Json) -> None:
    """In place, for both kinds of configurations."""
    for hook in obj.get("webhooks") or ():
        hook.setdefault("failurePolicy", "Fail")
        hook.setdefault("matchPolicy", "Equivalent")
        hook.setdefault("namespaceSelector", {})
        hook.setdefault("objectSelector", {})
        hook.setdefault("timeoutSeconds", 10)
        if obj.get("kind") == "MutatingWebhookConfiguration":
            hook.setdefault("reinvocationPolicy", "Never")
        for rule in hook.get("rules") or ():
            rule.setdefault("scope", "*")
        if service := (hook.get("clientConfig") or {}).get("service"):
            service.setdefault("port", 443)


def validate_webhooks(obj: Json, old: Json | None) -> list[Cause]:
    """admissionregistration.k8s.io/v1 Validating- and MutatingWebhookConfiguration."""
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", hook.get("name") or ""
        if not name:
            causes.append(cause.required(f"{path}.name"))
        causes += [
            cause.invalid(f"{path}.name", name, why) for why in (names.subdomain(name) if name else ())
        ]
        if name and name.count(".") < 2:
            why = "should be a domain with at least three segments separated by dots"
            causes.append(cause.invalid(f"{path}.name", name, why))
        if name in seen:
            causes.append(cause.duplicate(f"{path}.name", name))
        seen.add(name)
        _hook(hook, path, causes)
    return causes


def _hook(hook: Json, path: str, causes: list[Cause]) -> None:
    for field, allowed in _ENUMS.items():
        if (said := hook.get(field)) is not None and said not in allowed:
            causes.append(cause.not_supported(f"{path}.{field}", said, allowed))
    if hook.get("sideEffects") is None:
        causes.append(cause.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
    versions = hook.get("admissionReviewVersions") or []
    if not versions:
        causes.append(cause.required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1"))
    elif not {"v1", "v1beta1"} & set(versions):
        why = "must include at least one of v1, v1beta1"
        causes.append(cause.invalid(f"{path}.admissionReviewVersions", versions, why))
    for index, version in enumerate(versions):
        if names.dns1035(version) or version in versions[:index]:
            why = "must be a DNS label and not repeated"
            causes.append(cause.invalid(f"{path}.admissionReviewVersions[{index}]", version, why))
    if not 1 <= hook.get("timeoutSeconds", 10) <= 30:
        why = "the timeout value must be between 1 and 30 seconds"
        causes.append(cause.invalid(f"{path}.timeoutSeconds", hook["timeoutSeconds"], why))
    for index, rule in enumerate(hook.get("rules") or ()):
        _rule(rule, f"{path}.rules[{index}]", causes)
    validate_client_config(hook.get("clientConfig") or {}, f"{path}.clientConfig", causes)


def _rule(rule: Json, path: str, causes: list[Cause]) -> None:
    for field in ("operations", "apiGroups", "apiVersions", "resources"):
        if not rule.get(field):
            causes.append(cause.required(f"{path}.{field}"))
    for field in ("operations", "apiGroups", "apiVersions", "resources"):
        if "*" in (rule.get(field) or ()) and len(rule[field]) > 1:
            why = "if '*' is present, must not specify others"
            causes.append(cause.invalid(f"{path}.{field}", rule[field], why))
    for index, operation in enumerate(rule.get("operations") or ()):
        if operation not in _OPERATIONS:
            causes.append(cause.not_supported(f"{path}.operations[{index}]", operation, _OPERATIONS))
    if rule.get("scope", "*") not in ("*", "Cluster", "Namespaced"):
        causes.append(cause.not_supported(f"{path}.scope", rule["scope"], ("*", "Cluster", "Namespaced")))


def validate_client_config(config: Json, path: str, causes: list[Cause]) -> None:
    """One of url and service, and a bundle that is one."""
    url: Any = config.get("url")
    service: Any = config.get("service")
    if (url is None) == (service is None):
        causes.append(cause.required(path, "exactly one of url or service is required"))
    elif url is not None:
        _url(str(url), f"{path}.url", causes)
    else:
        for field, shown in (("namespace", "name"), ("name", "namespace")):  # as kube-apiserver has it
            if not service.get(field):
                causes.append(cause.required(f"{path}.service.{shown}", f"service {field} is required"))
        if (route := service.get("path")) and not route.startswith("/"):
            causes.append(cause.invalid(f"{path}.service.path", route, "must start with a '/'"))
    if bundle := config.get("caBundle"):
        try:
            ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
        except (binascii.Error, ValueError, ssl.SSLError):
            why = "unable to load root certificates: unable to parse bytes as PEM block"
            causes.append(cause.invalid(f"{path}.caBundle", "<bundle>", why))


def _url(url: str, path: str, causes: list[Cause]) -> None:
    form = "; desired format: https://host[/path]"
    try:
        parts: Any = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        causes.append(cause.required(path, f"url must be a valid URL: {error}{form}"))
        return
    if parts.scheme != "https":
        why = f"'https' is the only allowed URL scheme{form}"
        causes.append(cause.invalid(path, parts.scheme, why))
    if not host:
        causes.append(cause.invalid(path, host or "", f"host must be specified{form}"))
    for name, said in (("fragments", parts.fragment), ("query parameters", parts.query)):
        if said:
            causes.append(cause.invalid(path, said, f"{name} are not permitted in the URL"))
