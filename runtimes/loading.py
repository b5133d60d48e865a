"""A DataLoad by a cache's own program: a shell script that reports (see runtimes.interface). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json
from runtimes.interface import unknown
from runtimes.pods import literal

_DURATION = re.compile(r"[1-9][0-9]*[smhd]?")
# A program's last line says why it failed.
_SCRIPT = """
set -eu
say() { printf '{"report": "%s", "time": %s%s}\\n' "$1" "$(date +%s.%N)" "$2"; }
log=$(mktemp)
failed() {
  why=$(tail -n 1 "$log" | tr -d '"\\\\' | tr '\\t' ' ' | cut -c 1-400)
  say failed ", \\"reason\\": \\"NAME\\", \\"message\\": \\"$why\\""
  exit 1
}
load() {
BODY
}
say start ''
number=0
printf '%s\\n' "$PATHS" | while IFS= read -r path; do
  number=$((number + 1))
  load "$path" "$(printf '%s\\n' "$COPIES" | sed -n "${number}p")" >"$log" 2>&1 || exit 1
  cat "$log"
done || failed
say done ''
"""


def script(name: str, body: str) -> str:
    """`body` loads the path $1 in $2 copies; each of its commands must end it when it fails."""
    return _SCRIPT.replace("NAME", name).replace("BODY", body.strip("\n"))


def option_problems(load: DataLoad, known: Sequence[str]) -> list[str]:
    """Options that would have no effect, and values that are none."""
    problems = []
    if names := unknown(known, load.spec.options):
        problems.append(f"spec.options: unknown {', '.join(names)}; known: {', '.join(known) or 'none'}")
    threads = load.spec.options.get("threads")
    if threads is not None and not (threads.isdigit() and 0 < int(threads) <= 256):
        problems.append(f"spec.options.threads: {threads!r} must be a number from 1 to 256")
    pin = load.spec.options.get("pin")
    if "pin" in known and pin not in (None, "true", "false"):
        problems.append(f"spec.options.pin: {pin!r} must be true or false")
    timeout = load.spec.options.get("timeout")
    if "timeout" in known and timeout is not None and not _DURATION.fullmatch(timeout):
        problems.append(f"spec.options.timeout: {timeout!r} must be like 90s, 30m or 2h")
    return problems


def variables(load: DataLoad, copies: int = 1) -> list[Json]:
    """Which paths, and in how many copies each."""
    targets = [(target.path, target.replicas or copies) for target in load.spec.target] or [("/", copies)]
    return [
        literal("PATHS", "\n".join(path for path, _ in targets)),
        literal("COPIES", "\n".join(str(count) for _, count in targets)),
    ]
