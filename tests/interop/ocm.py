"""OCM's own programs, started as its operator and klusterlet would have them started, but as processes."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from addon_framework.api.meta import Json, Resource
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.kube import Client, apply_crds
from addon_framework.local.pki import Authority
from addon_framework.local.private import write_private
from addon_framework.spoke.names import AGENT_NAMESPACE
from addon_framework.testing.servers import free_port
from tests.interop.parts import PARTS, REGISTRATION_AGENT, WORK_AGENT
from tests.interop.programs import Programs

_ADMISSION = "admissionregistration.k8s.io"
_VALIDATING = Resource(
    _ADMISSION, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", namespaced=False
)
_MUTATING = Resource(
    _ADMISSION, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", namespaced=False
)
_CONTROLLERS = {
    "registration": ("registration", "controller"),
    "placement": ("placement", "controller"),
    "work": ("work", "manager", "--feature-gates=ManifestWorkReplicaSet=true"),
    "addons": ("addon", "manager"),
}
# What each program's webhooks are asked about: path, group, kind; and whether they change it.
_WEBHOOKS: dict[str, list[tuple[str, str, str, bool]]] = {
    "registration": [
        ("mutate-cluster-{}-v1-managedcluster", "cluster", "managedclusters", True),
        ("validate-cluster-{}-v1-managedcluster", "cluster", "managedclusters", False),
        (
            "validate-cluster-{}-v1beta2-managedclustersetbinding",
            "cluster",
            "managedclustersetbindings",
            False,
        ),
    ],
    "work": [("validate-work-{}-v1-manifestwork", "work", "manifestworks", False)],
}
OCM_NAMES = {part: f"ocm-{part}" for part in PARTS}
_DOMAIN = "open-cluster-management.io"


class Ocm:
    """OCM's programs of one scenario."""

    def __init__(
        self, programs: Programs, binaries: Path, hub: Path, spoke: Path, cluster: str, bootstrap: Path
    ) -> None:
        self.programs, self.binaries, self.cluster = programs, binaries, cluster
        self._hub, self._spoke, self._bootstrap = hub, spoke, bootstrap
        self._identity = programs.directory / "registration-agent-identity"
        self.credentials = programs.directory / "work-agent-identity"
        self._authority = Authority.create("ocm-webhooks")

    def start(self, part: str) -> None:
        """Starts one of the parts."""
        if part == REGISTRATION_AGENT:
            self._agent(
                *(part, "registration", "--bootstrap-kubeconfig", self._bootstrap),
                *("--hub-kubeconfig-dir", self._identity, "--cluster-healthcheck-period=10s"),
            )
        elif part == WORK_AGENT:
            self._agent(
                *(part, "work", "--workload-source-config", self.credentials / "kubeconfig"),
                *("--hub-kubeconfig-dir", self.credentials, "--status-sync-interval=2s"),
            )
        else:
            program, *arguments = _CONTROLLERS[part]
            self._run(part, program, *arguments, "--kubeconfig", self._hub, "--namespace", HUB_NAMESPACE)

    def _agent(self, part: str, program: str, *arguments: str | Path) -> None:
        common = ("--kubeconfig", self._spoke, "--spoke-cluster-name", self.cluster)
        self._run(part, program, "agent", *common, "--namespace", AGENT_NAMESPACE, *arguments)

    def _run(self, part: str, program: str, *arguments: str | Path) -> None:
        listen = f"127.0.0.1:{free_port()}"
        self.programs.start(OCM_NAMES[part], self.binaries / program, *arguments, "--listen", listen)

    async def install_crds(self, client: Client, source: Path, place: str) -> None:
        """OCM's own CRDs, with its conversion webhook where they have one."""
        await self.convert(client, list(_crds(source, place)), field_manager="ocm")

    async def convert(
        self, client: Client, crds: list[Json], *, field_manager: str = "boundaryless-install"
    ) -> None:
        """Applies CRDs; where a webhook is to convert, it is OCM's."""
        for crd in crds:
            if crd["spec"].get("conversion", {}).get("strategy") == "Webhook":
                crd["spec"]["conversion"]["webhook"]["clientConfig"] = self.webhook("addon", "convert")
        await apply_crds(client, crds, field_manager=field_manager)

    async def install_webhooks(self, client: Client) -> None:
        """OCM's admission: taken-for-granted labels and refusals come from there."""
        for program, hooks in _WEBHOOKS.items():
            for path, group, plural, mutates in hooks:
                resource = _MUTATING if mutates else _VALIDATING
                await client.apply(
                    self._configuration(program, path, group, plural, resource),
                    field_manager="ocm",
                    resource=resource,
                )

    def _configuration(self, program: str, path: str, group: str, plural: str, resource: Resource) -> Json:
        group = f"{group}.{_DOMAIN}"
        name = f"{plural}.{resource.kind.lower()[:8]}.{group}"
        rule = {
            "operations": ["CREATE", "UPDATE"],
            "apiGroups": [group],
            "apiVersions": ["*"],
            "resources": [plural],
        }
        hook = {
            "name": name,
            "clientConfig": self.webhook(program, path.format(_DOMAIN.replace(".", "-"))),
            "rules": [rule],
            "failurePolicy": "Fail",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 10,
        }
        return {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name},
            "webhooks": [hook],
        }

    def webhook(self, program: str, path: str) -> Json:
        """How an API server reaches a program's webhooks; the program is started when first asked for."""
        directory = self.programs.directory / f"{program}-webhook"
        if not directory.exists():
            directory.mkdir()
            self._start_webhooks(program, directory)
        port = (directory / "port").read_text()
        bundle = base64.b64encode(self._authority.cert_pem).decode()
        return {"url": f"https://127.0.0.1:{port}/{path}", "caBundle": bundle}

    def _start_webhooks(self, program: str, directory: Path) -> None:
        pair = self._authority.issue(
            "webhooks", usage="server auth", addresses=["127.0.0.1"], lifetime=timedelta(days=1)
        )
        (directory / "tls.crt").write_bytes(pair.cert)
        write_private(directory / "tls.key", pair.key)
        port = free_port()
        (directory / "port").write_text(str(port))
        self.programs.start(
            f"ocm-{program}-webhook",
            self.binaries / program,
            *("webhook-server", "--kubeconfig", self._hub, "--certdir", directory, f"--port={port}"),
            *("--metrics-port=0", "--health-probe-port=0"),
        )


def _crds(source: Path, place: str) -> Iterable[Json]:
    folder = {"hub": "cluster-manager/hub/crds", "spoke": "klusterlet/managed"}[place]
    for path in sorted((source / "manifests" / folder).glob("*crd.yaml")):
        text = re.sub(r"\{\{.*?\}\}", "", path.read_text())
        document: Any = yaml.safe_load(text)
        yield document
