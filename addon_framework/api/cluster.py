"""cluster.open-cluster-management.io: clusters, sets of them, placements and scores.

https://github.com/open-cluster-management-io/api/tree/main/cluster
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.meta import (
    REQUIRED,
    Conditions,
    Definition,
    LabelSelector,
    ObjectMeta,
    Raw,
    RawList,
    Resource,
    Struct,
    schema,
)

GROUP = "cluster.open-cluster-management.io"
_AGE = ("Age", "date", ".metadata.creationTimestamp")


def _condition(type_: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].status'


# ManagedCluster


class ClientConfig(Struct, frozen=True):
    """Where the cluster's own API server is; informational."""

    url: Annotated[str, REQUIRED] = ""
    ca_bundle: Annotated[str, schema(format="byte")] = ""


class Taint(Struct, frozen=True):
    """Keeps placements away from a cluster unless they tolerate it."""

    key: Annotated[str, schema(required=True, maxLength=316)] = ""
    value: Annotated[str, schema(maxLength=1024)] = ""
    effect: Annotated[str, schema(required=True, enum=["NoSelect", "PreferNoSelect", "NoSelectIfNew"])] = ""
    time_added: Annotated[str | None, schema(format="date-time", nullable=True)] = None


class ManagedClusterSpec(Struct, frozen=True):
    """`hub_accepts_client` is the administrator's half of the double opt-in."""

    managed_cluster_client_configs: list[ClientConfig] = []
    hub_accepts_client: bool = False
    lease_duration_seconds: Annotated[int, schema(default=60, format="int32")] = 60
    taints: list[Taint] = []


class ManagedClusterVersion(Struct, frozen=True):
    """The cluster's Kubernetes version."""

    kubernetes: str = ""


class ClusterClaimValue(Struct, frozen=True):
    """A claim as the hub sees it."""

    name: Annotated[str, schema(maxLength=253, minLength=1)] = ""
    value: Annotated[str, schema(maxLength=1024, minLength=1)] = ""


Quantities = Annotated[dict[str, str], schema(quantities=True)]


class ManagedClusterStatus(Struct, frozen=True):
    """What the registration agent reports."""

    conditions: Conditions = []
    capacity: Quantities = {}
    allocatable: Quantities = {}
    version: ManagedClusterVersion | None = None
    cluster_claims: list[ClusterClaimValue] = []
    managed_namespaces: RawList = []


class ManagedCluster(Struct, frozen=True):
    """A cluster of the fleet."""

    RESOURCE: ClassVar = Resource(GROUP, "v1", "managedclusters", "ManagedCluster", namespaced=False)
    DEFINITION: ClassVar = Definition(
        short_names=("mcl", "mcls"),
        columns=(
            ("Hub Accepted", "boolean", ".spec.hubAcceptsClient"),
            ("Managed Cluster URLs", "string", ".spec.managedClusterClientConfigs[*].url"),
            ("Joined", "string", _condition("ManagedClusterJoined")),
            ("Available", "string", _condition("ManagedClusterConditionAvailable")),
            _AGE,
        ),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: ManagedClusterSpec = ManagedClusterSpec()
    status: ManagedClusterStatus = ManagedClusterStatus()


# Sets


class ClusterSelector(Struct, frozen=True):
    """Which clusters are in a set: those labelled with its name, or those that a selector matches."""

    selector_type: Annotated[
        str, schema(default="ExclusiveClusterSetLabel", enum=["ExclusiveClusterSetLabel", "LabelSelector"])
    ] = "ExclusiveClusterSetLabel"
    label_selector: LabelSelector | None = None


class ManagedClusterSetSpec(Struct, frozen=True):
    """Unset means by exclusive label."""

    cluster_selector: Annotated[
        ClusterSelector, schema(default={"selectorType": "ExclusiveClusterSetLabel"})
    ] = ClusterSelector()
    managed_namespaces: RawList = []


class ConditionsStatus(Struct, frozen=True):
    """A status of conditions only."""

    conditions: Conditions = []


class ManagedClusterSet(Struct, frozen=True):
    """A set of clusters, to be bound to namespaces."""

    RESOURCE: ClassVar = Resource(
        GROUP, "v1beta2", "managedclustersets", "ManagedClusterSet", namespaced=False
    )
    DEFINITION: ClassVar = Definition(
        short_names=("mclset", "mclsets"),
        columns=(("Empty", "string", _condition("ClusterSetEmpty")), _AGE),
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: ManagedClusterSetSpec = ManagedClusterSetSpec()
    status: ConditionsStatus = ConditionsStatus()


class ManagedClusterSetBindingSpec(Struct, frozen=True):
    """The set, which must be the binding's own name."""

    cluster_set: Annotated[str, schema(minLength=1)] = ""


class ManagedClusterSetBinding(Struct, frozen=True):
    """Lets the placements of a namespace choose from a set."""

    RESOURCE: ClassVar = Resource(GROUP, "v1beta2", "managedclustersetbindings", "ManagedClusterSetBinding")
    DEFINITION: ClassVar = Definition(short_names=("mclsetbinding", "mclsetbindings"))

    metadata: ObjectMeta = ObjectMeta()
    spec: ManagedClusterSetBindingSpec = ManagedClusterSetBindingSpec()
    status: ConditionsStatus = ConditionsStatus()


# Placement


class ClusterClaimSelector(Struct, frozen=True):
    """Like a label selector's expressions, on claims."""

    match_expressions: Annotated[list[Raw], schema(preserve=True)] = []


class ClusterCelSelector(Struct, frozen=True):
    """All expressions must be true; `managedCluster` is the variable."""

    cel_expressions: list[str] = []


class ClusterClusterSelector(Struct, frozen=True):
    """All three must match."""

    label_selector: LabelSelector | None = None
    claim_selector: ClusterClaimSelector | None = None
    cel_selector: ClusterCelSelector | None = None


class ClusterPredicate(Struct, frozen=True):
    """One of a placement's alternatives."""

    required_cluster_selector: ClusterClusterSelector | None = None


class AddOnScore(Struct, frozen=True):
    """A score by resource and name."""

    resource_name: Annotated[str, REQUIRED] = ""
    score_name: Annotated[str, REQUIRED] = ""


class ScoreCoordinate(Struct, frozen=True):
    """Which score: a built-in one, or one an add-on publishes."""

    type: Annotated[str, schema(required=True, default="BuiltIn", enum=["BuiltIn", "AddOn"])] = "BuiltIn"
    built_in: str = ""
    add_on: AddOnScore | None = None


class PrioritizerConfig(Struct, frozen=True):
    """A score and its weight."""

    score_coordinate: Annotated[ScoreCoordinate, REQUIRED] = ScoreCoordinate()
    weight: Annotated[int, schema(default=1, minimum=-10, maximum=10, format="int32")] = 1


class PrioritizerPolicy(Struct, frozen=True):
    """Additive starts from Balance and Steady, Exact from nothing."""

    mode: Annotated[str, schema(default="Additive", enum=["Additive", "Exact"])] = "Additive"
    configurations: list[PrioritizerConfig] = []


class SpreadConstraint(Struct, frozen=True):
    """How evenly decisions spread over a topology."""

    topology_key: Annotated[str, REQUIRED] = ""
    topology_key_type: Annotated[str, schema(required=True, enum=["Label", "Claim"])] = ""
    max_skew: Annotated[int, schema(default=1, minimum=1, format="int32")] = 1
    when_unsatisfiable: Annotated[
        str, schema(default="ScheduleAnyway", enum=["DoNotSchedule", "ScheduleAnyway"])
    ] = "ScheduleAnyway"


class SpreadPolicy(Struct, frozen=True):
    """At most eight constraints."""

    spread_constraints: Annotated[list[SpreadConstraint], schema(maxItems=8)] = []


class Toleration(Struct, frozen=True):
    """Which taints do not keep this placement away."""

    key: Annotated[str, schema(maxLength=316)] = ""
    operator: Annotated[str, schema(default="Equal", enum=["Equal", "Exists"])] = "Equal"
    value: Annotated[str, schema(maxLength=1024)] = ""
    effect: Annotated[str, schema(enum=["NoSelect", "PreferNoSelect", "NoSelectIfNew"])] = ""
    toleration_seconds: Annotated[int | None, schema(format="int64")] = None


class DecisionGroup(Struct, frozen=True):
    """The selected clusters that a selector matches, as one group."""

    group_name: Annotated[str, schema(required=True, pattern=r"^[a-zA-Z0-9][-a-zA-Z0-9_.]*[a-zA-Z0-9]?$")] = (
        ""
    )
    group_cluster_selector: Annotated[Raw, schema(required=True, preserve=True)] = {}


class GroupStrategy(Struct, frozen=True):
    """How decisions are cut into groups."""

    decision_groups: list[DecisionGroup] = []
    clusters_per_decision_group: Annotated[
        int | str,
        schema(default="100%", int_or_string=True, pattern=r"^((100|[1-9][0-9]{0,1})%|[1-9][0-9]*)$"),
    ] = "100%"


class DecisionStrategy(Struct, frozen=True):
    """How decisions are cut into groups."""

    group_strategy: GroupStrategy = GroupStrategy()


class PlacementSpec(Struct, frozen=True):
    """Which clusters, how many, in which order."""

    cluster_sets: list[str] = []
    number_of_clusters: Annotated[int | None, schema(format="int32")] = None
    predicates: list[ClusterPredicate] = []
    prioritizer_policy: PrioritizerPolicy | None = None
    spread_policy: SpreadPolicy | None = None
    tolerations: list[Toleration] = []
    decision_strategy: DecisionStrategy | None = None
    sort_by: Annotated[str, schema(enum=["ClusterName", "Score"])] = ""
    score_rate_limit: Annotated[str, schema(pattern=r"^[0-9]+[hms]$")] = ""


class DecisionGroupStatus(Struct, frozen=True):
    """Where a group's decisions are."""

    decision_group_index: Annotated[int, schema(format="int32")] = 0
    decision_group_name: str = ""
    decisions: list[str] = []
    cluster_count: Annotated[int, schema(default=0, format="int32")] = 0


class PlacementStatus(Struct, frozen=True):
    """How far the placement is satisfied."""

    number_of_selected_clusters: Annotated[int, schema(format="int32")] = 0
    decision_groups: list[DecisionGroupStatus] = []
    conditions: Conditions = []


class Placement(Struct, frozen=True):
    """A choice of clusters that is kept up to date."""

    RESOURCE: ClassVar = Resource(GROUP, "v1beta1", "placements", "Placement")
    DEFINITION: ClassVar = Definition(
        columns=(
            ("Succeeded", "string", _condition("PlacementSatisfied")),
            ("Reason", "string", '.status.conditions[?(@.type=="PlacementSatisfied")].reason'),
            ("SelectedClusters", "integer", ".status.numberOfSelectedClusters"),
        )
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[PlacementSpec, REQUIRED] = PlacementSpec()
    status: PlacementStatus = PlacementStatus()


class ClusterDecision(Struct, frozen=True):
    """One selected cluster."""

    cluster_name: Annotated[str, REQUIRED] = ""
    reason: Annotated[str, REQUIRED] = ""
    score: Annotated[int | None, schema(format="int64")] = None


class PlacementDecisionStatus(Struct, frozen=True):
    """At most a hundred."""

    decisions: Annotated[list[ClusterDecision], schema(required=True, maxItems=100)] = []


class PlacementDecision(Struct, frozen=True):
    """A slice of a placement's result; read all with the placement's label."""

    RESOURCE: ClassVar = Resource(GROUP, "v1beta1", "placementdecisions", "PlacementDecision")
    DEFINITION: ClassVar = Definition()

    metadata: ObjectMeta = ObjectMeta()
    status: PlacementDecisionStatus = PlacementDecisionStatus()


# Scores and claims


class AddOnPlacementScoreItem(Struct, frozen=True):
    """A score from -100 to 100."""

    name: Annotated[str, REQUIRED] = ""
    value: Annotated[int, schema(required=True, minimum=-100, maximum=100, format="int32")] = 0


class AddOnPlacementScoreStatus(Struct, frozen=True):
    """Valid until a time, or for ever."""

    scores: Annotated[list[AddOnPlacementScoreItem], schema(list_map_keys=["name"])] = []
    valid_until: Annotated[str | None, schema(format="date-time")] = None
    conditions: Conditions = []


class AddOnPlacementScore(Struct, frozen=True):
    """What an add-on says of a cluster; lives in the cluster's namespace."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "addonplacementscores", "AddOnPlacementScore")
    DEFINITION: ClassVar = Definition()

    metadata: ObjectMeta = ObjectMeta()
    status: AddOnPlacementScoreStatus = AddOnPlacementScoreStatus()


class ClusterClaimSpec(Struct, frozen=True):
    """The claim's value."""

    value: Annotated[str, schema(minLength=1, maxLength=1024)] = ""


class ClusterClaim(Struct, frozen=True):
    """A fact about a cluster, kept on it and copied to the hub."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "clusterclaims", "ClusterClaim", namespaced=False)
    DEFINITION: ClassVar = Definition(status=False, places=("spoke",))

    metadata: ObjectMeta = ObjectMeta()
    spec: ClusterClaimSpec = ClusterClaimSpec()


KINDS = (
    ManagedCluster,
    ManagedClusterSet,
    ManagedClusterSetBinding,
    Placement,
    PlacementDecision,
    AddOnPlacementScore,
    ClusterClaim,
)
