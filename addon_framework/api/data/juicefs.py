"""JuiceFSRuntime."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, User
from addon_framework.api.data.parts import (
    SCALE,
    WORKER_COLUMNS,
    InitUsers,
    NetworkMode,
    PodMetadata,
    Replicas,
    RuntimeManagement,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore, VersionSpec
from addon_framework.api.meta import Definition, ObjectMeta, Raw, RawList, Resource, Struct, schema


class JuiceFSPart(Struct, frozen=True):
    """What the client and the parts that Fluid has besides say alike."""

    options: dict[str, str] = {}
    env: RawList = []
    resources: Raw = {}
    node_selector: dict[str, str] = {}
    volume_mounts: RawList = []
    pod_metadata: PodMetadata = PodMetadata()
    network_mode: NetworkMode = ""


class JuiceFSServer(JuiceFSPart, frozen=True):
    """One of master, worker and jobWorker."""

    enabled: bool = False
    replicas: Replicas | None = None
    ports: RawList = []


class JuiceFSFuse(JuiceFSPart, frozen=True):
    """The client."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""
    clean_policy: str = ""


class JuiceFSRuntimeSpec(Struct, frozen=True):
    """A client on every node, or copies of a bucket on `replicas` nodes."""

    juicefs_version: VersionSpec = VersionSpec()
    init_users: InitUsers = InitUsers()
    master: JuiceFSServer = JuiceFSServer()
    worker: JuiceFSServer = JuiceFSServer()
    job_worker: JuiceFSServer = JuiceFSServer()
    fuse: JuiceFSFuse = JuiceFSFuse()
    tieredstore: TieredStore = TieredStore()
    configs: list[str] = []
    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    run_as: User | None = None
    disable_prometheus: bool = False
    volumes: RawList = []
    volume_claim_templates: RawList = []
    pod_metadata: PodMetadata = PodMetadata()
    management: RuntimeManagement = RuntimeManagement()


class JuiceFSRuntime(Struct, frozen=True):
    """A cache by JuiceFS."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "juicefsruntimes", "JuiceFSRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("juicefs",), categories=("fluid",), places=SPOKE, columns=WORKER_COLUMNS, scale=SCALE
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: JuiceFSRuntimeSpec = JuiceFSRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
