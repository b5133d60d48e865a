"""ThinRuntime and ThinRuntimeProfile."""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.data.dataset import GROUP, SPOKE, User
from addon_framework.api.data.parts import (
    WORKER_COLUMNS,
    NetworkMode,
    PodMetadata,
    Replicas,
    RuntimeManagement,
)
from addon_framework.api.data.runtimes import RuntimeStatus, TieredStore
from addon_framework.api.meta import (
    REQUIRED,
    Definition,
    ObjectMeta,
    Raw,
    RawList,
    Resource,
    Struct,
    schema,
)


class ThinPart(Struct, frozen=True):
    """What client and workers say alike, of their container and of their pod."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""
    image_pull_secrets: RawList = []
    ports: RawList = []
    env: RawList = []
    resources: Raw = {}
    node_selector: dict[str, str] = {}
    network_mode: NetworkMode = ""
    liveness_probe: Raw = {}
    readiness_probe: Raw = {}
    volume_mounts: RawList = []


class ThinWorker(ThinPart, frozen=True):
    """Pods beside the clients, where a file system wants some; nothing is expected of them."""

    enabled: bool = False
    replicas: Replicas | None = None


class ThinFuse(ThinPart, frozen=True):
    """The client."""

    command: list[str] = []
    args: list[str] = []
    options: dict[str, str] = {}
    lifecycle: Raw = {}
    pod_metadata: PodMetadata = PodMetadata()
    clean_policy: str = ""


class ThinRuntimeSpec(Struct, frozen=True):
    """Any FUSE file system; what is not here comes from the profile."""

    profile_name: str = ""
    worker: ThinWorker = ThinWorker()
    fuse: ThinFuse = ThinFuse()
    tieredstore: TieredStore = TieredStore()
    replicas: Annotated[int, schema(minimum=0, format="int32")] = 0
    run_as: User | None = None
    disable_prometheus: bool = False
    volumes: RawList = []
    image_pull_secrets: RawList = []
    management: RuntimeManagement = RuntimeManagement()


class ThinRuntime(Struct, frozen=True):
    """A cache, or only a mount, by any FUSE file system."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "thinruntimes", "ThinRuntime")
    DEFINITION: ClassVar = Definition(categories=("fluid",), places=SPOKE, columns=WORKER_COLUMNS)

    metadata: ObjectMeta = ObjectMeta()
    spec: ThinRuntimeSpec = ThinRuntimeSpec()
    status: RuntimeStatus = RuntimeStatus()


class ThinRuntimeProfileSpec(Struct, frozen=True):
    """How to run one kind of FUSE file system."""

    file_system_type: Annotated[str, REQUIRED] = ""
    worker: ThinWorker = ThinWorker()
    fuse: ThinFuse = ThinFuse()
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
