"""A hub with 1,000 and 5,000 clusters: an add-on reaches all, a changed config does, placements decide.

Each part is a process: the embedded API server, the hub manager, one that renews the leases and reports the
works of all clusters, and this one, which asks and watches. With OCM_BIN, a folder with OCM's `placement` and
`addon` programs, these do the same with the same AddOnTemplate, beside our registration on another server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from fleet_parts import objects
from fleet_parts.agents import all_of, run_agents
from fleet_parts.processes import HasEnded, Ocms, Ours, Process, cpu_seconds, memory_mb
from fleet_parts.watching import Bench
from rich.console import Console
from rich.table import Table

from addon_framework.api.addon import AddOnDeploymentConfig, ClusterManagementAddOn
from addon_framework.api.cluster import AddOnPlacementScore, ManagedCluster, Placement
from addon_framework.cli.connect import loop_that_serves
from addon_framework.hub.addons.configs import spec_hash
from addon_framework.hub.install import install
from addon_framework.kube import Client
from addon_framework.testing.servers import EmbeddedApiServer

CONTROLLERS = "registration,placement,work,addons"
# Number, unit, target of issue 3 at 1,000 clusters (of memory: at 5,000).
TARGETS: dict[str, tuple[str, float | None]] = {
    "clusters registered": ("s", None),
    "at rest, of one core": ("%", None),
    "placement: creation to decision": ("ms", 100.0),
    "placement: score change to decision": ("ms", 100.0),
    "add-on: all ManagedClusterAddOns": ("s", 20.0),
    "add-on: all ManifestWorks": ("s", 20.0),
    "add-on: all completed": ("s", None),
    "add-on: CPU of hub manager": ("s", None),
    "add-on: CPU of API server": ("s", None),
    "add-on: writes per cluster": ("", None),
    "config: all ManifestWorks": ("s", 20.0),
    "config: all completed": ("s", None),
    "config: CPU of hub manager": ("s", None),
    "config: CPU of API server": ("s", None),
    "config: writes per cluster": ("", None),
    "add-on with code: all ManifestWorks": ("s", 20.0),
    "add-on with code: all completed": ("s", None),
    "add-on with code: CPU of hub manager": ("s", None),
    "add-on with code: CPU of API server": ("s", None),
    "add-on with code: writes per cluster": ("", None),
    "memory of hub manager": ("MB", 400.0),
}
GROWTH = 6.0  # 5,000 clusters over 1,000
Side = Ours | Ocms


class Fleet:
    """One size of fleet on one hub."""

    def __init__(self, bench: Bench, side: Side, clusters: int, limit: float) -> None:
        self.bench, self.side, self.clusters, self.limit = bench, side, clusters, limit
        self.processes: dict[str, Process] = {}
        self.pids: dict[str, int] = {}
        self.found: dict[str, float] = {}
        self.details: dict[str, Any] = {}
        self.agents_wrote: Callable[[], int] = lambda: 0
        bench.check = self.check

    def measure(self, processes: dict[str, Process], others: dict[str, int]) -> None:
        """From now on these processes, the hub's and the others by their pids."""
        self.processes = processes
        self.pids = {name: each.pid for name, each in processes.items()} | others

    def check(self) -> None:
        """Raises HasEnded when one of the hub's processes has."""
        for each in self.processes.values():
            each.check()

    def cpu(self) -> dict[str, float]:
        """Of each process so far."""
        self.check()
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def _of_hub(self, cpu: dict[str, float]) -> float:
        return sum(value for name, value in cpu.items() if name not in ("API server", "agents", "bench"))

    async def register(self) -> None:
        """All clusters at once, accepted by a person; until the hub has let every one in."""
        bench, count = self.bench, self.clusters
        create = bench.client.create
        goals = {
            "accepted": lambda: bench.accepted.count[True] == count,
            "leased": lambda: bench.leased.count[True] == count,
        }
        wait = asyncio.create_task(bench.until(goals))
        await all_of([lambda n=n: create(ManagedCluster.RESOURCE, objects.cluster(n)) for n in range(count)])
        times = await wait
        self.found["clusters registered"] = max(times.values())
        self.details["registration"] = {"CPU seconds": self.cpu()}
        assert len(times) == 2, f"not all clusters are registered: {times}"

    async def settle(self) -> None:
        """Until nothing happens but renewals; what those cost."""
        await self._written()
        quiet = 0
        while quiet < 2:
            before = self._of_hub(self.cpu())
            await asyncio.sleep(1)
            quiet = quiet + 1 if self._of_hub(self.cpu()) - before < 0.4 else 0
        before = self._of_hub(self.cpu())
        await asyncio.sleep(5)
        self.found["at rest, of one core"] = 100 * (self._of_hub(self.cpu()) - before) / 5

    async def _written(self) -> None:
        """Until the hub has written everything that follows."""
        before = -1
        while (now := await self.bench.version() - self.agents_wrote()) - before > 1:
            before = now
            await asyncio.sleep(1)

    async def place(self, repeats: int) -> None:
        """Placements of three clusters, one after the other; then scores that move one."""
        bench, client, decided = self.bench, self.bench.client, self.bench.decided
        created, changed = [], []
        for number in range(repeats):
            name = f"p{number}"
            start = time.perf_counter()
            await client.create(Placement.RESOURCE, objects.placement(name, 3))
            if await bench.until({"": lambda n=name: len(decided.get(n, [])) == 3}, self.limit):
                created.append(1000 * (time.perf_counter() - start))
        for number in range(1, repeats):
            await client.delete(Placement.RESOURCE, f"p{number}", objects.NAMESPACE)
        for number in range(repeats):
            target = objects.cluster_name((7 * number + 11) % self.clusters)
            start = time.perf_counter()
            await self._score(target, 100)
            if await bench.until({"": lambda t=target: t in decided.get("p0", [])}, self.limit):
                changed.append(1000 * (time.perf_counter() - start))
            await self._score(target, -50)
            await bench.until({"": lambda t=target: t not in decided.get("p0", [])}, self.limit)
        await client.delete(Placement.RESOURCE, "p0", objects.NAMESPACE)
        for name, times in (("creation", created), ("score change", changed)):
            if times:
                self.found[f"placement: {name} to decision"] = statistics.median(times)

    async def _score(self, cluster: str, value: int) -> None:
        status = {"status": objects.score_status(value)}
        resource = AddOnPlacementScore.RESOURCE
        await self.bench.client.patch(resource, objects.SCORE, status, cluster, subresource="status")

    async def install(self) -> bool:
        """The add-on and its placement at once, until it has arrived everywhere."""
        bench, count, client = self.bench, self.clusters, self.bench.client
        # As the server has it: with the defaults of its API.
        live = await client.get(AddOnDeploymentConfig.RESOURCE, objects.ADDON, objects.NAMESPACE)
        wanted = spec_hash(live)

        async def ask() -> None:
            await client.create(Placement.RESOURCE, objects.placement("all"))
            await client.create(ClusterManagementAddOn.RESOURCE, objects.addon())

        counts = {
            "all ManagedClusterAddOns": lambda: bench.installed.count[True],
            "all ManifestWorks": lambda: bench.shipped.count["1"],
            "all completed": lambda: bench.completed.count[wanted],
        }
        return await self._phase("add-on", ask, counts, count)

    async def configure(self) -> bool:
        """Another value of the variable, until every work has it and every cluster says so."""
        bench = self.bench
        resource, spec = AddOnDeploymentConfig.RESOURCE, objects.config("2")["spec"]
        live = await bench.client.get(resource, objects.ADDON, objects.NAMESPACE)
        wanted = spec_hash({"spec": live["spec"] | spec})
        counts = {
            "all ManifestWorks": lambda: bench.shipped.count["2"],
            "all completed": lambda: bench.completed.count[wanted],
        }

        async def ask() -> None:
            await bench.client.patch(resource, objects.ADDON, {"spec": spec}, objects.NAMESPACE)

        return await self._phase("config", ask, counts, self.clusters)

    async def install_built_in(self) -> bool:
        """One that a plug-in makes."""
        bench = self.bench
        counts = {
            "all ManifestWorks": lambda: bench.built_in.count[True],
            "all completed": lambda: bench.built_in_done.count[True],
        }

        async def ask() -> None:
            await bench.client.create(ClusterManagementAddOn.RESOURCE, objects.installed(objects.BUILT_IN))

        return await self._phase("add-on with code", ask, counts, self.clusters)

    async def _phase(
        self, phase: str, ask: Callable[[], Any], counts: dict[str, Callable[[], int]], count: int
    ) -> bool:
        bench = self.bench
        bench.events.clear()
        cpu, version, agents = self.cpu(), await bench.version(), self.agents_wrote()
        reconciles = self.side.reconciles()
        goals = {name: lambda c=current: c() == count for name, current in counts.items()}
        wait = asyncio.create_task(bench.until(goals, self.limit))
        start = time.perf_counter()
        await ask()
        times = await wait
        seconds = time.perf_counter() - start
        for name, current in counts.items():
            if name in times:
                self.found[f"{phase}: {name}"] = times[name]
            elif current():  # by the rate until now, in peers that take too long to wait for
                self.found[f"{phase}: {name}"] = seconds * count / current()
                self.details[f"{phase}: {name}, in {seconds:.0f} s"] = current()
        done = len(times) == len(goals)
        if done:
            await self._written()
        spent = {name: value - cpu[name] for name, value in self.cpu().items()}
        writes = await bench.version() - version - (self.agents_wrote() - agents)
        if done:
            self.found[f"{phase}: CPU of hub manager"] = self._of_hub(spent)
            self.found[f"{phase}: CPU of API server"] = spent["API server"]
            self.found[f"{phase}: writes per cluster"] = writes / count
        after = self.side.reconciles()
        self.details[phase] = {
            "CPU seconds": spent,
            "writes per cluster, by kind": {kind: n / count for kind, n in bench.events.items()},
            "reconciles per cluster": {
                name: (n - reconciles.get(name, 0)) / count
                for name, n in after.items()
                if n - reconciles.get(name, 0) >= 0.01 * count
            },
        }
        return done


async def run(
    client: Client,
    side: Side,
    registration: Side | None,
    server: EmbeddedApiServer,
    options: Any,
    clusters: int,
) -> Fleet:
    """All phases, on a hub that has nothing but its API server."""
    await install(client)
    for resource, each in objects.surroundings():
        await client.create(resource, each)
    bench = Bench(client)
    limit = options.peer_seconds if registration else 900
    fleet = Fleet(bench, side, clusters, limit)
    tasks = bench.watch()
    try:
        with (registration or side).run() as first:
            fleet.measure(first, {"API server": server.pid})
            await fleet.register()
            with agents(server.kubeconfig, clusters) as (pid, wrote):
                fleet.agents_wrote = wrote
                with side.run() if registration else nullcontext(first) as measured:
                    fleet.measure(measured, {"API server": server.pid, "agents": pid, "bench": os.getpid()})
                    await fleet.settle()
                    await fleet.place(options.repeats)
                    if await fleet.install():
                        await fleet.settle()
                        await fleet.configure()
                    if registration is None:
                        await fleet.settle()
                        await fleet.install_built_in()
                    fleet.found["memory of hub manager"] = sum(
                        memory_mb(each.pid, "VmHWM") for each in measured.values()
                    )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return fleet


@contextmanager
def agents(kubeconfig: Path, clusters: int) -> Iterator[tuple[int, Callable[[], int]]]:
    """The process that is all clusters; its pid, and what it has written since every cluster is there."""
    context = multiprocessing.get_context("spawn")
    joined, wrote = context.Event(), context.Value("q", 0)
    started = context.Process(target=run_agents, args=(str(kubeconfig), clusters, joined, wrote), daemon=True)
    started.start()
    try:
        while not joined.wait(1):
            assert started.is_alive(), "the agents' process has ended"
        assert started.pid is not None
        yield started.pid, lambda: int(wrote.value)
    finally:
        started.terminate()
        started.join()


def measure(options: Any, clusters: int, programs: Path | None = None) -> Fleet:
    """One size on one server: our hub manager, or OCM's programs beside our registration."""
    with tempfile.TemporaryDirectory(prefix="bench-fleet-", dir=options.directory) as directory:
        root = Path(directory)
        server = EmbeddedApiServer(root)
        server.start()
        try:
            side: Side = Ours(root, server.kubeconfig, CONTROLLERS)
            registration: Side | None = None
            if programs is not None:
                registration = Ours(root, server.kubeconfig, "registration")
                side = Ocms(root, server.kubeconfig, programs)

            async def work() -> Fleet:
                async with Client.from_kubeconfig(server.kubeconfig) as client:
                    return await run(client, side, registration, server, options, clusters)

            with asyncio.Runner(loop_factory=loop_that_serves()) as runner:
                return runner.run(work())
        finally:
            server.stop()


def ratios_of(found: dict[int, Fleet], peers: Fleet | None) -> dict[str, float]:
    """How many times better than the target, than the peers; what the larger fleet costs."""
    sizes = list(found)
    ratios = {}
    for name, (_, target) in TARGETS.items():
        at = sizes[-1] if name.startswith("memory") else sizes[0]
        if target is not None and name in found[at].found:
            ratios[f"{name}, {at} clusters: target"] = target / found[at].found[name]
    for name, value in (peers.found if peers else {}).items():
        if found[sizes[0]].found.get(name):
            ratios[f"{name}, {sizes[0]} clusters: OCM over ours"] = value / found[sizes[0]].found[name]
    if len(sizes) > 1:
        for name, value in found[sizes[0]].found.items():
            if value and name in found[sizes[-1]].found:
                ratios[f"{name}: {sizes[-1]} over {sizes[0]} clusters"] = found[sizes[-1]].found[name] / value
    return ratios


def show(found: dict[int, Fleet], peers: Fleet | None) -> None:
    """The table."""
    sizes = list(found)
    table = Table("", "target", *(f"{size:,} clusters" for size in sizes))
    if len(sizes) > 1:
        table.add_column("growth")
    if peers:
        table.add_column(f"OCM, {sizes[0]:,}")

    def cell(fleet: Fleet, name: str) -> str:
        return f"{fleet.found[name]:,.3g}" if name in fleet.found else "-"

    for name, (unit, target) in TARGETS.items():
        row = [f"≤ {target:g} {unit}" if target else unit, *(cell(fleet, name) for fleet in found.values())]
        if len(sizes) > 1:
            numbers = [fleet.found.get(name) for fleet in found.values()]
            row.append(f"{numbers[-1] / numbers[0]:.1f}x" if numbers[0] and numbers[-1] else "-")
        table.add_row(name, *row, *([cell(peers, name)] if peers else []))
    Console().print(table)


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="100 and 300 clusters, fewer repeats")
    parser.add_argument("--clusters", type=int, nargs="+", help="how many, in one run each [1000 5000]")
    parser.add_argument("--peer-seconds", type=float, default=120, help="how long to wait for OCM [120]")
    parser.add_argument("--directory", type=Path, help="where the servers keep their data [temporary]")
    options = parser.parse_args()
    options.repeats = 5 if options.quick else 20
    sizes = options.clusters or ([100, 300] if options.quick else [1000, 5000])
    programs = Path(os.environ["OCM_BIN"]) if os.environ.get("OCM_BIN") else None
    try:
        found = {size: measure(options, size) for size in sizes}
        peers = measure(options, sizes[0], programs) if programs else None
    except HasEnded as error:
        sys.exit(str(error))
    show(found, peers)
    columns: dict[str, Any] = {
        f"{size}": {"numbers": fleet.found, "details": fleet.details} for size, fleet in found.items()
    }
    if peers:
        columns[f"OCM, {sizes[0]}"] = {"numbers": peers.found, "details": peers.details}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    result = {"clusters": columns, "ratios": ratios_of(found, peers), "growth allowed": GROWTH}
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
