"""What the kinds of runtimes have alike: images, tiers, status."""

from __future__ import annotations

from typing import Annotated

from addon_framework.api.data.dataset import DataCondition, Mount
from addon_framework.api.meta import Raw, Struct, schema


class VersionSpec(Struct, frozen=True):
    """An image."""

    image: str = ""
    image_tag: str = ""
    image_pull_policy: str = ""


class Level(Struct, frozen=True):
    """A tier of cache. `path` and `quota_list` may hold several, separated by commas."""

    mediumtype: Annotated[str, schema(required=True, enum=["MEM", "SSD", "HDD"])] = ""
    volume_type: Annotated[str, schema(default="hostPath", enum=["hostPath", "emptyDir"])] = "hostPath"
    volume_source: Raw = {}
    path: Annotated[str, schema(minLength=1)] = ""
    quota: Annotated[str | None, schema(int_or_string=True)] = None
    quota_list: str = ""
    high: str = ""
    low: str = ""


class TieredStore(Struct, frozen=True):
    """Where the cache is kept."""

    levels: list[Level] = []


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
