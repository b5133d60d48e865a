"""Hooks that hang, raise anything, or return nonsense cost the plug-in its say, and the caller nothing."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from addon_framework.plugins import (
    AddonDescription,
    ConfigKind,
    KubeClient,
    Plugin,
    PluginBusy,
    PluginError,
    Plugins,
    SingleNamespace,
    calls,
    hookimpl,
)
from addon_framework.plugins.calls import MOST_HANGING
from addon_framework.testing import eventually


class Odd:
    """An add-on whose manifests are whatever a test says."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.hangs = False
        self.patience = 30.0
        self.answer: Any = []

    @hookimpl
    def addon_describe(self) -> AddonDescription:
        return AddonDescription(name="odd", hook_timeout=self.patience)

    @hookimpl
    def addon_manifests(self) -> Any:
        if self.hangs:
            self.go.wait(30)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    @hookimpl
    async def addon_hub_permissions(self) -> Any:
        await asyncio.sleep(0)
        return [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]


@pytest.fixture
def odd() -> Iterator[Odd]:
    it = Odd()
    yield it
    it.go.set()


@pytest.fixture
def plugin(odd: Odd) -> Plugin:
    return Plugins().add("odd", odd)


async def manifests(plugin: Plugin) -> Any:
    return await plugin.ask("addon_manifests", cluster={}, addon={}, values={})


async def test_the_loop_goes_on_while_a_hook_runs(odd: Odd, plugin: Plugin) -> None:
    odd.hangs, odd.answer = True, [{"kind": "X"}]
    asked = asyncio.create_task(manifests(plugin))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(odd.go.set)  # only a loop that is free can do that
    assert await asked == [{"kind": "X"}]


async def test_a_hook_that_hangs_is_left_alone_and_asked_again_later(
    odd: Odd, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    odd.hangs, odd.patience = True, 0.2
    for _ in range(3):  # for a while nobody waits for it again
        with pytest.raises(PluginError, match=r'"odd".*: addon_manifests has not returned within 0\.2 s'):
            await manifests(plugin)
    assert len(set(threading.enumerate()) - before) == 1
    monkeypatch.setattr(calls, "AGAIN", 0.0)
    for _ in range(MOST_HANGING - 1):
        with pytest.raises(PluginError, match=r'"odd".*: addon_manifests has not returned within 0\.2 s'):
            await manifests(plugin)
    with pytest.raises(PluginError, match=rf"out of use: {MOST_HANGING} calls of addon_manifests have not"):
        await manifests(plugin)
    odd.hangs = False
    odd.go.set()

    async def back() -> bool:
        return bool(await manifests(plugin) == [])

    await eventually(back, swallow=PluginError)


async def test_what_comes_of_a_call_that_nobody_waits_for_is_no_news(odd: Odd, plugin: Plugin) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    await plugin.prepare()
    runs = threading.Event()

    def work() -> None:
        runs.set()
        odd.go.wait(30)
        raise RuntimeError("too late")

    asked = asyncio.create_task(plugin.watch_over("addon_manifests", work))
    await eventually(runs.is_set)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    del asked  # it holds what it waited for
    odd.go.set()
    assert await manifests(plugin) == []  # the thread is done with the other call
    gc.collect()
    assert not told


async def test_others_do_not_wait_for_a_plugin_that_takes_long(odd: Odd, plugin: Plugin) -> None:
    odd.hangs = True  # and it may, for half a minute
    await plugin.prepare()
    first = asyncio.create_task(manifests(plugin))
    await asyncio.sleep(0)
    with pytest.raises(PluginBusy):
        await manifests(plugin)
    with pytest.raises(PluginBusy):
        await asyncio.wait_for(manifests(plugin), 10)  # at once from now on
    odd.go.set()
    assert await first == []


async def test_who_is_cancelled_while_a_hook_hangs_is_free(odd: Odd, plugin: Plugin) -> None:
    await plugin.prepare()
    odd.hangs = True
    asked = asyncio.create_task(manifests(plugin))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    odd.hangs = False
    assert await manifests(plugin) == []  # by another thread: the first one still hangs


async def test_an_import_that_hangs_is_quarantined() -> None:
    go = threading.Event()

    def create() -> Any:
        go.wait(30)

    class Endless(Plugin):
        def _create(self) -> Any:
            create()

    plugin = Endless(name="endless", group="boundaryless.addons", origin="here")
    await plugin.prepare(timeout=0.1)
    go.set()
    assert plugin.quarantined
    assert "load has not returned within 0.1 s" in plugin.reason
    with pytest.raises(PluginError, match="has not returned"):
        await plugin.ask("addon_manifests")


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), RecursionError("deep")])
async def test_whatever_a_hook_raises_names_plugin_and_hook(
    odd: Odd, plugin: Plugin, error: BaseException
) -> None:
    odd.answer = error
    with pytest.raises(PluginError, match=f'"odd".*failed in addon_manifests: {type(error).__name__}'):
        await manifests(plugin)
    odd.answer = []
    assert await manifests(plugin) == []


async def test_a_hook_may_be_a_coroutine(plugin: Plugin) -> None:
    assert await plugin.ask("addon_hub_permissions", cluster_name="c1") == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    ]


async def test_what_comes_out_is_the_hubs_own(odd: Odd, plugin: Plugin) -> None:
    odd.answer = ({"kind": "X", "at": datetime(2026, 1, 1)} for _ in range(1))  # a generator will do
    assert await manifests(plugin) == [{"kind": "X", "at": "2026-01-01T00:00:00"}]


NONSENSE = [
    ("addon_manifests", "text", "a str, not a list of objects"),
    ("addon_manifests", {"kind": "ConfigMap"}, "a dict, not a list of objects"),
    ("addon_manifests", 3, "an int, not a list of objects"),
    ("addon_manifests", [{"data": {1: 2}}], "objects that are not JSON: Dict key must be str"),
    ("addon_manifests", [{"data": object()}], "objects that are not JSON: Type is not JSON serializable"),
    ("mutate_manifests", True, "a bool, not a list of objects"),
    ("addon_registrations", KubeClient(), "a KubeClient, not a list of"),
    ("addon_registrations", [KubeClient], "a list with a KubeClient in it, not KubeClient or CustomSigner"),
    ("addon_hub_permissions", [1], "a list with an int in it, not an RBAC rule"),
    ("addon_csr_approve", "yes", "a str, not True, False or None"),
    ("addon_csr_sign", "PEM", "a str, not the bytes of a PEM certificate"),
    ("placement_scores", [1], "a list, not scores by cluster name"),
    ("placement_scores", {"c1": "high"}, "the score 'high' for 'c1'"),
    ("placement_scores", {"c1": float("nan")}, "the score nan for 'c1'"),
]


@pytest.mark.parametrize(("hook", "answer", "message"), NONSENSE)
async def test_nonsense_is_refused_by_name(hook: str, answer: Any, message: str) -> None:
    class Mad:
        @hookimpl
        def addon_describe(self) -> AddonDescription:
            return AddonDescription(name="mad")

        @hookimpl
        def addon_manifests(self) -> Any:
            return answer

        @hookimpl
        def mutate_manifests(self) -> Any:
            return answer

        @hookimpl
        def addon_registrations(self) -> Any:
            return answer

        @hookimpl
        def addon_hub_permissions(self) -> Any:
            return answer

        @hookimpl
        def addon_csr_approve(self) -> Any:
            return answer

        @hookimpl
        def addon_csr_sign(self) -> Any:
            return answer

        @hookimpl
        def placement_scores(self) -> Any:
            return answer

    arguments = dict.fromkeys(
        ("cluster", "addon", "values", "manifests", "cluster_name", "csr", "placement", "clusters")
    )
    with pytest.raises(PluginError, match=re.escape(f": {hook} returned {message}")):
        await Plugins().add("mad", Mad).ask(hook, **arguments)


async def test_sound_answers_pass_and_scores_are_kept_in_their_range() -> None:
    class Sound:
        @hookimpl
        def addon_describe(self) -> AddonDescription:
            return AddonDescription(name="sound")

        @hookimpl
        def addon_hub_permissions(self) -> Any:
            return (SingleNamespace("ns", "role"),)

        @hookimpl
        def placement_scores(self) -> Any:
            return {"c1": 1000, "c2": -2.5}

    plugin = Plugins().add("sound", Sound)
    assert await plugin.ask("addon_hub_permissions", cluster_name="c") == [SingleNamespace("ns", "role")]
    assert await plugin.ask("placement_scores", placement={}, clusters=[]) == {"c1": 100, "c2": -2}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"health": "lease"}, "health is a str, not Lease, Workload, Work or NoProbe"),
        ({"install_namespace": None}, "install_namespace is a NoneType, not a text"),
        ({"pre_delete_deadline": "10m"}, "pre_delete_deadline is '10m', not a number of seconds"),
        ({"hook_timeout": float("nan")}, "hook_timeout is nan, not a number of seconds"),
        (
            {"supported_configs": ["addondeploymentconfigs"]},
            "supported_configs holds a str, not a ConfigKind",
        ),
        ({"supported_configs": [ConfigKind("g", 1)]}, "supported_configs holds a ConfigKind"),  # type: ignore[arg-type]
    ],
)
def test_a_description_that_is_none_is_refused(fields: dict[str, Any], message: str) -> None:
    class Bad:
        @hookimpl
        def addon_describe(self) -> AddonDescription:
            return AddonDescription(name="bad", **fields)

    with pytest.raises(PluginError, match=re.escape(message)):
        Plugins().add("bad", Bad).load()
