"""What is asked of JindoCache's own programs, in its containers. Pure."""

from __future__ import annotations

from shlex import quote

from addon_framework.api.data import DataLoad
from runtimes import counting
from runtimes.interface import Cache, CacheState
from runtimes.jindo.config import LOCAL, cache_sets
from runtimes.loading import script
from runtimes.summaries import sizes

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
drop() {
  jindocache -unmount "$1" || { echo "$1 is still mounted from $(url_at "$1")" >&2; exit 1; }
}
ensure() {
  now=$(url_at "$1")
  [ "$now" != "${2%/}" ] || return 0
  [ -z "$now" ] || drop "$1"
  jindocache -mount "$1" "$2"
}
"""
_PATHS = "$(printf '%s\\n' \"$mounted\" | tr -s ' \\t' '\\n\\n' | grep '^/' || true)"

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
    """A script that mounts the sources, unmounts what is none any more, and says how each is cached."""
    wanted = [(s.path, f"local://{LOCAL}{s.path}" if s.scheme == "pvc" else s.url) for s in cache.sources]
    lines = [
        "set -eu",
        "jindocache -report >/dev/null",
        "set -f  # a word may have stars",
        _MOUNT,
        f'for path in {_PATHS}; do case "$path" in',
        *(f"  {quote(path)}) ;;" for path, _ in wanted),
        '  *) [ -z "$(url_at "$path")" ] || drop "$path";; esac; done',
        *(f"ensure {quote(path)} {quote(url)}" for path, url in wanted),
        # A file of a ConfigMap would be the one that the pod started with.
        f"printf %s {quote(cache_sets(cache))} > /tmp/cacheset.xml",
        "jindocache -refreshCacheSet -path /tmp/cacheset.xml",
    ]
    return "\n".join(lines)


def summary(cache: Cache, *, count: bool) -> str:
    """A script that prints how much is cached, and if asked for what the sources have."""
    paths = [quote(f"jindo://{source.path}") for source in cache.sources]
    counts = [f"jindo fs -count {path} | awk 'END {{ print $2, $3 }}'" for path in paths]
    return "\n".join(
        ["jindocache -report || exit", *([counting.script(counts, cache.sources)] if count else [])]
    )


def flags(load: DataLoad, *, memory: bool) -> str:
    """What a DataLoad's options mean to `jindocache -load`, which may be into `memory`."""
    said = {"loadMemorydata": str(memory).lower(), **load.spec.options}
    made = ["-meta"] if load.spec.load_metadata else []
    made += [] if said.get("loadMetadataOnly") == "true" else ["-data"]
    made += [flag for option, flag in SWITCHES.items() if said.get(option) == "true"]
    made += [f"{flag} {said[option]}" for option, flag in VALUES.items() if said.get(option)]
    return " ".join(made)


def state(output: str, *, memory: bool) -> CacheState:
    """Of what `summary` printed."""
    kind = "MEM" if memory else "Disk"
    said = sizes(output, (f"Total {kind} Capacity", f"Used {kind} Capacity"))
    return CacheState(
        cached=said.get(f"Used {kind} Capacity"),
        capacity=said.get(f"Total {kind} Capacity"),
        source=counting.counted(output),
    )
