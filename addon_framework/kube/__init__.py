"""Talking to Kubernetes: a client, informers, work queues, controllers and the manager that runs them.

A controller names what it watches and makes one key true::

    class Labels(Controller):
        def watches(self):
            return [Watch(CONFIGMAPS, label_selector="app=demo")]

        async def reconcile(self, key):
            config = self.cache(CONFIGMAPS, label_selector="app=demo").get(key)
            ...

    manager = Manager(client, name="labels")
    manager.add(Labels())
    await manager.run()
"""

from addon_framework.kube.apply import covers, merge_patch, patch_status
from addon_framework.kube.client import Client
from addon_framework.kube.config import ClientConfig, ConfigError, in_cluster_config, load_kubeconfig
from addon_framework.kube.controller import Controller, Watch, came_or_went
from addon_framework.kube.crds import apply_crds, install_crds, is_ours
from addon_framework.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unauthorized,
    Unreachable,
)
from addon_framework.kube.informer import Informer
from addon_framework.kube.key import Key, key_of
from addon_framework.kube.lease import LeaderElector
from addon_framework.kube.manager import Manager
from addon_framework.kube.queue import WorkQueue
from addon_framework.kube.wait import WaitTimeoutError, until_reached, wait_for

__all__ = [
    "AlreadyExists",
    "ApiError",
    "Client",
    "ClientConfig",
    "ConfigError",
    "Conflict",
    "Controller",
    "Forbidden",
    "Gone",
    "Informer",
    "Invalid",
    "Key",
    "LeaderElector",
    "Manager",
    "NotFound",
    "Unauthorized",
    "Unreachable",
    "WaitTimeoutError",
    "Watch",
    "WorkQueue",
    "apply_crds",
    "came_or_went",
    "covers",
    "in_cluster_config",
    "install_crds",
    "is_ours",
    "key_of",
    "load_kubeconfig",
    "merge_patch",
    "patch_status",
    "until_reached",
    "wait_for",
]
