"""CacheRuntime and CacheRuntimeClass: a cache that is described, with no code of its own here."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from addon_framework.api.data.dataset import AGE, GROUP, SPOKE, DataCondition
from addon_framework.api.data.fields import (
    EnvList,
    Image,
    NodeSelector,
    PullSecrets,
    Resources,
    Tolerations,
    VolumeMounts,
    Volumes,
)
from addon_framework.api.data.parts import PodMetadata
from addon_framework.api.data.runtimes import VersionSpec
from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Raw, Resource, Struct, schema

_Quantity = Annotated[str, schema(required=True, int_or_string=True)]
_Count = Annotated[int, schema(format="int32")]
_Operation = schema(required=True, enum=["DataLoad", "DataBackup", "DataMigrate", "DataProcess"])
_Quantities = Annotated[list[Annotated[str, schema(int_or_string=True)]], schema(required=True, minItems=1)]
_Replicas = Annotated[int, schema(default=1, minimum=0, format="int32")]


class ExecutionEntry(Struct, frozen=True):
    """A command in the first container of the master's first pod, or the worker's."""

    command: Annotated[list[str], REQUIRED] = []
    """The command and its arguments."""
    timeout: _Count = 0
    """Seconds that it may take; less than 20 is 20."""


class ExecutionEntries(Struct, frozen=True):
    """They print JSON."""

    mount_ufs: ExecutionEntry | None = msgspec.field(default=None, name="mountUFS")
    """Mounts what runtime.json names, whenever that changes or the component has started; prints {"mounted":
    ["/path"]}.
    """
    report_summary: ExecutionEntry | None = None
    """Prints cached, cachedPercentage, cacheCapacity and cacheHitRatio."""


class MountedConfigMap(Struct, frozen=True):
    """A ConfigMap of the class, and where a component finds it."""

    name: str = ""
    """Its name in extraResources.configMaps."""
    mount_path: str = ""
    """The directory of the container that has its keys as files."""


class MountedResources(Struct, frozen=True):
    """What of the class's extra resources a component needs."""

    config_maps: list[MountedConfigMap] = []
    """Which ConfigMaps, and where."""


class SecretMount(Struct, frozen=True):
    """Whether the Secrets of encryptOptions are files of the component."""

    enabled: bool = False
    """Default: true for masters and workers, false for clients."""


class Dependencies(Struct, frozen=True):
    """What a component needs besides its template."""

    secret_mount: SecretMount | None = None
    """Whether it has the Secrets, at /etc/fluid/secrets/<secret>/<key>."""
    extra_resources: MountedResources = MountedResources()
    """Which of the class's ConfigMaps it has."""


class ComponentService(Struct, frozen=True):
    """How the component's pods are found; `{}` is enough."""

    headless: Raw = {}
    """{} for a headless Service svc-<name>-<component>. Default: none."""


class ComponentDefinition(Struct, frozen=True):
    """The pods of one component; what is added is added to the first container."""

    template: Raw = {}
    """A PodTemplateSpec. Its first container is the one that all else is about."""
    options: dict[str, str] = {}
    """Options that runtime.json has for it, by name; the runtime's win."""
    service: ComponentService = ComponentService()
    """Whether its pods have names."""
    dependencies: Dependencies = Dependencies()
    """Secrets and ConfigMaps that it needs."""
    execution_entries: ExecutionEntries = ExecutionEntries()
    """Commands that are run in it: in the master, or in the worker where there is none."""


class Topology(Struct, frozen=True):
    """The components that there are."""

    master: ComponentDefinition | None = None
    """One that knows the files. Optional."""
    worker: ComponentDefinition | None = None
    """What holds the cache. Optional."""
    client: ComponentDefinition | None = None
    """What mounts it on nodes. Needed, since pods could not mount the Dataset without."""


class ConfigMapContent(Struct, frozen=True):
    """A ConfigMap that every cache of the class gets."""

    name: str = ""
    """Its name, for dependencies."""
    data: dict[str, str] = {}
    """Its keys and their text."""


class ExtraResources(Struct, frozen=True):
    """Objects that come with a cache."""

    config_maps: list[ConfigMapContent] = []
    """ConfigMaps, made in the namespace of each runtime."""


class DataOperationSpec(Struct, frozen=True):
    """The container of an operation; without an image it is the worker's."""

    name: Annotated[str, _Operation] = ""
    """DataLoad. DataMigrate and DataBackup by a class's command are refused when they are wanted; DataProcess
    needs none.
    """
    image: Image = ""
    """Its image. Default: the worker's."""
    command: list[str] = []
    """Its command."""
    args: list[str] = []
    """The command's arguments."""


class CacheRuntimeClass(Struct, frozen=True):
    """How to run one kind of cache, for all namespaces. There is no spec: the fields are the object's own."""

    RESOURCE: ClassVar = Resource(
        GROUP, "v1alpha1", "cacheruntimeclasses", "CacheRuntimeClass", namespaced=False
    )
    DEFINITION: ClassVar = Definition(categories=("fluid",), places=SPOKE, status=False)

    metadata: ObjectMeta = ObjectMeta()
    file_system_type: Annotated[str, REQUIRED] = ""
    """A name for what is mounted."""
    topology: Topology = Topology()
    """The components that there are."""
    extra_resources: ExtraResources = ExtraResources()
    """Objects that come with each cache."""
    data_operation_specs: list[DataOperationSpec] = []
    """How operations are done."""


class ProcessMemory(Struct, frozen=True):
    """Memory of the process, as /dev/shm."""

    quota: _Quantity = ""
    """How much, such as 4Gi; it is added to the container's memory."""


class EmptyDirTier(Struct, frozen=True):
    """A directory that ends with the pod; `medium` Memory makes it a tmpfs."""

    quota: _Quantity = ""
    """How much it may hold, such as 10Gi."""
    medium: str = ""
    """Memory, or empty for the node's disk."""


class HostPathTier(Struct, frozen=True):
    """Directories of the node, each with a quota."""

    paths: Annotated[list[str], schema(required=True, minItems=1)] = []
    """Directories of the node."""
    quotas: _Quantities = []
    """How much each may hold, as many as there are paths."""
    type: str = ""
    """As of a Pod's hostPath. Default: DirectoryOrCreate."""


class RuntimeTier(Struct, frozen=True):
    """One of the three, and its water-marks."""

    process_memory: ProcessMemory | None = None
    """Memory of the process; in one level at most."""
    empty_dir: EmptyDirTier | None = None
    """A directory that ends with the pod."""
    host_path: HostPathTier | None = None
    """Directories of the node."""
    high: str = ""
    """The part of the quota, 0 to 1, from which on room is made."""
    low: str = ""
    """The part of the quota, 0 to 1, down to which room is made."""


class RuntimeTieredStore(Struct, frozen=True):
    """Where a component keeps the cache, fastest first."""

    levels: list[RuntimeTier] = []
    """Levels, the fastest first."""


class RuntimeComponent(Struct, frozen=True):
    """What a runtime says over the template of its class."""

    disabled: bool = False
    """True: the component is left out. A client cannot be."""
    runtime_version: VersionSpec = VersionSpec()
    """Image of its first container. Default: the template's."""
    options: dict[str, str] = {}
    """Options that runtime.json has for it, by name; they win over `spec.options` and the class's."""
    env: EnvList = []
    args: list[str] = []
    """Arguments of its first container, instead of the template's."""
    resources: Resources = {}
    node_selector: NodeSelector = {}
    tolerations: Tolerations = []
    volume_mounts: VolumeMounts = []
    pod_metadata: PodMetadata = PodMetadata()


class RuntimeMaster(RuntimeComponent, frozen=True):
    """Masters."""

    replicas: _Replicas = 1
    """How many masters. Default: 1."""


class RuntimeWorker(RuntimeComponent, frozen=True):
    """Workers."""

    replicas: _Replicas = 1
    """How many workers. Default: 1."""
    tiered_store: RuntimeTieredStore = RuntimeTieredStore()
    """Where workers keep data. Default: nowhere that we know of."""


class RuntimeClient(RuntimeComponent, frozen=True):
    """FUSE clients, one on every node."""

    tiered_store: RuntimeTieredStore = RuntimeTieredStore()
    """Where clients keep data. Default: nowhere that we know of."""
    clean_policy: Annotated[
        str, schema(default="OnRuntimeDeleted", enum=["OnRuntimeDeleted", "OnDemand"])
    ] = "OnRuntimeDeleted"
    """When the client on a node goes: OnRuntimeDeleted (with the runtime or Dataset) or OnDemand (with the
    last pod there that uses the Dataset). Default: OnRuntimeDeleted. Clients start only where pods use the
    Dataset.
    """


class CacheRuntimeSpec(Struct, frozen=True):
    """What is not here comes from the class."""

    runtime_class_name: Annotated[str, REQUIRED] = ""
    """The CacheRuntimeClass. Fixed once the Dataset is Bound."""
    master: RuntimeMaster = RuntimeMaster()
    """The masters; what is not here comes from the class."""
    worker: RuntimeWorker = RuntimeWorker()
    """The workers; what is not here comes from the class."""
    client: RuntimeClient = RuntimeClient()
    """The clients; what is not here comes from the class."""
    options: dict[str, str] = {}
    """Options of all components, by name; they win over the class's."""
    pod_metadata: PodMetadata = PodMetadata()
    """Labels and annotations of all pods; those of a component win."""
    image_pull_secrets: PullSecrets = []
    volumes: Volumes = []


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
        scale=(".spec.worker.replicas", ".status.worker.currentReplicas", ".status.selector"),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: CacheRuntimeSpec = CacheRuntimeSpec()
    status: CacheRuntimeStatus = CacheRuntimeStatus()
