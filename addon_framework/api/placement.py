"""placement.boundaryless.io: why a placement decided as it did.

OCM's Placement has no field for it, and a hub's API server prunes what its CRD does not name. A thousand
clusters would also make the Placement itself heavy for everybody who watches it. So the placement's own
status has one line (condition PlacementExplained), its decisions have a reason each, and all the rest is
here, in an object of the same name that nobody has to watch and that goes with the placement.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from addon_framework.api.meta import REQUIRED, Definition, ObjectMeta, Resource, Struct, schema

GROUP = "placement.boundaryless.io"


class Rejection(Struct, frozen=True):
    """One reason, and every cluster that it kept out."""

    reason: Annotated[str, REQUIRED] = ""
    clusters: Annotated[list[str], REQUIRED] = []


class FilterStep(Struct, frozen=True):
    """A filter, in the order in which they were asked."""

    name: Annotated[str, REQUIRED] = ""
    passed: Annotated[int, schema(required=True, format="int32")] = 0
    rejected: list[Rejection] = []


class Prioritizer(Struct, frozen=True):
    """A prioritizer that had a say."""

    name: Annotated[str, REQUIRED] = ""
    weight: Annotated[int, schema(required=True, format="int32")] = 0


class Ranked(Struct, frozen=True):
    """A cluster that passed the filters. `scores` are in the order of the prioritizers, before weighing.

    `note` says what else counted; without one, who is not chosen has others before it.
    """

    cluster: Annotated[str, REQUIRED] = ""
    chosen: bool = False
    total: Annotated[int, schema(required=True, format="int64")] = 0
    scores: list[int] = []
    note: str = ""


class ExplanationStatus(Struct, frozen=True):
    """A decision as it was made, filter by filter and score by score, best cluster first."""

    decided: Annotated[str, schema(format="date-time")] = ""
    generation: Annotated[int, schema(format="int64")] = 0
    summary: str = ""
    cluster_sets: list[str] = []
    filters: list[FilterStep] = []
    prioritizers: list[Prioritizer] = []
    ranking: list[Ranked] = []
    warnings: list[str] = []


class PlacementExplanation(Struct, frozen=True):
    """Of the Placement with the same name. Made anew when the decision or a rejection changes."""

    RESOURCE: ClassVar = Resource(GROUP, "v1alpha1", "placementexplanations", "PlacementExplanation")
    DEFINITION: ClassVar = Definition(
        short_names=("pex",),
        columns=(
            ("Summary", "string", ".status.summary"),
            ("Decided", "date", ".status.decided"),
        ),
        status=False,
    )

    metadata: ObjectMeta = ObjectMeta()
    status: ExplanationStatus = ExplanationStatus()


KINDS = (PlacementExplanation,)
