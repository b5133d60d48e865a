"""How soon a model's weights are in an engine's memory: ours beside what people use, over several links.

The same bucket, the same model, a node's network namespace behind a link that tc shapes; the embedded fleet
gives all of it. A link such as 10gbit+20ms leads to a store that takes that long before it answers a request;
those of the clouds take 10 to 200 ms, ours none. Per way: the data load, the weight loading (one thread, as
vLLM's default loader), their sum, and what that took: processor seconds, peak memory, bytes from the origin.
Then a second start on the same node, and a read of the same files on the node's own disk. Needs root and the
engine's environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from model_start_parts.distance import distant
from model_start_parts.ground import ENGINE, Ground, Spent, WayError, program
from model_start_parts.ways import BUCKET, STREAMED, UPLOAD, VOLUMES, Way, fill_volume, ours, peers
from rich.console import Console
from rich.table import Table

from addon_framework.local.fleet import Fleet, FleetOptions

LINKS = ("1gbit", "4gbit", "10gbit", "none", "10gbit+20ms", "none+20ms")
# Ratio, target, whether it is an upper bound (issue 4).
TARGETS: dict[str, tuple[float, bool]] = {
    "preload / what s5cmd or the link reaches": (0.95, False),
    "weights from a warmed cache / local read": (0.9, False),
    "sum / s3fs": (0.5, True),
    "sum / best peer": (1.02, True),
    "second start / s3fs": (0.1, True),
}

CLAIMED = 3  # times the model's size: written pages, what waits for the disk, the reader's


@dataclass
class Row:
    """One way over one link. Seconds, bytes; `again` is a second start's weight loading."""

    way: str
    link: str
    load: float
    weights: float
    again: float
    cpu: float
    memory: int
    origin: int

    @property
    def sum(self) -> float:
        """Until the weights are in memory."""
        return self.load + self.weights


def measure(ground: Ground, way: Way, name: str, link: str, model: str, size: int) -> Row:
    """One way, from nothing on the node. Raises WayError."""
    directory = Path(tempfile.mkdtemp(dir=ground.directory))
    ground.claim(CLAIMED * size)
    before = ground.carried()
    try:
        with way(ground, model, directory) as arrival:
            meanwhile = arrival.weights is not None
            first = {"seconds": arrival.weights, "cpu": 0.0} if meanwhile else ground.read(arrival.source)
            origin = ground.carried() - before
            again = min(ground.read(arrival.source)["seconds"] for _ in range(3))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    spent, weights = arrival.spent, first["seconds"]
    return Row(name, link, arrival.load, weights, again, spent.cpu + first["cpu"], spent.memory, origin)


def ratios(rows: list[Row], local_read: float, size: int) -> dict[str, float]:
    """Ours over the peers', by link. Only what was measured in this run."""
    found: dict[str, float] = {}
    for link in dict.fromkeys(r.link for r in rows):
        here = {r.way: r for r in rows if r.link == link}
        mine, others = here.get("LocalRuntime"), [r for r in here.values() if r.way not in ours([])]
        if mine is None or not others:
            continue
        total = here.get(STREAMED, mine).sum
        limits = [size / bytes_per_second(link)] if is_shaped(link) else []
        if copied := here.get("s5cmd cp"):
            limits.append(copied.load)
        found[f"{link}: preload / what s5cmd or the link reaches"] = max(limits) / mine.load
        found[f"{link}: weights from a warmed cache / local read"] = local_read / mine.again
        found[f"{link}: sum / best peer"] = total / min(r.sum for r in others)
        if s3fs := here.get("s3fs"):
            found[f"{link}: sum / s3fs"] = total / s3fs.sum
            found[f"{link}: second start / s3fs"] = mine.again / s3fs.sum
    return found


def repeated(options: argparse.Namespace, link: str) -> int:
    """How often a way is measured, the median counts: what takes a second or two differs by a tenth."""
    fast = not is_shaped(link) or bytes_per_second(link) > 1e9
    return int(options.repeat or (1 if options.quick or not fast else 3))


def parts(link: str) -> tuple[str, int]:
    """The rate as tc writes it, or none; and how far the store is, in milliseconds."""
    rate, _, distance = link.partition("+")
    return rate, int(distance.removesuffix("ms") or 0)


def is_shaped(link: str) -> bool:
    """Whether it has a rate."""
    return parts(link)[0] != "none"


def bytes_per_second(link: str) -> float:
    """Of a link that has a rate."""
    rate, _ = parts(link)
    units = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
    return float(rate[:-4]) * units[rate[-4:]] / 8


def show(rows: list[Row], local_read: float, found: dict[str, float], title: str) -> None:
    """The tables."""
    table = Table(title=title)
    for name in (
        "link",
        "way",
        "data load",
        "weights",
        "sum",
        "second start",
        "CPU s",
        "peak MB",
        "origin MB",
    ):
        table.add_column(name)
    for each in rows:
        seconds = (each.load, each.weights, each.sum, each.again, each.cpu)
        megabytes = (each.memory / 1e6, each.origin / 1e6)
        cells = [*(f"{value:.2f}" for value in seconds), *(f"{value:,.0f}" for value in megabytes)]
        table.add_row(each.link, each.way, *cells)
    table.add_row("", "local read", "", f"{local_read:.2f}")
    Console().print(table)
    judged = Table("ratio", "", "target")
    for name, value in found.items():
        target, upper = TARGETS[name.partition(": ")[2]]
        judged.add_row(name, f"{value:.3f}", f"{'≤' if upper else '≥'} {target}")
    Console().print(judged)


def provide(ground: Ground, megabytes: int, shards: int, *, checksums: bool) -> tuple[str, Path]:
    """The model, made once, in the bucket and in a JuiceFS volume."""
    directory = Path("build/models") / f"llama-{megabytes}mb-{shards}"
    if not (directory / "config.json").exists():
        maker = [sys.executable, "-m", "addons.inference_deployer.testmodel", str(directory)]
        subprocess.run([*maker, "--mb", str(megabytes), "--shards", str(shards)], check=True)
    at = [program("s5cmd"), "--endpoint-url", ground.state.store_endpoint]
    for bucket in (BUCKET, VOLUMES):
        ground.run([*at, "mb", f"s3://{bucket}"], {}, Spent())
    if checksums:
        ground.run([sys.executable, "-c", UPLOAD, str(directory.resolve()), BUCKET], ground.at, Spent())
    else:
        ground.run([*at, "cp", f"{directory.resolve()}/", f"s3://{BUCKET}/{directory.name}/"], {}, Spent())
    fill_volume(ground, directory.name, directory.resolve())
    return directory.name, directory.resolve()


async def race(options: argparse.Namespace, fleet: Fleet, directory: Path) -> dict[str, object]:
    """All ways over all links."""
    console = Console()
    state = await fleet.start(FleetOptions(spokes=1, gpus=(0,), link="none"), console.print)
    ground = Ground(state, directory)
    model, source = provide(ground, options.model_mb, options.shards, checksums=options.upload == "boto3")
    shards = sorted(path.name for path in source.glob("*.safetensors"))
    size = sum(path.stat().st_size for path in source.iterdir())
    local_read = min(ground.read([str(source)])["seconds"] for _ in range(3))
    ways = {**ours(shards), **peers(shards)}
    ways = {name: way for name, way in ways.items() if name in (options.ways or ways)}
    rows, missing = [], {}
    for link in options.links:
        rate, milliseconds = parts(link)
        ground.shape(rate)
        with distant(ground, milliseconds) as there:
            for name, way in ways.items():
                try:
                    runs = [
                        measure(there, way, name, link, model, size) for _ in range(repeated(options, link))
                    ]
                    rows.append(sorted(runs, key=lambda run: run.sum)[len(runs) // 2])
                except WayError as error:
                    missing[name] = str(error).splitlines()[-1]
                    console.print(f"{link}: {name}: left out: {missing[name]}")
                else:
                    console.print(f"{link}: {name}: {rows[-1].load:.2f} + {rows[-1].weights:.2f} s")
    found = ratios(rows, local_read, size)
    show(rows, local_read, found, f"{size / 1e6:.0f} MB in {len(shards)} shards, seconds")
    return {
        "bytes": size,
        "local read": local_read,
        "rows": [{**asdict(each), "sum": each.sum} for each in rows],
        "left out": missing,
        "ratios": found,
        "upload": options.upload,
        "targets": TARGETS,
    }


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="300 MB over 1 Gbit/s and an open link")
    parser.add_argument("--model-mb", type=int, help="the model's size [1500]")
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument(
        "--links",
        nargs="+",
        help=f"a rate as tc writes it, or none, and how far the store is [{' '.join(LINKS)}]",
    )
    parser.add_argument(
        "--upload",
        choices=("boto3", "s5cmd"),
        default="boto3",
        help="what filled the bucket: as AWS's tools do today, with CRC32, or as older ones, with MD5 alone",
    )
    parser.add_argument("--repeat", type=int, help="runs of each, the median counts [3 where a run is short]")
    parser.add_argument("--ways", nargs="+", help="only these")
    options = parser.parse_args()
    options.model_mb = options.model_mb or (300 if options.quick else 1500)
    options.links = options.links or (["1gbit", "none"] if options.quick else LINKS)
    if not ENGINE.exists():
        parser.error(f"{ENGINE} is not there: make setup")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output.parent.resolve()) as directory:
        fleet = Fleet(Path(directory, "fleet"))
        try:
            result = asyncio.run(race(options, fleet, Path(directory)))
        finally:
            fleet.delete()
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
