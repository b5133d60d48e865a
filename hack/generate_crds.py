"""Writes manifests/crds from the typed API; with --check, fails when what is there is stale."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from addon_framework.api.crd import KINDS, file_name, generate

FOLDER = Path(__file__).parents[1] / "manifests" / "crds"
HEADER = "# Generated from addon_framework/api by hack/generate_crds.py: change it there.\n"


class _Dumper(yaml.SafeDumper):
    """Versions share parts of their schemas, which are written out for each."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def main() -> int:
    """Exit code 1 when --check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail when stale")
    check = parser.parse_args().check
    wanted = {
        file_name(kind.RESOURCE): HEADER
        + yaml.dump(generate(kind), Dumper=_Dumper, sort_keys=False, width=110)
        for kind in KINDS
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    there = {path.name: path.read_text() for path in FOLDER.glob("*.yaml")}
    stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if check:
        if stale:
            print(f"stale: {', '.join(stale)}; run `make crds`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name])
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
