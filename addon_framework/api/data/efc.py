"""EFCRuntime."""

from __future__ import annotations

from typing import ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE
from addon_framework.api.data.parts import (
    COLUMNS,
    SCALE_WITHOUT_SELECTOR,
    CleanCachePolicy,
    Part,
    PodMetadata,
    Server,
    Workers,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore, VersionSpec
from addon_framework.api.meta import Definition, ObjectMeta, Resource, Struct


class EFCServer(Server, frozen=True):
    """The master or the workers."""

    version: VersionSpec = VersionSpec()
    disabled: bool = False
    properties: dict[str, str] = {}


class EFCFuse(Part, frozen=True):
    """The client."""

    version: VersionSpec = VersionSpec()
    properties: dict[str, str] = {}
    clean_policy: str = ""


class InitFuse(Struct, frozen=True):
    """The container that prepares a node for the client."""

    version: VersionSpec = VersionSpec()


class OSAdvise(Struct, frozen=True):
    """The system of the nodes, for which the client is tuned."""

    os_version: str = ""
    enabled: bool = False


class EFCRuntimeSpec(Struct, frozen=True):
    """Clients of a NAS, with a cache that their workers share."""

    master: EFCServer = EFCServer()
    worker: EFCServer = EFCServer()
    init_fuse: InitFuse = InitFuse()
    fuse: EFCFuse = EFCFuse()
    tieredstore: TieredStore = TieredStore()
    replicas: Workers = 0
    os_advise: OSAdvise = OSAdvise()
    clean_cache_policy: CleanCachePolicy | None = None
    pod_metadata: PodMetadata = PodMetadata()


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
