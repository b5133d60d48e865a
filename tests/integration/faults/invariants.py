"""What must be true of the fleet when no fault is left, read from the API servers themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from addon_framework.api import subjects
from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CONFIGMAPS, LEASES, SECRETS
from addon_framework.api.meta import Json
from addon_framework.api.names import ADDON_NAME_LABEL
from addon_framework.api.work import AppliedManifestWork, ManifestWork, ManifestWorkReplicaSet
from addon_framework.hub.roles import HUB_NAMESPACE
from addon_framework.hub.run import LEASE_NAME
from addon_framework.hub.work.children import OWNER_LABEL
from addon_framework.spoke.registration.secrets import contents
from tests.integration.faults.addons import FAULTY, STEADY
from tests.integration.faults.world import AVAILABLE, SET, SPACE, Spoke, World

SHARED = "f-shared"
_WORK_OF_SET, _ADDON_LABEL = OWNER_LABEL, ADDON_NAME_LABEL


class Wanted:
    """The model: what users have asked for so far."""

    def __init__(self, clusters: Iterable[str]) -> None:
        self.chosen = set(clusters)  # those that the placement takes
        self.works: dict[tuple[str, str], tuple[str, bool]] = {}  # value, and whether it names the shared one
        self.of_set = "1"
        self.of_addons = {STEADY: "1", FAULTY: "1"}

    def objects(self, cluster: str) -> dict[str, str]:
        """The ConfigMaps that belong on a cluster, with their value."""
        mine = {name: said for (where, name), said in self.works.items() if where == cluster}
        found = {f"f-{name}": value for name, (value, _) in mine.items()}
        found |= {SHARED: "s"} if any(shares for _, shares in mine.values()) else {}
        if cluster in self.chosen:
            found |= {"f-set": self.of_set} | {f"f-{n}": v for n, v in self.of_addons.items()}
        return found

    def addons(self, cluster: str) -> list[str]:
        """Those that belong on a cluster."""
        return sorted(self.of_addons) if cluster in self.chosen else []


async def check(world: World, wanted: Wanted) -> bool:
    """All invariants. Raises AssertionError with what is not so (yet)."""
    for process in world.processes:
        assert process.failure is None, process.failure
    await asyncio.gather(*(_cluster(world, spoke, wanted) for spoke in world.spokes))
    found = await world.admin.get(ManifestWorkReplicaSet.RESOURCE, SET, SPACE)
    for kind in ("PlacementVerified", "PlacementRolledOut", "ManifestworkApplied"):
        _holds(found, kind)
    for count in ("total", "available"):
        assert found["status"]["summary"][count] == len(wanted.chosen), found["status"]
    lease = await world.admin.get(LEASES, LEASE_NAME, HUB_NAMESPACE)
    assert lease["spec"]["holderIdentity"]
    assert len(world.leaders) == 1
    return True


async def _cluster(world: World, spoke: Spoke, wanted: Wanted) -> None:
    cluster, works, addons, books, objects, secrets = await asyncio.gather(
        world.admin.get(ManagedCluster.RESOURCE, spoke.name),
        world.admin.list(ManifestWork.RESOURCE, spoke.name),
        world.admin.list(ManagedClusterAddOn.RESOURCE, spoke.name),
        spoke.client.list(AppliedManifestWork.RESOURCE),
        spoke.client.list(CONFIGMAPS, "default"),
        spoke.client.list(SECRETS, "default"),
    )
    live = {o["metadata"]["name"]: o for o in objects["items"] if o["metadata"]["name"].startswith("f-")}
    _no_orphan_and_no_lost_work(spoke, wanted, works["items"], books["items"], live)
    of_addons = wanted.addons(spoke.name)
    _no_double_owner(works["items"], books["items"], live, of_addons)
    _conditions_tell_the_truth(cluster, works["items"], addons["items"], live, of_addons)
    _identities_are_of_the_addons(spoke, secrets["items"], of_addons)


def _no_orphan_and_no_lost_work(
    spoke: Spoke, wanted: Wanted, works: list[Json], books: list[Json], live: Mapping[str, Json]
) -> None:
    """On the spoke is what was asked for, whole and unchanged, and nothing that nobody asks for any more.

    On the hub every work has somebody who wants it; on the spoke every book has its work, and every work its
    book.
    """
    assert {name: o.get("data", {}).get("v") for name, o in live.items()} == wanted.objects(spoke.name)
    of_users = {name for where, name in wanted.works if where == spoke.name}
    names = {w["metadata"]["name"] for w in works if not _made_by_us(w)}
    assert names == of_users, (names, of_users)
    listed = [w["metadata"]["name"] for w in works]
    assert sorted(b["spec"]["manifestWorkName"] for b in books) == sorted(listed)
    leaving = [o["metadata"]["name"] for o in (*works, *books) if o["metadata"].get("deletionTimestamp")]
    assert not leaving, leaving


def _no_double_owner(
    works: list[Json], books: list[Json], live: Mapping[str, Json], of_addons: list[str]
) -> None:
    """An object is owned by exactly the works that name it, a work by one controller, an add-on by one."""
    uid_of = {b["spec"]["manifestWorkName"]: b["metadata"]["uid"] for b in books}
    expected: dict[str, set[str]] = {}
    for work in works:
        for manifest in work["spec"]["workload"]["manifests"]:
            owner = uid_of[work["metadata"]["name"]]
            expected.setdefault(manifest["metadata"]["name"], set()).add(owner)
    for name, obj in live.items():
        owners = [r["uid"] for r in obj["metadata"].get("ownerReferences") or []]
        assert sorted(owners) == sorted(expected[name]), (name, owners, expected[name])
    of_set = [w for w in works if _WORK_OF_SET in (w["metadata"].get("labels") or {})]
    assert len(of_set) == bool(of_addons), [w["metadata"]["name"] for w in of_set]
    shipped = [w["metadata"]["labels"][_ADDON_LABEL] for w in works if _is_addons(w)]
    assert sorted(shipped) == of_addons, shipped


def _conditions_tell_the_truth(
    cluster: Json, works: list[Json], addons: list[Json], live: Mapping[str, Json], of_addons: list[str]
) -> None:
    """Who is reachable is Available; what a work says of its newest generation is what is on the spoke."""
    _holds(cluster, AVAILABLE)
    _holds(cluster, "ManagedClusterJoined")
    for work in works:
        for kind in ("Applied", "Available"):
            condition = _holds(work, kind)
            assert condition["observedGeneration"] == work["metadata"]["generation"], (kind, work["metadata"])
        _holds(work, "Progressing", "False")
        for manifest in work["spec"]["workload"]["manifests"]:
            assert live[manifest["metadata"]["name"]]["data"] == manifest["data"]
    assert sorted(a["metadata"]["name"] for a in addons) == of_addons
    for addon in addons:
        assert not addon["metadata"].get("deletionTimestamp"), addon["metadata"]["name"]
        _holds(addon, "ManifestApplied")
        _holds(addon, "RegistrationApplied")
        _holds(addon, "Available")


def _identities_are_of_the_addons(spoke: Spoke, secrets: list[Json], of_addons: list[str]) -> None:
    """Every add-on has a certificate for the hub, of this cluster and this add-on, that is still good."""
    suffix = "-hub-kubeconfig"
    found = {
        s["metadata"]["name"].removesuffix(suffix): contents(s)
        for s in secrets
        if s["metadata"]["name"].endswith(suffix)
    }
    assert sorted(found) == of_addons, sorted(found)
    for name, said in found.items():
        assert said["cluster-name"].decode() == spoke.name
        certificate = x509.load_pem_x509_certificate(said["tls.crt"])
        [user] = subjects.values(subjects.subject(certificate), NameOID.COMMON_NAME)
        prefix = f"system:open-cluster-management:cluster:{spoke.name}:addon:{name}:agent:"
        assert user.startswith(prefix), user
        assert certificate.not_valid_after_utc > datetime.now(UTC)


def _holds(obj: Json, kind: str, status: str = "True") -> Json:
    condition = get_condition(obj, kind)
    assert condition is not None, (obj["metadata"]["name"], kind, "is not there")
    assert condition["status"] == status, (obj["metadata"]["name"], condition)
    return condition


def _is_addons(work: Json) -> bool:
    return _ADDON_LABEL in (work["metadata"].get("labels") or {})


def _made_by_us(work: Json) -> bool:
    return _is_addons(work) or _WORK_OF_SET in (work["metadata"].get("labels") or {})
