"""work.open-cluster-management.io: what the hub wants on a cluster, and what the cluster says of it.

https://github.com/open-cluster-management-io/api/tree/main/work
"""

from __future__ import annotations

import fnmatch
from typing import Annotated, Any, ClassVar

import msgspec

from addon_framework.api.meta import (
    REQUIRED,
    Conditions,
    Definition,
    Json,
    ObjectMeta,
    Raw,
    Resource,
    Struct,
    schema,
)

GROUP = "work.open-cluster-management.io"
MAX_MANIFEST_BYTES = 500 * 1024  # of all manifests of a work; OCM's webhook refuses more


class ManifestsTemplate(Struct, frozen=True):
    """The objects to apply, as they are."""

    manifests: Annotated[list[Annotated[Json, schema(embedded=True)]], schema()] = []


class OrphaningRule(Struct, frozen=True):
    """Objects that stay when the work goes; all four must be equal."""

    group: str = ""
    resource: Annotated[str, REQUIRED] = ""
    namespace: str = ""
    name: Annotated[str, REQUIRED] = ""


class SelectivelyOrphan(Struct, frozen=True):
    """Which objects stay."""

    orphaning_rules: list[OrphaningRule] = []


class DeleteOption(Struct, frozen=True):
    """What becomes of the objects when the work goes."""

    propagation_policy: Annotated[
        str, schema(default="Foreground", enum=["Foreground", "Orphan", "SelectivelyOrphan"])
    ] = "Foreground"
    selectively_orphans: SelectivelyOrphan | None = None
    ttl_seconds_after_finished: Annotated[int | None, schema(minimum=0, format="int64")] = None


class ResourceIdentifier(Struct, frozen=True):
    """One applied object, or several with `*` in name or namespace."""

    group: str = ""
    resource: Annotated[str, REQUIRED] = ""
    namespace: str = ""
    name: Annotated[str, REQUIRED] = ""


def matches(identifier: Json, obj: Json) -> bool:
    """Whether an entry's resourceIdentifier means the object: group, resource, namespace, name of it."""
    return all((identifier.get(part) or "") == obj[part] for part in ("group", "resource")) and all(
        _same(identifier.get(part) or "", obj[part]) for part in ("namespace", "name")
    )


def _same(pattern: str, value: str) -> bool:
    """`*` stands for anything; nothing else is special."""
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]").replace("?", "[?]"))


class JsonPath(Struct, frozen=True):
    """A value to report; `path` has no braces."""

    name: Annotated[str, REQUIRED] = ""
    version: str = ""
    path: Annotated[str, REQUIRED] = ""


class FeedbackRule(Struct, frozen=True):
    """Which values of an object's status come back."""

    type: Annotated[str, schema(required=True, enum=["WellKnownStatus", "JSONPaths"])] = ""
    json_paths: Annotated[list[JsonPath], schema(list_map_keys=["name"])] = []


class IgnoreField(Struct, frozen=True):
    """Fields that server-side apply leaves to others."""

    condition: Annotated[str, schema(default="OnSpokePresent", enum=["OnSpokePresent", "OnSpokeChange"])] = (
        "OnSpokePresent"
    )
    json_paths: list[str] = []
    json_pointers: list[str] = []
    jq_path_expressions: list[str] = []


class ServerSideApply(Struct, frozen=True):
    """How to apply."""

    force: bool = False
    field_manager: Annotated[str, schema(default="work-agent", pattern="^work-agent")] = "work-agent"
    ignore_fields: list[IgnoreField] = []


class UpdateStrategy(Struct, frozen=True):
    """What to do when the object is there already."""

    type: Annotated[
        str,
        schema(required=True, default="Update", enum=["Update", "CreateOnly", "ServerSideApply", "ReadOnly"]),
    ] = "Update"
    server_side_apply: ServerSideApply | None = None


class ConditionRule(Struct, frozen=True):
    """A condition of the manifest computed from the object."""

    condition: Annotated[str, REQUIRED] = ""
    type: Annotated[str, schema(required=True, enum=["WellKnownConditions", "CEL"])] = ""
    cel_expressions: list[str] = []
    message: str = ""
    message_expression: str = ""


class ManifestConfigOption(Struct, frozen=True):
    """What is special about some of the manifests."""

    resource_identifier: Annotated[ResourceIdentifier, REQUIRED] = ResourceIdentifier()
    feedback_rules: list[FeedbackRule] = []
    feedback_scrape_type: Annotated[str, schema(default="Poll", enum=["Poll", "Watch"])] = "Poll"
    update_strategy: UpdateStrategy | None = None
    condition_rules: list[ConditionRule] = []


class ManifestWorkSpec(Struct, frozen=True):
    """Objects for one cluster."""

    workload: ManifestsTemplate = ManifestsTemplate()
    delete_option: DeleteOption | None = None
    manifest_configs: list[ManifestConfigOption] = []
    executor: Raw = {}


class ResourceMeta(Struct, frozen=True):
    """Which object a manifest became. `ordinal` is its index in the spec."""

    ordinal: Annotated[int, schema(format="int32")] = 0
    group: str = ""
    version: str = ""
    kind: str = ""
    resource: str = ""
    name: str = ""
    namespace: str = ""


class FieldValue(Struct, frozen=True):
    """A scalar, in the field of its type."""

    type: Annotated[str, schema(required=True, enum=["Integer", "String", "Boolean", "JsonRaw"])] = ""
    integer: Annotated[int | None, schema(format="int64")] = None
    string: str | None = None
    boolean: bool | None = None
    json_raw: Annotated[str | None, schema(maxLength=1024)] = None


class FeedbackValue(Struct, frozen=True):
    """A named value from a manifest's status."""

    name: Annotated[str, REQUIRED] = ""
    field_value: Annotated[FieldValue, REQUIRED] = FieldValue()


class StatusFeedback(Struct, frozen=True):
    """The values that feedback rules asked for."""

    values: list[FeedbackValue] = []


class ManifestCondition(Struct, frozen=True):
    """How one manifest fares."""

    resource_meta: Annotated[ResourceMeta, REQUIRED] = ResourceMeta()
    status_feedback: StatusFeedback = StatusFeedback()
    conditions: Annotated[Conditions, schema(list_map_keys=["type"])] = []


class ManifestResourceStatus(Struct, frozen=True):
    """All manifests."""

    manifests: list[ManifestCondition] = []


class ManifestWorkStatus(Struct, frozen=True):
    """What the work agent reports."""

    conditions: Conditions = []
    resource_status: ManifestResourceStatus = ManifestResourceStatus()


class ManifestWork(Struct, frozen=True):
    """Objects that the hub wants on a cluster; lives in the cluster's namespace."""

    RESOURCE: ClassVar = Resource(GROUP, "v1", "manifestworks", "ManifestWork")
    DEFINITION: ClassVar = Definition(
        columns=(
            ("Applied", "string", '.status.conditions[?(@.type=="Applied")].status'),
            ("Available", "string", '.status.conditions[?(@.type=="Available")].status'),
            ("Age", "date", ".metadata.creationTimestamp"),
        )
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ManifestWorkSpec, REQUIRED] = ManifestWorkSpec()
    status: ManifestWorkStatus = ManifestWorkStatus()


class AppliedResource(Struct, frozen=True):
    """An object that a work made and owns."""

    group: str = ""
    resource: str = ""
    version: Annotated[str, REQUIRED] = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class AppliedManifestWorkSpec(Struct, frozen=True):
    """Which work, of which hub."""

    hub_hash: Annotated[str, REQUIRED] = ""
    agent_id: str = msgspec.field(default="", name="agentID")
    manifest_work_name: Annotated[str, REQUIRED] = ""


class AppliedManifestWorkStatus(Struct, frozen=True):
    """What is owned."""

    applied_resources: list[AppliedResource] = []
    eviction_start_time: Annotated[str | None, schema(format="date-time")] = None


class AppliedManifestWork(Struct, frozen=True):
    """The spoke's book-keeping of a ManifestWork: owner of all that it applied."""

    RESOURCE: ClassVar = Resource(
        GROUP, "v1", "appliedmanifestworks", "AppliedManifestWork", namespaced=False
    )
    DEFINITION: ClassVar = Definition(places=("spoke",))

    metadata: ObjectMeta = ObjectMeta()
    spec: AppliedManifestWorkSpec = AppliedManifestWorkSpec()
    status: AppliedManifestWorkStatus = AppliedManifestWorkStatus()


class PlacementReference(Struct, frozen=True):
    """A placement in the same namespace and how to roll out over it."""

    name: Annotated[str, REQUIRED] = ""
    rollout_strategy: Raw = {}


class ManifestWorkReplicaSetSpec(Struct, frozen=True):
    """One work for every cluster of some placements."""

    manifest_work_template: Annotated[ManifestWorkSpec, REQUIRED] = ManifestWorkSpec()
    placement_refs: Annotated[list[PlacementReference], schema(required=True, minItems=1)] = []
    cascade_deletion_policy: Annotated[
        str, schema(default="Background", enum=["Background", "Foreground"])
    ] = "Background"


class ManifestWorkReplicaSetStatus(Struct, frozen=True):
    """How far it is."""

    conditions: Conditions = []
    summary: Raw = {}
    placement_summary: Annotated[list[dict[str, Any]], schema(preserve=True)] = []


class ManifestWorkReplicaSet(Struct, frozen=True):
    """A ManifestWork fanned out."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "manifestworkreplicasets", "ManifestWorkReplicaSet")
    DEFINITION: ClassVar = Definition(
        short_names=("mwrs",),
        columns=(
            ("Placement", "string", '.status.conditions[?(@.type=="PlacementVerified")].reason'),
            ("Found", "string", '.status.conditions[?(@.type=="PlacementVerified")].status'),
            ("ManifestWorks", "string", '.status.conditions[?(@.type=="ManifestworkApplied")].reason'),
            ("Applied", "string", '.status.conditions[?(@.type=="ManifestworkApplied")].status'),
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ManifestWorkReplicaSetSpec, REQUIRED] = ManifestWorkReplicaSetSpec()
    status: ManifestWorkReplicaSetStatus = ManifestWorkReplicaSetStatus()


KINDS = (ManifestWork, AppliedManifestWork, ManifestWorkReplicaSet)
