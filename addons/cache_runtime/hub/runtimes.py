"""The runtimes that a person may name by a word. Light: fleetadm --help loads it."""

from __future__ import annotations

from addon_framework.api.data import GROUP, LOCAL_GROUP
from addon_framework.api.meta import Json

DATA = f"{GROUP}/v1alpha1"
# a runtime's short name -> apiVersion, kind and spec of its object
RUNTIMES: dict[str, tuple[str, str, Json]] = {
    "local": (f"{LOCAL_GROUP}/v1alpha1", "LocalRuntime", {"replicas": 1}),
    "juicefs": (DATA, "JuiceFSRuntime", {"replicas": 1}),
    "s3fs": (DATA, "ThinRuntime", {"replicas": 1, "profileName": "s3fs"}),
    "rclone": (DATA, "ThinRuntime", {"replicas": 1, "profileName": "rclone"}),
}
UNCACHED = ("s3fs", "rclone")  # they keep nothing that a DataLoad could fill
