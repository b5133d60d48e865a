"""The command `get` and one subcommand per kind."""

from __future__ import annotations

from typing import Any

import click

from addon_framework.cli.connect import Failure, NotThere, Where, cluster_options, run
from addon_framework.cli.get.printer import FORMATS, Table, print_documents
from addon_framework.cli.get.view import View
from addon_framework.cli.get.views import VIEWS


class Kinds(click.Group):
    """Also knows a kind by its singular and by what kubectl calls it."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """By any of its names."""
        named = {also: view.name for view in VIEWS for also in view.also}
        return super().get_command(ctx, named.get(cmd_name, cmd_name))


@click.group(cls=Kinds)
def get() -> None:
    """Show what there is and how it fares.

    Without -n, of all namespaces. With -o json or yaml and a NAME that only one object has, that object;
    otherwise a List. Exit code 4 when NAME is not there.

    \b
    Example:
      fleetadm get clusters
      fleetadm get inference demo -o json
    """


def _command(view: View) -> click.Command:
    def callback(
        where: Where,
        name: str | None,
        output: str | None,
        watch: bool,
        namespace: str | None = None,
        all_namespaces: bool = False,
        clusters: tuple[str, ...] = (),
    ) -> None:
        from addon_framework.cli.get.source import Question

        if namespace and all_namespaces:
            raise click.UsageError("-n and -A exclude each other.")
        if output == "explain":
            if not name:
                raise click.UsageError("-o explain needs a NAME.")
            return run(lambda: _explain(where, namespace, name))
        question = Question(view, namespace, name, clusters)
        return run(lambda: _show(where, question, output or "", watch))

    function: Any = callback
    function = click.option("-w", "--watch", is_flag=True, help="Stay, and show what changes.")(function)
    formats = click.Choice((*FORMATS, "explain") if view.explains else FORMATS)
    function = click.option("-o", "--output", type=formats, help="Another form than a table.")(function)
    if view.spokes:
        function = click.option(
            "--cluster", "clusters", multiple=True, help="Only on this spoke; may be repeated. [all]"
        )(function)
    if view.resource.namespaced:
        flag = click.option("-A", "--all-namespaces", is_flag=True, help="Of all namespaces, as without -n.")
        function = flag(function)
        option = click.option(
            "-n", "--namespace", help="Only of this namespace; on the hub a cluster has one."
        )
        function = option(function)
    function = cluster_options(function)
    function = click.argument("name", required=False)(function)
    text = f"{view.about}\n\n\b\nExample:\n  {view.example}"
    return click.command(view.name, help=text, short_help=view.about)(function)


async def _explain(where: Where, namespace: str | None, name: str) -> None:
    from addon_framework.cli.get.explain import print_explanation

    async with where.client() as client:
        await print_explanation(client, namespace, name)


async def _show(where: Where, question: Any, output: str, watch: bool) -> None:
    from addon_framework.cli.get.source import opened

    view = question.view
    table = Table(view, output == "wide")
    async with opened(where, question) as source:
        rows = await source.rows()
        for problem in source.problems:
            click.echo(f"Error: {problem}", err=True)
        if question.name and not rows and not watch and not source.problems:
            place = f" in namespace {question.namespace}" if question.namespace else ""
            raise NotThere(f"{view.name}: {question.name} does not exist{place}")
        if output in ("json", "yaml", "name"):
            if rows or not watch:
                print_documents(view, rows, output, whole=question.name is None)
        elif rows:
            table.print(rows)
        elif not watch and not source.problems:
            click.echo(f"No {view.name}.", err=True)
        if watch:
            async for row, gone in source.changes(rows):
                if output in ("json", "yaml", "name"):
                    print_documents(view, [row], output, whole=False)
                else:
                    table.print([row], ages=["gone"] if gone else ())
        if source.problems:
            raise click.exceptions.Exit(Failure.exit_code)


for _view in VIEWS:
    get.add_command(_command(_view))
