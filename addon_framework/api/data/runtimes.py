"""The runtimes that cache Datasets, and our own LocalRuntime."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.dataset import AGE, GROUP, SPOKE, DataCondition, Mount, SecretKeySelector, User
from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Raw, RawList, Resource, Struct, schema

LOCAL_GROUP = "data.boundaryless.io"
_WORKER_SCALE = (".spec.replicas", ".status.currentWorkerNumberScheduled", ".status.selector")


class VersionSpec(Struct, frozen=True):
    """An image."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""


class Level(Struct, frozen=True):
    """A tier of cache. `path` and `quota_list` may hold several, separated by commas."""

    mediumtype: Annotated[str, schema(required=True, enum=["MEM", "SSD", "HDD"])] = ""
    volume_type: Annotated[str, schema(default="hostPath", enum=["hostPath", "emptyDir"])] = "hostPath"
    volume_source: Raw = {}
    path: Annotated[str, schema(minLength=1)] = ""
    quota: Annotated[str | None, schema(int_or_string=True)] = None
    quota_list: str = ""
    high: str = ""
    low: str = ""


class TieredStore(Struct, frozen=True):
    """Where the cache is kept."""

    levels: list[Level] = []


class RuntimeStatus(Struct, frozen=True):
    """How the parts of a cache fare."""

    value_file: str = ""
    master_phase: str = ""
    worker_phase: str = ""
    fuse_phase: str = ""
    master_reason: str = ""
    worker_reason: str = ""
    fuse_reason: str = ""
    desired_master_number_scheduled: int = 0
    current_master_number_scheduled: int = 0
    master_number_ready: int = 0
    desired_worker_number_scheduled: int = 0
    current_worker_number_scheduled: int = 0
    worker_number_ready: int = 0
    worker_number_available: int = 0
    worker_number_unavailable: int = 0
    desired_fuse_number_scheduled: int = 0
    current_fuse_number_scheduled: int = 0
    fuse_number_ready: int = 0
    fuse_number_available: int = 0
    fuse_number_unavailable: int = 0
    setup_duration: str = ""
    conditions: list[DataCondition] = []
    cache_states: dict[str, str] = {}
    selector: str = ""
    api_gateway: Raw = {}
    mount_time: Annotated[str, schema(format="date-time")] = ""
    mounts: list[Mount] = []
    cache_affinity: Raw = {}
    observed_generation: Annotated[int, schema(format="int64")] = 0


class JuiceFSRuntimeSpec(Struct, frozen=True):
    """Parts that describe pods are kept as they are."""

    juicefs_version: VersionSpec = VersionSpec()
    init_users: Raw = {}
    master: Raw = {}
    worker: Raw = {}
    job_worker: Raw = {}
    fuse: Raw = {}
    tieredstore: TieredStore = TieredStore()
    configs: list[str] = []
    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    run_as: User | None = None
    disable_prometheus: bool = False
    volumes: RawList = []
    volume_claim_templates: RawList = []
    pod_metadata: Raw = {}
    management: Raw = {}


_RUNTIME_COLUMNS = (
    ("Worker Phase", "string", ".status.workerPhase"),
    ("Fuse Phase", "string", ".status.fusePhase"),
    AGE,
)


class JuiceFSRuntime(Struct, frozen=True):
    """A cache by JuiceFS."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "juicefsruntimes", "JuiceFSRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("juicefs",),
        categories=("fluid",),
        places=SPOKE,
        columns=_RUNTIME_COLUMNS,
        scale=_WORKER_SCALE,
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: JuiceFSRuntimeSpec = JuiceFSRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()


class ThinRuntimeSpec(Struct, frozen=True):
    """Any FUSE file system; what is not here comes from the profile."""

    profile_name: str = ""
    worker: Raw = {}
    fuse: Raw = {}
    tieredstore: TieredStore = TieredStore()
    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    run_as: User | None = None
    disable_prometheus: bool = False
    volumes: RawList = []
    image_pull_secrets: RawList = []
    management: Raw = {}


class ThinRuntime(Struct, frozen=True):
    """A cache, or only a mount, by any FUSE file system."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "thinruntimes", "ThinRuntime")
    DEFINITION: ClassVar = Definition(categories=("fluid",), places=SPOKE, columns=_RUNTIME_COLUMNS)

    metadata: ObjectMeta = ObjectMeta()
    spec: ThinRuntimeSpec = ThinRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()


class ThinRuntimeProfileSpec(Struct, frozen=True):
    """How to run one kind of FUSE file system."""

    file_system_type: Annotated[str, REQUIRED] = ""
    worker: Raw = {}
    fuse: Raw = {}
    volumes: RawList = []
    image_pull_secrets: RawList = []
    node_publish_secret_policy: Annotated[
        str,
        schema(
            default="MountNodePublishSecretIfExists",
            enum=[
                "NotMountNodePublishSecret",
                "MountNodePublishSecretIfExists",
                "CopyNodePublishSecretAndMountIfNotExists",
            ],
        ),
    ] = "MountNodePublishSecretIfExists"


class ThinRuntimeProfile(Struct, frozen=True):
    """How to run one kind of FUSE file system, for all namespaces."""

    RESOURCE: ClassVar = Resource(
        GROUP, "v1alpha1", "thinruntimeprofiles", "ThinRuntimeProfile", namespaced=False
    )
    DEFINITION: ClassVar = Definition(categories=("fluid",), places=SPOKE)

    metadata: ObjectMeta = ObjectMeta()
    spec: ThinRuntimeProfileSpec = ThinRuntimeProfileSpec()
    status: Raw = {}


class LocalPeers(Struct, frozen=True):
    """Nodes fetch from each other before the origin, and from `addresses` (host:port) of workers elsewhere.

    They show each other a token: the Secret's, or one that follows from the sources' credentials.
    """

    enabled: Annotated[bool, schema(default=True)] = True
    token_secret: SecretKeySelector | None = None
    addresses: list[str] = []


class LocalRuntimeSpec(Struct, frozen=True):
    """Copies on the nodes' own disks. `replicas` 0 means every node that fits."""

    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    tieredstore: TieredStore = TieredStore()
    worker: Raw = {}
    peers: LocalPeers = LocalPeers()


class LocalRuntime(Struct, frozen=True):
    """Our node-local cache: parallel ranged reads into a directory of the node, no FUSE."""

    RESOURCE: ClassVar = Resource(LOCAL_GROUP, "v1alpha1", "localruntimes", "LocalRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("localcache",),
        categories=("fluid",),
        places=SPOKE,
        columns=(("Worker Phase", "string", ".status.workerPhase"), AGE),
        scale=_WORKER_SCALE,
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: LocalRuntimeSpec = LocalRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()
