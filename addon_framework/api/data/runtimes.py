"""What the kinds of runtimes have alike: images, tiers, status."""

from __future__ import annotations

from typing import Annotated

from addon_framework.api.data.dataset import DataCondition, Mount
from addon_framework.api.data.fields import Image, ImageTag, PullPolicy
from addon_framework.api.meta import Raw, Struct, schema


class VersionSpec(Struct, frozen=True):
    """An image."""

    image: Image = ""
    image_tag: ImageTag = ""
    image_pull_policy: PullPolicy = ""


class Level(Struct, frozen=True):
    """A tier of cache. `path` and `quota_list` may hold several, separated by commas."""

    mediumtype: Annotated[str, schema(required=True, enum=["MEM", "SSD", "HDD"])] = ""
    """What it is made of: MEM, SSD or HDD."""
    volume_type: Annotated[str, schema(default="hostPath", enum=["hostPath", "emptyDir"])] = "hostPath"
    """hostPath: a directory of the node, which outlives pods; emptyDir: one that ends with its pod. Default:
    hostPath.
    """
    volume_source: Raw = {}
    """With volumeType emptyDir: an emptyDir or ephemeral volume, as in a Pod. Default: an emptyDir."""
    path: Annotated[str, schema(minLength=1)] = ""
    """The directory, or several with a comma between them. On nodes the cache is in
    <path>/<namespace>/<name>. Default: /dev/shm for MEM, else /var/lib/boundaryless/cache. Fixed once the
    Dataset is Bound.
    """
    quota: Annotated[str | None, schema(int_or_string=True)] = None
    """How much the level may hold on each node, in all its paths together: a quantity such as 100Gi."""
    quota_list: str = ""
    """The same for each path, with commas between them, such as 10Gi,20Gi; instead of `quota`."""
    high: str = ""
    """The part of the quota, 0 to 1, from which on room is made, such as "0.95". Default: the program's own.
    """
    low: str = ""
    """The part of the quota, 0 to 1, down to which room is made, such as "0.7"; JuiceFS: how much of the disk
    stays free. Default: the program's own.
    """


class TieredStore(Struct, frozen=True):
    """Where the cache is kept."""

    levels: list[Level] = []
    """Levels, the fastest first. How many there may be is the runtime's to say. Default: one, at its usual
    place.
    """


class RuntimeStatus(Struct, frozen=True):
    """How the parts of a cache fare."""

    value_file: str = ""
    master_phase: str = ""
    worker_phase: str = ""
    fuse_phase: str = ""
    master_reason: str = ""
    worker_reason: str = ""
    fuse_reason: str = ""
    desired_master_number_scheduled: int = 0
    current_master_number_scheduled: int = 0
    master_number_ready: int = 0
    desired_worker_number_scheduled: int = 0
    current_worker_number_scheduled: int = 0
    worker_number_ready: int = 0
    worker_number_available: int = 0
    worker_number_unavailable: int = 0
    desired_fuse_number_scheduled: int = 0
    current_fuse_number_scheduled: int = 0
    fuse_number_ready: int = 0
    fuse_number_available: int = 0
    fuse_number_unavailable: int = 0
    setup_duration: str = ""
    conditions: list[DataCondition] = []
    cache_states: dict[str, str] = {}
    selector: str = ""
    api_gateway: Raw = {}
    mount_time: Annotated[str, schema(format="date-time")] = ""
    mounts: list[Mount] = []
    cache_affinity: Raw = {}
    observed_generation: Annotated[int, schema(format="int64")] = 0
