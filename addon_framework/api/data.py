"""data.fluid.io: datasets, the runtimes that cache them, and operations on them; and our own LocalRuntime.

Wire-compatible with https://github.com/fluid-cloudnative/fluid (api/v1alpha1).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Raw, RawList, Resource, Struct, schema

GROUP = "data.fluid.io"
LOCAL_GROUP = "data.boundaryless.io"
_AGE = ("Age", "date", ".metadata.creationTimestamp")
_SPOKE = ("spoke",)
_WORKER_SCALE = (".spec.replicas", ".status.currentWorkerNumberScheduled", ".status.selector")


class SecretKeySelector(Struct, frozen=True):
    """A key of a Secret in the same namespace."""

    name: Annotated[str, REQUIRED] = ""
    key: str = ""


class EncryptOptionSource(Struct, frozen=True):
    """Where a secret option's value is."""

    secret_key_ref: SecretKeySelector | None = None


class EncryptOption(Struct, frozen=True):
    """An option whose value is kept in a Secret."""

    name: Annotated[str, REQUIRED] = ""
    value_from: EncryptOptionSource = EncryptOptionSource()


class Mount(Struct, frozen=True):
    """Data and where it appears in the Dataset."""

    mount_point: Annotated[str, schema(required=True, minLength=5)] = ""
    name: Annotated[str, schema(minLength=0)] = ""
    path: str = ""
    options: dict[str, str] = {}
    read_only: bool = False
    shared: bool = False
    encrypt_options: list[EncryptOption] = []


class DataCondition(Struct, frozen=True):
    """Fluid's condition: with probe or update time besides the transition's."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    reason: str = ""
    message: str = ""
    last_update_time: Annotated[str, schema(format="date-time")] = ""
    last_probe_time: Annotated[str, schema(format="date-time")] = ""
    last_transition_time: Annotated[str, schema(format="date-time")] = ""


class User(Struct, frozen=True):
    """Who the files belong to."""

    uid: Annotated[int, schema(required=True, format="int64")] = 0
    gid: Annotated[int, schema(required=True, format="int64")] = 0
    user: Annotated[str, REQUIRED] = ""
    group: Annotated[str, REQUIRED] = ""


class RuntimeReference(Struct, frozen=True):
    """The runtime a Dataset is bound to."""

    name: str = ""
    namespace: str = ""
    category: str = ""
    type: str = ""
    master_replicas: Annotated[int, schema(format="int32")] = 0


class DatasetSpec(Struct, frozen=True):
    """What data, where the cache may be."""

    mounts: Annotated[list[Mount], schema(minItems=1)] = []
    owner: User | None = None
    node_affinity: Raw = {}
    tolerations: RawList = []
    access_modes: list[str] = []
    runtimes: list[RuntimeReference] = []
    data_restore_location: Raw = {}
    placement: Annotated[str, schema(enum=["Exclusive", "", "Shared"])] = ""
    shared_options: dict[str, str] = {}
    shared_encrypt_options: list[EncryptOption] = []


class DatasetStatus(Struct, frozen=True):
    """Sizes are for people ("443.89MiB"); upstream requires `conditions` to be there."""

    phase: str = ""
    conditions: Annotated[list[DataCondition], REQUIRED] = []
    ufs_total: str = ""
    file_num: str = ""
    cache_states: dict[str, str] = {}
    mounts: list[Mount] = []
    runtimes: list[RuntimeReference] = []
    operation_ref: dict[str, str] = {}
    data_load_ref: str = ""
    data_backup_ref: str = ""
    dataset_ref: list[str] = []
    hcfs: Raw = {}


class Dataset(Struct, frozen=True):
    """Data, cached by the runtime of the same name."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "datasets", "Dataset")
    DEFINITION: ClassVar = Definition(
        short_names=("dataset",),
        categories=("fluid",),
        places=_SPOKE,
        columns=(
            ("Ufs Total Size", "string", ".status.ufsTotal"),
            ("Cached", "string", ".status.cacheStates.cached"),
            ("Cache Capacity", "string", ".status.cacheStates.cacheCapacity"),
            ("Cached Percentage", "string", ".status.cacheStates.cachedPercentage"),
            ("Phase", "string", ".status.phase"),
            ("HCFS URL", "string", ".status.hcfs.endpoint", 10),
            ("TOTAL FILES", "string", ".status.fileNum", 11),
            ("CACHE HIT RATIO", "string", ".status.cacheStates.cacheHitRatio", 10),
            _AGE,
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DatasetSpec = DatasetSpec()
    status: DatasetStatus = DatasetStatus()


# Runtimes


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
    _AGE,
)


class JuiceFSRuntime(Struct, frozen=True):
    """A cache by JuiceFS."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "juicefsruntimes", "JuiceFSRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("juicefs",),
        categories=("fluid",),
        places=_SPOKE,
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
    DEFINITION: ClassVar = Definition(categories=("fluid",), places=_SPOKE, columns=_RUNTIME_COLUMNS)

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
    DEFINITION: ClassVar = Definition(categories=("fluid",), places=_SPOKE)

    metadata: ObjectMeta = ObjectMeta()
    spec: ThinRuntimeProfileSpec = ThinRuntimeProfileSpec()


class LocalRuntimeSpec(Struct, frozen=True):
    """Copies on the nodes' own disks. `replicas` 0 means every node that fits."""

    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    tieredstore: TieredStore = TieredStore()
    worker: Raw = {}


class LocalRuntime(Struct, frozen=True):
    """Our node-local cache: parallel ranged reads into a directory of the node, no FUSE."""

    RESOURCE: ClassVar = Resource(LOCAL_GROUP, "v1alpha1", "localruntimes", "LocalRuntime")
    DEFINITION: ClassVar = Definition(
        short_names=("localcache",),
        categories=("fluid",),
        places=_SPOKE,
        columns=(("Worker Phase", "string", ".status.workerPhase"), _AGE),
        scale=_WORKER_SCALE,
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: LocalRuntimeSpec = LocalRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()


# Operations


class TargetDataset(Struct, frozen=True):
    """The Dataset an operation works on."""

    name: Annotated[str, REQUIRED] = ""
    namespace: str = ""


class TargetPath(Struct, frozen=True):
    """A part of it."""

    path: Annotated[str, REQUIRED] = ""
    replicas: Annotated[int, schema(format="int32")] = 0


_POLICY = schema(default="Once", enum=["Once", "Cron", "OnEvent"])


class DataLoadSpec(Struct, frozen=True):
    """What to bring into the cache, and when."""

    dataset: TargetDataset = TargetDataset()
    load_metadata: bool = False
    target: list[TargetPath] = []
    options: dict[str, str] = {}
    pod_metadata: Raw = {}
    affinity: Raw = {}
    tolerations: RawList = []
    node_selector: dict[str, str] = {}
    scheduler_name: str = ""
    policy: Annotated[str, _POLICY] = "Once"
    schedule: str = ""
    run_after: Raw = {}
    ttl_seconds_after_finished: Annotated[int | None, schema(format="int32")] = None
    resources: Raw = {}


class OperationStatus(Struct, frozen=True):
    """How an operation fares. `duration` is "Unfinished", "-", or like "12s"."""

    phase: Annotated[str, REQUIRED] = ""
    duration: Annotated[str, REQUIRED] = ""
    conditions: Annotated[list[DataCondition], REQUIRED] = []
    infos: dict[str, str] = {}
    last_schedule_time: Annotated[str, schema(format="date-time")] = ""
    last_successful_time: Annotated[str, schema(format="date-time")] = ""
    waiting_for: Raw = {}
    node_affinity: Raw = {}


_OPERATION_COLUMNS = (
    ("Phase", "string", ".status.phase"),
    _AGE,
    ("Duration", "string", ".status.duration"),
)


class DataLoad(Struct, frozen=True):
    """Warms the cache of a Dataset."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "dataloads", "DataLoad")
    DEFINITION: ClassVar = Definition(
        short_names=("load",),
        categories=("fluid",),
        places=_SPOKE,
        columns=(("Dataset", "string", ".spec.dataset.name"), *_OPERATION_COLUMNS),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataLoadSpec = DataLoadSpec()
    status: OperationStatus = OperationStatus()


KINDS = (Dataset, JuiceFSRuntime, ThinRuntime, ThinRuntimeProfile, LocalRuntime, DataLoad)
