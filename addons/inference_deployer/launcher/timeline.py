"""What happened when: marks from the engine's processes, gathered by the launcher, shown on the Pod."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

STARTED = time.time()
ANNOTATION = "inference.boundaryless.io/timeline"
LOADED = re.compile(r"Loading weights took ([0-9.]+) seconds")
LOADING = "Starting to load model"


def say(message: str) -> None:
    """Write one line for people; also for `kubectl logs`."""
    sys.stderr.write(f"launcher: {message}\n")
    sys.stderr.flush()


class Timeline:
    """Marks in epoch seconds; `publish` sends them with every change, again until that is accepted."""

    def __init__(self, mode: str) -> None:
        self.marks: dict[str, float | str] = {"mode": mode, "process_start": round(STARTED, 3)}
        self.changed = threading.Event()
        self.lock = threading.Lock()
        self.changed.set()

    def mark(self, **marks: float | str) -> None:
        """Record marks; the publisher takes them from there."""
        with self.lock:
            for name, value in marks.items():
                self.marks[name] = round(value, 3) if isinstance(value, float) else value
        self.changed.set()

    def publish(self, send: Callable[[dict[str, str]], None]) -> None:
        """Runs in a thread for as long as the process does."""
        pause = 0.1
        while True:
            self.changed.wait()
            self.changed.clear()
            with self.lock:
                text = json.dumps(self.marks, sort_keys=True)
            try:
                send({ANNOTATION: text})
                pause = 0.1
            except Exception as error:  # whatever it is, the engine must go on and the next try may succeed
                say(f"cannot report the timeline, trying again: {error}")
                time.sleep(pause)
                pause = min(5.0, pause * 2)
                self.changed.set()


def mark_log_lines(fd: int) -> None:
    """Turn vLLM's log lines about weights into marks, also in the engine core that is forked from here.

    By the factory of records, since vLLM configures handlers anew in each of its processes.
    """
    factory = logging.getLogRecordFactory()

    def record(*args: Any, **named: Any) -> logging.LogRecord:
        made = factory(*args, **named)
        if made.name.startswith("vllm."):
            for name, value in marks_in(made.getMessage()).items():
                send_mark(fd, name, value)
        return made

    logging.setLogRecordFactory(record)


def marks_in(line: str) -> dict[str, float]:
    """The marks that one line of vLLM's log stands for."""
    if LOADING in line:
        return {"weights_start": time.time()}
    if found := LOADED.search(line):
        return {"weights_seconds": float(found[1]), "weights_loaded": time.time()}
    return {}


def send_mark(fd: int, name: str, value: float) -> None:
    """From the engine to its launcher, through a pipe."""
    os.write(fd, json.dumps({name: round(value, 3)}).encode() + b"\n")  # shorter than PIPE_BUF: atomic
