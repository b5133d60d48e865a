"""Where backups are, and what their files are called: as Fluid has them.

In the directory of a Dataset's backups: `<dataset>-<namespace>.yaml`, written last, with `ufstotal` and
`filenum` as the status has them, and what the backend keeps, `metadata-backup-<dataset>-<namespace>.gz`.
"""

from __future__ import annotations

from pathlib import Path

from addon_framework.api.quantity import parse_quantity


def metadata_name(name: str, namespace: str) -> str:
    """Of what the backend keeps."""
    return f"metadata-backup-{name}-{namespace}.gz"


def files_name(name: str, namespace: str) -> str:
    """Of the directory with the files, if they are kept too."""
    return f"{name}-{namespace}-files"


def description_name(name: str, namespace: str) -> str:
    """Of the numbers."""
    return f"{name}-{namespace}.yaml"


def describe(into: Path, name: str, namespace: str, *, size: int, files: int, ufs_total: str = "") -> Path:
    """Writes the numbers, which makes the backup complete. Fluid reads `ufstotal` and `filenum` only."""
    import yaml

    found = {
        "dataset": name,
        "namespace": namespace,
        "ufstotal": ufs_total or f"{size}B",
        "filenum": str(files),
        "bytes": size,
    }
    path = into / description_name(name, namespace)
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump(found, sort_keys=False))
    fresh.replace(path)
    return path


def described(path: Path) -> tuple[int, int]:
    """Bytes and files. Raises OSError when that is not a backup."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
        size = found.get("bytes")
        if size is None:  # Fluid's own: rounded
            size = parse_quantity(str(found["ufstotal"]).removesuffix("B"))
        return int(size), int(found["filenum"])
    except (ValueError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise OSError(f"{path} does not describe a backup: {error!r}") from None


def backed_up(within: Path, name: str, namespace: str) -> tuple[str, str]:
    """The Dataset whose backup is to be used: of that very name, else the only one. Raises OSError."""
    if (within / description_name(name, namespace)).exists():
        return name, namespace
    others = sorted(within.glob("*-*.yaml"))
    if len(others) != 1:
        kept = ", ".join(path.name for path in others) or "no backup"
        raise OSError(f"{within} has {kept}, where {description_name(name, namespace)} was looked for")
    import yaml

    found = yaml.safe_load(others[0].read_text())
    return str(found["dataset"]), str(found["namespace"])
