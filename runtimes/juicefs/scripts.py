"""What runs in JuiceFS's own image, which has a shell and nothing of ours.

Variables: MOUNT_POINT, DIRECTORY (the cache's own), COPY (where all is in it), METAURL, NAME, FORMAT and
OPTIONS (flags), and for a load SOURCE, TARGETS (one a line), FLAGS and LIMIT (how long, as a prefix). Keys
come from the environment and stay there.
https://juicefs.com/docs/community/command_reference
"""

from __future__ import annotations

from runtimes.fuse import PREPARE

# juicefs takes the password of a metadata engine from META_PASSWORD, so that no process list shows it.
_META = """
set -eu
META_PASSWORD=$(printf %s "$METAURL" | sed -nE 's#^[a-z0-9]+://[^:@/]*:([^@]*)@.*#\\1#p')
META=$(printf %s "$METAURL" | sed -E 's#^([a-z0-9]+://[^:@/]*):[^@]*@#\\1@#')
[ -n "$META_PASSWORD" ] && export META_PASSWORD || unset META_PASSWORD
"""
# A dump has no secrets, and `juicefs config` would take them as arguments that every process list shows.
KEYS = r"""
with_keys() {
  awk '
    function value(name, given) {
      if (given == "" || past || $1 != "\"" name "\":") return
      gsub(/["\\]/, "\\\\&", given)
      $0 = "\"" name "\": \"" given "\","
    }
    $1 == "\"Counters\":" { past = 1 }
    { value("AccessKey", ENVIRON["ACCESS_KEY"]); value("SecretKey", ENVIRON["SECRET_KEY"]) }
    { value("SessionToken", ENVIRON["SESSION_TOKEN"]) }
    !past && ENVIRON["SECRET_KEY"] != "" && $1 == "\"KeyEncrypted\":" { sub(/true/, "false") }
    { print }'
}
"""
# RESTORE is the directory of a backup; one on a node is on RESTORE_NODE. An empty file system where there was
# one would look like a loss of all data, so whoever cannot restore it ends.
_RESTORE = (
    KEYS
    + """
backup() {
  own="metadata-backup-$DATASET_NAME-$DATASET_NAMESPACE.gz" kept="$RESTORE/$own"
  [ -e "$kept" ] || { set -- "$RESTORE"/metadata-backup-*.gz; [ $# -gt 1 ] || kept=$1; }
  [ -e "$kept" ] || { echo "spec.dataRestoreLocation has no $own, nor one other backup alone" >&2; exit 1; }
}
restore() {
  [ -n "${RESTORE:-}" ] || return 0
  if [ -n "$RESTORE_NODE" ] && [ "$RESTORE_NODE" != "$NODE_NAME" ]; then
    echo "waiting for node $RESTORE_NODE, which has the backup, to restore the file system" >&2
    exit 1
  fi
  backup
  if gunzip -c "$kept" | with_keys | juicefs load "$META"; then
    [ -z "${SECRET_KEY:-}" ] || juicefs config "$META" --encrypt-secret --yes >/dev/null || true
  else
    juicefs status "$META" >/dev/null
  fi
}
restored() {
  [ -n "${RESTORE:-}" ] || return 0
  [ -z "$RESTORE_NODE" ] || [ "$RESTORE_NODE" = "$NODE_NAME" ] || return 0
  backup
  numbers="$RESTORE/$(basename "$kept" .gz | sed 's/^metadata-backup-//').yaml"
  size=$(sed -nE 's/^bytes: ([0-9]+)$/\\1/p' "$numbers")
  files=$(sed -nE 's/^filenum: "([0-9]+)"$/\\1/p' "$numbers")
  say restored ", \\"bytes\\": $size, \\"files\\": $files, \\"adopted\\": $files"
}
"""
)
# A script's own number is not asked of the shell: in a command, Kubernetes makes one dollar sign of two.
_SAY = """
read -r main _ </proc/self/stat
say() { printf '{"report": "%s", "time": %s%s}\\n' "$1" "$(date +%s.%N)" "$2"; }
"""
# The client and the loader may come at the same time: one formats while the other waits. A copy has a name:
# loads say which they have filled, and one that is made anew is another.
_FORMAT = (
    _META
    + _RESTORE
    + """
mkdir -p "$DIRECTORY"
(
  flock 9
  juicefs status "$META" >/dev/null 2>&1 || {
    rm -f "$DIRECTORY/id"
    restore && juicefs format $FORMAT "$META" "$NAME" || exit 1
  }
  [ -z "${COPY:-}" ] || [ -s "$DIRECTORY/id" ] || od -An -N8 -tx1 /dev/urandom | tr -d ' ' >"$DIRECTORY/id"
) 9>"$DIRECTORY/lock"
cache=$([ -z "${COPY:-}" ] || printf ', "cache": "%s"' "$(cat "$DIRECTORY/id")")
"""
)
_STORED = (
    "find \"$DIRECTORY\"/blocks/*/chunks -type f -printf '%s\\n' 2>/dev/null"
    " | awk '{s += $1} END {printf \"%.0f\", s}'"
)
# The counters are a virtual file that tells nobody when it changes, so it is read every two seconds. A copy
# that somebody removed is gone, though the client still has its metadata open: only a new pod gets a new one.
_STATE = f"""
state() {{
  last= metadata=$(stat -c %d:%i "$DIRECTORY/meta.db" 2>/dev/null || true)
  while kill -0 "$main" 2>/dev/null; do
    sleep 2
    if [ -n "${{COPY:-}}" ] && [ "$(stat -c %d:%i "$DIRECTORY/meta.db" 2>/dev/null)" != "$metadata" ]; then
      say state ', "cached": 0, "gone": true'
      return
    fi
    all=$([ -n "${{COPY:-}}" ] || stat -f -c '%b %f %S %c %d' "$MOUNT_POINT" 2>/dev/null) || continue
    now=$(awk -v stored="$({_STORED})" -v all="$all" '
      $1 == "juicefs_blockcache_bytes" {{ b = $2 }}
      $1 == "juicefs_blockcache_hits" {{ h = $2 }}
      $1 == "juicefs_blockcache_miss" {{ m = $2 }}
      $1 == "juicefs_blockcache_hit_bytes" {{ hb = $2 }}
      $1 == "juicefs_blockcache_miss_bytes" {{ mb = $2 }}
      END {{ if (stored > 0) printf "\\"cached\\": %.0f", stored
            else {{
              printf "\\"cached\\": %.0f, \\"hits\\": %.0f, \\"misses\\": %.0f", b, h, m
              printf ", \\"hitBytes\\": %.0f, \\"missBytes\\": %.0f", hb, mb
              if (split(all, n, " ") == 5)
                printf ", \\"total\\": %.0f, \\"totalFiles\\": %.0f", (n[1] - n[2]) * n[3], n[4] - n[5]
            }} }}
    ' "$MOUNT_POINT/.stats" 2>/dev/null) || continue
    [ "$now" = "$last" ] || say state ", $now$cache"
    last=$now
  done
}}
"""

# QUOTA is what a Dataset's directory may hold, in GiB; it need not be there yet.
FORMAT = (
    _FORMAT
    + """
[ -z "${QUOTA:-}" ] || juicefs quota set "$META" --path "$QUOTA_PATH" --capacity "$QUOTA" --create >/dev/null
"""
)

# Whoever walks through all of it would read .accesslog for ever. By name JuiceFS's own files are there still.
_HIDDEN = """
HIDDEN=
if juicefs mount --help 2>/dev/null | grep -q -e --hide-internal; then HIDDEN=--hide-internal; fi
"""

MOUNT = (
    PREPARE
    + FORMAT
    + _SAY
    + _STATE
    + _HIDDEN
    + """
restored
state &
exec juicefs mount "$META" "$MOUNT_POINT" $HIDDEN $OPTIONS --no-usage-report
"""
)

# A load that fails says why in juicefs's own last words. Where the disk has no room for one of its blocks, it
# waits without a word.
_LOAD = f"""{_SAY}
say start ''
log=$(mktemp)
rate() {{
  awk -v n="$1" -v b="$base" -v s="$began" -v e="$(date +%s.%N)" \
    'BEGIN {{ printf "%.0f", (e > s && n > b) ? (n - b) / (e - s) : 0 }}'
}}
progress() {{
  last= told=
  while kill -0 "$main" 2>/dev/null; do
    sleep 0.5
    now=$({_STORED})
    full=$(stat -f -c '%a %S' "$DIRECTORY" | awk '$1 * $2 < 4194304')
    if [ "$now" != "$last" ]; then
      say progress ", \\"bytes\\": $now, \\"rate\\": $(rate "$now")"
      told=
    elif [ -n "$full" ] && [ -z "$told" ]; then
      say trouble ", \\"message\\": \\"the disk of $DIRECTORY is full\\""
      told=1
    fi
    last=$now
  done
}}
failed() {{
  why=$(grep -E 'FATAL|ERROR|failed' "$log" | tail -n 1 | tr -d '"\\\\' | tr '\\t' ' ' | cut -c 1-1000)
  [ -n "$why" ] || why="it ended without a word; $LIMIT"
  say failed ", \\"reason\\": \\"JuiceFS\\", \\"message\\": \\"$why\\""
  exit 1
}}
"""

# `jfs://META` means the volume whose address is in the variable META. What came from another source goes
# first: files of one name and size would pass for the new one's. A source that has nothing is taken for one
# that is not there: what was copied stays. What changes while it is copied fails, to be copied anew, as does
# what has changed since: a second look, which copies nothing, finds all as it is in the source. JuiceFS
# compares no checksum of the source's, so nobody vouches for what it copied.
SYNC = (
    _FORMAT
    + _LOAD
    + f"""
export META
known="$DIRECTORY/source"
mkdir -p "$DIRECTORY/nothing"
printf '%s\\n' "$TARGETS" | while IFS= read -r target; do
  juicefs sync --dry --limit 1 "$SOURCE$target" "$DIRECTORY/nothing/$target" >"$log" 2>&1 || exit 1
  if grep -q 'Found: 0,' "$log"; then
    why="there is nothing below $SOURCE$target"
    say failed ", \\"reason\\": \\"SourceUnreadable\\", \\"message\\": \\"$why\\", \\"permanent\\": true"
    exit 3
  fi
done || {{ [ $? = 3 ] && exit 3; failed; }}
if [ -e "$known" ] && [ "$(cat "$known")" != "$SOURCE" ]; then
  juicefs sync --delete-dst --dirs "$DIRECTORY/nothing/" jfs://META/ >"$log" 2>&1 || failed
fi
printf %s "$SOURCE" >"$known"
base=$({_STORED}) began=$(date +%s.%N)
progress &
how="--check-change --update --delete-dst"
copied=$(mktemp)
printf '%s\\n' "$TARGETS" | while IFS= read -r target; do
  $LIMIT juicefs sync $how $FLAGS "$SOURCE$target" "jfs://META/$target" >"$log" 2>&1 || exit 1
  sed -nE 's/.*copied: ([0-9]+) .*/\\1/p' "$log" >>"$copied"
  $LIMIT juicefs sync --dry $how $FLAGS "$SOURCE$target" "jfs://META/$target" >>"$log" 2>&1 || exit 1
  if grep 'Found: ' "$log" | tail -n 1 | grep -qE '(copied|deleted): [1-9]'; then
    echo "failed: $SOURCE$target changed while it was copied" >>"$log"
    exit 1
  fi
done || failed
cat "$log"
copied=$(awk '{{ n += $1 }} END {{ print n + 0 }}' "$copied")
now=$({_STORED}) all=
if [ -z "$TARGETS" ]; then  # what was counted before may be no more
  files=$(sed -nE 's/.*skipped: ([0-9]+) .*copied: 0 .*/\\1/p' "$log" | tail -n 1)
  all=", \\"total\\": $now"
  [ -z "$files" ] || all="$all, \\"files\\": $files, \\"totalFiles\\": $files"
fi
say done "$all, \\"bytes\\": $now, \\"rate\\": $(rate "$now"), \\"unverified\\": $copied$cache"
"""
)

WARMUP = (
    "set -eu\nMETAURL=; DIRECTORY=${DIRECTORY:-/nowhere}\n"
    + _LOAD
    + """
printf '%s\\n' "$TARGETS" | while IFS= read -r target; do
  $LIMIT juicefs warmup $FLAGS "$MOUNT_POINT/$target" >"$log" 2>&1 || exit 1
done || failed
cat "$log"
say done ''
"""
)

# The keys of the object store are left out by juicefs; whoever restores formats with their own.
BACKUP = (
    _META
    + "DIRECTORY=/nowhere; LIMIT=\n"
    + _LOAD
    + """
mkdir -p "$BACKUP"
kept="metadata-backup-$DATASET_NAME-$DATASET_NAMESPACE.gz"
juicefs dump "$META" "$BACKUP/.new-$kept" >"$log" 2>&1 || failed
mv "$BACKUP/.new-$kept" "$BACKUP/$kept"
juicefs status "$META" >"$log" 2>/dev/null || failed
SIZE=${SIZE:-$(sed -nE 's/.*"UsedSpace": ([0-9]+).*/\\1/p' "$log")}
FILES=${FILES:-$(sed -nE 's/.*"UsedInodes": ([0-9]+).*/\\1/p' "$log")}
numbers="$BACKUP/$DATASET_NAME-$DATASET_NAMESPACE.yaml"
printf 'dataset: %s\\nnamespace: %s\\nufstotal: %s\\nfilenum: "%s"\\nbytes: %s\\n' \\
  "$DATASET_NAME" "$DATASET_NAMESPACE" "${UFS_TOTAL:-${SIZE}B}" "$FILES" "$SIZE" >"$numbers.new"
mv "$numbers.new" "$numbers"
[ -z "$OWNER" ] || chown "$OWNER" "$numbers" "$BACKUP/$kept"
say done ''
"""
)
