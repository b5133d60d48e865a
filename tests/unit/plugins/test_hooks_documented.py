"""Hooks are the public API: each one is documented, on the page for authors too, and used in a test."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from addon_framework.plugins import Hooks

ROOT = Path(__file__).parents[3]
HOOKS = sorted(name for name in vars(Hooks) if not name.startswith("_"))


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_says_what_it_is_for_and_has_typed_arguments(name: str) -> None:
    hook = getattr(Hooks, name)
    assert len(inspect.getdoc(hook) or "") > 20
    untyped = [p for p in inspect.signature(hook).parameters if p != "self" and p not in hook.__annotations__]
    assert not untyped
    assert "return" in hook.__annotations__


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_in_the_table_for_authors(name: str) -> None:
    page = (ROOT / "docs" / "write-an-add-on.md").read_text()
    assert f"| `{name}` |" in page


def test_the_table_has_no_other_hooks() -> None:
    page = (ROOT / "docs" / "write-an-add-on.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_implemented_in_a_test_where_controllers_run(name: str) -> None:
    called = re.compile(rf"@hookimpl\s+(async )?def {name}\(|call\(\s*\"{name}\"")
    files = [p for p in (ROOT / "tests").rglob("test_*.py") if p != Path(__file__)]
    files += [ROOT / "tests" / "integration" / "spoke" / "greeter.py"]
    assert any(called.search(path.read_text()) for path in files), f"no test implements or calls {name}"
