"""Path expressions of jq, evaluated by jq itself in a process that may not use much.

An expression comes from the hub and may run for ever; a process can be ended. The answer depends on the
expression and the manifest only, so each pair is asked once.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import lru_cache

import orjson

_SECONDS, _MEMORY, _PATIENCE = 1, 1 << 30, 20.0


class JqError(ValueError):
    """What jq has against the expression."""


def paths(expression: str, document: bytes) -> list[list[str | int]]:
    """The paths of all matches in a JSON document. Raises JqError."""
    answer = _ask(expression, document)
    if isinstance(answer, str):
        raise JqError(answer)
    return answer


@lru_cache(maxsize=256)
def _ask(expression: str, document: bytes) -> list[list[str | int]] | str:
    """The paths, or what is wrong."""
    command = [sys.executable, "-I", __file__, expression]
    try:  # without our environment, which an expression could read
        done = subprocess.run(
            command, input=document, capture_output=True, timeout=_PATIENCE, check=False, env={}
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE:.0f} s"
    if done.returncode < 0:
        return f"takes more than {_SECONDS} s or {_MEMORY >> 20} MiB to evaluate"
    if done.returncode:
        return done.stderr.decode(errors="replace").strip().splitlines()[0]
    found: list[list[str | int]] = orjson.loads(done.stdout)
    return found


def main() -> None:
    """The process: the document comes in, the paths go out."""
    import jq  # here only: the agent itself never loads it

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    try:
        program = jq.compile(f"[path({sys.argv[1]})]")
        sys.stdout.write(program.input_text(sys.stdin.read()).text())
    except (ValueError, MemoryError) as error:
        sys.exit(str(error) or "it takes too much memory")


if __name__ == "__main__":
    main()
