"""The controllers of registration, in one list."""

from __future__ import annotations

from collections.abc import Iterable

from addon_framework.hub.registration.clusters import ClusterController
from addon_framework.hub.registration.csr import CsrController
from addon_framework.hub.registration.features import FeatureController
from addon_framework.hub.registration.leases import LeaseController
from addon_framework.hub.registration.sets import (
    BindingController,
    ClusterSetController,
    DefaultSetController,
    SetLabelController,
)
from addon_framework.hub.registration.taints import TaintController
from addon_framework.kube import Controller


def registration_controllers(*, auto_approve_users: Iterable[str] = ()) -> list[Controller]:
    """All of them; `auto_approve_users` may have the first certificate of a cluster without a person."""
    return [
        ClusterController(),
        LeaseController(),
        TaintController(),
        FeatureController(),
        CsrController(frozenset(auto_approve_users)),
        DefaultSetController(),
        SetLabelController(),
        ClusterSetController(),
        BindingController(),
    ]
