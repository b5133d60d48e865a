"""What a node is told when it starts: its size, its addresses, and which images it can run."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Image(msgspec.Struct, frozen=True):
    """A local stand-in for an image: directories first on PATH, the entry point, and environment.

    `command` is what runs when a container says neither command nor args. `files` are directories of the host
    that its pods see although they lie below /tmp, /run or a hidden one. `root` are files that only the image
    has: their paths in it, and the host's.
    """

    path: list[str] = []
    entrypoint: list[str] = []
    command: list[str] = []
    env: dict[str, str] = {}
    files: list[str] = []
    root: dict[str, str] = {}


class NodeConfig(msgspec.Struct, frozen=True):
    """`node.json`. `addresses` is where pod IPs come from; `images` maps repositories to local programs."""

    address: str = "127.0.0.1"
    addresses: str = "127.2.0.0/24"
    capacity: dict[str, str] = {}
    labels: dict[str, str] = {}
    images: dict[str, Image] = {}
    hidden: list[str] = []  # directories pods do not see, such as the fleet's own
    certificate: str = ""  # of the kubelet's endpoint; `key` and `client_ca` beside it
    key: str = ""
    client_ca: str = ""
    controllers: bool = True  # whether the cluster's controllers and Services run here: on one node only


class UnknownImageError(Exception):
    """No local program stands for an image."""


def load(path: Path) -> NodeConfig:
    """Reads `node.json`. Raises msgspec.ValidationError naming the field."""
    return msgspec.json.decode(path.read_bytes(), type=NodeConfig)


def find_image(images: dict[str, Image], reference: str) -> Image:
    """The stand-in for an image reference; tags and digests do not matter. Raises UnknownImageError."""
    repository = reference.split("@")[0]
    head, _, tail = repository.rpartition("/")
    repository = f"{head}/{tail.split(':')[0]}" if head else tail.split(":")[0]
    for prefix in ("docker.io/library/", "docker.io/", "library/", ""):
        candidate = repository.removeprefix(prefix)
        if candidate in images:
            return images[candidate]
    raise UnknownImageError(
        f"no local program stands for image {reference!r}: the embedded fleet runs processes, not images; it "
        f"knows {', '.join(sorted(images))}. Add the image to the fleet's images.json"
    )
