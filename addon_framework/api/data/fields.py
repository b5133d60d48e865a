"""Fields that several kinds have, each described once."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from addon_framework.api.meta import Raw, RawList, schema

Image = Annotated[
    str, Meta(description="Image, without its tag. Default: the one that is usual for this part.")
]
ImageTag = Annotated[str, Meta(description="Tag of the image.")]
PullPolicy = Annotated[
    str, Meta(description="Always, IfNotPresent or Never. Default: as Kubernetes has it for the image's tag.")
]
PullSecrets = Annotated[
    RawList, Meta(description="Secrets of the namespace, by name, with which images are pulled.")
]
EnvList = Annotated[RawList, Meta(description="Environment variables, as in a Pod's container.")]
EnvMap = Annotated[dict[str, str], Meta(description="Environment variables: values by name.")]
Resources = Annotated[
    Raw,
    Meta(
        description="CPU, memory and more of the container: requests and limits, as in a Pod. Default: none."
    ),
]
NodeSelector = Annotated[
    dict[str, str], Meta(description="Labels that a node must have for these pods. Default: every node.")
]
Tolerations = Annotated[
    RawList, Meta(description="Taints of nodes that do not keep these pods away, as in a Pod.")
]
Affinity = Annotated[Raw, Meta(description="Where the pods may or should run, as in a Pod.")]
Volumes = Annotated[
    RawList, Meta(description="Volumes for the pods, as in a Pod; `volumeMounts` of the parts mount them.")
]
VolumeMounts = Annotated[
    RawList, Meta(description="Where the container has which of `volumes`, as in a Pod's container.")
]
Properties = Annotated[
    dict[str, str], Meta(description="The program's own properties, by name. They win over the defaults.")
]
JvmOptions = Annotated[list[str], Meta(description="Options of its Java machine, such as -Xmx4g.")]
Ports = Annotated[
    dict[str, int],
    Meta(
        description="Ports by name, instead of the usual ones. In the nodes' network, without one: a free "
        "port from 20000 to 25999."
    ),
]
PortList = Annotated[RawList, Meta(description="Ports of the container, as in a Pod's container.")]
NetworkMode = Annotated[
    str,
    schema(enum=["HostNetwork", "", "ContainerNetwork"]),
    Meta(
        description="HostNetwork: the pods are in their node's network, which is the default. "
        "ContainerNetwork: they have addresses of their own."
    ),
]
Replicas = Annotated[
    int, schema(minimum=1, format="int32"), Meta(description="How many there are. Default: 1.")
]
Workers = Annotated[
    int,
    schema(format="int32"),
    Meta(description="How many workers, each on a node of its own, share the cache. 0 is 1."),
]
CleanPolicy = Annotated[
    str,
    Meta(
        description="When the client on a node goes: OnRuntimeDeleted (with the runtime or Dataset), "
        "OnDemand (with the last pod there that uses the Dataset) or OnFuseChanged (likewise, if the client "
        "has changed since it started). With any of them clients start only where pods use the "
        "Dataset; without one they are on every node that fits, from the beginning."
    ),
]
DisablePrometheus = Annotated[
    bool, Meta(description="True: the pods get no annotations by which Prometheus finds their metrics.")
]
Schedule = Annotated[
    str,
    Meta(description="With policy Cron, which needs it: when to run, in cron's five fields, in UTC."),
]
Policy = Annotated[
    str,
    schema(default="Once", enum=["Once", "Cron", "OnEvent"]),
    Meta(
        description="Once; Cron: by `schedule`; OnEvent: whenever the listing of the Dataset's source "
        "changes (looked at every 10 seconds)."
    ),
]
TtlSeconds = Annotated[
    int | None,
    schema(format="int32"),
    Meta(
        description="Seconds after its end until the object is deleted, once all that run after it have seen "
        "that. With a schedule: until its Jobs are. Default: never."
    ),
]
