"""Parts of PodSpecs that several backends need. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from addon_framework.api.meta import Json
from runtimes.interface import SecretKey, Source
from runtimes.source import SCHEMES, Credentials, from_environment
from runtimes.source.stores import AUTHORITY, secret_names

# Option name -> what it is, by the names that Fluid's runtimes use for S3.
CREDENTIALS = {
    "aws.accessKeyId": "ACCESS_KEY",
    "aws.secretKey": "SECRET_KEY",
    "aws.sessionToken": "TOKEN",
    "access-key": "ACCESS_KEY",
    "secret-key": "SECRET_KEY",
    "session-token": "TOKEN",
    "token": "TOKEN",
}

_MEANT = re.compile(r"\$(?=[$(])")


def literal(name: str, value: str) -> Json:
    """A variable with a value, in which Kubernetes would take $$ for $ and $(NAME) for another variable."""
    return {"name": name, "value": _MEANT.sub("$$", value)}


def field(name: str, path: str) -> Json:
    """A variable with a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def from_secret(name: str, key: SecretKey, *, optional: bool = False) -> Json:
    """A variable whose value is in a Secret, so that it is in no argument, file or ConfigMap."""
    reference: Json = {"name": key.name, "key": key.key}
    if optional:
        reference["optional"] = True
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def credential_env(source: Source, prefix: str, *, optional: bool = False) -> list[Json]:
    """<prefix>ACCESS_KEY and so on, for those that the source has."""
    return [
        from_secret(f"{prefix}{variable}", key, optional=optional)
        for option, key in sorted(source.secrets.items())
        if (variable := _variable(source.scheme, option))
    ]


def credentials_of(source: Source, secrets: Mapping[SecretKey, str]) -> Credentials | None:
    """The same as values. Raises OSError when the Secret lacks a key."""
    found: dict[str, str] = {}
    for option, key in source.secrets.items():
        if variable := _variable(source.scheme, option):
            if key not in secrets:
                raise OSError(f"Secret {key.name} has no key {key.key}, which option {option} names")
            found[variable] = secrets[key]
    return from_environment("", found)


def credential_names(scheme: str) -> dict[str, str]:
    """Secret options that are parts of an account, and which parts; a scheme's own besides those of all."""
    return {**CREDENTIALS, **secret_names(scheme)}


def _variable(scheme: str, option: str) -> str:
    """What the variable of a secret option is called, after its prefix; "" of one that is not for us."""
    if scheme not in SCHEMES or option == AUTHORITY:
        return f"OPTION_{option}"
    return credential_names(scheme).get(option, "")


def host_path(name: str, path: str, kind: str = "DirectoryOrCreate") -> Json:
    """A volume that is a directory of the node."""
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def mount(name: str, path: str, *, read_only: bool = False, propagation: str = "") -> Json:
    """Where a container sees a volume."""
    made: Json = {"name": name, "mountPath": path}
    if read_only:
        made["readOnly"] = True
    if propagation:
        made["mountPropagation"] = propagation
    return made


def named_node(name: str) -> Json:
    """A term that selects one node. Its label kubernetes.io/hostname is the machine's name for itself, which
    some clouds make another than the node's."""
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}


def on_node(name: str) -> Json:
    """The affinity of a pod that runs on one node."""
    terms = {"nodeSelectorTerms": [named_node(name)]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def overrides(section: Json) -> Json:
    """What a runtime's worker, fuse or master section says of its pod, as a PodSpec has it."""
    return {name: section[name] for name in ("nodeSelector", "tolerations") if section.get(name)}


def options_of(source: Source) -> dict[str, str]:
    """For open_source; messages call what is in a claim by the URL that its user wrote."""
    return {**source.options, "claim": source.url} if source.scheme == "pvc" else dict(source.options)


def claim(source: Source, name: str, *, read_only: bool) -> tuple[Json, Json, str]:
    """The volume and the mount of pvc://claim/path, and the URL at which the container finds it."""
    named, _, path = source.url.removeprefix("pvc://").partition("/")
    where = f"/boundaryless/{name}"
    reference: Json = {"claimName": named}
    if read_only:
        reference["readOnly"] = True
    made = mount(name, where, read_only=read_only, propagation="HostToContainer")
    url = f"file://{where}/{path.strip('/')}".rstrip("/")
    return {"name": name, "persistentVolumeClaim": reference}, made, url
