"""vLLM's command line, as far as the launcher must know it."""

from __future__ import annotations


def option(arguments: list[str], name: str, default: str | None = None) -> str | None:
    """The value of --name in a vLLM command line, in either spelling."""
    value = default
    for i, argument in enumerate(arguments):
        if argument == name and i + 1 < len(arguments):
            value = arguments[i + 1]
        elif argument.startswith(name + "="):
            value = argument[len(name) + 1 :]
    return value


def with_option(arguments: list[str], name: str, value: str) -> list[str]:
    """The same command line with --name set to a value."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == name:
            skip = True
        elif not argument.startswith(name + "="):
            kept.append(argument)
    return [*kept, name, value]
