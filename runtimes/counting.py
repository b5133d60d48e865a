"""What a cache's own program says of its sources, where nobody else can list them. Pure.

Counting may take hours and a summary may not, so it goes on beside it, once in a container's life.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from runtimes.interface import Cache, Source

_SCRIPT = """
set -o pipefail
kept=${TMPDIR:-/tmp}/boundaryless-count-KEY
if [ ! -s "$kept" ] && ! kill -0 "$(cat "$kept.pid" 2>/dev/null)" 2>/dev/null; then
  ({ COMMANDS; } >"$kept.new" && mv "$kept.new" "$kept") </dev/null >/dev/null 2>&1 &
  echo $! >"$kept.pid"
fi
[ ! -s "$kept" ] || awk '
  { files += $1; bytes += $2 } END { printf "Counted: %.0f files, %.0f bytes\\n", files, bytes }
' "$kept"
"""
_COUNTED = re.compile(r"^Counted: (\d+) files, (\d+) bytes$", re.MULTILINE)


def is_counted(cache: Cache) -> bool:
    """Whether the source is to be listed: unless the runtime's metadataSyncPolicy says that it is not."""
    policy = (cache.spec.get("management") or {}).get("metadataSyncPolicy") or {}
    return policy.get("autoSync") is not False


def script(commands: Sequence[str], sources: Sequence[Source]) -> str:
    """For bash: begins to count if nobody has, and prints for `counted` what is known.

    Each command prints files and bytes of a source; where others are mounted is counted anew.
    """
    said = [*commands, *(f"{source.path} {source.url}" for source in sources)]
    key = hashlib.sha256("\n".join(said).encode()).hexdigest()[:10]
    return _SCRIPT.replace("KEY", key).replace("COMMANDS", " && ".join(commands))


def counted(output: str) -> tuple[int, int] | None:
    """Bytes and files, once they are counted."""
    said = _COUNTED.search(output)
    return (int(said[2]), int(said[1])) if said else None
