"""JuiceFSRuntime."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, User
from addon_framework.api.data.fields import (
    CleanPolicy,
    DisablePrometheus,
    EnvList,
    Image,
    ImageTag,
    NetworkMode,
    NodeSelector,
    PortList,
    PullPolicy,
    Replicas,
    Resources,
    VolumeMounts,
    Volumes,
)
from addon_framework.api.data.parts import (
    SCALE,
    WORKER_COLUMNS,
    InitUsers,
    PodMetadata,
    RuntimeManagement,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore, VersionSpec
from addon_framework.api.meta import Definition, ObjectMeta, RawList, Resource, Struct, schema


class JuiceFSPart(Struct, frozen=True):
    """What the client and the parts that Fluid has besides say alike."""

    options: dict[str, str] = {}
    """Options of the mount, by name, as `juicefs mount` has them; they win over the Dataset's."""
    env: EnvList = []
    resources: Resources = {}
    node_selector: NodeSelector = {}
    volume_mounts: VolumeMounts = []
    pod_metadata: PodMetadata = PodMetadata()
    network_mode: NetworkMode = ""


class JuiceFSServer(JuiceFSPart, frozen=True):
    """One of master, worker and jobWorker."""

    enabled: bool = False
    """Has no effect: there are no such pods."""
    replicas: Replicas | None = None
    ports: PortList = []


class JuiceFSFuse(JuiceFSPart, frozen=True):
    """The client."""

    image: Image = ""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""
    clean_policy: CleanPolicy = ""


class JuiceFSRuntimeSpec(Struct, frozen=True):
    """A client on every node, or copies of a bucket on `replicas` nodes."""

    juicefs_version: VersionSpec = VersionSpec()
    """Image of the clients, where `fuse` names none."""
    init_users: InitUsers = InitUsers()
    """Has no effect: a client mounts as root."""
    master: JuiceFSServer = JuiceFSServer()
    """Has no effect: there are no such pods; say it of `fuse`."""
    worker: JuiceFSServer = JuiceFSServer()
    """Has no effect: clients cache on their own nodes; say it of `fuse`."""
    job_worker: JuiceFSServer = JuiceFSServer()
    """Has no effect: there are no such pods; say it of `fuse`."""
    fuse: JuiceFSFuse = JuiceFSFuse()
    """The clients, which mount the file system on nodes and cache there."""
    tieredstore: TieredStore = TieredStore()
    """Where clients keep blocks: one level, with one path or several."""
    configs: list[str] = []
    """More flags of `juicefs format`, without the leading --, such as trash-days=0."""
    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    """With s3://: on how many nodes the copy of the bucket is; 0 is every node that fits. With juicefs:// it
    has no effect: there is a client on every node.
    """
    run_as: User | None = None
    """Has no effect: a client mounts as root."""
    disable_prometheus: DisablePrometheus = False
    """Has no effect: clients are not scraped."""
    volumes: Volumes = []
    volume_claim_templates: RawList = []
    """Refused: there are no worker pods; `volumes` may have a claim."""
    pod_metadata: PodMetadata = PodMetadata()
    """Labels and annotations of all pods; those of a part win."""
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
