"""What is asked of Alluxio's own programs, in its containers. Pure.

https://docs.alluxio.io/os/user/stable/en/operation/Admin-CLI.html and User-CLI.html beside it
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from shlex import quote

from runtimes import counting
from runtimes.interface import Cache, CacheState, Source
from runtimes.loading import script
from runtimes.summaries import sizes
from runtimes.workloads import NATIVE

SUMMARY = "alluxio fsadmin report summary && alluxio fsadmin report metrics || exit"
_COUNT = "alluxio fs count / | awk 'END { print $1, $3 }'"
_READ = ("Cluster.BytesReadLocal", "Cluster.BytesReadRemote", "Cluster.BytesReadUfsAll")
_NOW = tuple(f"Cluster.BytesRead{whence}Throughput" for whence in ("Local", "Remote", "Ufs"))
_METRIC = re.compile(
    r"^\s*(Cluster\.\w+)\s+\(Type:\s*\w+,\s*Value:\s*([\d,.]+\s*[KMGTP]?B?)(?:/MIN)?\)", re.MULTILINE
)

# Values of secret options are in no argument, variable or ConfigMap: Alluxio reads them from its own file.
_SITE = """
set -eu
conf=${ALLUXIO_HOME:-/opt/alluxio}/conf/alluxio-site.properties
umask 077
mkdir -p "${conf%/*}"
"""
# Lines `path url`. How each was mounted is in files of the container, since the list has no secret options.
_MOUNTED = r"alluxio fs mount | sed -nE 's#^ *([^ ]+) +on +(/[^ ]*) .*#\2 \1#p'"
_MOUNT = r"""
made=${TMPDIR:-/tmp}/boundaryless-mounts
mkdir -p "$made"
url_of() {
  printf '%s\n' "$mounted" | while read -r path url; do [ "$path" != "$1" ] || echo "${url%/}"; done
}
ensure() {  # path, URL, how
  path=$1 url=$2 record="$made/$(printf %s "$1" | tr / %)"; shift 2
  now=$(url_of "$path")
  if [ -n "$now" ] && [ "$now" != "${url%/}" ]; then
    alluxio fs unmount "$path"
    now=
  fi
  if [ -z "$now" ]; then
    alluxio fs mount "$@" "$path" "$url"
  elif [ "$(cat "$record" 2>/dev/null)" != "$*" ]; then
    alluxio fs updateMount "$@" "$path"
  fi
  printf '%s\n' "$*" >"$record"
}
"""


# A master that begins from a backup says what the source had; Fluid's own numbers are rounded.
_RESTORED = """
[ -z "${RESTORE:-}" ] || awk -v now="$(date +%s.%N)" '
  { gsub(/[^0-9A-Za-z.:]/, "", $2) }
  $1 == "ufstotal:" {
    size = $2 + 0; unit = substr($2, match($2, /[KMGTP]/), 1)
    for (power = index("KMGTP", unit); unit != "" && power > 0; power--) size *= 1024
  }
  $1 == "bytes:" { exact = $2 }
  $1 == "filenum:" { files = $2 }
  END {
    printf "{\\"report\\": \\"restored\\", \\"time\\": %s, \\"bytes\\": %.0f, \\"files\\": %d}\\n", now,
      exact != "" ? exact : size, files
  }
' "$RESTORE/$DATASET_NAME-$DATASET_NAMESPACE.yaml"
"""


def start(secrets: Mapping[str, str]) -> str:
    """A script that gives the values of secret options to the image's entry point; they are in files."""
    lines = [
        f'printf "%s=%s\\n" {quote(option)} "$(cat {quote(path)})" >>"$conf"'
        for option, path in sorted(secrets.items())
    ]
    return "\n".join([_SITE, _RESTORED, ': >"$conf"', *lines, 'exec /entrypoint.sh "$@"'])


def mount_all(cache: Cache) -> str:
    """A script that mounts what is not, and unmounts what is no longer a source; the root stays."""
    wanted = [source for source in cache.sources if source.scheme not in NATIVE and source.path != "/"]
    lines = [
        "set -eu",
        "alluxio fsadmin report >/dev/null",
        f"mounted=$({_MOUNTED})",
        _MOUNT,
        'for path in $(printf "%s\\n" "$mounted" | cut -d " " -f 1); do case "$path" in',
        *(f"  {quote(source.path)}) ;;" for source in wanted),
        '  /) ;; *) alluxio fs unmount "$path";; esac; done',
        *(f"ensure {quote(source.path)} {quote(source.url)} {_how(source)}".rstrip() for source in wanted),
    ]
    return "\n".join(lines)


def _how(source: Source) -> str:
    options = [f"--option {quote(f'{name}={value}')}" for name, value in sorted(source.options.items())]
    flags = [*(["--readonly"] if source.read_only else []), *(["--shared"] if source.shared else [])]
    return " ".join([*flags, *options])


def summary(cache: Cache, *, count: bool) -> str:
    """A script that prints how much is cached, and if asked for what the sources have."""
    return "\n".join([SUMMARY, *([counting.script([_COUNT], cache.sources)] if count else [])])


def state(output: str) -> CacheState:
    """Of what `summary` printed."""
    said = sizes(output, ("Total Capacity", "Used Capacity"))
    read = {name: sizes(f"x: {value}", ("x",)).get("x", 0) for name, value in _METRIC.findall(output)}
    local, remote, source = (read.get(name, 0) for name in _READ)
    total = local + remote + source
    now = [read.get(name, 0) for name in _NOW]
    return CacheState(
        cached=said.get("Used Capacity"),
        capacity=said.get("Total Capacity"),
        hit_ratio=(local + remote) / total if total else None,
        local=now[0] / sum(now) if any(now) else None,
        remote=now[1] / sum(now) if any(now) else None,
        source=counting.counted(output),
    )


# Variables besides those of a load: METADATA and PIN, not empty when wanted.
LOAD = script(
    "Alluxio",
    """
  alluxio fs ls "$1" || return 1
  alluxio fs setReplication --max "$2" -R "$1" || return 1
  [ -z "$PIN" ] || alluxio fs pin "$1" || return 1
  [ -z "$METADATA" ] || alluxio fs ls -Dalluxio.user.file.metadata.sync.interval=0 -R "$1" || return 1
  alluxio fs distributedLoad --replication "$2" "$1"
""",
)

# Variables are those of runtimes.backup_pods. What Alluxio prints is where it has put the backup.
BACKUP = script(
    "Alluxio",
    """
  kept="$BACKUP/metadata-backup-$DATASET_NAME-$DATASET_NAMESPACE.gz"
  numbers="$BACKUP/$DATASET_NAME-$DATASET_NAMESPACE.yaml"
  mkdir -p "$BACKUP" || return 1
  said=$(alluxio fsadmin backup) || { echo "$said"; return 1; }
  made=$(echo "$said" | sed -nE 's#^ *Backup URI *: *(file://)?##p')
  [ -e "$made" ] || { echo "alluxio fsadmin backup made nothing: $said"; return 1; }
  mv "$made" "$kept" || return 1
  counted=$(alluxio fs count "$1") || return 1
  set -- $(echo "$counted" | tail -n 1)
  printf 'dataset: %s\\nnamespace: %s\\nufstotal: %s\\nfilenum: "%s"\\nbytes: %s\\n' \\
    "$DATASET_NAME" "$DATASET_NAMESPACE" "${UFS_TOTAL:-${3}B}" "${FILES:-$1}" "${SIZE:-$3}" \\
    >"$numbers.new" || return 1
  mv "$numbers.new" "$numbers" || return 1
  [ -z "$OWNER" ] || chown "$OWNER" "$kept" "$numbers"
""",
)
