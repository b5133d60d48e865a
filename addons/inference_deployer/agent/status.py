"""The status of an InferenceEndpoint from the objects it is made of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from addon_framework.api.conditions import get_condition, is_true, set_condition
from addon_framework.api.meta import Json
from addons.cache_runtime.agent.names import BYPASSED, SLOWER
from addons.inference_deployer.agent.timeline import timeline
from addons.inference_deployer.engines.interface import PORT
from addons.inference_deployer.kinds import REVISION_ANNOTATION

UNREADABLE = "SourceUnreadable"  # instead of a phase of the data, and a reason of Datasets and their loads
PENDING, LOADING, STARTING, READY = "Pending", "Loading", "Starting", "Ready"
DEGRADED, FAILED = "Degraded", "Failed"
_WORDS = 300  # characters of a log's line
# Reasons for which a container waits that do not go away by waiting.
STUCK = {
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"),
}


@dataclass(frozen=True)
class Parts:
    """What an endpoint consists of, as last seen; None is what is not there."""

    deployment: Json | None = None
    service: Json | None = None
    dataset: Json | None = None
    load: Json | None = None
    host: Json | None = None  # the DaemonSet of its engine host
    pods: Sequence[Json] = field(default=())


@dataclass(frozen=True)
class Problem:
    """Why it is not ready; `final` when waiting alone will not help."""

    message: str
    final: bool = False


def endpoint_status(endpoint: Json, parts: Parts, *, now: str | None = None) -> Json:
    """The whole status; only scalars besides the conditions, since feedback carries nothing else."""
    pods = [pod for pod in parts.pods if not pod["metadata"].get("deletionTimestamp")]
    ready = sum(is_true(pod, "Ready") for pod in pods)
    data, cached = _data(endpoint, parts)
    problem = None if _complete(parts) else _problem(endpoint, parts, pods, data)
    phase = _phase(parts, pods, ready, data, problem)
    message = problem.message if problem is not None else ""
    conditions = [dict(c) for c in (endpoint.get("status") or {}).get("conditions") or []]
    generation = endpoint["metadata"].get("generation", 0)
    set_condition(conditions, "Ready", phase == READY, phase, message, generation=generation, now=now)
    status: Json = {
        "observedGeneration": generation,
        "conditions": conditions,
        "phase": phase,
        "message": message,
        "readyReplicas": ready,
        "endpoint": _address(parts.service),
        "revision": _revision(parts.deployment),
        "dataPhase": UNREADABLE if _unreadable(parts) else data,
        "cachedPercentage": cached,
        "cacheAdvice": _advice(parts.dataset or {}),
        "engineHost": _host(parts.host),
        "timeline": timeline(pods, parts.load),
    }
    return {name: value for name, value in status.items() if value != ""}


def _complete(parts: Parts) -> bool:
    """Whether the Deployment's controller has seen the newest spec and every replica of it is ready."""
    deployment = parts.deployment
    if deployment is None or not _revision(deployment):
        return False
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    return all(
        (status.get(count) or 0) == wanted for count in ("replicas", "updatedReplicas", "readyReplicas")
    )


def _revision(deployment: Json | None) -> str:
    """The revision that the Deployment's status speaks of; empty while that lags behind."""
    if deployment is None:
        return ""
    observed = (deployment.get("status") or {}).get("observedGeneration", 0)
    if observed < deployment["metadata"].get("generation", 0):
        return ""
    return str((deployment["metadata"].get("annotations") or {}).get(REVISION_ANNOTATION, ""))


def _data(endpoint: Json, parts: Parts) -> tuple[str, str]:
    """The phase of the data (Complete or Ready when it is there), and how much of it is cached."""
    dataset = (parts.dataset or {}).get("status") or {}
    cached = str((dataset.get("cacheStates") or {}).get("cachedPercentage") or "")
    if endpoint["spec"].get("dataLoad"):
        return str(((parts.load or {}).get("status") or {}).get("phase") or PENDING), cached
    phase = str(dataset.get("phase") or PENDING)
    return (READY if phase == "Bound" else phase), cached


def _advice(dataset: Json) -> str:
    """How slow the cache is, if it is slower than its source, and what replicas read instead."""
    slower, bypassed = get_condition(dataset, SLOWER), get_condition(dataset, BYPASSED)
    if slower is None or slower["status"] != "True":
        return ""
    read = bypassed["message"] if bypassed is not None else "spec.cache.bypass: auto has replicas read a copy"
    return f"{slower['message']}; {read}"


def _host(host: Json | None) -> str:
    """Ready when every node that serves has one that has imported."""
    if host is None:
        return ""
    status = host.get("status") or {}
    wanted = status.get("desiredNumberScheduled") or 0
    current = status.get("observedGeneration", 0) >= host["metadata"].get("generation", 0)
    return READY if current and 0 < wanted <= (status.get("numberReady") or 0) else STARTING


def _phase(parts: Parts, pods: Sequence[Json], ready: int, data: str, problem: Problem | None) -> str:
    if _complete(parts) and ready:
        return READY
    if ready:
        return DEGRADED if problem is not None else STARTING
    if problem is not None and problem.final:
        return FAILED
    if data not in (READY, "Complete"):
        return LOADING
    return STARTING if any(is_true(pod, "PodScheduled") for pod in pods) else PENDING


def _address(service: Json | None) -> str:
    """Where the Service answers: what the load balancer got, or the address inside the cluster."""
    if service is None:
        return ""
    ports = service["spec"].get("ports") or [{}]
    port = ports[0].get("port", PORT)
    ingress = (((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}])[0]
    host = ingress.get("ip") or ingress.get("hostname") or service["spec"].get("clusterIP")
    if not host or host == "None":
        return ""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _problem(endpoint: Json, parts: Parts, pods: Sequence[Json], data: str) -> Problem | None:
    """The first reason found, those that need somebody before those that may pass."""
    spec = endpoint["spec"]
    if data == "Failed":
        what = f"DataLoad {spec['dataLoad']}" if spec.get("dataLoad") else f"Dataset {spec.get('dataset')}"
        source = parts.load if spec.get("dataLoad") else parts.dataset
        return Problem(f"{what} failed{_said(source)}", final=True)
    if why := _unreadable(parts):
        return Problem(f"the source of the model cannot be read: {why}")
    if parts.deployment is None:
        return Problem(f"Deployment {spec['deployment']} is not there yet")
    failure = get_condition(parts.deployment, "ReplicaFailure")
    if failure is not None and failure["status"] == "True":
        return Problem(f"Deployment {spec['deployment']}: {failure.get('message', '')}")
    problems = [found for pod in pods if (found := _pod_problem(pod)) is not None]
    problems.sort(key=lambda problem: not problem.final)
    if problems:
        return problems[0]
    if parts.dataset is None and spec.get("dataset"):
        return Problem(f"Dataset {spec['dataset']} is not there yet")
    return None


def _unreadable(parts: Parts) -> str:
    """Why the data's source cannot be read, if it cannot: it may be read again without anybody's help."""
    failed = get_condition(parts.load or {}, "Failed") or {}
    listed = get_condition(parts.dataset or {}, "Initialized") or {}
    if failed.get("reason") == UNREADABLE and failed["status"] == "True":
        return str(failed.get("message") or UNREADABLE)
    if listed.get("reason") == UNREADABLE and listed["status"] == "False":
        return str(listed.get("message") or UNREADABLE)
    return ""


def _said(source: Json | None) -> str:
    """The newest condition's own words."""
    conditions = ((source or {}).get("status") or {}).get("conditions") or []
    words = [c.get("message") or c.get("reason") for c in conditions if c.get("status") == "True"]
    return f": {words[-1]}" if words and words[-1] else ""


def _pod_problem(pod: Json) -> Problem | None:
    name = pod["metadata"]["name"]
    if is_true(pod, "Ready"):
        return None
    scheduled = get_condition(pod, "PodScheduled")
    if scheduled is not None and scheduled["status"] == "False":
        reason = scheduled.get("reason") or "not scheduled"
        return Problem(f"Pod {name} is {reason}: {scheduled.get('message', '')}")
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("state") or {}).get("terminated") or {}
        ended = ended or (container.get("lastState") or {}).get("terminated") or {}
        words = _last(ended.get("message") or "") or waiting.get("message") or ""
        if waiting.get("reason") in STUCK:
            code = f", last exit code {ended['exitCode']}" if "exitCode" in ended else ""
            text = f"Pod {name}: {waiting['reason']}{code}"
            return Problem(f"{text}: {words}" if words else text, final=True)
        if ended.get("exitCode"):
            restarts = container.get("restartCount", 0)
            text = f"Pod {name}: the engine ended with exit code {ended['exitCode']}, {restarts} restarts"
            return Problem(f"{text}: {words}" if words else text)
        if waiting.get("message") and waiting.get("reason") != "PodInitializing":
            return Problem(f"Pod {name}: {waiting.get('reason')}: {waiting['message']}")
    if status.get("phase") == "Failed":
        return Problem(f"Pod {name} failed: {status.get('message') or status.get('reason') or ''}")
    return None


def _last(log: str) -> str:
    """The last line for people of what a kubelet keeps of a log; others are the launcher's reports."""
    lines = (line.strip() for line in reversed(log.splitlines()))
    return next((line for line in lines if line and not line.startswith("{")), "")[:_WORDS]
