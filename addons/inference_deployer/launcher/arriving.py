"""Weights are read while others are still on their way: shard after shard, in the order in which they come.

vLLM's loader looks which files there are and reads those. It is given them one by one instead, as the index
of the checkpoint names them, each once it is there; a file gets its name only when it is whole. The last step
waits until the load is complete: nothing is served before.
"""

from __future__ import annotations

import array
import fcntl
import functools
import json
import os
import select
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

from .timeline import say, send_mark

COMPLETE, BEGIN = b"1", b"w"  # what the launcher says: all is there, or all but weights
INDEX = "model.safetensors.index.json"
_FORMATS = ("auto", "hf", "safetensors")
_POLL = 0.01  # seconds between looks at a file; the standard library cannot watch one
_GONE = "the launcher is gone, or was told to stop, before the data was there"


class Arrival:
    """Of one model. From `ready` something can be read when all of it is there; it ends if that will not be.

    Whatever else reads weights waits for that: processes that know nothing of this, loaders of other formats.
    """

    def __init__(self, model: str, ready: int, marks: int) -> None:
        self.model, self._ready, self._marks = model, ready, marks
        self.shards = shards(model)
        self._waited = 0.0  # seconds

    def complete(self, seconds: float | None = None) -> bool:
        """Waits, for so long at most; whether all is there. Raises SystemExit when it never will be."""
        if not select.select([self._ready], [], [], seconds)[0]:
            return False
        # Other processes look, too: what is there to be read stays there.
        if not _readable(self._ready):
            raise SystemExit(_GONE)
        return True

    def paths(self) -> Iterator[str]:
        """Of the shards, each once it is there; ends when all of the model is."""
        for name in self.shards:
            began = time.monotonic()
            path = os.path.join(self.model, name)
            while not os.path.exists(path) and not self.complete(_POLL):
                pass
            if name != self.shards[0]:  # vLLM looks at its clock when it gets that
                self._waited += time.monotonic() - began
            yield path
        began = time.monotonic()
        self.complete()
        self._waited += time.monotonic() - began
        send_mark(self._marks, "weights_waited", self._waited)

    def install(self) -> None:
        """Into vLLM, for this process and those that are forked from it. Raises AttributeError where vLLM has
        another loader.
        """
        from multiprocessing import popen_spawn_posix as spawning

        from vllm.model_executor.model_loader.base_loader import BaseModelLoader as AnyLoader
        from vllm.model_executor.model_loader.default_loader import DefaultModelLoader as Loader

        make = AnyLoader.__init__
        of_source, prepare = Loader._get_weights_iterator, Loader._prepare_weights

        @functools.wraps(make)
        def init(loader: Any, *arguments: Any, **named: Any) -> None:
            if type(loader) is not Loader:
                self.complete()
            make(loader, *arguments, **named)

        @functools.wraps(of_source)
        def get_weights_iterator(loader: Any, source: Any) -> Iterator[Any]:
            if not self._suits(loader, source):
                self.complete()
                return of_source(loader, source)  # type: ignore[no-any-return]
            return self._one_by_one(loader, source, of_source)

        @functools.wraps(prepare)
        def prepare_weights(loader: Any, *arguments: Any, **named: Any) -> Any:
            self.complete()
            return prepare(loader, *arguments, **named)

        AnyLoader.__init__ = init
        Loader._get_weights_iterator, Loader._prepare_weights = get_weights_iterator, prepare_weights
        spawn = spawning.Popen._launch  # type: ignore[attr-defined]

        def launch(process: Any, child: Any) -> None:  # it imports vLLM anew, without this
            self.complete()
            spawn(process, child)

        spawning.Popen._launch = launch  # type: ignore[attr-defined]

    def look_at(self, config: Any) -> None:
        """vLLM's whole configuration: workers that are not forked from here know nothing of this."""
        if config.parallel_config.distributed_executor_backend not in (None, "mp", "uni"):
            self.complete()

    def _suits(self, loader: Any, source: Any) -> bool:
        """Whether all of the checkpoint is read, by name of the file, from this directory."""
        plain = (source.subfolder, source.allow_patterns_overrides, source.is_unused_weight)
        return (
            loader.load_config.load_format in _FORMATS
            and loader._encoder_only_lm_prefixes is None
            and source.model_or_path == self.model
            and all(each is None for each in plain)
        )

    def _one_by_one(self, loader: Any, source: Any, of_source: Callable[..., Any]) -> Iterator[Any]:
        for path in self.paths():
            loader._prepare_weights = lambda *_, path=path, **__: (self.model, [path], True, INDEX)
            try:
                yield from of_source(loader, source)
            finally:
                del loader._prepare_weights


def shards(model: str) -> list[str]:
    """Of a checkpoint in several files, in order; none where it does not say of which."""
    try:
        with open(os.path.join(model, INDEX), encoding="utf-8") as file:
            return sorted(set(json.load(file)["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def wait_for_data(model: str, ready: int, marks: int) -> Arrival | None:
    """Until the model can be read, all of it or what is needed first: then the rest is on its way. Raises
    SystemExit if it never can.
    """
    said = os.read(ready, 1)
    if not said:
        raise SystemExit(_GONE)
    if said == COMPLETE:
        os.close(ready)
        return None
    arrival = Arrival(model, ready, marks)
    try:
        if arrival.shards:
            arrival.install()
            return arrival
    except AttributeError as error:
        say(f"weights are read when all are there: {error}")
    arrival.complete()
    return None


def _readable(pipe: int) -> bool:
    """Whether there is more than its end."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return bool(count[0])
