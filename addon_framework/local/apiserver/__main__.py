"""Runs one API server: `python -m addon_framework.local.apiserver --dir DIR --name hub --port P`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from addon_framework.local.apiserver.admission import Admission
from addon_framework.local.apiserver.authn import Tokens
from addon_framework.local.apiserver.bodies import MAX_BODY
from addon_framework.local.apiserver.bootstrap import bootstrap
from addon_framework.local.apiserver.controllers.certificates import CertificateSigner
from addon_framework.local.apiserver.controllers.events import EventExpiry
from addon_framework.local.apiserver.controllers.garbage import GarbageCollector
from addon_framework.local.apiserver.controllers.namespaces import NamespaceController
from addon_framework.local.apiserver.controllers.nodes import GRACE, NodeLifecycle
from addon_framework.local.apiserver.controllers.protection import StorageProtection
from addon_framework.local.apiserver.controllers.quotas import QuotaController
from addon_framework.local.apiserver.controllers.roles import RoleAggregator
from addon_framework.local.apiserver.crds import CustomResources
from addon_framework.local.apiserver.hooks import HookClient
from addon_framework.local.apiserver.kubelet import Kubelets
from addon_framework.local.apiserver.objects import Objects
from addon_framework.local.apiserver.policies import Policies
from addon_framework.local.apiserver.rbac import Authorizer
from addon_framework.local.apiserver.registry import Registry
from addon_framework.local.apiserver.server import Server
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.webhooks import Webhooks
from addon_framework.local.pki import Authority, kubeconfig, private_pem
from addon_framework.local.private import write_private
from addon_framework.logs import configure


class Controller(Protocol):
    """Runs beside the requests until it is cancelled."""

    async def run(self) -> None: ...


def main() -> None:
    """Parses the command line and serves until SIGTERM."""
    parser = argparse.ArgumentParser(prog="addon_framework.local.apiserver", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where certificates and data are kept")
    parser.add_argument("--name", default="hub", help="of the cluster, as kubeconfigs call it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--advertise-address", help="address that clients use (default: --host)")
    parser.add_argument("--allow-address", action="append", default=[], help="more names for the certificate")
    parser.add_argument("--service-cidr", default="127.1.0.0/24", help="where cluster IPs come from")
    parser.add_argument(
        "--node-monitor-grace-period", type=float, default=GRACE, help="seconds a node may be silent"
    )
    options = parser.parse_args()
    os.umask(0o077)  # what is kept are Secrets, among others
    options.dir.mkdir(parents=True, exist_ok=True)
    options.dir.chmod(0o700)
    configure()
    try:
        import uvloop

        uvloop.run(serve(options))
    except ImportError:
        asyncio.run(serve(options))


async def serve(options: argparse.Namespace) -> None:
    """Builds the server from its parts and runs it."""
    directory: Path = options.dir
    advertise = options.advertise_address or options.host
    pki, authority, account_key = _certificates(directory, options, advertise)

    store = Store(directory / "store.db")
    registry = Registry.builtin()
    authorizer = Authorizer(store)
    hooks = HookClient(store)
    admission = Admission(store, authorizer, options.service_cidr)
    objects = Objects(store, admission, Webhooks(store, hooks, Policies(store, authorizer)))
    crds = CustomResources(store, registry, objects, hooks)
    bootstrap(store, registry, objects, options.port, authority.cert_pem)
    tokens = Tokens(account_key, store)
    kubelets = Kubelets(store, pki)
    server = Server(store, registry, objects, authorizer, tokens, kubelets, f"{advertise}:{options.port}")
    namespaces = NamespaceController(store, registry, objects, authority.cert_pem)
    controllers: list[Controller] = [
        crds,
        namespaces,
        GarbageCollector(store, registry, objects),
        CertificateSigner(store, registry, objects, authority),
        EventExpiry(store),
        RoleAggregator(store, registry, objects),
        StorageProtection(store, registry, objects),
        QuotaController(store, registry, objects),
        NodeLifecycle(store, registry, objects, grace=options.node_monitor_grace_period),
    ]
    for namespace in store.list("namespaces"):  # pods of a client that is quick need their account
        namespaces.sync(namespace["metadata"]["name"])

    runner = await _listen(server, options, pki)
    # What is alive now stays, and so does most of what is stored later: collections that walk it again and
    # again would be felt as pauses, and the more objects there are the longer ones.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(controller.run()) for controller in controllers]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await kubelets.close()
    await hooks.close()
    await runner.cleanup()
    store.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _listen(server: Server, options: argparse.Namespace, pki: Path) -> web.ServerRunner:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
    context.verify_mode = ssl.CERT_OPTIONAL  # tokens need no certificate
    context.load_cert_chain(pki / "server.crt", pki / "server.key")
    quiet = logging.getLogger("aiohttp.server.requests")
    quiet.setLevel(logging.CRITICAL)  # what a client does wrong it is told; our own faults `handle` logs
    web_server = web.Server(server.handle, request_factory=_request, access_log=None, logger=quiet)
    runner = web.ServerRunner(web_server)
    await runner.setup()
    site = web.TCPSite(
        runner, options.host, options.port, ssl_context=context, reuse_address=True, shutdown_timeout=0.5
    )
    await site.start()
    return runner


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """aiohttp's own limit is 1 MB."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)


def _certificates(
    directory: Path, options: argparse.Namespace, advertise: str
) -> tuple[Path, Authority, rsa.RSAPrivateKey]:
    """Makes what is missing; the server's own certificate is made anew when its addresses changed."""
    pki = directory / "pki"
    pki.mkdir(exist_ok=True)
    if (pki / "ca.crt").exists():
        authority = Authority.load(pki)
    else:
        authority = Authority.create(f"{options.name}-ca")
        authority.save(pki)
    if (pki / "sa.key").exists():
        key = serialization.load_pem_private_key((pki / "sa.key").read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
    else:
        key = rsa.generate_private_key(65537, 2048)
        write_private(pki / "sa.key", private_pem(key))
    addresses = [
        advertise, options.host, "127.0.0.1", "localhost", "kubernetes", "kubernetes.default",
        "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", *options.allow_address,
    ]  # fmt: skip
    known = pki / "server.addresses"
    if not known.exists() or known.read_text() != "\n".join(addresses):
        pair = authority.issue("kube-apiserver", usage="server auth", addresses=addresses)
        write_private(pki / "server.key", pair.key)
        (pki / "server.crt").write_bytes(pair.cert)
        known.write_text("\n".join(addresses))
    if not (pki / "kubelet-client.crt").exists():
        pair = authority.issue("kube-apiserver-kubelet-client", ["system:masters"])
        write_private(pki / "kubelet-client.key", pair.key)
        (pki / "kubelet-client.crt").write_bytes(pair.cert)
    url = f"https://{advertise}:{options.port}"
    admin = directory / "admin.kubeconfig"
    if not admin.exists() or url.encode() not in admin.read_bytes():
        pair = authority.issue("kubernetes-admin", ["system:masters"], lifetime=timedelta(days=3650))
        write_private(admin, kubeconfig(url, authority.cert_pem, pair, name=options.name))
    return pki, authority, key


if __name__ == "__main__":
    main()
