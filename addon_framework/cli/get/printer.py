"""Tables for people, documents for machines; both on stdout and nothing beside them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from addon_framework.api.meta import Json
from addon_framework.api.names import CLUSTER_NAME_LABEL
from addon_framework.cli.get.view import Row, View, age

FORMATS = ("wide", "json", "yaml", "name")
_COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
_GAP = "   "


class Table:
    """Prints rows under one heading; columns keep the width that the first rows needed."""

    def __init__(self, view: View, wide: bool) -> None:
        self._view, self._wide = view, wide
        self._widths: list[int] = []

    def print(self, rows: Sequence[Row], *, ages: Sequence[str] = ()) -> None:
        """The rows, after the heading if they are the first. `ages` says something else than the age."""
        lines = [
            [*self._view.cells(row, self._wide), ages[index] if ages else age(row.obj)]
            for index, row in enumerate(rows)
        ]
        if not self._widths and lines:
            headings = self._view.headings(self._wide)
            self._widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
            self._line(headings, [False] * len(headings))
        for line in lines:
            self._line(line, self._view.states(self._wide))

    def _line(self, cells: Sequence[str], states: Sequence[bool]) -> None:
        padded = [
            click.style(cell.ljust(width), fg=_COLOURS.get(cell)) if state else cell.ljust(width)
            for cell, width, state in zip(cells, self._widths, states, strict=True)
        ]
        click.echo(_GAP.join(padded).rstrip())


def print_documents(view: View, rows: Sequence[Row], output: str, *, whole: bool) -> None:
    """As JSON, YAML or names; with `whole` a List even of one."""
    objects = [_complete(view, row) for row in rows]
    if output == "name":
        resource = view.resource
        for obj in objects:
            click.echo(f"{resource.kind.lower()}.{resource.group}/{obj['metadata']['name']}")
        return
    document = (
        objects[0]
        if len(objects) == 1 and not whole
        else {"apiVersion": "v1", "kind": "List", "items": objects}
    )
    print_document(document, output)


def print_document(document: Json | list[Json], output: str) -> None:
    """One document."""
    if output == "json":
        import orjson

        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        import yaml

        click.echo("---\n" + yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


def _complete(view: View, row: Row) -> Json:
    """Items of a list say neither kind nor version, those of spokes not whose they are: a label does here.
    Field managers interest nobody."""
    metadata = {name: value for name, value in row.obj["metadata"].items() if name != "managedFields"}
    if row.cluster:
        metadata["labels"] = {**(metadata.get("labels") or {}), CLUSTER_NAME_LABEL: row.cluster}
    resource = view.resource
    return {"apiVersion": resource.api_version, "kind": resource.kind, **row.obj, "metadata": metadata}
