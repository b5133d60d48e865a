"""What the demo measured: the talk's table, its ratios, and the timeline behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

# The talk this project grew from, in seconds: server ready through s3fs, preload + start, warm scale-out.
TALK = {"s3fs": 147.0, "dataset preload": 50.0 + 23.8, "scale-out, warm": 14.5}


@dataclass(frozen=True)
class Span:
    """One bar of the timeline; seconds since the row began."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Row:
    """One way to get a model served. Seconds; `sum_s` is wall time from the user's request to ready.

    `engine` is how it started: stock, cold (one import, while the data loads) or warm (forked by a process
    that has imported already).
    """

    name: str
    cluster: str
    engine: str
    data_load_s: float
    model_loading_s: float
    server_ready_s: float
    sum_s: float
    spans: Sequence[Span] = field(default=())


@dataclass
class Report:
    """The demo's result, as `result.json` has it."""

    model_mb: int
    link: str
    runtime: str
    rows: list[Row]
    completion: str
    clusters: list[str]

    def ratios(self) -> dict[str, float]:
        """Each row's wall time over that of the first in the same run; and the talk's, where it has both."""
        base, *others = self.rows
        ratios = {}
        for row in others:
            ratios[f"{row.name} / {base.name}"] = round(row.sum_s / base.sum_s, 3)
            if row.name in TALK and base.name in TALK:
                ratios[f"{row.name} / {base.name}, in the talk"] = round(TALK[row.name] / TALK[base.name], 3)
        preload = next((row for row in self.rows if row.name == "dataset preload"), None)
        if preload and preload.sum_s:
            apart = preload.data_load_s + preload.server_ready_s
            ratios["dataset preload / its data load and server start one after the other"] = round(
                preload.sum_s / apart, 3
            )
        return ratios

    def write(self, directory: Path) -> None:
        """`result.json` and `timeline.png`."""
        directory.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = asdict(self) | {"ratios": self.ratios()}
        (directory / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        _draw(
            self.rows,
            f"{self.model_mb} MB over {self.link}, {self.runtime} cache",
            directory / "timeline.png",
        )

    def table(self) -> Table:
        """For the terminal."""
        from rich.table import Table

        table = Table(title=f"{self.model_mb} MB model, link {self.link}, {self.runtime} cache (seconds)")
        table.add_column("")
        table.add_column("cluster")
        table.add_column("engine")
        base, ratios = self.rows[0].name, self.ratios()
        measured = ("data load", "model loading", "server ready", "sum", f"/ {base}")
        for heading in (*measured, *([f"talk's / {base}"] if base in TALK else [])):
            table.add_column(heading, justify="right")
        for row in self.rows:
            seconds = (row.data_load_s, row.model_loading_s, row.server_ready_s, row.sum_s)
            ratio = ratios.get(f"{row.name} / {base}", 1)
            talk = ratios.get(f"{row.name} / {base}, in the talk", 1 if row.name == base else None)
            cells = [
                row.name,
                row.cluster,
                row.engine,
                *(f"{value:.1f}" for value in seconds),
                f"{ratio:.2f}",
            ]
            if base in TALK:
                cells.append(f"{talk:.2f}" if talk else "")
            table.add_row(*cells)
        return table


_COLOURS = {
    "schedule": "#bab0ac",
    "data load": "#4e79a7",
    "engine start": "#f28e2b",
    "wait for data": "#edc948",
    "engine set-up": "#b07aa1",
    "weights": "#e15759",
    "server start": "#59a14f",
}


def _draw(rows: Sequence[Row], title: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    figure, axes = pyplot.subplots(figsize=(11, 0.9 + 1.0 * len(rows)))
    for index, row in enumerate(rows):
        for span in row.spans:
            # The data's bar lies above the engine's, so that what runs at the same time is seen to.
            above = span.label == "data load"
            axes.barh(
                index + (-0.2 if above else 0.2),
                span.end - span.start,
                left=span.start,
                height=0.36,
                color=_COLOURS.get(span.label, "#999999"),
            )
        axes.text(row.sum_s, index + 0.2, f" {row.sum_s:.1f} s", va="center", fontsize=10)
    axes.set_yticks(range(len(rows)), [f"{row.name}\n({row.cluster}, {row.engine})" for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(row.sum_s for row in rows) * 1.1)
    axes.set_xlabel("seconds since the replica was asked for")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        handles=[Patch(color=colour, label=label) for label, colour in _COLOURS.items()], loc="lower right"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
