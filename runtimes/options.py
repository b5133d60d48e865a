"""Options of mounts: where one is said, since mounts may share some, and those that are unknown. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtimes.interface import Cache, unknown


def field_of(cache: Cache, number: int, option: str, *, secret: bool = False) -> str:
    """The object and the field in which a mount's option is said."""
    spec = cache.dataset.spec
    own = list(spec.mounts[number].options)
    if secret:
        own = [each.name for each in spec.mounts[number].encrypt_options]
    names = ("encryptOptions", "sharedEncryptOptions") if secret else ("options", "sharedOptions")
    said = f"mounts[{number}].{names[0]}" if option in own else names[1]
    return f"Dataset {cache.namespace}/{cache.name}: spec.{said}"


def unknown_options(
    cache: Cache, number: int, options: Sequence[str] = (), secrets: Sequence[str] = ()
) -> Iterator[str]:
    """What of a mount has a name that is not known."""
    source = cache.sources[number]
    for known, given, secret in ((options, source.options, False), (secrets, source.secrets, True)):
        for name in unknown(known, given):
            where = field_of(cache, number, name, secret=secret)
            yield f"{where}: unknown {name}; known: {', '.join(known) or 'none'}"
