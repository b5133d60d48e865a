"""Admission by webhooks: MutatingWebhookConfiguration and ValidatingWebhookConfiguration.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from addon_framework.api.meta import Json
from addon_framework.api.selectors import selects
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.conversion import in_version
from addon_framework.local.apiserver.hooks import HookClient, HookError, Pending
from addon_framework.local.apiserver.patches import JSON_PATCH, patched
from addon_framework.local.apiserver.policies import Policies
from addon_framework.local.apiserver.schemas import copy_json
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.system import SYSTEM
from addon_framework.local.apiserver.write import Write

GROUP = "admissionregistration.k8s.io"
MUTATING, VALIDATING = f"mutatingwebhookconfigurations.{GROUP}", f"validatingwebhookconfigurations.{GROUP}"
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


@dataclass(frozen=True)
class Hook:
    """One webhook that a write has to pass, and the version of the kind that it wants to see."""

    raw: Json
    version: str

    @property
    def name(self) -> str:
        """As messages say it."""
        return str(self.raw["name"])

    @property
    def ignores_failures(self) -> bool:
        """Whether a webhook that does not answer holds nothing up."""
        return self.raw.get("failurePolicy") == "Ignore"


class Webhooks:
    """Asks them about writes. What the server's own controllers write they do not see."""

    def __init__(self, store: Store, client: HookClient, policies: Policies) -> None:
        self._store, self._client, self._policies = store, client, policies

    def mutate(self, write: Write, operation: str, obj: Json, old: Json | None) -> bool:
        """Lets each change the object, in place, one after the other; whether one has. May raise Pending.

        What asked for it (reinvocationPolicy) sees once more what those after it have changed.
        """
        asked: list[Json] = []
        again: list[Json] = []
        changed = False
        for hook in self._hooks(MUTATING, write, operation, obj, old):
            if self._change(write, hook, operation, obj, old):
                changed, again = True, list(asked)
            if hook.raw.get("reinvocationPolicy") == "IfNeeded":
                asked.append(hook.raw)
        if again:
            for hook in self._hooks(MUTATING, write, operation, obj, old):
                if hook.raw in again:
                    self._change(write, hook, operation, obj, old)
        return changed

    def _change(self, write: Write, hook: Hook, operation: str, obj: Json, old: Json | None) -> bool:
        response = self._response(write, hook, self._request(write, operation, hook.version, obj, old))
        if response is None or not response.get("patch"):
            return False
        before = copy_json(obj)
        _replace(obj, self._patched(write, hook, obj, response))
        return bool(before != obj)

    def validate(self, write: Write, operation: str, obj: Json | None, old: Json | None) -> None:
        """Refuses what one of them refuses; they are asked at the same time. May raise Pending.

        Policies are judged first: they ask nobody.
        """
        self._policies_hold(write, operation, obj, old)
        requests = [
            (hook, self._request(write, operation, hook.version, obj, old))
            for hook in self._hooks(VALIDATING, write, operation, obj, old)
        ]
        missing = [pair for pair in requests if _key(*pair) not in write.memory.answers]
        if missing:
            raise Pending(lambda: self._ask(write, missing))
        for hook, request in requests:
            self._response(write, hook, request)

    def delete(self, write: Write, current: Json) -> None:
        """Both sorts, on what is about to go."""
        shown = in_version(write.kind, current, write.api_version)
        self._both(write, "DELETE", None, shown)

    def connect(self, write: Write, options: Json) -> None:
        """Both sorts, on a stream into a pod and what it is asked for; none of that can be changed."""
        self._both(write, "CONNECT", options, None)

    def _both(self, write: Write, operation: str, obj: Json | None, old: Json | None) -> None:
        for hook in self._hooks(MUTATING, write, operation, obj, old):
            self._response(write, hook, self._request(write, operation, hook.version, obj, old))
        self.validate(write, operation, obj, old)

    def _policies_hold(self, write: Write, operation: str, obj: Json | None, old: Json | None) -> None:
        if write.user == SYSTEM or write.kind.group == GROUP:
            return

        def applies(constraints: Json) -> bool:
            def matched(rules: str) -> bool:
                taken = {"rules": constraints.get(rules), "matchPolicy": constraints.get("matchPolicy")}
                return bool(_matched_version(taken, write, operation))

            return (
                matched("resourceRules")
                and not matched("excludeResourceRules")
                and self._selected(constraints, write, obj, old)
            )

        own = write.version.name
        self._policies.validate(write, applies, lambda: self._request(write, operation, own, obj, old))

    # Which

    def _hooks(
        self, resource: str, write: Write, operation: str, obj: Json | None, old: Json | None
    ) -> Iterator[Hook]:
        if not self._store.count(resource) or write.user == SYSTEM:
            return
        if write.kind.group == GROUP:  # else nobody could remove one that refuses everything
            return
        for configuration in self._store.list(resource):
            for raw in configuration.get("webhooks") or ():
                version = _matched_version(raw, write, operation)
                if version and self._selected(raw, write, obj, old):
                    hook = Hook(raw, version)
                    if self._conditions_hold(hook, write, operation, obj, old):
                        yield hook

    def _selected(self, raw: Json, write: Write, obj: Json | None, old: Json | None) -> bool:
        chosen = raw.get("objectSelector") or {}
        if not any(
            selects(chosen, (each.get("metadata") or {}).get("labels") or {})
            for each in (obj, old)
            if each is not None
        ):
            return False
        if write.kind.key == "namespaces":
            namespace = obj or old
        elif write.kind.namespaced:
            namespace = self._store.get("namespaces", ("", write.namespace))
        else:
            return True
        labels = ((namespace or {}).get("metadata") or {}).get("labels") or {}
        return selects(raw.get("namespaceSelector") or {}, labels)

    def _conditions_hold(
        self, hook: Hook, write: Write, operation: str, obj: Json | None, old: Json | None
    ) -> bool:
        conditions = hook.raw.get("matchConditions") or ()
        if not conditions:
            return True
        try:
            return self._policies.match(
                write, conditions, self._request(write, operation, hook.version, obj, old)
            )
        except RuntimeError as error:
            if hook.ignores_failures:
                return False
            raise status.forbidden(str(error), write.kind, write.name) from None

    # Asking

    def _request(
        self, write: Write, operation: str, version: str, obj: Json | None, old: Json | None
    ) -> Json:
        kind, group = write.kind, write.kind.group
        shown, before = (
            in_version(kind, each, kind.api_version(version)) if each is not None else None
            for each in (obj, old)
        )
        options: Json | None = None
        if operation in _OPTIONS:
            options = {"kind": _OPTIONS[operation], "apiVersion": "meta.k8s.io/v1"}
            if operation != "DELETE":
                options["fieldManager"] = write.manager
            if write.dry_run:
                options["dryRun"] = ["All"]
        namespace = write.namespace if kind.namespaced else write.name if kind.key == "namespaces" else ""
        what = obj["kind"] if obj is not None and operation == "CONNECT" else kind.kind
        request: Json = {
            "kind": {"group": group, "version": version, "kind": what},
            "resource": {"group": group, "version": version, "resource": kind.plural},
            "requestKind": {"group": group, "version": write.version.name, "kind": what},
            "requestResource": {"group": group, "version": write.version.name, "resource": kind.plural},
            "name": write.name,
            "operation": operation,
            "userInfo": write.user.info(),
            "object": shown,
            "oldObject": before,
            "dryRun": write.dry_run,
            "options": options,
        }
        if namespace:
            request["namespace"] = namespace
        if write.subresource:
            request["subResource"] = request["requestSubResource"] = write.subresource
        return request

    def _response(self, write: Write, hook: Hook, request: Json) -> Json | None:
        """What the webhook says; None when it fails and may. Raises what it refuses with, or Pending."""
        key = _key(hook, request)
        if key not in write.memory.answers:
            raise Pending(lambda: self._ask(write, [(hook, request)]))
        response = write.memory.answers[key]
        if isinstance(response, HookError):
            self._failed(hook, response)
            return None
        warnings = response.get("warnings") or ()
        write.warnings += [str(each) for each in warnings]
        if response.get("allowed") is True:
            return dict(response)
        raise _denied(hook, response.get("status"))

    async def _ask(self, write: Write, asked: Sequence[tuple[Hook, Json]]) -> None:
        async def one(hook: Hook, request: Json) -> None:
            if write.dry_run and hook.raw.get("sideEffects") not in ("None", "NoneOnDryRun"):
                raise status.bad_request(f'admission webhook "{hook.name}" does not support dry run')
            raw, review = hook.raw, ("admission.k8s.io", "AdmissionReview")
            config, timeout = raw.get("clientConfig") or {}, float(raw.get("timeoutSeconds") or 10)
            answer: Any
            try:
                versions = raw.get("admissionReviewVersions") or ()
                answer = await self._client.ask(config, *review, versions, request, timeout)
            except HookError as error:
                answer = error
            write.memory.answers[_key(hook, request)] = answer

        await asyncio.gather(*(one(hook, request) for hook, request in asked))

    def _patched(self, write: Write, hook: Hook, obj: Json, response: Json) -> Json:
        """The object with the webhook's patch, in the version of the request."""
        kind = write.kind
        seen = copy_json(in_version(kind, obj, kind.api_version(hook.version)))
        try:
            patch = orjson.loads(base64.b64decode(str(response["patch"])))
            changed = patched(seen, JSON_PATCH, patch, None)
            metadata = changed["metadata"]
            metadata.update(
                {name: obj["metadata"][name] for name in ("uid", "name") if name in obj["metadata"]}
            )
            if kind.namespaced:
                metadata["namespace"] = write.namespace
        except (ValueError, KeyError, TypeError, AttributeError, StatusError) as error:
            self._failed(hook, HookError(f"the patch cannot be applied: {error}"))
            return obj
        result: Json = copy_json(in_version(kind, changed, write.api_version))
        return result

    def _failed(self, hook: Hook, error: HookError) -> None:
        if not hook.ignores_failures:
            message = f'failed calling webhook "{hook.name}": failed to call webhook: {error}'
            raise StatusError(
                500,
                "InternalError",
                f"Internal error occurred: {message}",
                {"causes": [{"message": message}]},
            )


def _matched_version(raw: Json, write: Write, operation: str) -> str:
    """The version of the kind that a rule names: the request's, or else an equivalent one."""
    rules = [rule for rule in raw.get("rules") or () if _takes_in(rule, write, operation)]
    if not rules:  # as with nearly all that is written
        return ""
    own, equivalent = write.version.name, raw.get("matchPolicy") != "Exact"
    others = [each.name for each in write.kind.versions if equivalent and each.served and each.name != own]
    named = {version for rule in rules for version in rule.get("apiVersions") or ()}
    return next((version for version in (own, *others) if version in named or "*" in named), "")


def _takes_in(rule: Json, write: Write, operation: str) -> bool:
    """Whether a rule is about such a write of the kind, in whatever version."""
    kind, part = write.kind, write.subresource
    resources = (
        (f"{kind.plural}/{part}", "*/*", f"{kind.plural}/*", f"*/{part}")
        if part
        else (kind.plural, "*", "*/*")
    )
    return (
        _names(rule.get("apiGroups"), kind.group)
        and any(each in (rule.get("resources") or ()) for each in resources)
        and _names(rule.get("operations"), operation)
        and rule.get("scope", "*") in ("*", "Namespaced" if kind.namespaced else "Cluster")
        and (not rule.get("resourceNames") or write.name in rule["resourceNames"])
    )


def _names(listed: Sequence[str] | None, one: str) -> bool:
    return one in (listed or ()) or "*" in (listed or ())


def _denied(hook: Hook, result: Any) -> StatusError:
    """As the webhook worded it."""
    said: Json = result if isinstance(result, dict) else {}
    code = said.get("code")
    by = f'admission webhook "{hook.name}" denied the request'
    why = said.get("message") or said.get("reason")
    return StatusError(
        code if isinstance(code, int) and 400 <= code < 600 else 400,
        str(said.get("reason") or ""),
        f"{by}: {why}" if why else f"{by} without explanation",
        said.get("details") if isinstance(said.get("details"), dict) else None,
    )


def _key(hook: Hook, request: Json) -> bytes:
    sent = orjson.dumps([hook.raw, request], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(sent).digest()


def _replace(obj: Json, changed: Json) -> None:
    if changed is not obj:
        obj.clear()
        obj.update(changed)
