"""What is asked of JindoCache's own programs, in its containers. Pure."""

from __future__ import annotations

from shlex import quote

from addon_framework.api.data import DataLoad
from runtimes.interface import Cache, CacheState
from runtimes.jindo.config import LOCAL
from runtimes.loading import script
from runtimes.summaries import sizes

SUMMARY = ["jindocache", "-report"]
# Option of a DataLoad -> the flag that it switches on, or that has its value.
SWITCHES = {"atomicCache": "-atomic", "loadMemorydata": "-m", "dryrun": "-dryrun", "forceload": "-f"}
VALUES = {"filter": "-filter", "threadNum": "-thread"}
OPTIONS = (*SWITCHES, *VALUES, "loadMetadataOnly")

# Variable besides those of a load: FLAGS.
LOAD = script(
    "Jindo",
    """
  set -f  # a filter may have stars
  jindo fs -ls "jindo://$1" || return 1
  jindocache -load $FLAGS -s -R -replica "$2" "jindo://$1"
""",
)


def mount_all(cache: Cache) -> str:
    """A script that mounts the sources, and tells the master how each is cached."""
    wanted = [(s.path, f"local://{LOCAL}{s.path}" if s.scheme == "pvc" else s.url) for s in cache.sources]
    lines = [
        "set -eu",
        "jindocache -report >/dev/null",
        "mounted=$(jindocache -mount)",
        *(
            f'echo "$mounted" | grep -qF {quote(url)} || jindocache -mount {quote(path)} {quote(url)}'
            for path, url in wanted
        ),
        "jindocache -refreshCacheSet -path /cacheset.xml",
    ]
    return "\n".join(lines)


def flags(load: DataLoad) -> str:
    """What a DataLoad's options mean to `jindocache -load`."""
    said = load.spec.options
    made = ["-meta"] if load.spec.load_metadata else []
    made += [] if said.get("loadMetadataOnly") == "true" else ["-data"]
    made += [flag for option, flag in SWITCHES.items() if said.get(option) == "true"]
    made += [f"{flag} {said[option]}" for option, flag in VALUES.items() if said.get(option)]
    return " ".join(made)


def state(output: str, *, memory: bool) -> CacheState:
    """Of what SUMMARY printed."""
    kind = "MEM" if memory else "Disk"
    said = sizes(output, (f"Total {kind} Capacity", f"Used {kind} Capacity"))
    return CacheState(cached=said.get(f"Used {kind} Capacity"), capacity=said.get(f"Total {kind} Capacity"))
