"""data.fluid.io: datasets, the runtimes that cache them, and operations on them; and our own LocalRuntime.

Wire-compatible with https://github.com/fluid-cloudnative/fluid (api/v1alpha1).
"""

from addon_framework.api.data.alluxio import AlluxioRuntime
from addon_framework.api.data.cacheruntime import CacheRuntime, CacheRuntimeClass
from addon_framework.api.data.dataset import GROUP, Dataset, EncryptOption
from addon_framework.api.data.efc import EFCRuntime
from addon_framework.api.data.jindo import JindoRuntime
from addon_framework.api.data.juicefs import JuiceFSRuntime
from addon_framework.api.data.local import LOCAL_GROUP, LocalRuntime
from addon_framework.api.data.operations import DataBackup, DataLoad, DataMigrate, DataProcess
from addon_framework.api.data.thin import ThinRuntime, ThinRuntimeProfile
from addon_framework.api.data.vineyard import VineyardRuntime

KINDS = (
    Dataset,
    JuiceFSRuntime,
    ThinRuntime,
    ThinRuntimeProfile,
    LocalRuntime,
    AlluxioRuntime,
    JindoRuntime,
    EFCRuntime,
    VineyardRuntime,
    CacheRuntime,
    CacheRuntimeClass,
    DataLoad,
    DataMigrate,
    DataBackup,
    DataProcess,
)

__all__ = [
    "GROUP",
    "KINDS",
    "LOCAL_GROUP",
    "AlluxioRuntime",
    "CacheRuntime",
    "CacheRuntimeClass",
    "DataBackup",
    "DataLoad",
    "DataMigrate",
    "DataProcess",
    "Dataset",
    "EFCRuntime",
    "EncryptOption",
    "JindoRuntime",
    "JuiceFSRuntime",
    "LocalRuntime",
    "ThinRuntime",
    "ThinRuntimeProfile",
    "VineyardRuntime",
]
