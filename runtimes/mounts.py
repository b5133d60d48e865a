"""What a Dataset mounts: where data comes from, as the backends see it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from addon_framework.api.data import Dataset, EncryptOption


@dataclass(frozen=True)
class SecretKey:
    """A key of a Secret in the Dataset's namespace."""

    name: str
    key: str


@dataclass(frozen=True)
class Source:
    """One mount of a Dataset, with the shared options merged in."""

    url: str
    name: str
    path: str  # where it appears in the Dataset: "/" or "/name"
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretKey] = field(default_factory=dict)  # by option name
    read_only: bool = True
    shared: bool = False

    @property
    def scheme(self) -> str:
        """`s3` of s3://bucket/prefix."""
        return self.url.partition("://")[0]


def sources_of(dataset: Dataset) -> tuple[Source, ...]:
    """Its mounts, with what they share."""
    spec = dataset.spec
    found = []
    for mount in spec.mounts:
        options = {**spec.shared_options, **mount.options}
        secrets = {**secret_options(spec.shared_encrypt_options), **secret_options(mount.encrypt_options)}
        path = "/" + (mount.path or mount.name).strip("/")
        found.append(
            Source(
                url=mount.mount_point,
                name=mount.name,
                path=path,
                options=options,
                secrets=secrets,
                read_only=mount.read_only,
                shared=mount.shared,
            )
        )
    return tuple(found)


def secret_options(options: Sequence[EncryptOption]) -> dict[str, SecretKey]:
    """Where the values of secret options are, by the options' names."""
    return {
        option.name: SecretKey(reference.name, reference.key)
        for option in options
        if (reference := option.value_from.secret_key_ref) is not None
    }
