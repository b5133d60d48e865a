"""Names instead of DNS: each pod's /etc/hosts, with services, pods of headless services, and itself.

https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.api.meta import Json

_SERVICE_NAME = "kubernetes.io/service-name"
_FIRST = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


def service_lines(services: Iterable[Json], slices: Iterable[Json], namespace: str) -> str:
    """What all pods of a namespace see; services of it by their short names, too."""
    lines = []
    headless = set()
    for service in services:
        metadata, address = service["metadata"], service["spec"].get("clusterIP")
        if address == "None":
            headless.add((metadata["namespace"], metadata["name"]))
        elif address:
            lines.append(f"{address} {_names(metadata['name'], metadata['namespace'], namespace)}")
    for item in slices:
        metadata = item["metadata"]
        name = (metadata.get("labels") or {}).get(_SERVICE_NAME, "")
        if (metadata["namespace"], name) not in headless:
            continue
        for endpoint in item.get("endpoints") or ():
            ready = (endpoint.get("conditions") or {}).get("ready")
            for address in endpoint.get("addresses") or ():
                if hostname := endpoint.get("hostname"):
                    full = _names(f"{hostname}.{name}", metadata["namespace"], namespace)
                    lines.append(f"{address} {full}")
                if ready:
                    lines.append(f"{address} {_names(name, metadata['namespace'], namespace)}")
    return "".join(f"{line}\n" for line in sorted(lines))


def hosts_file(pod: Json, address: str, services: str) -> str:
    """The file of one pod."""
    spec = pod["spec"]
    own = host_name(pod)
    if spec.get("subdomain"):
        own = f"{own}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.cluster.local {own}"
    aliases = "".join(
        f"{alias['ip']} {' '.join(alias.get('hostnames') or ())}\n" for alias in spec.get("hostAliases") or ()
    )
    return f"{_FIRST}{address} {own}\n{aliases}{services}"


def host_name(pod: Json) -> str:
    """What `hostname` says in a pod."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def _names(name: str, namespace: str, own: str) -> str:
    full = f"{name}.{namespace}"
    names = [f"{full}.svc.cluster.local", f"{full}.svc", full]
    return " ".join([*names, name] if namespace == own else names)
