"""The description of the `jindo` backend. Pure but for `measure`."""

from __future__ import annotations

from addon_framework.api.data import DataLoad, JindoRuntime
from runtimes.interface import (
    Backend,
    Cache,
    CacheState,
    Component,
    Exec,
    SecretKey,
    Service,
    Task,
    Volume,
)
from runtimes.jindo import commands, pods
from runtimes.jindo.config import KEYS, SCHEMES, files, key_files, masters
from runtimes.loading import option_problems, variables
from runtimes.node.command import clean_pod
from runtimes.pods import literal
from runtimes.tiers import node_directories, tier_problems, tiers
from runtimes.workloads import memory_problems, port_names, port_problems, volume_problems

_TIMEOUT = 60.0  # seconds that a command of Jindo's may take


class JindoBackend(Backend):
    """A master or three, workers that share the cache, and a client on every node with users."""

    type = "jindo"
    resource = JindoRuntime.RESOURCE

    def validate(self, cache: Cache) -> list[str]:
        """Sources, tiers, and what the parts say."""
        title, spec = cache.title, cache.spec
        problems = [*tier_problems(cache), *memory_problems(cache), *volume_problems(cache, pods.PARTS)]
        for part, known in pods.PARTS.items():
            problems += port_problems(cache, part, known)
        problems += self._sources(cache)
        if len((spec.get("tieredstore") or {}).get("levels") or []) > 1:
            problems.append(f"{title}: spec.tieredstore.levels: JindoCache takes one, with several paths")
        if (count := (spec.get("master") or {}).get("replicas") or 1) not in (1, 3):
            problems.append(f"{title}: spec.master.replicas: {count}; JindoCache has 1 or 3")
        if (spec.get("worker") or {}).get("replicas"):
            problems.append(f"{title}: spec.worker.replicas: is spec.replicas")
        if spec.get("runAs"):
            problems.append(
                f"{title}: spec.runAs: JindoCache's servers run as root; spec.user is for its files"
            )
        disabled = [bool((spec.get(part) or {}).get("disabled")) for part in ("master", "worker")]
        if len(set(disabled)) > 1:
            problems.append(f"{title}: spec.worker.disabled: a cache has both master and worker, or neither")
        if ((spec.get("fuse") or {}).get("metrics") or {}).get("scrapeTarget") not in (None, "", "None"):
            problems.append(
                f"{title}: spec.fuse.metrics.scrapeTarget: nothing looks for it; annotate the pods by "
                "spec.fuse.podMetadata as your Prometheus wants"
            )
        if (spec.get("fuse") or {}).get("disabled"):
            problems.append(f"{title}: spec.fuse.disabled: pods could not mount the Dataset")
        if self._labels(cache):
            problems.append(
                f"{title}: spec.labels: is the old name of spec.podMetadata.labels; say one of them"
            )
        return problems

    def host_ports(self, cache: Cache) -> list[str]:
        """When it is in its nodes' networks."""
        known = pods.known_ports(cache)
        return [
            name for part in known for name in port_names(cache, part, known[part], host=pods.host(cache))
        ]

    def components(self, cache: Cache) -> list[Component]:
        """Names are Fluid's: a Service for each master."""
        used, prefix = pods.ports(cache), f"{cache.name}-jindofs"
        client = Component(
            "client",
            pods.client(cache),
            name=f"{prefix}-fuse",
            config_maps={f"{prefix}-config": files(cache, used)},
            labels=self._old_labels(cache, "fuse"),
        )
        if (cache.spec.get("master") or {}).get("disabled"):
            return [client]
        names = [name.partition(".")[0] for name in masters(cache)]
        master = Component(
            "master",
            pods.master(cache),
            len(names),
            name=f"{prefix}-master",
            services=[Service(name, used["master"], pod=name) for name in names],
            labels=self._old_labels(cache, "master"),
        )
        worker = Component(
            "worker",
            pods.worker(cache),
            self.scale(cache),
            name=f"{prefix}-worker",
            labels=self._old_labels(cache, "worker"),
        )
        return [master, worker, client]

    def volume(self, cache: Cache) -> Volume:
        """The mount of the client."""
        return Volume(cache.mount_point, after="client")

    def prepare(self, cache: Cache) -> Exec | None:
        """Mounts the sources."""
        if (cache.spec.get("master") or {}).get("disabled"):
            return None
        return Exec("master", ["bash", "-c", commands.mount_all(cache)], _TIMEOUT)

    def summary(self, cache: Cache) -> Exec | None:
        """The master knows."""
        disabled = (cache.spec.get("master") or {}).get("disabled")
        return None if disabled else Exec("master", commands.SUMMARY, _TIMEOUT)

    def summarize(self, cache: Cache, output: str) -> CacheState:
        """Of all workers together."""
        levels = tiers(cache)
        return commands.state(output, memory=bool(levels) and levels[0].medium == "MEM")

    def warm(self, cache: Cache, load: DataLoad) -> Task | None:
        """The workers share the files out, so one asks for them."""
        if (cache.spec.get("master") or {}).get("disabled"):
            return None
        env = [*variables(load), literal("FLAGS", commands.flags(load))]
        return Task(pods.load(cache, commands.LOAD, env), once=True)

    def load_problems(self, cache: Cache, load: DataLoad) -> list[str]:
        """Options of `jindocache -load`."""
        return option_problems(load, commands.OPTIONS)

    def clean(self, cache: Cache) -> Task:
        """The mount, and the directories of the cache."""
        return Task(clean_pod(cache.image, unmount=[cache.mount_point], remove=node_directories(cache)))

    def scale(self, cache: Cache) -> int:
        """Its workers."""
        return int(cache.spec.get("replicas") or 0) or 1

    def hcfs(self, cache: Cache) -> str:
        """For Hadoop's clients."""
        return f"{masters(cache)[0]}:{pods.ports(cache)['master']['rpc']}"

    def _sources(self, cache: Cache) -> list[str]:
        where = f"Dataset {cache.namespace}/{cache.name}: spec.mounts"
        problems = [] if cache.sources else [f"{where}: at least one is needed"]
        kept: dict[str, SecretKey] = {}
        for number, source in enumerate(cache.sources):
            at, said = f"{where}[{number}]", source.options
            if source.scheme not in SCHEMES:
                problems.append(f"{at}.mountPoint: {source.url!r}: Jindo reads {', '.join(SCHEMES)}")
            if source.scheme == "oss" and not said.get("fs.oss.endpoint"):
                problems.append(f"{at}.options: fs.oss.endpoint is needed")
            ends = sorted(option.rpartition(".")[2] for option in source.secrets)
            if ends and ends != sorted(KEYS):
                problems.append(
                    f"{at}.encryptOptions: must be fs.{source.scheme}.accessKeyId and "
                    f"fs.{source.scheme}.accessKeySecret"
                )
            if any(kept.setdefault(path, key) != key for path, key in key_files(source).items()):
                problems.append(
                    f"{at}.encryptOptions: another mount has other keys for the same bucket, or for "
                    f"{source.scheme}; Jindo has one pair; name one Secret, or make a Dataset of each"
                )
            if said.get("metaPolicy", "ONCE") not in ("ONCE", "ALWAYS"):
                problems.append(f"{at}.options.metaPolicy: must be ONCE or ALWAYS")
            if said.get("metaPolicy") == "ALWAYS" and (
                said.get("cacheStrategy") == "DHT" or said.get("writePolicy") == "CACHE_ONLY"
            ):
                problems.append(f"{at}.options.metaPolicy: ALWAYS goes with neither DHT nor CACHE_ONLY")
            for name in ("readCacheReplica", "writeCacheReplica"):
                if not said.get(name, "1").isdigit():
                    problems.append(f"{at}.options.{name}: {said[name]!r} must be a number")
        return problems

    def _old_labels(self, cache: Cache, part: str) -> dict[str, str]:
        return {**(cache.spec.get("labels") or {}), **((cache.spec.get(part) or {}).get("labels") or {})}

    def _labels(self, cache: Cache) -> bool:
        sections = [cache.spec, *(cache.spec.get(part) or {} for part in ("master", "worker", "fuse"))]
        return any(s.get("labels") for s in sections) and any(
            (s.get("podMetadata") or {}).get("labels") for s in sections
        )
