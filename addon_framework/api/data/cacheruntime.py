"""CacheRuntime and CacheRuntimeClass: a cache that is described, with no code of its own here."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from addon_framework.api.data.dataset import AGE, GROUP, SPOKE, DataCondition
from addon_framework.api.data.parts import PodMetadata
from addon_framework.api.data.runtimes import VersionSpec
from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Raw, RawList, Resource, Struct, schema

_Quantity = Annotated[str, schema(required=True, int_or_string=True)]
_Count = Annotated[int, schema(format="int32")]
_Operation = schema(required=True, enum=["DataLoad", "DataBackup", "DataMigrate", "DataProcess"])
_Quantities = Annotated[list[Annotated[str, schema(int_or_string=True)]], schema(required=True, minItems=1)]
_Replicas = Annotated[int, schema(default=1, minimum=0, format="int32")]


class ExecutionEntry(Struct, frozen=True):
    """A command in the first container of the master's first pod, or the worker's."""

    command: Annotated[list[str], REQUIRED] = []
    timeout: _Count = 0


class ExecutionEntries(Struct, frozen=True):
    """They print JSON."""

    mount_ufs: ExecutionEntry | None = msgspec.field(default=None, name="mountUFS")
    report_summary: ExecutionEntry | None = None


class MountedConfigMap(Struct, frozen=True):
    """A ConfigMap of the class, and where a component finds it."""

    name: str = ""
    mount_path: str = ""


class MountedResources(Struct, frozen=True):
    """What of the class's extra resources a component needs."""

    config_maps: list[MountedConfigMap] = []


class SecretMount(Struct, frozen=True):
    """Whether the Secrets of encryptOptions are files of the component."""

    enabled: bool = False


class Dependencies(Struct, frozen=True):
    """What a component needs besides its template."""

    secret_mount: SecretMount | None = None
    extra_resources: MountedResources = MountedResources()


class ComponentService(Struct, frozen=True):
    """How the component's pods are found; `{}` is enough."""

    headless: Raw = {}


class ComponentDefinition(Struct, frozen=True):
    """The pods of one component; what is added is added to the first container."""

    template: Raw = {}
    options: dict[str, str] = {}
    service: ComponentService = ComponentService()
    dependencies: Dependencies = Dependencies()
    execution_entries: ExecutionEntries = ExecutionEntries()


class Topology(Struct, frozen=True):
    """The components that there are."""

    master: ComponentDefinition | None = None
    worker: ComponentDefinition | None = None
    client: ComponentDefinition | None = None


class ConfigMapContent(Struct, frozen=True):
    """A ConfigMap that every cache of the class gets."""

    name: str = ""
    data: dict[str, str] = {}


class ExtraResources(Struct, frozen=True):
    """Objects that come with a cache."""

    config_maps: list[ConfigMapContent] = []


class DataOperationSpec(Struct, frozen=True):
    """The container of an operation; without an image it is the worker's."""

    name: Annotated[str, _Operation] = ""
    image: str = ""
    command: list[str] = []
    args: list[str] = []


class CacheRuntimeClass(Struct, frozen=True):
    """How to run one kind of cache, for all namespaces. There is no spec: the fields are the object's own."""

    RESOURCE: ClassVar = Resource(
        GROUP, "v1alpha1", "cacheruntimeclasses", "CacheRuntimeClass", namespaced=False
    )
    DEFINITION: ClassVar = Definition(categories=("fluid",), places=SPOKE, status=False)

    metadata: ObjectMeta = ObjectMeta()
    file_system_type: Annotated[str, REQUIRED] = ""
    topology: Topology = Topology()
    extra_resources: ExtraResources = ExtraResources()
    data_operation_specs: list[DataOperationSpec] = []


class ProcessMemory(Struct, frozen=True):
    """Memory of the process, as /dev/shm."""

    quota: _Quantity = ""


class EmptyDirTier(Struct, frozen=True):
    """A directory that ends with the pod; `medium` Memory makes it a tmpfs."""

    quota: _Quantity = ""
    medium: str = ""


class HostPathTier(Struct, frozen=True):
    """Directories of the node, each with a quota."""

    paths: Annotated[list[str], schema(required=True, minItems=1)] = []
    quotas: _Quantities = []
    type: str = ""


class RuntimeTier(Struct, frozen=True):
    """One of the three, and its water-marks."""

    process_memory: ProcessMemory | None = None
    empty_dir: EmptyDirTier | None = None
    host_path: HostPathTier | None = None
    high: str = ""
    low: str = ""


class RuntimeTieredStore(Struct, frozen=True):
    """Where a component keeps the cache, fastest first."""

    levels: list[RuntimeTier] = []


class RuntimeComponent(Struct, frozen=True):
    """What a runtime says over the template of its class."""

    disabled: bool = False
    runtime_version: VersionSpec = VersionSpec()
    options: dict[str, str] = {}
    env: RawList = []
    args: list[str] = []
    resources: Raw = {}
    node_selector: dict[str, str] = {}
    tolerations: RawList = []
    volume_mounts: RawList = []
    pod_metadata: PodMetadata = PodMetadata()


class RuntimeMaster(RuntimeComponent, frozen=True):
    """Masters."""

    replicas: _Replicas = 1


class RuntimeWorker(RuntimeComponent, frozen=True):
    """Workers."""

    replicas: _Replicas = 1
    tiered_store: RuntimeTieredStore = RuntimeTieredStore()


class RuntimeClient(RuntimeComponent, frozen=True):
    """FUSE clients, one on every node."""

    tiered_store: RuntimeTieredStore = RuntimeTieredStore()
    clean_policy: Annotated[
        str, schema(default="OnRuntimeDeleted", enum=["OnRuntimeDeleted", "OnDemand"])
    ] = "OnRuntimeDeleted"


class CacheRuntimeSpec(Struct, frozen=True):
    """What is not here comes from the class."""

    runtime_class_name: Annotated[str, REQUIRED] = ""
    master: RuntimeMaster = RuntimeMaster()
    worker: RuntimeWorker = RuntimeWorker()
    client: RuntimeClient = RuntimeClient()
    options: dict[str, str] = {}
    pod_metadata: PodMetadata = PodMetadata()
    image_pull_secrets: RawList = []
    volumes: RawList = []


class ComponentStatus(Struct, frozen=True):
    """How a component fares."""

    phase: Annotated[str, REQUIRED] = ""
    reason: str = ""
    message: str = ""
    desired_replicas: _Count = 0
    current_replicas: _Count = 0
    ready_replicas: _Count = 0
    available_replicas: _Count = 0
    unavailable_replicas: _Count = 0


class CacheRuntimeStatus(Struct, frozen=True):
    """By component."""

    value_file: str = ""
    setup_duration: str = ""
    mount_time: Annotated[str, schema(format="date-time")] = ""
    selector: str = ""
    cache_affinity: Raw = {}
    conditions: list[DataCondition] = []
    master: ComponentStatus | None = None
    worker: ComponentStatus | None = None
    client: ComponentStatus | None = None
    observed_generation: Annotated[int, schema(format="int64")] = 0


class CacheRuntime(Struct, frozen=True):
    """A cache of a CacheRuntimeClass."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "cacheruntimes", "CacheRuntime")
    DEFINITION: ClassVar = Definition(
        categories=("fluid",),
        places=SPOKE,
        columns=(
            ("Master", "string", ".status.master.phase"),
            ("Worker", "string", ".status.worker.phase"),
            ("Client", "string", ".status.client.phase"),
            AGE,
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: CacheRuntimeSpec = CacheRuntimeSpec()
    status: CacheRuntimeStatus = CacheRuntimeStatus()
