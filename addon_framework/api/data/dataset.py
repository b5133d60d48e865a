"""Datasets, and what other kinds of the group share with them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Raw, RawList, Resource, Struct, schema

GROUP = "data.fluid.io"
AGE = ("Age", "date", ".metadata.creationTimestamp")
SPOKE = ("spoke",)


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


class DataRestoreLocation(Struct, frozen=True):
    """The backup to begin from: local:///path of the node, or pvc://claim/path."""

    path: str = ""
    node_name: str = ""


class CacheAffinity(Struct, frozen=True):
    """The nodes that may hold the cache: a NodeSelector."""

    required: Raw = {}


class DatasetSpec(Struct, frozen=True):
    """What data, where the cache may be."""

    mounts: Annotated[list[Mount], schema(minItems=1)] = []
    owner: User | None = None
    node_affinity: CacheAffinity = CacheAffinity()
    tolerations: RawList = []
    access_modes: list[str] = []
    runtimes: list[RuntimeReference] = []
    data_restore_location: DataRestoreLocation | None = None
    placement: Annotated[str, schema(enum=["Exclusive", "", "Shared"])] = ""
    shared_options: dict[str, str] = {}
    shared_encrypt_options: list[EncryptOption] = []


_INT64 = schema(format="int64")


class CacheNumbers(Struct, frozen=True):
    """Sizes and rates as numbers; what is not known is left out. Upstream has no such field."""

    source_bytes: Annotated[int | None, _INT64] = None
    source_files: Annotated[int | None, _INT64] = None
    cached_bytes: Annotated[int | None, _INT64] = None
    capacity_bytes: Annotated[int | None, _INT64] = None
    hit_percent: int | None = None  # of the last ten minutes
    cache_bytes_per_second: Annotated[int | None, _INT64] = None  # as measured on the slowest node
    source_bytes_per_second: Annotated[int | None, _INT64] = None  # on the same node


class ClusterDataset(Struct, frozen=True):
    """How a Dataset of the fleet fares on one cluster. `phase` is that cluster's, or Leaving."""

    name: Annotated[str, REQUIRED] = ""
    phase: Annotated[str, REQUIRED] = ""
    cached_percentage: str = ""
    cached_bytes: Annotated[int | None, _INT64] = None
    source_bytes: Annotated[int | None, _INT64] = None
    origin_bytes: Annotated[int | None, _INT64] = None  # that its DataLoads pulled from the source
    load_phase: str = ""
    rate: str = ""
    eta: str = ""
    message: str = ""
    last_update_time: Annotated[str, schema(format="date-time")] = ""


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
    observed_generation: Annotated[int, _INT64] = 0
    numbers: CacheNumbers | None = None
    clusters: Annotated[list[ClusterDataset], schema(list_map_keys=["name"])] = []  # on a hub; ours


class Dataset(Struct, frozen=True):
    """Data, cached by the runtime of the same name."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "datasets", "Dataset")
    DEFINITION: ClassVar = Definition(
        short_names=("dataset",),
        categories=("fluid",),
        places=SPOKE,
        columns=(
            ("Ufs Total Size", "string", ".status.ufsTotal"),
            ("Cached", "string", ".status.cacheStates.cached"),
            ("Cache Capacity", "string", ".status.cacheStates.cacheCapacity"),
            ("Cached Percentage", "string", ".status.cacheStates.cachedPercentage"),
            ("Phase", "string", ".status.phase"),
            ("HCFS URL", "string", ".status.hcfs.endpoint", 10),
            ("TOTAL FILES", "string", ".status.fileNum", 11),
            ("CACHE HIT RATIO", "string", ".status.cacheStates.cacheHitRatio", 10),
            AGE,
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DatasetSpec = DatasetSpec()
    status: DatasetStatus = DatasetStatus()
