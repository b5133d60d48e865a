"""`python -m tests.parity --kubeconfig HUB`: does this hub's placement controller decide as OCM's does?"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from addon_framework.kube import Client
from tests.parity.case import load
from tests.parity.hub import run_all


async def compare(kubeconfig: Path, context: str | None, only: list[str], *, beyond: bool) -> int:
    """Runs the cases, prints a line for each, returns how many differ."""
    cases = [case for case in load() if (not only or case.name in only) and (beyond or not case.strict)]
    async with Client.from_kubeconfig(kubeconfig, context=context) as client:
        results = await run_all(client, cases)
    for name, difference in results.items():
        mark = "-" if difference is None else "no" if difference else "ok"
        print(f"{mark:3} {name}  {difference or ''}".rstrip())
    different = sum(bool(difference) for difference in results.values())
    left_out = sum(difference is None for difference in results.values())
    agree = len(results) - different - left_out
    print(f"{agree} agree, {different} differ, {left_out} cannot be run on this hub")
    return different


def main() -> int:
    """Exit code 1 when a case differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="an administrator's, of a quiet hub")
    parser.add_argument("--context")
    parser.add_argument(
        "--not-strict", action="store_true", help="leave out the cases where we differ from OCM on purpose"
    )
    parser.add_argument("cases", nargs="*", help="only these")
    options = parser.parse_args()
    found = asyncio.run(
        compare(options.kubeconfig, options.context, options.cases, beyond=not options.not_strict)
    )
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
