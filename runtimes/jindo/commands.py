"""What is asked of JindoCache's own programs, in its containers. Pure."""

from __future__ import annotations

from shlex import quote

from addon_framework.api.data import DataLoad
from runtimes.interface import Cache, CacheState
from runtimes.jindo.config import LOCAL, cache_sets
from runtimes.loading import script
from runtimes.summaries import sizes

SUMMARY = ["jindocache", "-report"]
# Option of a DataLoad -> the flag that it switches on, or that has its value.
SWITCHES = {"atomicCache": "-atomic", "loadMemorydata": "-m", "dryrun": "-dryrun", "forceload": "-f"}
VALUES = {"filter": "-filter", "threadNum": "-thread"}
OPTIONS = (*SWITCHES, *VALUES, "loadMetadataOnly")

# One line of `jindocache -mount` has a path and what is mounted there, as words among others.
_MOUNT = """
mounted=$(jindocache -mount)
url_at() {
  printf '%s\\n' "$mounted" | while read -r line; do
    here=
    for word in $line; do [ "$word" != "$1" ] || here=yes; done
    for word in $line; do case $here$word in yes*://*) echo "${word%/}";; esac; done
  done
}
ensure() {
  now=$(url_at "$1")
  if [ -n "$now" ] && [ "$now" != "${2%/}" ]; then
    echo "$1 is mounted from $now, which Jindo does not change: give the mount of $2 another path" >&2
    exit 1
  fi
  [ -n "$now" ] || jindocache -mount "$1" "$2"
}
"""

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
        "set -f  # a word may have stars",
        _MOUNT,
        *(f"ensure {quote(path)} {quote(url)}" for path, url in wanted),
        # A file of a ConfigMap would be the one that the pod started with.
        f"printf %s {quote(cache_sets(cache))} > /tmp/cacheset.xml",
        "jindocache -refreshCacheSet -path /tmp/cacheset.xml",
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
