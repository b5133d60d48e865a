"""inference.boundaryless.io: a model to serve, and how it fares on each cluster."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from addon_framework.api.cluster import PlacementSpec
from addon_framework.api.meta import (
    REQUIRED,
    Conditions,
    Definition,
    ObjectMeta,
    Raw,
    RawList,
    Resource,
    Struct,
    schema,
)

GROUP = "inference.boundaryless.io"


class LocalReference(Struct, frozen=True):
    """An object in the same namespace."""

    name: Annotated[str, schema(required=True, minLength=1)] = ""
    """The object's name."""


class Model(Struct, frozen=True):
    """What to serve, and where its files are.

    `credentials_ref` names a Secret on the hub; it is delivered to the chosen clusters only, never inside a
    ManifestWork.
    """

    name: Annotated[
        str, schema(required=True, minLength=1, maxLength=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$")
    ] = ""
    """The name under which engines serve it."""
    source: Annotated[str, schema(required=True, minLength=5, pattern=r"^[a-z0-9]+://.+")] = ""
    """Where its files are: s3://bucket/prefix, hf://owner/name, or another that the cache's runtime reads."""
    options: dict[str, str] = {}
    """Options of the source, such as endpoint and region."""
    credentials_ref: LocalReference | None = None
    """The Secret on the hub with accessKeyId and secretAccessKey; for hf:// and https:// with token, for file
    servers such as sftp:// with username and password. Default: none are needed.
    """


class Cache(Struct, frozen=True):
    """How the model gets near the GPUs. `preload` starts a DataLoad beside the engine.

    `compiled` keeps beside the model's files, on each node, what the first replica's engine has compiled; the
    others run it instead of compiling. Whoever may write there decides what they run: the replicas may.
    `bypass` auto: while the cache is measured to be slower than its source, replicas that start read a copy.
    """

    runtime: Annotated[str, schema(default="local", minLength=1)] = "local"
    """The backend that caches it, such as local or juicefs. Default: local."""
    preload: Annotated[bool, schema(default=True)] = True
    """False: nothing is loaded but what the engine reads. Default: true."""
    compiled: bool = False
    """True: engines share what they have compiled, on and between nodes; with runtime local only. Default:
    false.
    """
    bypass: Annotated[str, schema(enum=["never", "auto"])] = ""
    """auto: replicas that start while the cache is slower than its source read a copy instead. Default:
    never.
    """
    quota: Annotated[str, schema(pattern=r"^([0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?)?$")] = ""
    """How much of each node's disk it may take, such as 200Gi. Default: no limit."""
    options: dict[str, str] = {}
    """Options of the backend, by name."""


class EnvVar(Struct, frozen=True):
    """As in a Pod's container; `valueFrom` names objects in the same namespace on the cluster."""

    name: Annotated[str, schema(required=True, pattern="^[-._a-zA-Z][-._a-zA-Z0-9]*$")] = ""
    """The variable's name."""
    value: str = ""
    """Its value."""
    value_from: Raw = {}
    """Where its value is, as in a Pod's container: a Secret or ConfigMap of the same namespace on the
    cluster.
    """


class Engine(Struct, frozen=True):
    """What serves it. The shared launcher imports once per node; stock is the image's own entry point."""

    name: Annotated[str, schema(default="vllm", minLength=1)] = "vllm"
    """Which engine. Default: vllm."""
    image: str = ""
    """Its image. Default: the engine's usual one."""
    args: list[str] = []
    """More arguments of the engine, such as --max-model-len=4096."""
    env: Annotated[list[EnvVar], schema(list_map_keys=["name"])] = []
    """More variables of the engine's container."""
    launcher: Annotated[str, schema(default="shared", enum=["shared", "stock"])] = "shared"
    """shared: engines of a node start from one process that has imported already; stock: the image's own
    entry point. Default: shared.
    """


class ResourceRequirements(Struct, frozen=True):
    """As in a Pod's container, which gets it as it is."""

    limits: Annotated[dict[str, Any], schema(quantities=True)] = {}
    """The most that a replica gets, such as nvidia.com/gpu: 1."""
    requests: Annotated[dict[str, Any], schema(quantities=True)] = {}
    """What a node must have free for it. Default: its limits."""
    claims: RawList = []
    """Devices that ResourceClaims of the pod have."""


class InferenceDeploymentSpec(Struct, frozen=True):
    """A model on the best clusters; `replicas` is per cluster."""

    model: Annotated[Model, REQUIRED] = Model()
    """What to serve."""
    cache: Annotated[Cache, schema(default={})] = Cache()
    """How the model gets near the GPUs."""
    engine: Annotated[Engine, schema(default={})] = Engine()
    """What serves it."""
    resources: ResourceRequirements = ResourceRequirements()
    """What each replica needs, as in a Pod's container."""
    replicas: Annotated[int, schema(default=1, minimum=0, format="int32")] = 1
    """Replicas on each cluster that is chosen. Default: 1."""
    placement: PlacementSpec = PlacementSpec()
    """The clusters: a Placement's spec. Default: every cluster of the namespace's sets."""


class ReplicaTimeline(Struct, frozen=True):
    """When a replica reached each step; seconds since the epoch. What did not happen is absent.

    `mode` is how its engine started: cold, warm (from the node's engine host), or stock. `compiled` is how
    much of its compiled code was carried from other replicas: all, part or none.
    """

    replica: str = ""
    mode: str = ""
    compiled: str = ""
    scheduled: float | None = None
    process_start: float | None = None
    imported: float | None = None
    data_load_start: float | None = None
    data_loaded: float | None = None
    data_ready: float | None = None
    weights_start: float | None = None
    weights_loaded: float | None = None
    weights_seconds: float | None = None
    serving: float | None = None
    ready: float | None = None


class ClusterStatus(Struct, frozen=True):
    """The model on one cluster."""

    name: Annotated[str, REQUIRED] = ""
    phase: str = ""
    message: str = ""
    ready_replicas: Annotated[int, schema(format="int32")] = 0
    endpoint: str = ""
    data_phase: str = ""
    cached_percentage: str = ""
    cache_advice: str = ""
    engine_host: str = ""
    timeline: Annotated[list[ReplicaTimeline], schema(preserve=True)] = []


class InferenceDeploymentStatus(Struct, frozen=True):
    """The model on all its clusters."""

    observed_generation: Annotated[int, schema(format="int64")] = 0
    conditions: Conditions = []
    phase: str = ""
    ready_replicas: Annotated[int, schema(format="int32")] = 0
    desired_replicas: Annotated[int, schema(format="int32")] = 0
    endpoint: str = ""
    clusters: Annotated[list[ClusterStatus], schema(list_map_keys=["name"])] = []


class InferenceDeployment(Struct, frozen=True):
    """A model to serve on the best clusters; lives on the hub."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "inferencedeployments", "InferenceDeployment")
    DEFINITION: ClassVar = Definition(
        short_names=("infer",),
        scale=(".spec.replicas", ".status.readyReplicas", ""),
        rules=(
            # Service, Deployment and label values carry the name.
            (
                "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$')",
                "metadata.name must be at most 50 lower-case letters, digits and '-', first a letter",
            ),
        ),
        columns=(
            ("Model", "string", ".spec.model.name"),
            ("Phase", "string", ".status.phase"),
            ("Ready", "integer", ".status.readyReplicas"),
            ("Desired", "integer", ".status.desiredReplicas"),
            ("Endpoint", "string", ".status.endpoint"),
            ("Age", "date", ".metadata.creationTimestamp"),
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[InferenceDeploymentSpec, REQUIRED] = InferenceDeploymentSpec()
    status: InferenceDeploymentStatus = InferenceDeploymentStatus()


class InferenceEndpointSpec(Struct, frozen=True):
    """The names of the parts on the spoke."""

    model: str = ""
    deployment: Annotated[str, REQUIRED] = ""
    service: Annotated[str, REQUIRED] = ""
    dataset: str = ""
    data_load: str = ""


class InferenceEndpointStatus(Struct, frozen=True):
    """Scalars, so that ManifestWork feedback can carry them; `timeline` is JSON of ReplicaTimeline[].

    `revision` is that of the Deployment which the rest speaks of; `engineHost` Ready means that the next
    replica on a node that serves starts warm.
    """

    observed_generation: Annotated[int, schema(format="int64")] = 0
    conditions: Conditions = []
    phase: str = ""
    message: str = ""
    ready_replicas: Annotated[int, schema(format="int32")] = 0
    endpoint: str = ""
    revision: str = ""
    data_phase: str = ""
    cached_percentage: str = ""
    cache_advice: str = ""
    engine_host: str = ""
    timeline: str = ""


class InferenceEndpoint(Struct, frozen=True):
    """A model on this spoke; made by the hub, filled in by the inference deployer's agent."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "inferenceendpoints", "InferenceEndpoint")
    DEFINITION: ClassVar = Definition(
        places=("spoke",),
        columns=(
            ("Phase", "string", ".status.phase"),
            ("Ready", "integer", ".status.readyReplicas"),
            ("Endpoint", "string", ".status.endpoint"),
            ("Age", "date", ".metadata.creationTimestamp"),
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: InferenceEndpointSpec = InferenceEndpointSpec()
    status: InferenceEndpointStatus = InferenceEndpointStatus()


KINDS = (InferenceDeployment, InferenceEndpoint)
