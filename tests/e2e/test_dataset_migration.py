"""What one cluster has cached of a Dataset goes to another by one DataMigrate; the origin gives no byte."""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from addon_framework.api.conditions import get_condition
from addon_framework.local.fleet import Fleet
from addon_framework.testing import eventually
from tests.e2e.conftest import Run
from tests.e2e.test_dataset import HUB, MB, bucket
from tests.e2e.test_fleet import kubectl
from tests.integration.cache_runtime.faultyproxy import FaultyProxy, faulty

pytestmark = pytest.mark.timeout(240)
FILES = {"config.json": os.urandom(900), "model.safetensors": os.urandom(40 * MB)}
TOTAL = sum(map(len, FILES.values()))
CLUSTERS = ("cluster1", "cluster2")
LOAD = """
apiVersion: data.fluid.io/v1alpha1
kind: DataLoad
metadata: {name: first, namespace: default}
spec: {dataset: {name: llama, namespace: default}}
"""


class Migrations:
    """A fleet whose Dataset is bound on two clusters and cached nowhere; its origin is counted."""

    def __init__(self, fleetadm: Run, directory: Path, origin: FaultyProxy) -> None:
        self.fleetadm, self.directory, self.origin = fleetadm, directory, origin

    def get(self, context: str, *what: str) -> Any:
        """An object."""
        return json.loads(kubectl(self.directory, context, "get", *what, "-o", "json"))

    def apply(self, context: str, text: str) -> None:
        """Objects."""
        file = self.directory.parent / "objects.yaml"
        file.write_text(text)
        kubectl(self.directory, context, "apply", "-f", str(file))

    def address(self, cluster: str) -> str:
        """Of a Service of the user's in front of the workers."""
        selector = self.get(cluster, "service", "llama-peers")["spec"]["selector"]
        spec = {"selector": selector, "ports": [{"port": 9465}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside"}, "spec": spec}
        self.apply(cluster, json.dumps(service))
        return f"http://{self.get(cluster, 'service', 'outside')['spec']['clusterIP']}:9465"

    def cached(self, cluster: str) -> dict[str, bytes]:
        """What pods would see."""
        cache = self.directory / "clusters" / cluster / "node/host/var/lib/boundaryless/cache"
        found = (path for path in cache.rglob("default/llama/data/*") if path.is_file())
        return {path.name: path.read_bytes() for path in found}

    def migrate(self) -> tuple[str, Any]:
        """From the first cluster to the second: what the command says, and the DataMigrate."""
        asked = ("dataset", "migrate", "llama", "--from-cluster", "cluster1", "--to-cluster", "cluster2")
        said = self.fleetadm(*asked, "--wait", "--timeout", "90", "--dir", str(self.directory)).stdout
        created = re.search(r"DataMigrate default/(\S+) created", said)
        assert created is not None, said
        return said, self.get("hub", "datamigrate", created[1])

    def served(self, cluster: str, others: str) -> bool:
        """Whether its workers are those that know the others' address, all of them ready."""
        pods = self.get(cluster, "pods", "-l", "data.boundaryless.io/role=worker")["items"]
        told = [others in json.dumps(pod["spec"]) for pod in pods]
        ready = [(get_condition(pod, "Ready") or {}).get("status") == "True" for pod in pods]
        return bool(pods) and all(told) and all(ready)


async def test_from_cache_to_cache(fleetadm: Run, directory: Path, tmp_path: Path) -> None:
    where = ("--dir", str(directory))
    fleetadm("up", *where, "--spokes", "2")
    state = Fleet(directory).state
    client = bucket(state)
    for name, content in FILES.items():
        client.put_object(Bucket="fleet", Key=f"llama/{name}", Body=content)
    with ExitStack() as stack:
        origin = stack.enter_context(faulty(state.store_endpoint, state.hub_address))
        fleet = Migrations(fleetadm, directory, origin)
        fleet.apply(
            "hub", HUB.replace("ACCESS", state.store.access_key).replace("SECRET", state.store.secret_key)
        )
        fleetadm("addon", "enable", "cache-runtime", "--clusters", ",".join(CLUSTERS), *where)
        source = ("--from", "s3://fleet/llama", "--secret", "keys", "--s3-endpoint", origin.endpoint)
        fleetadm("dataset", "create", "llama", *source, "--placement", "all", "--no-load", "--wait", *where)
        between = {}
        for cluster in CLUSTERS:
            between[cluster] = stack.enter_context(faulty(fleet.address(cluster), state.hub_address))
            at = f"data.boundaryless.io/peers={between[cluster].address}"
            kubectl(directory, "hub", "annotate", "managedcluster", cluster, at)
        for cluster, other in (CLUSTERS, CLUSTERS[::-1]):
            await eventually(lambda c=cluster, o=other: fleet.served(c, between[o].address), timeout=60)
        fleet.apply("cluster1", LOAD)
        await eventually(lambda: fleet.cached("cluster1") == FILES, timeout=90)
        await eventually(lambda: _hub_knows(fleet), timeout=60)
        assert fleet.cached("cluster2") == {}

        before = origin.sent
        stdout, migrate = fleet.migrate()
        assert fleet.cached("cluster2") == FILES
        assert origin.sent - before < 100_000, "listings, no file"
        assert between["cluster1"].sent > TOTAL
        infos = migrate["status"]["infos"]
        assert (infos["peerBytes"], infos["bytes"], infos.get("originBytes")) == (
            str(TOTAL),
            str(TOTAL),
            None,
        )
        assert migrate["status"]["phase"] == "Complete"
        assert migrate["status"]["duration"] != "Unfinished"
        assert "from the other cluster" in stdout


def _hub_knows(fleet: Migrations) -> bool:
    """What the first cluster has."""
    entries = fleet.get("hub", "dataset", "llama")["status"]["clusters"]
    return next(entry for entry in entries if entry["name"] == "cluster1").get("cachedBytes") == TOTAL
