"""data.fluid.io: datasets, the runtimes that cache them, and operations on them; and our own LocalRuntime.

Wire-compatible with https://github.com/fluid-cloudnative/fluid (api/v1alpha1).
"""

from addon_framework.api.data.dataset import GROUP, Dataset, EncryptOption
from addon_framework.api.data.operations import DataLoad, DataMigrate, DataProcess
from addon_framework.api.data.runtimes import (
    LOCAL_GROUP,
    JuiceFSRuntime,
    LocalRuntime,
    ThinRuntime,
    ThinRuntimeProfile,
)

KINDS = (
    Dataset,
    JuiceFSRuntime,
    ThinRuntime,
    ThinRuntimeProfile,
    LocalRuntime,
    DataLoad,
    DataMigrate,
    DataProcess,
)

__all__ = [
    "GROUP",
    "KINDS",
    "LOCAL_GROUP",
    "DataLoad",
    "DataMigrate",
    "DataProcess",
    "Dataset",
    "EncryptOption",
    "JuiceFSRuntime",
    "LocalRuntime",
    "ThinRuntime",
    "ThinRuntimeProfile",
]
