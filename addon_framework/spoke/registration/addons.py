"""Add-ons' identities on the hub: for every registration of an add-on a certificate, in a Secret here."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.conditions import set_condition
from addon_framework.api.core import CSRS, NAMESPACES, SECRETS
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL, CLUSTER_NAME_LABEL, HOSTING_CLUSTER_ANNOTATION
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import ApiError, Client, Controller, Key, Watch, came_or_went
from addon_framework.kube.ensure import ensure, write_status
from addon_framework.kube.informer import AnyInformer
from addon_framework.plugins.types import DEFAULT_INSTALL_NAMESPACE, KUBE_CLIENT_SIGNER
from addon_framework.spoke.home import Home
from addon_framework.spoke.registration import secrets, tokens
from addon_framework.spoke.registration.credentials import (
    AGENT_NAME,
    CERTIFICATE,
    CLUSTER_NAME,
    KEY,
    KUBECONFIG,
    TOKEN,
    KeyPair,
    Subject,
    kubeconfig,
)
from addon_framework.spoke.registration.enrolment import Declined, Enrolment, advance, forget
from addon_framework.spoke.registration.renewal import LONGEST_SLEEP, REST

log = structlog.get_logger(__name__)
ROTATED = "ClusterCertificateRotated"
ASK_AGAIN = 60.0


@dataclass(frozen=True)
class Registration:
    """One identity of an add-on: the certificate, and the Secret it belongs into."""

    secret: Key
    enrolment: Enrolment
    by_token: bool = False

    @property
    def is_kubernetes(self) -> bool:
        """Whether it is for the hub's API, so that a kubeconfig goes with it."""
        return self.enrolment.signer == KUBE_CLIENT_SIGNER


def install_namespace(addon: Json) -> str:
    """Where the add-on's agent is."""
    status, spec = addon.get("status") or {}, addon.get("spec") or {}
    return str(status.get("namespace") or spec.get("installNamespace") or DEFAULT_INSTALL_NAMESPACE)


def is_hosted(addon: Json) -> bool:
    """Whether the add-on's agent runs where the cluster's own agents do, wherever that is."""
    return bool((addon["metadata"].get("annotations") or {}).get(HOSTING_CLUSTER_ANNOTATION))


def registrations(addon: Json) -> list[Registration]:
    """What the hub says that the add-on needs. Pure."""
    status = addon.get("status") or {}
    cluster, name = addon["metadata"]["namespace"], addon["metadata"]["name"]
    labels = {CLUSTER_NAME_LABEL: cluster, ADDON_NAME_LABEL: name}
    result = []
    for entry in status.get("registrations") or []:
        signer, subject = entry.get("signerName", ""), entry.get("subject") or {}
        if not subject.get("user"):
            continue  # not decided by the hub yet
        secret = f"{name}-{signer.replace('/', '-')}-client-cert"
        if signer == KUBE_CLIENT_SIGNER:
            secret = f"{name}-hub-kubeconfig"
        who = Subject(
            subject["user"],
            tuple(subject.get("groups") or ()),
            tuple(subject.get("organizationUnit") or ()),
        )
        enrolment = Enrolment(f"{secret}-pending", f"addon-{cluster}-{name}-", labels, who, signer)
        by_token = signer == KUBE_CLIENT_SIGNER and status.get("kubeClientDriver") == "token"
        result.append(Registration(Key(install_namespace(addon), secret), enrolment, by_token))
    return result


class AddonRegistrationController(Controller):
    """ManagedClusterAddOn -> Secrets in its install namespace; renewed in time, removed with the add-on."""

    name = "addon-registration"
    workers = 4

    def __init__(
        self,
        spoke: Client,
        cluster: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        home: Home | None = None,
        driver: str = "csr",
    ) -> None:
        self._spoke, self._cluster, self._now, self._driver = spoke, cluster, now, driver
        self._home = home or Home(spoke)
        self._rest_until: dict[Key, float] = {}
        self._selector = f"{ADDON_NAME_LABEL},{CLUSTER_NAME_LABEL}={cluster}"

    def watches(self) -> list[Watch]:
        """Add-ons and our requests on the hub; our secrets and the install namespaces here."""
        labelled, selector = self._by_label, self._selector
        return [
            Watch(ManagedClusterAddOn.RESOURCE, namespace=self._cluster),
            Watch(CSRS, map=labelled, label_selector=selector),
            *(Watch(SECRETS, map=labelled, label_selector=selector, client=c) for c in self._clients()),
            *(
                Watch(NAMESPACES, map=self._installed_in, predicate=came_or_went, client=c)
                for c in self._clients()
            ),
        ]

    async def reconcile(self, key: Key) -> float | None:
        """All identities of one add-on."""
        addon: Json | None = self.cache(ManagedClusterAddOn.RESOURCE, namespace=self._cluster).get(key)
        wanted = [] if addon is None else registrations(addon)
        client = self._spoke if addon is None else self._client_of(addon)
        await self._remove_others(key.name, wanted, client)
        if addon is None or addon["metadata"].get("deletionTimestamp"):
            return None  # while it goes its agent keeps what it has
        if await self._declare(addon):
            return None  # that write calls us again
        delays = []
        for registration in wanted:
            try:
                serve = self._serve_token if registration.by_token else self._serve
                delays.append(await serve(addon, registration))
            except Declined as error:
                log.warning("add-on not registered", addon=key.name, reason=str(error))
                await self._condition(addon, False, "ClientCertificateUpdateFailed", str(error))
                delays.append(ASK_AGAIN)
        return min((delay for delay in delays if delay is not None), default=None)

    async def _declare(self, addon: Json) -> bool:
        """Say on the hub by what we get the add-on's identity there; certificates need no word."""
        declared = copy.deepcopy(addon.get("status") or {})
        entries = declared.get("registrations") or []
        for entry in (entry for entry in entries if entry.get("signerName") == KUBE_CLIENT_SIGNER):
            if (declared.get("kubeClientDriver") or "csr") != self._driver:
                declared["kubeClientDriver"] = self._driver
            if self._driver == "token":
                # OCM's add-on manager leaves it to us who that is, and gives the rights to whom we say.
                entry["subject"] = {"user": tokens.user(addon)}
        return await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, declared)

    async def _there(self, client: Client, wanted: Registration) -> bool:
        """Whether the install namespace can take a Secret; its coming calls us again."""
        namespace = self.cache(NAMESPACES, client=client).get(Key("", wanted.secret.namespace))
        if namespace is None and wanted.secret.namespace == DEFAULT_INSTALL_NAMESPACE:
            desired = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": DEFAULT_INSTALL_NAMESPACE},
            }
            await ensure(client, None, desired, field_manager=secrets.MANAGER, resource=NAMESPACES)
            return True
        return namespace is not None and not namespace["metadata"].get("deletionTimestamp")

    async def _serve(self, addon: Json, wanted: Registration) -> float | None:
        client = self._client_of(addon)
        if not await self._there(client, wanted):
            return None
        left = await self._left(addon, self._secrets(client).get(wanted.secret), wanted)
        if left <= 0:
            # The cache may not show yet what we wrote a moment ago.
            live = await secrets.read(client, wanted.secret.name, wanted.secret.namespace)
            left = await self._left(addon, live, wanted)
        if left > 0:
            return min(left + 0.1, LONGEST_SLEEP)
        fresh = await advance(self.client, self._home, wanted.enrolment, self._now)
        if fresh is None:
            return ASK_AGAIN  # the request's own events come sooner
        data = self._data(fresh, wanted)
        await secrets.write(
            client, wanted.secret.name, wanted.secret.namespace, data, wanted.enrolment.labels
        )
        await forget(self._home, wanted.enrolment)
        self._rest_until[wanted.secret] = asyncio.get_running_loop().time() + REST
        log.info("add-on registered", addon=addon["metadata"]["name"], secret=str(wanted.secret))
        return None  # the secret's own event goes on

    async def _serve_token(self, addon: Json, wanted: Registration) -> float | None:
        client, uid = self._client_of(addon), tokens.account_uid(addon)
        if not uid or not await self._there(client, wanted):
            return None  # without an account there: the hub's word calls us again
        left = await self._token_left(addon, self._secrets(client).get(wanted.secret), uid)
        if left <= 0:
            live = await secrets.read(client, wanted.secret.name, wanted.secret.namespace)
            left = await self._token_left(addon, live, uid)
        if left > 0:
            return min(left + 0.1, LONGEST_SLEEP)
        try:
            token = await tokens.fetch(self.client, addon)
        except ApiError as error:
            text = f"Failed to create token: {error.message}"
            await self._condition(addon, False, "TokenCreationFailed", text, tokens.REFRESHED)
            raise
        data = self._token_data(token)
        await secrets.write(
            client, wanted.secret.name, wanted.secret.namespace, data, wanted.enrolment.labels
        )
        self._rest_until[wanted.secret] = asyncio.get_running_loop().time() + REST
        log.info("add-on registered", addon=addon["metadata"]["name"], secret=str(wanted.secret))
        return None  # the secret's own event goes on

    async def _token_left(self, addon: Json, live: Json | None, uid: str) -> float:
        """As `_left`; a token of an account that was there before is of no use."""
        data = secrets.contents(live)
        token = tokens.read(data.get(TOKEN, b""))
        if token is None or token.account_uid != uid:
            return 0
        if not _holds(data, self._token_data(data[TOKEN])):
            return 0
        text = f"Addon token refreshed, expires at {now_rfc3339(token.expires)}"
        await self._condition(addon, True, "AddonTokenRefreshed", text, tokens.REFRESHED)
        assert live is not None
        secret = Key(live["metadata"]["namespace"], live["metadata"]["name"])
        rest = self._rest_until.get(secret, 0.0) - asyncio.get_running_loop().time()
        return max(rest, (token.renewal() - self._now()).total_seconds())

    def _token_data(self, token: bytes) -> dict[str, bytes]:
        return {
            TOKEN: token,
            KUBECONFIG: kubeconfig(self.client.config, self._cluster, by_token=True),
            CLUSTER_NAME: self._cluster.encode(),
        }

    async def _left(self, addon: Json, live: Json | None, wanted: Registration) -> float:
        """Seconds until what the secret holds is to be renewed; none when it is of no use."""
        data = secrets.contents(live)
        pair = secrets.key_pair(data)
        if pair is None or not _holds(data, self._data(pair, wanted)):
            return 0
        if pair.problem(wanted.enrolment.subject, self._now()):
            return 0
        leaf = pair.leaf()
        since, until = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        text = f"client certificate rotated starting from {since} to {until}"
        await self._condition(addon, True, "ClientCertificateUpdated", text)
        rest = self._rest_until.get(wanted.secret, 0.0) - asyncio.get_running_loop().time()
        return max(rest, (pair.renewal() - self._now()).total_seconds())

    def _data(self, pair: KeyPair, wanted: Registration) -> dict[str, bytes]:
        data = {CERTIFICATE: pair.certificate, KEY: pair.key}
        if wanted.is_kubernetes:
            data[KUBECONFIG] = kubeconfig(self.client.config, self._cluster)
            data[CLUSTER_NAME] = self._cluster.encode()
            data[AGENT_NAME] = wanted.enrolment.subject.user.rpartition(":")[2].encode()
        return data

    async def _remove_others(self, addon: str, wanted: Iterable[Registration], client: Client) -> None:
        """Secrets of identities that the add-on no longer has, or has elsewhere now."""
        keep = {(client, each.secret) for each in wanted}
        keep |= {(self._home.client, Key(self._home.namespace, each.enrolment.pending)) for each in wanted}
        for place in self._clients():
            for secret in self._secrets(place).items():
                key = Key(secret["metadata"]["namespace"], secret["metadata"]["name"])
                if secret["metadata"]["labels"][ADDON_NAME_LABEL] == addon and (place, key) not in keep:
                    await secrets.remove(place, key.name, key.namespace)
                    self._rest_until.pop(key, None)
                    log.info("add-on's secret removed", addon=addon, secret=str(key))

    async def _condition(
        self, addon: Json, status: bool, reason: str, message: str, kind: str = ROTATED
    ) -> None:
        wanted = copy.deepcopy(addon.get("status") or {})
        if set_condition(wanted.setdefault("conditions", []), kind, status, reason, message):
            await write_status(self.client, ManagedClusterAddOn.RESOURCE, addon, wanted)

    def _clients(self) -> list[Client]:
        return list(dict.fromkeys((self._spoke, self._home.client)))

    def _client_of(self, addon: Json) -> Client:
        return self._home.client if is_hosted(addon) else self._spoke

    def _secrets(self, client: Client) -> AnyInformer:
        return self.cache(SECRETS, label_selector=self._selector, client=client)

    def _by_label(self, obj: Json) -> list[Key]:
        return [Key(self._cluster, obj["metadata"]["labels"][ADDON_NAME_LABEL])]

    def _installed_in(self, namespace: Json) -> list[Key]:
        return [
            Key(self._cluster, addon["metadata"]["name"])
            for addon in self.cache(ManagedClusterAddOn.RESOURCE, namespace=self._cluster).items()
            if install_namespace(addon) == namespace["metadata"]["name"]
        ]


def _holds(data: dict[str, bytes], wanted: dict[str, bytes]) -> bool:
    """Another agent's files beside ours are no reason to begin anew."""
    return all(data.get(name) == value for name, value in wanted.items())
