"""Kubernetes' JSONPath, of printer columns and feedback rules: .spec.a, [*], ['key'], [?(@.type=="Ready")].

The library speaks RFC 9535; what is spelled otherwise in Kubernetes is put in its words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"""(?P<bracket>\[(?:[^\[\]'"]|'[^']*'|"[^"]*"|\[[^\[\]]*\])*\])
      | (?P<dots>\.\.?)(?P<name>"[^"]*"|\*|(?:\\.|[^.\[\]\\\s"])*)
    """,
    re.VERBOSE,
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\*|")


class PathError(ValueError):
    """The text is no path that can be evaluated; the message says where."""


@lru_cache(maxsize=1024)
def json_path(path: str) -> Any:
    """A path, with or without braces, compiled to the library's JSONPath. Raises PathError."""
    import jsonpath  # 25 ms and 4 MB that not every process needs

    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    try:
        return jsonpath.compile("$" + _tokens(text.removeprefix("$"), path))
    except jsonpath.JSONPathError as error:
        raise PathError(f"{path!r}: {str(error).splitlines()[0]}") from error


def _tokens(text: str, original: str) -> str:
    """Names that the library would not take unquoted are quoted: dashes, and dots behind a backslash."""
    if text and text[0] not in ".[":
        text = "." + text
    result, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise PathError(f"{original!r}: unexpected {text[at:]!r}")
        at = match.end()
        if match["bracket"] is not None:
            result.append("[*]" if match["bracket"] == "[]" else match["bracket"])
            continue
        name = re.sub(r"\\(.)", r"\1", match["name"].strip('"'))
        if _PLAIN.fullmatch(name):
            result.append(match["dots"] + name if name else "")
        else:
            quoted = name.replace("\\", "\\\\").replace("'", "\\'")
            result.append(("" if match["dots"] == "." else "..") + f"['{quoted}']")
    return "".join(result)
