"""Stands for JindoCache, whose servers and FUSE client cannot be had here: the same commands and words.

`pyjindosdk` of PyPI is a library for clients of OSS and S3 (tests/unit/runtimes/test_jindosdk.py has it read
our configuration); neither it nor another package has `jindocache`, `jindo`, the servers of the image
`smartdata`, or `jindo-fuse`. Called as `PROGRAM ARGUMENTS`, with PROGRAM
`entrypoint`, for the images' entry point, `jindo` or `jindocache`. Servers take all they know from
jindocache.cfg and variables, clients from jindosdk.cfg. Files come from stores that speak S3 and are kept
by the workers, whole; what a client shows is their bytes.
"""

from __future__ import annotations

import configparser
import fnmatch
import json
import os
import sys
import threading
import time
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from urllib.parse import quote

from tests.standins.keeping import Bucket, Kept, Source, Tree, entries, holders, shown
from tests.standins.serving import Directory, Elsewhere, File, answers, ask, server, show, told

_UNITS = {"k": 10, "m": 20, "g": 30}
_LOAD = {"-meta", "-data", "-atomic", "-m", "-dryrun", "-f", "-s", "-R"}
_LOAD_VALUES = {"-replica", "-thread", "-filter"}
_OPTIONS = {"kernel_cache", "auto_cache", "ro", "no_symlink", "attr_timeout", "entry_timeout"}
_OPTIONS |= {"negative_timeout", "metrics_port", "uri"}


def main(arguments: list[str]) -> int:
    """One command, a server, or a client."""
    program, *rest = arguments
    if program != "entrypoint":
        return ask(_master(_section("jindocache", "jindocache-client")), arguments, sys.stdout)
    match rest:
        case ["master"]:
            return _Master().serve()
        case ["worker"]:
            return _Worker().serve()
        case [*options] if all(option.startswith("-o") for option in options):
            return _client([option[2:].partition("=")[::2] for option in options])
    print(f"entrypoint.sh: {rest}", file=sys.stderr)
    return 2


def _section(name: str, section: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    with Path(f"/{name}.cfg").open() as file:
        parser.read_file(file)
    return dict(parser[section])


def _master(client: dict[str, str]) -> str:
    """The one that answers, of those that a client knows."""
    known = client["fs.jindocache.namespace.rpc.address"].split(",")
    return next((at for at in known if answers(at)), known[0])


def _source(url: str, said: dict[str, str], prefix: str) -> Source:
    """By options that begin with the prefix: those of a scheme, or of a bucket where it is OSS."""
    scheme, _, rest = url.partition("://")
    if scheme == "local":
        return Tree(Path(rest))
    bucket = rest.partition("/")[0]
    own = f"{prefix}.{scheme}" + (f".bucket.{bucket}" if scheme == "oss" else "")
    import boto3  # it takes a while, and most commands need none
    from botocore.config import Config

    token, endpoint = (
        Path(said[f"{own}.provider.endpoint"].removeprefix("secrets://")),
        said[f"{own}.endpoint"],
    )
    if "://" in endpoint:
        raise SystemExit(f"Failed to connect Http service: http://{bucket}.{endpoint}")  # as JindoSDK does
    style = "path" if said.get(f"{own}.second.level.domain.enable") == "true" else "virtual"
    client = boto3.client(
        "s3",
        endpoint_url=f"{'https' if said.get(f'{own}.https.enable') == 'true' else 'http'}://{endpoint}",
        region_name="us-east-1",
        aws_access_key_id=(token / "AccessKeyId").read_text(),
        aws_secret_access_key=(token / "AccessKeySecret").read_text(),
        config=Config(s3={"addressing_style": style}),
    )
    return Bucket(client, url)


class _Mounts:
    """The sources by the paths at which they are mounted."""

    def __init__(self, said: dict[str, str]) -> None:
        self.urls: dict[str, str] = {}
        self._said = said
        self._open: dict[str, Source] = {}

    def _sources(self) -> list[tuple[str, Source]]:
        for url in set(self.urls.values()) - set(self._open):
            self._open[url] = _source(url, self._said, "jindocache")
        return [(path.rstrip("/"), self._open[url]) for path, url in list(self.urls.items())]

    def files(self, path: str) -> dict[str, int]:
        """Bytes by path, of a directory or a file."""
        found: dict[str, int] = {}
        for at, source in self._sources():
            if path.startswith(f"{at}/") or path == at:
                below = path.removeprefix(at).strip("/")
            elif f"{at}/".startswith(path.rstrip("/") + "/"):
                below = ""
            else:
                continue
            found |= {f"{at}/{name}": size for name, size in source.files(below).items()}
        return found

    def named(self, path: str) -> str:
        """What a file is kept by: its mount may become another's."""
        at, _ = self._at(path)
        return f"{self.urls[at or '/']}{path.removeprefix(at)}"

    def read(self, path: str) -> BinaryIO:
        """A file. Raises OSError."""
        at, source = self._at(path)
        return source.read(path.removeprefix(f"{at}/"))

    def _at(self, path: str) -> tuple[str, Source]:
        return max((one for one in self._sources() if path.startswith(f"{one[0]}/")), key=_length)


def _length(pair: tuple[str, Source]) -> int:
    return len(pair[0])


class _Master:
    """Knows the mounts and the workers."""

    def __init__(self) -> None:
        self._mounts = _Mounts(_section("jindocache", "jindocache-common"))
        self._workers: set[str] = set()
        self._sets: list[str] = []
        self._log: list[list[str]] = []

    def serve(self) -> int:
        """For ever."""
        port = int(_section("jindocache", "jindocache-server")["namespace.rpc.port"])
        server("0.0.0.0", port, command=self._command, find=self._find).serve_forever()
        return 0

    def _find(self, path: str) -> Directory | File | Elsewhere | None:
        files = self._mounts.files(path)
        if path in files:
            at = holders(self._workers, path)
            return Elsewhere(f"http://{at[0]}{quote(path)}") if at else None
        return entries(files, path)

    def _command(self, arguments: list[str], out: TextIO) -> int:
        match arguments:
            case ["jindocache", "state"]:  # for tests
                said = {"mounts": self._mounts.urls, "sets": self._sets, "log": self._log}
                out.write(json.dumps(said))
                return 0
            case ["worker", at]:
                self._workers.add(at)
                out.write(json.dumps(self._mounts.urls))
                return 0
        self._log.append(arguments)
        match arguments:
            case ["jindocache", "-report"]:
                self._report(out)
            case ["jindocache", "-mount"]:
                for path, url in self._mounts.urls.items():
                    out.write(f"{url} on {path} type {url.partition('://')[0]}\n")
            case ["jindocache", "-mount", path, url]:
                if path in self._mounts.urls:
                    out.write("Mount point already exists\n")
                    return 1
                self._mounts.urls[path] = url
            case ["jindocache", "-unmount", path]:
                del self._mounts.urls[path]
            case ["jindocache", "-refreshCacheSet", "-path", file]:
                sets = ET.parse(file).getroot().iter("cacheset")
                self._sets = [f"{each.findtext('path')} {each.findtext('cacheStrategy')}" for each in sets]
            case ["jindocache", "-load", *flags, url]:
                return self._load(flags, url.removeprefix("jindo://"), out)
            case ["jindo", "fs", "-ls" | "-count" as verb, url]:
                return self._list(verb, url, out)
            case _:
                out.write(f"unknown command: {' '.join(arguments)}\n")
                return 255
        return 0

    def _live(self) -> list[str]:
        return [at for at in sorted(self._workers) if answers(at)]

    def _report(self, out: TextIO) -> None:
        states = [json.loads(told(at, "state")) for at in self._live()]
        out.write(f"Namespace Address: localhost:8101\nRpc Port: 8101\nLive Nodes: {len(states)}\n")
        for name, key in (("Disk", "disk"), ("MEM", "memory")):
            for what in ("Total", "Used"):
                size = sum(state[key][what] for state in states)
                out.write(f"{what} {name} Capacity: {_human(size)}\n")

    def _list(self, verb: str, url: str, out: TextIO) -> int:
        path = url.removeprefix("jindo://").rstrip("/")
        files = self._mounts.files(path)
        if not files and path not in ("", *self._mounts.urls):
            out.write(f"{verb[1:]}: `{url}': No such file or directory\n")
            return 1
        if verb == "-count":
            directories = {name.rpartition("/")[0] for name in files}
            out.write(f"{len(directories):12} {len(files):12} {sum(files.values()):18} {url}\n")
        else:
            out.writelines(f"-rwxrwxrwx   1 {size:12} {name}\n" for name, size in files.items())
        return 0

    def _load(self, words: list[str], path: str, out: TextIO) -> int:
        flags, values, rest = set(), {}, iter(words)
        for word in rest:
            if word in _LOAD_VALUES:
                values[word] = next(rest)
            elif word in _LOAD:
                flags.add(word)
            else:
                out.write(f"unknown option {word}\n")
                return 1
        names = [n for n in self._mounts.files(path) if fnmatch.fnmatch(n, values.get("-filter", "*"))]
        if not names:
            out.write(f"{path}: No such file or directory\n")
            return 1
        if "-data" in flags and "-dryrun" not in flags:
            for name in names:
                for at in holders(self._workers, name)[: int(values.get("-replica", "1"))]:
                    told(at, "load", name, "memory" if "-m" in flags else "disk")
        out.write(f"loaded {len(names)} files\n")
        return 0


class _Worker:
    """Keeps files in its tier: in memory, if it has that, what is read and what is loaded with -m."""

    def __init__(self) -> None:
        said = _section("jindocache", "jindocache-worker")
        self._at = f"{os.environ['STORAGE_ADDRESS']}:{said['storage.rpc.port']}"
        self._master = {"fs.jindocache.namespace.rpc.address": os.environ["STORAGE_NAMESPACE_RPC_ADDRESS"]}
        self._mounts = _Mounts(_section("jindocache", "jindocache-common"))
        directories = [Path(one) for one in said["storage.data-dirs"].split(",")]
        quotas = {"disk": said["storage.data-dirs.capacities"], "memory": said.get("storage.ram.cache.size")}
        self._kept = {kind: _stores(kind, directories, of or "0") for kind, of in quotas.items()}

    def serve(self) -> int:
        """For ever; a master that starts anew is told again."""
        host, _, port = self._at.rpartition(":")
        made = server(host, int(port), command=self._command, find=self._find)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        while True:
            with suppress(OSError):
                self._mounts.urls = json.loads(told(_master(self._master), "worker", self._at))
            time.sleep(0.3)

    def _find(self, path: str) -> File | None:
        self._mounts.urls = json.loads(told(_master(self._master), "worker", self._at))
        size = self._mounts.files(path).get(path)
        kind = "memory" if self._total("memory")["Total"] else "disk"
        return None if size is None else File(size, lambda: self._read(path, kind))

    def _read(self, path: str, kind: str) -> BinaryIO:
        name = self._mounts.named(path)
        for stores in self._kept.values():
            if (found := _of(stores, name).get(name)) is not None:
                return found
        stream = self._mounts.read(path)
        _of(self._kept[kind], name).put(name, stream)
        return stream

    def _total(self, kind: str) -> dict[str, int]:
        stores = self._kept[kind]
        return {"Total": sum(s.capacity for s in stores), "Used": sum(s.used for s in stores)}

    def _command(self, arguments: list[str], out: TextIO) -> int:
        match arguments:
            case ["state"]:
                out.write(json.dumps({kind: self._total(kind) for kind in self._kept}))
            case ["load", path, kind]:
                self._read(path, kind).close()
        return 0


def _stores(kind: str, directories: list[Path], quotas: str) -> list[Kept]:
    found = []
    for directory, quota in zip(directories, quotas.split(","), strict=False):
        (directory / kind).mkdir(parents=True, exist_ok=True)
        found.append(Kept(directory / kind, _bytes(quota)))
    return found


def _of(stores: list[Kept], path: str) -> Kept:
    return stores[len(path) % len(stores)]


def _bytes(text: str) -> int:
    return int(text[:-1]) << _UNITS[text[-1]] if text[-1] in _UNITS else int(text)


def _human(size: float) -> str:
    units = iter(("B", "KB", "MB", "GB"))
    while (unit := next(units)) != "GB" and size >= 1024:
        size /= 1024
    return f"{size:.0f}{unit}" if unit == "B" else f"{size:.3f}{unit}"


def _client(options: list[Any]) -> int:
    """jindo-fuse: of a master, or, where there is none, of one source."""
    if unknown := {name for name, _ in options} - _OPTIONS:
        print(f"jindo-fuse: unknown options {sorted(unknown)}", file=sys.stderr)
        return 1
    said, mount_point = _section("jindosdk", "jindosdk"), os.environ["FLUID_FUSE_MOUNTPOINT"]
    if not (url := dict(options).get("uri")):
        return show(_master(said), mount_point)
    source = _source(url, said, "fs")
    return shown(source, mount_point, source.read)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
