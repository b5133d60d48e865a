"""On whose behalf a work is applied, and whether that account may do what the work asks for.

As in OCM every manifest is checked before it is applied: for an object that goes with the work, deleting it
too, since it is deleted with the agent's own rights. What is written goes out as the account, so that it can
give no rights that it does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.kube import Client, Forbidden, Invalid
from addon_framework.spoke.work.targets import READ_ONLY, Options, Target

TRUSTED_FOR = 60.0  # seconds for which an answer that allows counts
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_WRITING = ("get", "create", "update", "patch")


class Executors:
    """Asks the cluster what accounts may do. A refusal is asked for again: rights may come."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._allowed: dict[tuple[str, str, Target], float] = {}

    async def check(
        self, executor: Mapping[str, Any] | None, target: Target, options: Options, owned: bool
    ) -> str:
        """The user to act as, "" for the agent itself. Raises Invalid and Forbidden."""
        if executor is None:
            return ""
        namespace, name = _account(executor)
        user = f"system:serviceaccount:{namespace}:{name}"
        verbs = ("get",) if options.strategy == READ_ONLY else _WRITING + (("delete",) if owned else ())
        now = asyncio.get_running_loop().time()
        asked = [verb for verb in verbs if self._allowed.get((user, verb, target), 0.0) <= now]
        answers = await asyncio.gather(*(self._may(user, namespace, verb, target) for verb in asked))
        if denied := [verb for verb, allowed in zip(asked, answers, strict=True) if not allowed]:
            text = f"the executor {user} may not {', '.join(denied)} {target}"
            raise Forbidden(403, "Forbidden", text)
        self._allowed = {key: until for key, until in self._allowed.items() if until > now} | {
            (user, verb, target): now + TRUSTED_FOR for verb in asked
        }
        return user

    async def _may(self, user: str, namespace: str, verb: str, target: Target) -> bool:
        resource = target.resource
        attributes: Json = {
            "group": resource.group,
            "version": resource.version,
            "resource": resource.plural,
            "namespace": target.namespace,
            "name": target.name,
            "verb": verb,
        }
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
        }
        answer = await self._client.request("POST", _REVIEWS, body=review)
        return bool(answer["status"].get("allowed"))


def _account(executor: Mapping[str, Any]) -> tuple[str, str]:
    subject = executor.get("subject") or {}
    if subject.get("type") != "ServiceAccount":
        text = (
            f"spec.executor.subject.type {subject.get('type')!r} is not ServiceAccount, the only one there is"
        )
        raise Invalid(422, "Invalid", text)
    account = subject.get("serviceAccount") or {}
    if not account.get("name") or not account.get("namespace"):
        text = "spec.executor.subject.serviceAccount needs a namespace and a name"
        raise Invalid(422, "Invalid", text)
    return account["namespace"], account["name"]
