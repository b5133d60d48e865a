"""ThinRuntime and ThinRuntimeProfile."""

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
    PullSecrets,
    Replicas,
    Resources,
    VolumeMounts,
    Volumes,
)
from addon_framework.api.data.parts import (
    SCALE,
    WORKER_COLUMNS,
    PodMetadata,
    RuntimeManagement,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore
from addon_framework.api.meta import (
    REQUIRED,
    Definition,
    ObjectMeta,
    Raw,
    Resource,
    Struct,
    schema,
)


class ThinPart(Struct, frozen=True):
    """What client and workers say alike, of their container and of their pod."""

    image: Image = ""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""
    image_pull_secrets: PullSecrets = []
    ports: PortList = []
    env: EnvList = []
    resources: Resources = {}
    node_selector: NodeSelector = {}
    network_mode: NetworkMode = ""
    liveness_probe: Raw = {}
    """When the container is restarted, as in a Pod's container."""
    readiness_probe: Raw = {}
    """When it is ready, as in a Pod's container. Default: once its file system is mounted."""
    volume_mounts: VolumeMounts = []


class ThinWorker(ThinPart, frozen=True):
    """Pods beside the clients, where a file system wants some; nothing is expected of them."""

    enabled: bool = False
    """True: there are workers. Default: none."""
    replicas: Replicas | None = None


class ThinFuse(ThinPart, frozen=True):
    """The client."""

    command: list[str] = []
    """The container's command. Default: the image's own."""
    args: list[str] = []
    """The command's arguments."""
    options: dict[str, str] = {}
    """Options of the mount, by name; the image finds them in MOUNT_OPTIONS and config.json. The runtime's win
    over the profile's.
    """
    lifecycle: Raw = {}
    """What runs before the container stops (preStop), as in a Pod's container. Default: it unmounts.
    postStart is refused.
    """
    pod_metadata: PodMetadata = PodMetadata()
    clean_policy: CleanPolicy = ""


class ThinRuntimeSpec(Struct, frozen=True):
    """Any FUSE file system; what is not here comes from the profile."""

    profile_name: str = ""
    """The ThinRuntimeProfile, or one of the built-in s3fs and rclone. Empty where the Dataset is of
    dataset://. Fixed once the Dataset is Bound.
    """
    worker: ThinWorker = ThinWorker()
    """Pods beside the clients, where `enabled`."""
    fuse: ThinFuse = ThinFuse()
    """The clients; what is not here comes from the profile."""
    tieredstore: TieredStore = TieredStore()
    """A directory in which clients keep what they read: one level. rclone and profiles use it, s3fs keeps
    nothing.
    """
    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    """How many workers, where they are enabled. 0 is 1."""
    run_as: User | None = None
    """Has no effect: a client mounts as root."""
    disable_prometheus: DisablePrometheus = False
    """Has no effect: clients are not scraped."""
    volumes: Volumes = []
    image_pull_secrets: PullSecrets = []
    management: RuntimeManagement = RuntimeManagement()


class ThinRuntime(Struct, frozen=True):
    """A cache, or only a mount, by any FUSE file system."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "thinruntimes", "ThinRuntime")
    DEFINITION: ClassVar = Definition(
        categories=("fluid",), places=SPOKE, columns=WORKER_COLUMNS, scale=SCALE
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: ThinRuntimeSpec = ThinRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()


class ThinRuntimeProfileSpec(Struct, frozen=True):
    """How to run one kind of FUSE file system."""

    file_system_type: Annotated[str, REQUIRED] = ""
    """The file system's type as `mount` shows it, such as fuse.s3fs or nfs: a client is ready when that, or
    any of FUSE, is mounted.
    """
    worker: ThinWorker = ThinWorker()
    """Pods beside the clients, where `enabled`."""
    fuse: ThinFuse = ThinFuse()
    """The clients. Image, command, args, probes and options are a runtime's unless it says otherwise."""
    volumes: Volumes = []
    image_pull_secrets: PullSecrets = []
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
    """Of pvc:// mounts, which clients do not have here. CopyNodePublishSecretAndMountIfNotExists is refused,
    the others have nothing to do.
    """


class ThinRuntimeProfile(Struct, frozen=True):
    """How to run one kind of FUSE file system, for all namespaces."""

    RESOURCE: ClassVar = Resource(
        GROUP, "v1alpha1", "thinruntimeprofiles", "ThinRuntimeProfile", namespaced=False
    )
    DEFINITION: ClassVar = Definition(categories=("fluid",), places=SPOKE)

    metadata: ObjectMeta = ObjectMeta()
    spec: ThinRuntimeProfileSpec = ThinRuntimeProfileSpec()
    status: Raw = {}
