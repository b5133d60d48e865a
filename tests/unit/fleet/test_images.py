"""Images that pods name."""

from __future__ import annotations

from pathlib import Path

from addon_framework.local.fleet.images import images
from addon_framework.plugins.manifests import DEFAULT_IMAGE

REPOSITORY = Path(__file__).parents[3]


def test_what_the_embedded_fleet_stands_in_for_can_be_built_for_other_clusters() -> None:
    built = {f"ghcr.io/boundaryless/{each.parent.name}" for each in REPOSITORY.glob("images/*/Containerfile")}
    assert DEFAULT_IMAGE in built
    assert {name for name in images() if name.startswith("ghcr.io/boundaryless/")} == built
