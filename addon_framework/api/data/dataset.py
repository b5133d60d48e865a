"""Datasets, and what other kinds of the group share with them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.fields import Tolerations
from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Raw, Resource, Struct, schema

GROUP = "data.fluid.io"
AGE = ("Age", "date", ".metadata.creationTimestamp")
SPOKE = ("spoke",)


class SecretKeySelector(Struct, frozen=True):
    """A key of a Secret in the same namespace."""

    name: Annotated[str, REQUIRED] = ""
    """The Secret's name."""
    key: str = ""
    """The key in it."""


class EncryptOptionSource(Struct, frozen=True):
    """Where a secret option's value is."""

    secret_key_ref: SecretKeySelector | None = None
    """A key of a Secret in the object's namespace; a new value there is followed."""


class EncryptOption(Struct, frozen=True):
    """An option whose value is kept in a Secret."""

    name: Annotated[str, REQUIRED] = ""
    """The option's name, such as aws.secretKey."""
    value_from: EncryptOptionSource = EncryptOptionSource()
    """Where its value is."""


class Mount(Struct, frozen=True):
    """Data and where it appears in the Dataset."""

    mount_point: Annotated[str, schema(required=True, minLength=5)] = ""
    """Where the data is, such as s3://bucket/prefix (and oss, cos, obs, gs, minio), https://host/directory/,
    hf://owner/model, sftp://host/directory, juicefs:///path, pvc://claim/path, local:///path of the nodes, or
    dataset://namespace/name for the cache of another Dataset. The runtime says which of them it can read.
    """
    name: Annotated[str, schema(minLength=0)] = ""
    """The mount's name; also its directory in the Dataset, unless `path` names another."""
    path: str = ""
    """Its directory in the Dataset, such as /weights; / for the whole of it. Default: /name."""
    options: dict[str, str] = {}
    """Options of the source, such as endpoint and region. They win over `sharedOptions`."""
    read_only: bool = False
    """True: nobody writes to this mount, though the Dataset be writable. Refused where a runtime can only
    make the whole of it read-only.
    """
    shared: bool = False
    """True: all users of the cache may see what is mounted. It means something to AlluxioRuntime, profiles
    and classes only.
    """
    encrypt_options: list[EncryptOption] = []
    """Options whose values are in Secrets, such as aws.accessKeyId and aws.secretKey of s3://. They win over
    `sharedEncryptOptions`.
    """


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
    """The user's number, 0 or more."""
    gid: Annotated[int, schema(required=True, format="int64")] = 0
    """The group's number, 0 or more."""
    user: Annotated[str, REQUIRED] = ""
    """The user's name."""
    group: Annotated[str, REQUIRED] = ""
    """The group's name."""


class RuntimeReference(Struct, frozen=True):
    """The runtime a Dataset is bound to."""

    name: str = ""
    """The runtime's name."""
    namespace: str = ""
    """Its namespace."""
    category: str = ""
    """Accelerate."""
    type: str = ""
    """The backend, such as local or juicefs."""
    master_replicas: Annotated[int, schema(format="int32")] = 0
    """How many masters it has."""


class DataRestoreLocation(Struct, frozen=True):
    """The backup to begin from: local:///path of the node, or pvc://claim/path."""

    path: str = ""
    """The directory of the backup: local:///directory of a node, or pvc://claim/directory."""
    node_name: str = ""
    """With local://, the node that has the directory."""


class CacheAffinity(Struct, frozen=True):
    """The nodes that may hold the cache: a NodeSelector."""

    required: Raw = {}
    """A NodeSelector: `nodeSelectorTerms`, of which one must fit. Default: every node."""


class DatasetSpec(Struct, frozen=True):
    """What data, where the cache may be."""

    mounts: Annotated[list[Mount], schema(minItems=1)] = []
    """The sources, each at a directory of its own. How many there may be is the runtime's to say; Vineyard
    takes none. They may change while the Dataset is Bound.
    """
    owner: User | None = None
    """Whom the files seem to belong to. All four are needed. Runtimes that cannot do it say so by a warning.
    """
    node_affinity: CacheAffinity = CacheAffinity()
    """The nodes that may hold the cache. Default: every node."""
    tolerations: Tolerations = []
    """Taints that do not keep the pods of the cache away, as in a Pod."""
    access_modes: list[str] = []
    """As of a PersistentVolumeClaim. With ReadOnlyMany, or without any, nobody writes; ReadWriteMany,
    ReadWriteOnce, ReadWriteOncePod: the data may be written to where the runtime can. Default: ReadOnlyMany.
    Fixed once the Dataset is Bound.
    """
    runtimes: list[RuntimeReference] = []
    """Has no effect: the runtime of a Dataset is the one of its name."""
    data_restore_location: DataRestoreLocation | None = None
    """A DataBackup to begin from, so that what is known or kept need not be read again. Read once, before the
    Dataset is Bound.
    """
    placement: Annotated[str, schema(enum=["Exclusive", "", "Shared"])] = ""
    """Exclusive: no other Dataset that wants that has workers on this one's nodes. Shared: others may be
    there. Default: Exclusive.
    """
    shared_options: dict[str, str] = {}
    """Options of all mounts; those of a mount win."""
    shared_encrypt_options: list[EncryptOption] = []
    """Options of all mounts whose values are in Secrets; those of a mount win."""


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


class LoadProgress(Struct, frozen=True):
    """How far loads are; rate and time left while they run."""

    bytes: Annotated[int | None, _INT64] = None
    total_bytes: Annotated[int | None, _INT64] = None
    files: Annotated[int | None, _INT64] = None
    total_files: Annotated[int | None, _INT64] = None
    bytes_per_second: Annotated[int | None, _INT64] = None
    eta_seconds: Annotated[int | None, _INT64] = None


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
    progress: LoadProgress | None = None  # of its DataLoads
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
    progress: LoadProgress | None = None  # on a hub, of DataLoads on all clusters; ours
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
