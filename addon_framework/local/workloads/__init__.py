"""The controllers that turn workloads into pods on nodes, and services into endpoints."""

from addon_framework.kube import Controller
from addon_framework.local.events import Recorder
from addon_framework.local.workloads.autoscaling import AutoscalerController
from addon_framework.local.workloads.claims import ClaimController, VolumeController
from addon_framework.local.workloads.cronjobs import CronJobController
from addon_framework.local.workloads.daemonsets import DaemonSetController
from addon_framework.local.workloads.deployments import DeploymentController
from addon_framework.local.workloads.disruption import DisruptionController
from addon_framework.local.workloads.endpoints import EndpointController
from addon_framework.local.workloads.jobs import JobController
from addon_framework.local.workloads.replicasets import ReplicaSetController
from addon_framework.local.workloads.scheduler import Scheduler
from addon_framework.local.workloads.statefulsets import StatefulSetController


def controllers(recorder: Recorder) -> list[Controller]:
    """One of each."""
    return [
        DeploymentController(recorder.named("deployment-controller")),
        ReplicaSetController(recorder.named("replicaset-controller")),
        DaemonSetController(recorder.named("daemonset-controller")),
        StatefulSetController(recorder.named("statefulset-controller")),
        JobController(recorder.named("job-controller")),
        CronJobController(recorder.named("cronjob-controller")),
        AutoscalerController(recorder.named("horizontal-pod-autoscaler")),
        DisruptionController(recorder.named("controllermanager")),
        EndpointController(),
        ClaimController(recorder.named("persistentvolume-controller")),
        VolumeController(),
        Scheduler(recorder.named("default-scheduler")),
    ]
