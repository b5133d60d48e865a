"""EFCRuntime."""

from __future__ import annotations

from typing import ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE
from addon_framework.api.data.fields import CleanPolicy, Properties, Workers
from addon_framework.api.data.parts import (
    COLUMNS,
    SCALE_WITHOUT_SELECTOR,
    CleanCachePolicy,
    Part,
    PodMetadata,
    Server,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore, VersionSpec
from addon_framework.api.meta import Definition, ObjectMeta, Resource, Struct


class EFCServer(Server, frozen=True):
    """The master or the workers."""

    version: VersionSpec = VersionSpec()
    """Its image."""
    disabled: bool = False
    """True: it does not run."""
    properties: Properties = {}


class EFCFuse(Part, frozen=True):
    """The client."""

    version: VersionSpec = VersionSpec()
    """Its image."""
    properties: Properties = {}
    clean_policy: CleanPolicy = ""


class InitFuse(Struct, frozen=True):
    """The container that prepares a node for the client."""

    version: VersionSpec = VersionSpec()
    """Its image."""


class OSAdvise(Struct, frozen=True):
    """The system of the nodes, for which the client is tuned."""

    os_version: str = ""
    """The system's name."""
    enabled: bool = False
    """Whether to tune."""


class EFCRuntimeSpec(Struct, frozen=True):
    """Clients of a NAS, with a cache that their workers share."""

    master: EFCServer = EFCServer()
    """The masters."""
    worker: EFCServer = EFCServer()
    """The workers, which hold the cache; `replicas` is how many."""
    init_fuse: InitFuse = InitFuse()
    """Refused: nodes are not changed by a cache; tune them before."""
    fuse: EFCFuse = EFCFuse()
    """The clients, which mount the NAS on nodes."""
    tieredstore: TieredStore = TieredStore()
    """Where workers keep data: one level with one path of at least 1Gi."""
    replicas: Workers = 0
    os_advise: OSAdvise = OSAdvise()
    """Refused: nodes are not changed by a cache; tune them before."""
    clean_cache_policy: CleanCachePolicy | None = None
    """How the cache is cleaned when it goes."""
    pod_metadata: PodMetadata = PodMetadata()
    """Labels and annotations of all pods; those of a part win."""


class EFCRuntime(Struct, frozen=True):
    """A cache by EFC, the elastic file client."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "efcruntimes", "EFCRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("efc",),
        categories=("fluid",),
        places=SPOKE,
        columns=COLUMNS,
        scale=SCALE_WITHOUT_SELECTOR,
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: EFCRuntimeSpec = EFCRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
