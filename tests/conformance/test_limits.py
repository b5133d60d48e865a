"""LimitRanges (50): what they say of containers that say nothing, and what they refuse."""

from __future__ import annotations

import pytest

from addon_framework.api.meta import Json
from tests.conformance.api import Api
from tests.conformance.limited import at, claim, container, limit, noticed, pod, refusal


async def test_50_a_limit_range_says_what_containers_do_not(api: Api, namespace: str) -> None:
    await limit(api, namespace, {"type": "Container", "default": {"cpu": "500m"}, "min": {"memory": "64Mi"}})
    said = (await api.get(at(namespace, "limitranges", "limits"))).ok()["spec"]["limits"][1]
    assert said["default"] == {"cpu": "500m"}
    assert said["defaultRequest"] == {"cpu": "500m", "memory": "64Mi"}
    body = pod("p", container("a", requests={"cpu": "100m"}), container("b"), initContainers=[container("i")])
    made = (await api.post(at(namespace, "pods"), body)).ok(201)
    first, second = (each["resources"] for each in made["spec"]["containers"])
    assert first == {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
    assert second == {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m", "memory": "64Mi"}}
    assert made["spec"]["initContainers"][0]["resources"] == second
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: memory request for container a; cpu limit for container a; "
        "cpu, memory request for container b; cpu limit for container b; "
        "cpu, memory request for init container i; cpu limit for init container i"
    )
    assert made["status"]["qosClass"] == "Burstable"


CPU: Json = {
    "type": "Container",
    "max": {"cpu": "2"},
    "min": {"cpu": "100m"},
    "maxLimitRequestRatio": {"cpu": "4"},
}
POD: Json = {"type": "Pod", "max": {"memory": "1Gi"}, "min": {"memory": "10Mi"}}


@pytest.mark.parametrize(
    ("item", "containers", "why"),
    [
        (CPU, [{"requests": {"cpu": "50m"}, "limits": {"cpu": "150m"}}],
         "minimum cpu usage per Container is 100m, but request is 50m"),
        (CPU, [{"requests": {"cpu": "0.7"}, "limits": {"cpu": "2500m"}}],
         "maximum cpu usage per Container is 2, but limit is 2500m"),
        (CPU, [{"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}],
         "cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000"),
        (CPU, [{"limits": {"cpu": "50m"}}],
         "minimum cpu usage per Container is 100m, but request is 50m"),
        (CPU, [{"requests": {"cpu": "10m"}, "limits": {"cpu": "50m"}}],
         "[minimum cpu usage per Container is 100m, but request is 10m, "
         "cpu max limit to request ratio per Container is 4, but provided ratio is 5.000000]"),
        (CPU | {"min": {"cpu": "0"}}, [{"requests": {"cpu": "0"}}],
         "cpu max limit to request ratio per Container is 4, but no request is specified or request is 0"),
        (POD, [{}], "[minimum memory usage per Pod is 10Mi.  No request is specified, "
         "maximum memory usage per Pod is 1Gi.  No limit is specified]"),
        (POD, [{"limits": {"memory": "600Mi"}}, {"limits": {"memory": "600Mi"}}],
         "maximum memory usage per Pod is 1Gi, but limit is 1200Mi"),
        (POD, [{"limits": {"memory": "5M"}}], "minimum memory usage per Pod is 10Mi, but request is 5M"),
    ],
)  # fmt: skip
async def test_50_a_limit_range_refuses(
    api: Api, namespace: str, item: Json, containers: list[Json], why: str
) -> None:
    await limit(api, namespace, item)
    body = pod("p", *(container(f"c{index}", **each) for index, each in enumerate(containers)))
    assert refusal(await api.post(at(namespace, "pods"), body), "pods", "p") == why


async def test_50_a_limit_range_refuses_claims_also_when_they_grow(api: Api, namespace: str) -> None:
    item = {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}
    body = {"metadata": {"name": "limits"}, "spec": {"limits": [item]}}
    (await api.post(at(namespace, "limitranges"), body)).ok(201)
    claims = at(namespace, "persistentvolumeclaims")
    await noticed(api, claims, claim("small", "1Mi"))
    small, large = [await api.post(claims, claim("c", size)) for size in ("0.5Gi", "3Gi")]
    kind = "storage usage per PersistentVolumeClaim is"
    assert refusal(small, "persistentvolumeclaims", "c") == f"minimum {kind} 1Gi, but request is 512Mi"
    assert refusal(large, "persistentvolumeclaims", "c") == f"maximum {kind} 2Gi, but request is 3Gi"
    (await api.post(claims, claim("c", "2Gi"))).ok(201)
