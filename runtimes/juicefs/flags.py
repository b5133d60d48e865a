"""What JuiceFS is told: how to format a volume and how to mount it, where it caches. Pure.

https://juicefs.com/docs/community/command_reference
"""

from __future__ import annotations

from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from runtimes.interface import Cache, Source
from runtimes.pods import from_secret, host_path, literal, mount
from runtimes.tiers import tiers
from runtimes.workloads import image

IMAGE = "juicedata/juicefs-fuse"
FORMAT_OPTIONS = ("storage", "bucket")
_OF_FUSE = ("ro", "rw", "dev", "suid", "nodev", "nosuid", "noexec", "debug", "nonempty")
_NOT_MOUNT = (*FORMAT_OPTIONS, "quota")  # options of a Dataset that the mount does not have


def is_copy(cache: Cache) -> bool:
    """Whether it is a copy of a bucket, in a volume of the node's own; else a file system that exists."""
    return cache.sources[0].scheme == "s3"


def container_image(cache: Cache) -> Json:
    """`image` and `imagePullPolicy`: the client's, else the version's."""
    fuse, version = cache.spec.get("fuse") or {}, cache.spec.get("juicefsVersion") or {}
    return image(fuse if fuse.get("image") else {**version, **fuse}, IMAGE)


def directories(cache: Cache) -> list[tuple[str, Json]]:
    """Where blocks are kept, and the volume of each."""
    found = [
        (path, volume)
        for tier in tiers(cache, limited=False)
        for path, volume in zip(tier.paths, tier.volumes, strict=True)
    ]
    return found or [(cache.directory, host_path("cache", cache.directory))]


def volumes(cache: Cache) -> tuple[list[Json], list[Json]]:
    """Of the cache, with where they are mounted."""
    found = directories(cache)
    return [volume for _, volume in found], [mount(volume["name"], path) for path, volume in found]


def environment(cache: Cache) -> list[Json]:
    """Which volume, and how it is formatted when it is not yet."""
    source, configs = cache.sources[0], [f"--{text}" for text in cache.spec.get("configs") or []]
    directory = literal("DIRECTORY", cache.directory)
    if is_copy(cache):
        flags = ["--storage=file", f"--bucket={cache.directory}/blocks/", "--trash-days=0", *configs]
        if cache.quota is not None:
            flags.append(f"--capacity={max(1, -(-cache.quota // (1 << 30)))}")
        url = literal("METAURL", f"sqlite3://{cache.directory}/meta.db")
        name = literal("NAME", "cache")
        return [directory, literal("COPY", "true"), url, name, literal("FORMAT", " ".join(flags))]
    flags = [f"--{name}={source.options[name]}" for name in FORMAT_OPTIONS if name in source.options]
    secrets = [
        from_secret("METAURL" if name == "metaurl" else name.upper().replace("-", "_"), key)
        for name, key in sorted(source.secrets.items())
    ]
    return [
        directory,
        literal("NAME", source.name),
        literal("FORMAT", " ".join([*configs, *flags])),
        *secrets,
    ]


def limit(cache: Cache) -> list[Json]:
    """The quota of the directory that is mounted, which JuiceFS has in GiB."""
    source = cache.sources[0]
    if is_copy(cache) or not source.options.get("quota"):
        return []
    size = int(parse_quantity(source.options["quota"])) >> 30
    return [literal("QUOTA", str(size)), literal("QUOTA_PATH", f"/{below(source)}")]


def fuse_options(cache: Cache) -> dict[str, str]:
    """Dataset's options, then the runtime's, as Fluid orders them."""
    given = {} if is_copy(cache) else dict(cache.sources[0].options)
    own = {name: value for name, value in given.items() if name not in _NOT_MOUNT}
    return {**own, **((cache.spec.get("fuse") or {}).get("options") or {})}


def mount_options(cache: Cache) -> str:
    """Flags of the mount."""
    source, levels = cache.sources[0], tiers(cache, limited=False)
    # Blocks on the node's own disk need no second copy, nor backups and jobs besides the loader's.
    if is_copy(cache):
        options = ["--cache-size=0", "--backup-meta=0", "--no-bgjob"]
    else:
        options = [f"--cache-dir={':'.join(f'{path}/cache' for path, _ in directories(cache))}"]
        if cache.quota is not None:
            options.append(f"--cache-size={cache.quota >> 20}")
        if levels and levels[0].low:
            options.append(f"--free-space-ratio={levels[0].low}")
        if below(source):
            options.append(f"--subdir=/{below(source)}")
    if cache.read_only or source.read_only:
        options.append("--read-only")
    said = {name: f"{name}={value}" if value else name for name, value in fuse_options(cache).items()}
    options += [f"--{text}" for name, text in said.items() if not _of_fuse(name)]
    mounted = dict.fromkeys(["allow_other", *(text for name, text in said.items() if _of_fuse(name))])
    # The default metrics port is one for all; port 0 takes any.
    return " ".join([f"-o {','.join(mounted)}", "--metrics=127.0.0.1:0", *options])


def _of_fuse(option: str) -> bool:
    """Whether it is FUSE's own, which `juicefs mount` takes after -o; Fluid's users name both alike."""
    return "_" in option or option in _OF_FUSE


def below(source: Source) -> str:
    """The directory of juicefs:///directory; "" for all."""
    return source.url.removeprefix("juicefs://").strip("/")
