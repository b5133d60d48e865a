"""Operations on Datasets: load, migrate, back up, process."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from addon_framework.api.data.dataset import AGE, GROUP, SPOKE, DataCondition, EncryptOption, User
from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Raw, RawList, Resource, Struct, schema


class TargetDataset(Struct, frozen=True):
    """The Dataset an operation works on."""

    name: Annotated[str, REQUIRED] = ""
    namespace: str = ""


class TargetPath(Struct, frozen=True):
    """A part of it."""

    path: Annotated[str, REQUIRED] = ""
    replicas: Annotated[int, schema(format="int32")] = 0


_OPERATION_KIND = schema(required=True, enum=["DataLoad", "DataBackup", "DataMigrate", "DataProcess"])
_POLICY = schema(default="Once", enum=["Once", "Cron", "OnEvent"])


class RunAfterPreference(Struct, frozen=True):
    """A label of nodes by which to be near, and how much that matters."""

    name: Annotated[str, REQUIRED] = ""
    weight: Annotated[int, schema(required=True, format="int32")] = 0


class RunAfterRequirement(Struct, frozen=True):
    """A label of nodes whose value must be that of the step before."""

    name: Annotated[str, REQUIRED] = ""


class OperationReference(Struct, frozen=True):
    """Another operation."""

    api_version: str = ""
    kind: Annotated[str, _OPERATION_KIND] = ""
    name: Annotated[str, schema(required=True, minLength=1)] = ""
    namespace: str = ""


class AffinityStrategy(Struct, frozen=True):
    """Whether to run near where an earlier step ran: the one of runAfter unless `dependOn` names another."""

    depend_on: OperationReference | None = None
    policy: Annotated[str, schema(enum=["", "Require", "Prefer"])] = ""
    prefers: list[RunAfterPreference] = []
    requires: list[RunAfterRequirement] = []


class RunAfter(OperationReference, frozen=True):
    """The operation that must be complete before this one begins."""

    affinity_strategy: AffinityStrategy = AffinityStrategy()


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
    run_after: RunAfter | None = None
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
    observed_generation: Annotated[int, schema(format="int64")] = 0


_OPERATION_COLUMNS = (
    ("Phase", "string", ".status.phase"),
    AGE,
    ("Duration", "string", ".status.duration"),
)


class DataLoad(Struct, frozen=True):
    """Warms the cache of a Dataset."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "dataloads", "DataLoad")
    DEFINITION: ClassVar = Definition(
        short_names=("load",),
        categories=("fluid",),
        places=SPOKE,
        columns=(("Dataset", "string", ".spec.dataset.name"), *_OPERATION_COLUMNS),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataLoadSpec = DataLoadSpec()
    status: OperationStatus = OperationStatus()


class DatasetToMigrate(Struct, frozen=True):
    """A Dataset, or a directory of it."""

    name: Annotated[str, REQUIRED] = ""
    namespace: Annotated[str, REQUIRED] = ""
    path: str = ""


class ExternalStorage(Struct, frozen=True):
    """Data that no Dataset describes: s3://, minio://host:port/bucket/, https://, pvc://claim/path."""

    uri: Annotated[str, REQUIRED] = ""
    encrypt_options: list[EncryptOption] = []


class DataToMigrate(Struct, frozen=True):
    """One end of a migration: exactly one of the two."""

    dataset: DatasetToMigrate | None = None
    external_storage: ExternalStorage | None = None


class DataMigrateSpec(Struct, frozen=True):
    """From where to where, by how many pods, and when."""

    from_: Annotated[DataToMigrate, REQUIRED] = msgspec.field(default=DataToMigrate(), name="from")
    to: Annotated[DataToMigrate, REQUIRED] = DataToMigrate()
    block: bool = False
    runtime_type: str = ""
    options: dict[str, str] = {}
    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""
    parallelism: Annotated[int, schema(default=1, minimum=1, format="int32")] = 1
    parallel_options: dict[str, str] = {}
    pod_metadata: Raw = {}
    affinity: Raw = {}
    tolerations: RawList = []
    node_selector: dict[str, str] = {}
    scheduler_name: str = ""
    policy: Annotated[str, _POLICY] = "Once"
    schedule: str = ""
    run_after: RunAfter | None = None
    ttl_seconds_after_finished: Annotated[int | None, schema(format="int32")] = None
    resources: Raw = {}


class DataMigrate(Struct, frozen=True):
    """Copies data into a Dataset's storage, or out of it."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "datamigrates", "DataMigrate")
    DEFINITION: ClassVar = Definition(
        short_names=("migrate",), categories=("fluid",), places=SPOKE, columns=_OPERATION_COLUMNS
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataMigrateSpec = DataMigrateSpec()
    status: OperationStatus = OperationStatus()


class DataBackupSpec(Struct, frozen=True):
    """What to keep of a Dataset of the same namespace, and where: local:///path of a node, pvc://claim/path."""

    dataset: str = ""
    backup_path: str = ""
    run_as: User | None = None
    run_after: RunAfter | None = None
    ttl_seconds_after_finished: Annotated[int | None, schema(format="int32")] = None


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
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataBackupSpec = DataBackupSpec()
    status: OperationStatus = OperationStatus()


class MountedDataset(Struct, frozen=True):
    """The Dataset, and where the process sees it."""

    name: Annotated[str, REQUIRED] = ""
    namespace: str = ""
    mount_path: Annotated[str, REQUIRED] = ""
    sub_path: str = ""


class JobProcessor(Struct, frozen=True):
    """The whole pod."""

    pod_spec: Raw = {}


class ScriptProcessor(Struct, frozen=True):
    """A script, given to `command` as a file."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""
    restart_policy: Annotated[str, schema(default="Never", enum=["Never", "OnFailure"])] = "Never"
    command: list[str] = []
    source: Annotated[str, REQUIRED] = ""
    env: RawList = []
    volumes: RawList = []
    volume_mounts: RawList = []
    resources: Raw = {}


class Processor(Struct, frozen=True):
    """Exactly one of `job` and `script`."""

    service_account_name: str = ""
    pod_metadata: Raw = {}
    job: JobProcessor | None = None
    script: ScriptProcessor | None = None


class DataProcessSpec(Struct, frozen=True):
    """What to run on the mounted data, and when."""

    dataset: Annotated[MountedDataset, REQUIRED] = MountedDataset()
    processor: Annotated[Processor, REQUIRED] = Processor()
    policy: Annotated[str, _POLICY] = "Once"
    schedule: str = ""
    run_after: RunAfter | None = None
    ttl_seconds_after_finished: Annotated[int | None, schema(format="int32")] = None


class DataProcess(Struct, frozen=True):
    """Runs a pod or a script on a Dataset."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "dataprocesses", "DataProcess")
    DEFINITION: ClassVar = Definition(
        categories=("fluid",),
        places=SPOKE,
        columns=(("Dataset", "string", ".spec.dataset.name"), *_OPERATION_COLUMNS),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: DataProcessSpec = DataProcessSpec()
    status: OperationStatus = OperationStatus()
