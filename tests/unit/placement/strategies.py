"""Random hubs and placements, close enough together that everything about a decision happens often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.parity.case import GROUP, SET_LABEL
from tests.parity.oracle import Hub
from tests.unit.placement.deciders import CEL

Json = dict[str, Any]
NOW = datetime(2026, 8, 1, tzinfo=UTC)
NAMES = [f"c{i}" for i in range(7)]
SETS = ("one", "two", "gpu")
KEYS, VALUES = ("region", "zone"), ("eu", "us")


def _maybe(strategy: Any) -> Any:
    return st.one_of(st.none(), strategy)


def _some(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


def _at(seconds: int) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


pairs = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
quantities = st.one_of(
    st.integers(0, 40).map(str),
    st.integers(1, 40_000).map(lambda n: f"{n}m"),
    st.integers(1, 64).map(lambda n: f"{n}Gi"),
    st.integers(1, 70_000).map(lambda n: f"{n}Mi"),
)
resources = _some(cpu=quantities, memory=quantities)
taints = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["k", "l"]),
            "effect": st.sampled_from(["NoSelect", "NoSelectIfNew", "PreferNoSelect"]),
        },
        optional={
            "value": st.sampled_from(["v", "w"]),
            "timeAdded": st.integers(-40, 0).map(_at),
        },
    ),
    max_size=2,
)


def _cluster(name: str, labels: Json, member: str | None, taint: list[Json], status: Json) -> Json:
    if member:
        labels = {**labels, SET_LABEL: member}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taint}, "status": status}


statuses = _some(
    allocatable=resources,
    capacity=resources,
    clusterClaims=pairs.map(lambda found: [{"name": k, "value": v} for k, v in found.items()]),
    version=st.sampled_from(["v1.29.4", "v1.31.0"]).map(lambda text: {"kubernetes": text}),
)
clusters = st.lists(st.sampled_from(NAMES), unique=True, max_size=7).flatmap(
    lambda names: st.tuples(
        *(
            st.builds(
                _cluster, st.just(name), pairs, st.sampled_from(["one", "one", "two", None]), taints, statuses
            )
            for name in names
        )
    ).map(list)
)
cluster_sets = [
    {"metadata": {"name": "one"}, "spec": {}},
    {"metadata": {"name": "two"}, "spec": {"clusterSelector": {"selectorType": "ExclusiveClusterSetLabel"}}},
    {
        "metadata": {"name": "gpu"},
        "spec": {
            "clusterSelector": {
                "selectorType": "LabelSelector",
                "labelSelector": {"matchLabels": {"zone": "eu"}},
            }
        },
    },
]
bindings = st.lists(st.sampled_from((*SETS, "absent")), unique=True).map(
    lambda names: [{"metadata": {"name": n, "namespace": "ns"}, "spec": {"clusterSet": n}} for n in names]
)


def score_object(name: str, resource: str, items: Json, until: int | None) -> Json:
    """An AddOnPlacementScore."""
    status: Json = {"scores": [{"name": k, "value": v} for k, v in items.items()]}
    if until is not None:
        status["validUntil"] = _at(until)
    return {"metadata": {"name": resource, "namespace": name}, "status": status}


items = st.dictionaries(st.sampled_from(["gpu", "cpu"]), st.integers(-100, 100))
score = st.builds(
    score_object,
    st.sampled_from(NAMES),
    st.sampled_from(["parity", "cost"]),
    items,
    _maybe(st.sampled_from([-20, -1, 0, 1, 20])),
)
scores = st.lists(score, unique_by=lambda s: (s["metadata"]["namespace"], s["metadata"]["name"]), max_size=10)


def decision(namespace: str, placement: str, number: int, names: list[str]) -> Json:
    """A PlacementDecision."""
    return {
        "metadata": {
            "name": f"{placement}-decision-{number}",
            "namespace": namespace,
            "labels": {f"{GROUP}/placement": placement},
            "resourceVersion": "1",
        },
        "status": {"decisions": [{"clusterName": n} for n in names]},
    }


decisions = st.lists(
    st.builds(
        decision,
        st.sampled_from(["ns", "ns", "elsewhere"]),
        st.sampled_from(["p", "q", "r"]),
        st.integers(1, 2),
        st.lists(st.sampled_from(NAMES), unique=True),
    ),
    unique_by=lambda d: (d["metadata"]["namespace"], d["metadata"]["name"]),
    max_size=5,
)
hubs = st.builds(
    Hub,
    clusters=clusters,
    sets=st.just(cluster_sets),
    bindings=bindings,
    scores=scores,
    decisions=decisions,
    cel=st.just(CEL),
)

expressions = st.one_of(
    st.builds(
        lambda k, o, v: {"key": k, "operator": o, "values": v},
        st.sampled_from(KEYS),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(VALUES), min_size=0, max_size=2),
    ),
    st.builds(
        lambda k, o: {"key": k, "operator": o},
        st.sampled_from(KEYS),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
label_selectors = _some(matchLabels=pairs, matchExpressions=st.lists(expressions, max_size=1))
claim_selectors = _some(matchExpressions=st.lists(expressions, max_size=1))
predicates = st.lists(
    _some(
        labelSelector=label_selectors,
        claimSelector=claim_selectors,
        celSelector=st.lists(st.sampled_from(list(CEL)), max_size=1).map(lambda e: {"celExpressions": e}),
    ).map(lambda selector: {"requiredClusterSelector": selector}),
    max_size=2,
)
tolerations = st.lists(
    _some(
        key=st.sampled_from(["k", "l"]),
        operator=st.sampled_from(["Exists", "Exists", "Equal"]),
        value=st.sampled_from(["", "", "", "v"]),
        effect=st.sampled_from(["NoSelect", "NoSelectIfNew"]),
        tolerationSeconds=st.integers(0, 40),
    ),
    max_size=2,
)
BUILT_IN = ["Balance", "Steady", "ResourceAllocatableCPU", "ResourceAllocatableMemory"]
coordinates = st.one_of(
    st.sampled_from([*BUILT_IN, *BUILT_IN, *BUILT_IN, "Spread"]).map(
        lambda name: {"type": "BuiltIn", "builtIn": name}
    ),
    st.builds(
        lambda r, s: {"type": "AddOn", "addOn": {"resourceName": r, "scoreName": s}},
        st.sampled_from(["parity", "cost", "none"]),
        st.sampled_from(["gpu", "cpu"]),
    ),
)
policies = _some(
    mode=st.sampled_from(["Additive", "Exact"]),
    configurations=st.lists(
        st.builds(
            lambda c, w: {"scoreCoordinate": c, **({} if w is None else {"weight": w})},
            coordinates,
            _maybe(st.integers(-10, 10)),
        ),
        max_size=4,
    ),
)
groups = st.lists(
    st.builds(
        lambda name, selector: {"groupName": name, "groupClusterSelector": selector},
        st.sampled_from(["canary", "second"]),
        _some(labelSelector=label_selectors, claimSelector=claim_selectors),
    ),
    max_size=2,
)
strategies = _some(
    clustersPerDecisionGroup=st.one_of(st.integers(1, 8), st.integers(1, 100).map(lambda n: f"{n}%")),
    decisionGroups=groups,
).map(lambda strategy: {"groupStrategy": strategy})
constraints = st.lists(
    st.builds(
        lambda key, kind, skew, when: {
            "topologyKey": key,
            "topologyKeyType": kind,
            "maxSkew": skew,
            "whenUnsatisfiable": when,
        },
        st.sampled_from(KEYS),
        st.sampled_from(["Label", "Claim"]),
        st.integers(1, 2),
        st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    ),
    max_size=2,
)
specs = _some(
    clusterSets=st.lists(st.sampled_from(SETS), unique=True),
    numberOfClusters=st.integers(0, 8),
    predicates=predicates,
    tolerations=tolerations,
    prioritizerPolicy=policies,
    decisionStrategy=strategies,
)
beyond_ocm = st.builds(
    lambda spec, more: {**spec, **more},
    specs,
    _some(
        sortBy=st.sampled_from(["ClusterName", "Score"]),
        spreadPolicy=constraints.map(lambda found: {"spreadConstraints": found}),
    ),
)


def placement(spec: Json) -> Json:
    """The placement that every property is about."""
    return {"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}
