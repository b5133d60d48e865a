"""The programs that stand for others, where a shell or a pod finds them."""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
FILES = [sys.prefix, sys.base_prefix, str(CHECKOUT)]  # what a pod has to see


def install(into: Path, name: str, standin: str, *arguments: str) -> str:
    """A program of that name that runs a module of this package with these arguments before its own."""
    program = into / name
    words = " ".join([sys.executable, "-m", f"tests.standins.{standin}", *arguments])
    program.write_text(f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {words} "$@"\n')
    program.chmod(0o755)
    return str(program)
