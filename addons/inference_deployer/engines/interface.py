"""What an engine plug-in is: something that turns a workload into a pod template.

Entry-point group `boundaryless.engines`. An engine answers OpenAI's API on `PORT` of the pod's own address
and GET /health with 200 once it can answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

PORT = 8000
MODEL_PATH = "/models"
COMPILED_PATH = "/var/lib/boundaryless/compiled"


class EngineSpecError(ValueError):
    """The engine cannot be started like that; the message begins with the field below `spec.engine`."""


@dataclass(frozen=True)
class Workload:
    """One model on one cluster, as an engine needs to know it."""

    name: str
    namespace: str
    model: str  # the name that clients ask for
    claim: str  # the PersistentVolumeClaim that holds the model's files at its root
    compiled: str = ""  # the node's directory for what engines of this model have compiled; empty: none
    dataload: str = ""  # the DataLoad to wait for; empty when the data is read through
    image: str = ""
    args: Sequence[str] = ()
    env: Sequence[Mapping[str, Any]] = ()
    launcher: str = "shared"
    launcher_config: str = ""  # the ConfigMap that holds the launcher's files
    resources: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = ""


class Engine(Protocol):
    """An engine plug-in."""

    def pod_template(self, workload: Workload) -> dict[str, Any]:
        """The pod template of its Deployment. Pure: same workload, same template. Raises EngineSpecError."""
        ...
