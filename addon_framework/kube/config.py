"""Where an API server is and who we are to it, from a kubeconfig or from inside a pod.

Plain kubeconfigs (certificates, tokens) are read here, because importing the `kubernetes` package costs
half a second; what needs a credential plug-in (exec, OIDC) is left to that package's own loader.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from addon_framework.api.meta import Json

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(Exception):
    """The kubeconfig, or the pod's environment, does not say how to reach a cluster."""


@dataclass
class ClientConfig:
    """How to reach one API server: PEM bytes for TLS, and a bearer token where there is one."""

    server: str
    ca: bytes | None = None
    client_cert: bytes | None = None
    client_key: bytes | None = None
    token: Callable[[], str | None] = field(default=lambda: None)
    verify: bool = True
    tls_server_name: str | None = None
    namespace: str = "default"
    impersonate: str = ""  # the user whose rights are used; ours must include impersonating them

    def ssl_context(self) -> ssl.SSLContext | bool:
        """A context that trusts only the cluster's CA and presents our certificate."""
        if self.server.startswith("http://"):
            return False
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert and self.client_key:
            _load_cert_chain(context, self.client_cert, self.client_key)
        return context


def load_kubeconfig(source: str | Path | Json | None = None, context: str | None = None) -> ClientConfig:
    """Reads a kubeconfig: a path (default: $KUBECONFIG, then ~/.kube/config) or an already parsed one."""
    if isinstance(source, dict):
        config, base = source, Path.cwd()
    else:
        path = Path(source or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or "~/.kube/config")
        path = path.expanduser()
        try:
            config = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except FileNotFoundError:
            raise ConfigError(
                f"kubeconfig {path} does not exist; give --kubeconfig or set KUBECONFIG"
            ) from None
        except yaml.YAMLError as error:
            raise ConfigError(f"kubeconfig {path} is not valid YAML: {error}") from None
        base = path.parent
        if not isinstance(config, dict):
            raise ConfigError(f"kubeconfig {path} is empty or not a mapping")
    name = context or config.get("current-context") or ""
    chosen = _entry(config, "contexts", "context", name)
    cluster = _entry(config, "clusters", "cluster", chosen.get("cluster", ""))
    user = _entry(config, "users", "user", chosen["user"]) if chosen.get("user") else {}
    if not cluster.get("server"):
        raise ConfigError(f"kubeconfig: clusters[{chosen.get('cluster')}].cluster.server is missing")
    token = _token_source(user, base)
    if "exec" in user or "auth-provider" in user:
        token = _plugin_token(config, name)
    return ClientConfig(
        server=cluster["server"].rstrip("/"),
        ca=_pem(cluster, "certificate-authority", base),
        client_cert=_pem(user, "client-certificate", base),
        client_key=_pem(user, "client-key", base),
        token=token,
        verify=not cluster.get("insecure-skip-tls-verify", False),
        tls_server_name=cluster.get("tls-server-name"),
        namespace=chosen.get("namespace") or "default",
    )


def in_cluster_config(root: Path = SERVICE_ACCOUNT_DIR) -> ClientConfig:
    """The configuration of a process inside a pod, from its mounted service account."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not (root / "token").exists():
        raise ConfigError(
            "not inside a pod: KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and "
            f"{root}/token must be there; give a kubeconfig instead"
        )
    host = f"[{host}]" if ":" in host else host
    namespace = root / "namespace"
    return ClientConfig(
        server=f"https://{host}:{port}",
        ca=(root / "ca.crt").read_bytes(),
        token=FileToken(root / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


class FileToken:
    """A token in a file that the kubelet replaces before it expires; read again at most once a minute."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._value: str | None = None
        self._read_at = float("-inf")

    def __call__(self) -> str | None:
        if self._clock() - self._read_at > 60:
            self._value, self._read_at = self._path.read_text().strip(), self._clock()
        return self._value


def _entry(config: Json, section: str, item: str, name: str) -> Json:
    for entry in config.get(section) or []:
        if entry.get("name") == name:
            return dict(entry.get(item) or {})
    known = ", ".join(str(entry.get("name")) for entry in config.get(section) or []) or "none"
    raise ConfigError(f"kubeconfig has no {item} {name!r} in {section} (there: {known})")


def _pem(section: Json, field_name: str, base: Path) -> bytes | None:
    if data := section.get(f"{field_name}-data"):
        return base64.b64decode(str(data))
    if path := section.get(field_name):
        return (base / str(path)).read_bytes()
    return None


def _token_source(user: Json, base: Path) -> Callable[[], str | None]:
    if token := user.get("token"):
        return lambda: str(token)
    if path := user.get("tokenFile"):
        return FileToken(base / path)
    return lambda: None


def _plugin_token(config: Json, context: str) -> Callable[[], str | None]:
    """Credential plug-ins (exec, OIDC, cloud) through the official package, which caches and refreshes."""
    from kubernetes.client import Configuration
    from kubernetes.config.kube_config import load_kube_config_from_dict

    loaded = Configuration()
    load_kube_config_from_dict(  # type: ignore[no-untyped-call]
        config, context=context, client_configuration=loaded
    )

    def token() -> str | None:
        header = loaded.get_api_key_with_prefix("authorization") or ""
        return header.removeprefix("Bearer ") or None

    return token


def _load_cert_chain(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    """ssl only reads files; a memory file keeps the key off the disk where the system has one."""
    pem = cert.rstrip() + b"\n" + key
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("client-cert", os.MFD_CLOEXEC)
        with os.fdopen(fd, "wb") as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        return
    with tempfile.NamedTemporaryFile() as temporary:  # created 0600
        temporary.write(pem)
        temporary.flush()
        context.load_cert_chain(temporary.name)
