"""How a replica's timeline becomes a row of the demo's table."""

from __future__ import annotations

import pytest

from addon_framework.cli.demo.report import Report, Row
from addon_framework.cli.demo.scenario import COPIED_FIRST, row_from_timeline

COLD = {
    "replica": "demo-1",
    "mode": "cold",
    "scheduled": 1000.0,
    "processStart": 1000.4,
    "dataLoadStart": 1000.5,
    "dataLoaded": 1004.5,
    "dataReady": 1004.6,
    "imported": 1008.4,
    "weightsStart": 1009.0,
    "weightsLoaded": 1009.6,
    "weightsSeconds": 0.55,
    "serving": 1010.2,
    "ready": 1010.25,
}


def test_a_row_begins_when_the_user_asked() -> None:
    row = row_from_timeline("dataset preload", "cluster1", COLD, began=999.75)
    assert row.sum_s == pytest.approx(10.5)
    assert row.data_load_s == pytest.approx(4.0)
    assert row.model_loading_s == pytest.approx(0.55)
    assert row.server_ready_s == pytest.approx(9.85)


def test_data_that_loads_while_the_engine_starts_overlaps_it() -> None:
    row = row_from_timeline("dataset preload", "cluster1", COLD, began=999.75)
    spans = {span.label: span for span in row.spans}
    assert spans["data load"].start < spans["engine start"].end
    assert "wait for data" not in spans  # it was there before the engine was
    assert spans["engine set-up"].start == pytest.approx(spans["engine start"].end)
    assert max(span.end for span in row.spans) == pytest.approx(row.sum_s)


def test_an_engine_that_is_early_waits_for_its_data() -> None:
    late = COLD | {"dataLoaded": 1008.8, "dataReady": 1008.9}
    spans = {span.label: span for span in row_from_timeline("x", "c", late, began=1000.0).spans}
    assert spans["wait for data"].end - spans["wait for data"].start == pytest.approx(0.5)


def test_a_stock_engine_starts_when_its_data_is_there() -> None:
    stock = COLD | {"mode": "stock", "imported": COLD["weightsStart"]}
    row = row_from_timeline("copy, then vLLM", "cluster1", stock, began=999.75)
    assert row.server_ready_s == pytest.approx(1010.25 - 1004.6)
    spans = {span.label: span for span in row.spans}
    assert spans["engine start"].start == pytest.approx(spans["wait for data"].end)


def test_data_loaded_before_the_request_costs_it_nothing() -> None:
    row = row_from_timeline("scale-out, warm", "cluster1", COLD, began=1005.0)
    assert row.data_load_s == 0
    assert "data load" not in {span.label for span in row.spans}


def test_without_root_the_baseline_is_named_as_what_it_is() -> None:
    rows = [Row(name, "c", "stock", 1, 0.1, 8, total) for name, total in ((COPIED_FIRST, 10), ("x", 5))]
    report = Report(500, "none", "local", rows, "text", ["c"])
    assert report.ratios() == {"x / copy, then vLLM": 0.5}
    headings = [str(column.header) for column in report.table().columns]
    assert headings[-1] == "/ copy, then vLLM"  # the talk has no such row to compare with


def test_ratios_are_of_wall_time_to_the_baseline_of_the_same_run() -> None:
    def row(name: str, total: float, load: float = 0, ready: float = 0) -> Row:
        return Row(name, "c", "cold", load, 0.1, ready, total)

    rows = [row("s3fs", 40), row("dataset preload", 10, load=4, ready=9), row("scale-out, warm", 2)]
    ratios = Report(500, "1gbit", "local", rows, "text", ["c"]).ratios()
    assert ratios["dataset preload / s3fs"] == 0.25
    assert ratios["scale-out, warm / s3fs"] == 0.05
    assert ratios["dataset preload / its data load and server start one after the other"] == pytest.approx(
        10 / 13, abs=0.001
    )
