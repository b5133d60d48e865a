"""What the kinds of runtimes with a master say alike: parts of pods, cleaning, columns."""

from __future__ import annotations

from typing import Annotated

from addon_framework.api.data.dataset import AGE
from addon_framework.api.data.fields import (
    EnvMap,
    Image,
    ImageTag,
    NetworkMode,
    NodeSelector,
    Ports,
    PullPolicy,
    Replicas,
    Resources,
)
from addon_framework.api.meta import Struct, schema

SCALE = (".spec.replicas", ".status.currentWorkerNumberScheduled", ".status.selector")
SCALE_WITHOUT_SELECTOR = (*SCALE[:2], "")
COLUMNS = (
    ("Ready Masters", "integer", ".status.masterNumberReady", 10),
    ("Desired Masters", "integer", ".status.desiredMasterNumberScheduled", 10),
    ("Master Phase", "string", ".status.masterPhase"),
    ("Ready Workers", "integer", ".status.workerNumberReady", 10),
    ("Desired Workers", "integer", ".status.desiredWorkerNumberScheduled", 10),
    ("Worker Phase", "string", ".status.workerPhase"),
    ("Ready Fuses", "integer", ".status.fuseNumberReady", 10),
    ("Desired Fuses", "integer", ".status.desiredFuseNumberScheduled", 10),
    ("Fuse Phase", "string", ".status.fusePhase"),
    AGE,
)
WORKER_COLUMNS = (
    ("Worker Phase", "string", ".status.workerPhase"),
    ("Fuse Phase", "string", ".status.fusePhase"),
    AGE,
)
GATEWAY_COLUMNS = (*COLUMNS[:-1], ("API Gateway", "string", ".status.apiGateway.endpoint", 10), AGE)


class PodMetadata(Struct, frozen=True):
    """What pods get besides our own labels."""

    labels: dict[str, str] = {}
    """Labels."""
    annotations: dict[str, str] = {}
    """Annotations."""


class CleanCachePolicy(Struct, frozen=True):
    """How long cleaning may take, and how often it is tried."""

    grace_period_seconds: Annotated[int | None, schema(format="int32", default=60)] = None
    """Seconds that one try may take. Default: 60."""
    max_retry_attempts: Annotated[int | None, schema(format="int32", default=3)] = None
    """How often it is tried again. Default: 3."""


class MetadataSyncPolicy(Struct, frozen=True):
    """Whether sizes and counts of files are looked up."""

    auto_sync: bool | None = None
    """False: the source is not listed, and ufsTotal and fileNum stay unknown. Default: true."""


class RuntimeManagement(Struct, frozen=True):
    """How a runtime is looked after."""

    clean_cache_policy: CleanCachePolicy | None = None
    """How the cache is cleaned when it goes."""
    metadata_sync_policy: MetadataSyncPolicy | None = None
    """Whether the source is listed for its size and number of files."""


class InitUsers(Struct, frozen=True):
    """The container that makes the users of `runAs` known in pods."""

    image: Image = ""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""
    env: EnvMap = {}
    resources: Resources = {}


class ClientMetrics(Struct, frozen=True):
    """Which clients are scraped."""

    enabled: bool = False
    """True: clients have a port with metrics."""
    scrape_target: str = ""
    """None, or empty. Others are refused: annotate the pods by fuse.podMetadata."""


class Part(Struct, frozen=True):
    """What every part of every runtime says of its pods."""

    network_mode: NetworkMode = ""
    node_selector: NodeSelector = {}
    pod_metadata: PodMetadata = PodMetadata()
    resources: Resources = {}


class Server(Part, frozen=True):
    """A master or worker of which there are several."""

    replicas: Replicas | None = None
    ports: Ports = {}
