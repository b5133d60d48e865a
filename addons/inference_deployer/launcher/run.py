"""The command line, see the package's description."""

from __future__ import annotations

import os

from . import __doc__ as usage
from .arguments import option
from .host import Host
from .pod import Launcher

HOST_SOCKET = "/run/boundaryless/engine-host/host.sock"


def main(argv: list[str]) -> int:
    """The exit status."""
    own, arguments = argv, []
    if "--" in argv:
        own, arguments = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    mode = option(own, "--mode", "shared") or "shared"
    if mode == "host":
        path = os.environ.get("ENGINE_HOST_SOCKET", HOST_SOCKET)
        return Host(path, os.environ.get("ENGINE_IMAGE", "")).run()
    if mode not in ("shared", "stock") or not option(arguments, "--model"):
        print(usage)
        return 2
    return Launcher(mode, arguments).run()
