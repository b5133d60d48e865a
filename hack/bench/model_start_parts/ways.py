"""The ways to get a model from a bucket into an engine: ours, and what people use today.

Ours are the very commands that the backends describe for pods. Each way gives the seconds of its data load (0
where weights are read through), then where the weights are read, and what it spent meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from addon_framework.api.data import DataLoad
from addon_framework.api.meta import Json
from model_start_parts.ground import Ground, Spent, program, python
from runtimes.interface import Backend, Cache
from runtimes.juicefs import JuiceFSBackend
from runtimes.local import LocalBackend
from runtimes.thin import ThinBackend

BUCKET, VOLUMES = "models", "volumes"
_KEYS = {"aws.accessKeyId": "access", "aws.secretKey": "secret"}
_BOTO = """
import sys, boto3, os, pathlib
bucket, prefix, directory = sys.argv[1:]
client = boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], region_name="us-east-1")
for found in client.list_objects_v2(Bucket=bucket, Prefix=prefix + "/")["Contents"]:
    name = pathlib.Path(found["Key"]).name
    client.download_file(bucket, found["Key"], str(pathlib.Path(directory, name)))
"""
UPLOAD = """
import sys, boto3, os, pathlib
directory, bucket = pathlib.Path(sys.argv[1]), sys.argv[2]
client = boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], region_name="us-east-1")
for path in directory.iterdir():
    client.upload_file(str(path), bucket, f"{directory.name}/{path.name}")
"""


@dataclass
class Arrival:
    """The model is there: `source` for the reader. `weights` where they were read meanwhile: what that took
    longer than the load.
    """

    load: float
    source: list[str]
    spent: Spent = field(default_factory=Spent)
    weights: float | None = None


Way = Callable[[Ground, str, Path], AbstractContextManager[Arrival]]


def pair(ground: Ground, model: str, directory: Path, kind: str, **spec: object) -> Cache:
    """A Dataset of the model and its runtime, as a user writes them."""
    options = {"endpoint": ground.state.store_endpoint, "region": "us-east-1"}
    secrets = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "keys", "key": key}}}
        for name, key in _KEYS.items()
    ]
    mount = {"mountPoint": f"s3://{BUCKET}/{model}", "name": "model", "path": "/", "options": options}
    metadata = {"namespace": "bench", "name": "model", "uid": "bench"}
    dataset = {"metadata": metadata, "spec": {"mounts": [{**mount, "encryptOptions": secrets}]}}
    levels = [{"mediumtype": "SSD", "path": str(directory)}]
    runtime = {"kind": kind, "metadata": metadata, "spec": {"tieredstore": {"levels": levels}, **spec}}
    return Cache.of(dataset, runtime, image="")


def command_of(pod: Json, ground: Ground) -> tuple[list[str], dict[str, str]]:
    """What the first container runs, and its environment."""
    container = pod["containers"][0]
    values = {"access": ground.state.store.access_key, "secret": ground.state.store.secret_key}
    env = {
        each["name"]: each["value"] if "value" in each else values[each["valueFrom"]["secretKeyRef"]["key"]]
        for each in container.get("env") or []
        if "value" in each or "secretKeyRef" in each["valueFrom"]
    }
    env["PATH"] = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"  # what an image would hold
    return python([*container["command"], *(container.get("args") or [])]), env


@contextmanager
def client(ground: Ground, backend: Backend, cache: Cache, spent: Spent) -> Iterator[None]:
    """While the backend's client has mounted."""
    pod = next(c.pod for c in backend.components(cache) if c.role == "client")
    Path("/run/s3fs").mkdir(exist_ok=True)
    command, env = command_of(pod, ground)
    with ground.mounted(command, env, Path(cache.mount_point), spent):
        yield


def loader(ground: Ground, backend: Backend, cache: Cache) -> tuple[list[str], dict[str, str]]:
    """What a DataLoad runs, and its environment."""
    task = backend.warm(cache, DataLoad())
    assert task is not None
    Path(cache.directory).mkdir(parents=True, exist_ok=True)
    return command_of(task.pod, ground)


@contextmanager
def local(ground: Ground, model: str, directory: Path) -> Iterator[Arrival]:
    """LocalRuntime: the loader that a DataLoad runs."""
    cache, spent = pair(ground, model, directory, "LocalRuntime", peers={"enabled": False}), Spent()
    seconds = ground.run(*loader(ground, LocalBackend(), cache), spent)
    yield Arrival(seconds, [LocalBackend().volume(cache).path], spent)


def streamed(shards: list[str]) -> Way:
    """LocalRuntime, and an engine of our launcher, which reads shards as they come."""

    @contextmanager
    def way(ground: Ground, model: str, directory: Path) -> Iterator[Arrival]:
        cache, spent = pair(ground, model, directory, "LocalRuntime", peers={"enabled": False}), Spent()
        command, path = loader(ground, LocalBackend(), cache), LocalBackend().volume(cache).path
        with ground.reading([path, *shards]) as reader:
            began = time.time()
            seconds = ground.run(*command, spent)
            numbers = ground.numbers(reader)
        spent.cpu += numbers["cpu"]
        yield Arrival(seconds, [path], spent, max(0.0, numbers["ended"] - began - seconds))

    return way


@contextmanager
def juicefs(ground: Ground, model: str, directory: Path) -> Iterator[Arrival]:
    """JuiceFSRuntime over a plain bucket: its loader, then its client."""
    cache, spent, backend = pair(ground, model, directory, "JuiceFSRuntime"), Spent(), JuiceFSBackend()
    seconds = ground.run(*loader(ground, backend, cache), spent)
    with client(ground, backend, cache, spent):
        yield Arrival(seconds, [cache.mount_point], spent)


def thin(profile: str) -> Way:
    """A FUSE client that keeps nothing: weights are read through it."""

    @contextmanager
    def way(ground: Ground, model: str, directory: Path) -> Iterator[Arrival]:
        cache, spent = pair(ground, model, directory, "ThinRuntime", profileName=profile), Spent()
        with client(ground, ThinBackend(), cache, spent):
            yield Arrival(0.0, [cache.mount_point], spent)

    return way


@contextmanager
def juicefs_alone(ground: Ground, model: str, directory: Path) -> Iterator[Arrival]:
    """A JuiceFS volume in the bucket, as JuiceFS's users have it: filled long ago, read by its client."""
    meta = f"sqlite3://{ground.directory}/{model}.db"
    mount, spent = directory / "mount", Spent()
    mount.mkdir(parents=True)
    flags = [
        f"--bucket={ground.state.store_endpoint}/{VOLUMES}",
        f"--cache-dir={directory}/cache",
        "--no-usage-report",
        "--metrics=127.0.0.1:0",
        "--backup-meta=0",
    ]
    command = [program("juicefs"), "mount", meta, str(mount), "--read-only", *flags]
    with ground.mounted(command, _juicefs_keys(ground), mount, spent):
        yield Arrival(0.0, [str(mount)], spent)


def fill_volume(ground: Ground, model: str, source: Path) -> None:
    """Makes the volume that `juicefs_alone` reads."""
    meta = f"sqlite3://{ground.directory}/{model}.db"
    juicefs_, bucket = program("juicefs"), f"{ground.state.store_endpoint}/{VOLUMES}"
    env = _juicefs_keys(ground)
    made = [juicefs_, "format", "--storage=minio", f"--bucket={bucket}", "--trash-days=0", meta, model]
    ground.run(made, env, Spent())
    ground.run([juicefs_, "sync", f"{source}/", "jfs://META/"], {**env, "META": meta}, Spent())


@contextmanager
def s5cmd(ground: Ground, model: str, directory: Path) -> Iterator[Arrival]:
    """A copy by the fastest tool that people use."""
    spent = Spent()
    at = ["--endpoint-url", ground.state.store_endpoint]
    command = [program("s5cmd"), *at, "cp", f"s3://{BUCKET}/{model}/*", f"{directory}/"]
    yield Arrival(ground.run(command, {}, spent), [str(directory)], spent)


@contextmanager
def boto3(ground: Ground, model: str, directory: Path) -> Iterator[Arrival]:
    """A copy as most scripts make it."""
    spent = Spent()
    command = [sys.executable, "-c", _BOTO, BUCKET, model, str(directory)]
    seconds = ground.run(command, ground.at, spent)
    yield Arrival(seconds, [str(directory)], spent)


def streamer(shards: list[str]) -> Way:
    """Run:ai Model Streamer, from the bucket into memory; a new start reads the bucket again."""

    @contextmanager
    def way(ground: Ground, model: str, directory: Path) -> Iterator[Arrival]:
        yield Arrival(0.0, [f"s3://{BUCKET}/{model}/{name}" for name in shards])

    return way


STREAMED = "LocalRuntime, read as it comes"


def ours(shards: list[str]) -> dict[str, Way]:
    """By name."""
    return {"LocalRuntime": local, STREAMED: streamed(shards), "JuiceFSRuntime": juicefs}


def peers(shards: list[str]) -> dict[str, Way]:
    """By name."""
    return {
        "s3fs": thin("s3fs"),
        "rclone mount": thin("rclone"),
        "JuiceFS alone": juicefs_alone,
        "s5cmd cp": s5cmd,
        "boto3": boto3,
        "Run:ai streamer": streamer(shards),
    }


def _juicefs_keys(ground: Ground) -> dict[str, str]:
    store = ground.state.store
    return {"ACCESS_KEY": store.access_key, "SECRET_KEY": store.secret_key}
