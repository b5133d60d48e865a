"""Options of mounts: where one is said, since mounts may share some, and those that are unknown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from runtimes.interface import Cache, unknown

_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@%+-]*")


def is_plain(text: str) -> bool:
    """Whether a shell that splits flags at spaces has it whole and changes nothing."""
    return _PLAIN.fullmatch(text) is not None


def flag_problems(where: str, options: Mapping[str, str]) -> Iterator[str]:
    """Options that would be several flags, or others than they say."""
    for name, value in options.items():
        if not is_plain(f"{name}={value}"):
            yield f"{where}: {f'{name}={value}'!r} has characters that a flag cannot have"


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
