"""Operations on Datasets: load, migrate, back up, process."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from addon_framework.api.data.dataset import AGE, GROUP, SPOKE, DataCondition, EncryptOption, User
from addon_framework.api.data.fields import (
    Affinity,
    EnvList,
    Image,
    ImageTag,
    NodeSelector,
    Policy,
    PullPolicy,
    Resources,
    Schedule,
    Tolerations,
    TtlSeconds,
    VolumeMounts,
    Volumes,
)
from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Raw, Resource, Struct, schema


class TargetDataset(Struct, frozen=True):
    """The Dataset an operation works on."""

    name: Annotated[str, REQUIRED] = ""
    """The Dataset's name."""
    namespace: str = ""
    """Its namespace, which is this one: others are refused."""


class TargetPath(Struct, frozen=True):
    """A part of it."""

    path: Annotated[str, REQUIRED] = ""
    """A directory or file of the Dataset; / for all of it."""
    replicas: Annotated[int, schema(format="int32")] = 0
    """Copies in the cache, where that is shared (Alluxio, Jindo, classes). Others load every node; more than
    there are nodes is refused. 0 is the runtime's own number.
    """


_OPERATION_KIND = schema(required=True, enum=["DataLoad", "DataBackup", "DataMigrate", "DataProcess"])


class RunAfterPreference(Struct, frozen=True):
    """A label of nodes by which to be near, and how much that matters."""

    name: Annotated[str, REQUIRED] = ""
    """The label, such as kubernetes.io/hostname."""
    weight: Annotated[int, schema(required=True, format="int32")] = 0
    """1 to 100."""


class RunAfterRequirement(Struct, frozen=True):
    """A label of nodes whose value must be that of the step before."""

    name: Annotated[str, REQUIRED] = ""
    """The label, such as topology.kubernetes.io/zone."""


class OperationReference(Struct, frozen=True):
    """Another operation."""

    api_version: str = ""
    """data.fluid.io/v1alpha1, which is the default."""
    kind: Annotated[str, _OPERATION_KIND] = ""
    """Its kind."""
    name: Annotated[str, schema(required=True, minLength=1)] = ""
    """Its name."""
    namespace: str = ""
    """Its namespace. Default: this one."""


class AffinityStrategy(Struct, frozen=True):
    """Whether to run near where an earlier step ran: the one of runAfter unless `dependOn` names another."""

    depend_on: OperationReference | None = None
    """The operation to be near to. Default: the one of runAfter."""
    policy: Annotated[str, schema(enum=["", "Require", "Prefer"])] = ""
    """Require: only where that ran; Prefer: rather there. Default: anywhere."""
    prefers: list[RunAfterPreference] = []
    """With Prefer: by which labels. Default: kubernetes.io/hostname, weight 100."""
    requires: list[RunAfterRequirement] = []
    """With Require: by which labels. Default: kubernetes.io/hostname."""


class RunAfter(OperationReference, frozen=True):
    """The operation that must be complete before this one begins."""

    affinity_strategy: AffinityStrategy = AffinityStrategy()


class DataLoadSpec(Struct, frozen=True):
    """What to bring into the cache, and when."""

    dataset: TargetDataset = TargetDataset()
    """The Dataset to load."""
    load_metadata: bool = False
    """True: the listing is read anew first. Alluxio, Jindo and classes; others always look."""
    target: list[TargetPath] = []
    """What to load. Default: everything."""
    options: dict[str, str] = {}
    """The backend's own, such as threads and pin of LocalRuntime. Unknown ones are refused."""
    pod_metadata: Raw = {}
    """Labels and annotations of its pods."""
    affinity: Affinity = {}
    tolerations: Tolerations = []
    node_selector: NodeSelector = {}
    scheduler_name: str = ""
    """The scheduler of its pods. Default: the cluster's."""
    policy: Policy = "Once"
    schedule: Schedule = ""
    run_after: RunAfter | None = None
    ttl_seconds_after_finished: TtlSeconds = None
    resources: Resources = {}


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
    observed_generation: Annotated[int, schema(format="int64")] = 0


_OPERATION_COLUMNS = (
    ("Phase", "string", ".status.phase"),
    AGE,
    ("Duration", "string", ".status.duration"),
)
_MESSAGE = ("Message", "string", ".status.infos.message", 1)
_PROGRESS = (  # of what copies; kubectl shows it with -o wide
    ("Done", "string", ".status.infos.percentage", 1),
    ("Bytes", "string", ".status.infos.loaded", 1),
    ("Files", "string", ".status.infos.files", 1),
    ("Rate", "string", ".status.infos.rate", 1),
    ("ETA", "string", ".status.infos.eta", 1),
    _MESSAGE,
)


class DataLoad(Struct, frozen=True):
    """Warms the cache of a Dataset."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "dataloads", "DataLoad")
    DEFINITION: ClassVar = Definition(
        short_names=("load",),
        categories=("fluid",),
        places=SPOKE,
        columns=(("Dataset", "string", ".spec.dataset.name"), *_OPERATION_COLUMNS, *_PROGRESS),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataLoadSpec = DataLoadSpec()
    status: OperationStatus = OperationStatus()


class DatasetToMigrate(Struct, frozen=True):
    """A Dataset, or a directory of it."""

    name: Annotated[str, REQUIRED] = ""
    """The Dataset's name."""
    namespace: Annotated[str, REQUIRED] = ""
    """Its namespace, which is this one: others are refused."""
    path: str = ""
    """A directory of it. Default: all of it."""


class ExternalStorage(Struct, frozen=True):
    """Data that no Dataset describes: s3://, minio://host:port/bucket/, https://, pvc://claim/path."""

    uri: Annotated[str, REQUIRED] = ""
    """Where it is; a directory ends with /."""
    encrypt_options: list[EncryptOption] = []
    """Credentials, such as access-key and secret-key or aws.accessKeyId and aws.secretKey."""


class DataToMigrate(Struct, frozen=True):
    """One end of a migration: exactly one of the two."""

    dataset: DatasetToMigrate | None = None
    """A Dataset, whose bucket or claim is read or written."""
    external_storage: ExternalStorage | None = None
    """Storage that no Dataset describes."""


class DataMigrateSpec(Struct, frozen=True):
    """From where to where, by how many pods, and when."""

    from_: Annotated[DataToMigrate, REQUIRED] = msgspec.field(default=DataToMigrate(), name="from")
    """What is read."""
    to: Annotated[DataToMigrate, REQUIRED] = DataToMigrate()
    """Where it is written."""
    block: bool = False
    """True: no other operation on its Datasets meanwhile, not even one that only reads."""
    runtime_type: str = ""
    """The backend that copies, such as juicefs, which must be one of the Datasets'. Default: any."""
    options: dict[str, str] = {}
    """endpoint, region, include, exclude (patterns of names) and threads. Unknown ones are refused."""
    image: Image = ""
    """Not needed: our own image copies."""
    image_tag: ImageTag = ""
    """Not needed: our own image copies."""
    image_pull_policy: PullPolicy = ""
    parallelism: Annotated[int, schema(default=1, minimum=1, format="int32")] = 1
    """How many pods share the files. Default: 1."""
    parallel_options: dict[str, str] = {}
    """Not needed: pods need no ssh. sshSecretName, sshPort and sshReadyTimeoutSeconds are taken."""
    pod_metadata: Raw = {}
    """Labels and annotations of its pods."""
    affinity: Affinity = {}
    tolerations: Tolerations = []
    node_selector: NodeSelector = {}
    scheduler_name: str = ""
    """The scheduler of its pods. Default: the cluster's."""
    policy: Policy = "Once"
    schedule: Schedule = ""
    run_after: RunAfter | None = None
    ttl_seconds_after_finished: TtlSeconds = None
    resources: Resources = {}


class DataMigrate(Struct, frozen=True):
    """Copies data into a Dataset's storage, or out of it."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "datamigrates", "DataMigrate")
    DEFINITION: ClassVar = Definition(
        short_names=("migrate",),
        categories=("fluid",),
        places=SPOKE,
        columns=(*_OPERATION_COLUMNS, *_PROGRESS),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataMigrateSpec = DataMigrateSpec()
    status: OperationStatus = OperationStatus()


class DataBackupSpec(Struct, frozen=True):
    """What to keep of a Dataset of the same namespace, and where: local:///path of a node, pvc://claim/path."""

    dataset: str = ""
    """The Dataset's name."""
    backup_path: str = ""
    """A directory: local:///directory of a node, or pvc://claim/directory."""
    run_as: User | None = None
    """Whom the backup's files belong to. Default: root."""
    run_after: RunAfter | None = None
    ttl_seconds_after_finished: TtlSeconds = None


class DataBackup(Struct, frozen=True):
    """Writes down what a Dataset has, for a Dataset's `dataRestoreLocation` to begin from."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "databackups", "DataBackup")
    DEFINITION: ClassVar = Definition(
        short_names=("backup",),
        categories=("fluid",),
        places=SPOKE,
        columns=(
            ("Dataset", "string", ".spec.dataset"),
            ("Phase", "string", ".status.phase"),
            ("Path", "string", ".status.infos.BackupLocationPath"),
            ("NodeName", "string", ".status.infos.BackupLocationNodeName"),
            AGE,
            ("Duration", "string", ".status.duration"),
            _MESSAGE,
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataBackupSpec = DataBackupSpec()
    status: OperationStatus = OperationStatus()


class MountedDataset(Struct, frozen=True):
    """The Dataset, and where the process sees it."""

    name: Annotated[str, REQUIRED] = ""
    """The Dataset's name."""
    namespace: str = ""
    """Its namespace, which is this one: others are refused."""
    mount_path: Annotated[str, REQUIRED] = ""
    """The absolute path at which every container has the data. Nothing else may be mounted there."""
    sub_path: str = ""
    """A directory of the Dataset, instead of all of it."""


class JobProcessor(Struct, frozen=True):
    """The whole pod."""

    pod_spec: Raw = {}
    """A PodSpec with at least one container. Default of restartPolicy: Never."""


class ScriptProcessor(Struct, frozen=True):
    """A script, given to `command` as a file."""

    image: Image = ""
    """Image of the container, without its tag. Needed."""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""
    restart_policy: Annotated[str, schema(default="Never", enum=["Never", "OnFailure"])] = "Never"
    """Never or OnFailure. Default: Never."""
    command: list[str] = []
    """What runs the script, such as [bash]; its argument is the script's file. Default: the image's own."""
    source: Annotated[str, REQUIRED] = ""
    """The script's text."""
    env: EnvList = []
    volumes: Volumes = []
    volume_mounts: VolumeMounts = []
    resources: Resources = {}


class Processor(Struct, frozen=True):
    """Exactly one of `job` and `script`."""

    service_account_name: str = ""
    """The ServiceAccount of the pod. Default: default."""
    pod_metadata: Raw = {}
    """Labels and annotations of the pod."""
    job: JobProcessor | None = None
    """A whole pod."""
    script: ScriptProcessor | None = None
    """A script in one container."""


class DataProcessSpec(Struct, frozen=True):
    """What to run on the mounted data, and when."""

    dataset: Annotated[MountedDataset, REQUIRED] = MountedDataset()
    """The Dataset, and where the process has it."""
    processor: Annotated[Processor, REQUIRED] = Processor()
    """What runs."""
    policy: Policy = "Once"
    schedule: Schedule = ""
    run_after: RunAfter | None = None
    ttl_seconds_after_finished: TtlSeconds = None


class DataProcess(Struct, frozen=True):
    """Runs a pod or a script on a Dataset."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "dataprocesses", "DataProcess")
    DEFINITION: ClassVar = Definition(
        categories=("fluid",),
        places=SPOKE,
        columns=(("Dataset", "string", ".spec.dataset.name"), *_OPERATION_COLUMNS, _MESSAGE),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataProcessSpec = DataProcessSpec()
    status: OperationStatus = OperationStatus()
