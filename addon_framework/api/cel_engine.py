"""The CEL engine without its command line.

`import cel` also imports the package's own REPL (typer, rich, prompt_toolkit): 200 ms and 15 MB in every
process. So the package is entered here with the two modules that are needed; what it exports is the same.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cel as engine
    from cel import stdlib
else:

    def _enter() -> tuple[ModuleType, ModuleType]:
        if "cel" not in sys.modules:
            spec = importlib.util.find_spec("cel")
            package = importlib.util.module_from_spec(spec)
            sys.modules["cel"] = package
            native = importlib.import_module("cel.cel")
            for name in ("Context", "OptionalValue", "Program", "compile", "evaluate"):
                setattr(package, name, getattr(native, name))
        return sys.modules["cel"], importlib.import_module("cel.stdlib")

    engine, stdlib = _enter()

__all__ = ["engine", "stdlib"]
