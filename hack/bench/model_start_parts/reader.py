"""Reads a checkpoint as vLLM's default loader does: shard by shard, tensor by tensor, in one thread.

Run by the engine's Python, `reader.py DIRECTORY` or `reader.py s3://bucket/shard ...` (Run:ai streamer).
`reader.py DIRECTORY shard ...` reads each shard once it is there, as our launcher has vLLM do; before that it
says that it is ready. Every tensor is copied into memory that was touched before, so that reading is measured
and not the kernel's zeroing of fresh pages. Prints one JSON object: seconds, bytes, CPU seconds, its end.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

SCRATCH = 1 << 28


def arriving(directory: str, shards: list[str]) -> Iterator[Path]:
    """Each once it is there."""
    for path in (Path(directory, name) for name in shards):
        while not path.exists():
            time.sleep(0.01)
        yield path


def files(shards: Iterable[Path]) -> Iterator[torch.Tensor]:
    """Every tensor of some files."""
    from safetensors import safe_open

    for shard in shards:
        with safe_open(shard, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                yield opened.get_tensor(name)


def streamed(shards: list[str]) -> Iterator[torch.Tensor]:
    """Every tensor, straight from the bucket. https://github.com/run-ai/runai-model-streamer"""
    from runai_model_streamer import SafetensorsStreamer

    with SafetensorsStreamer() as streamer:
        streamer.stream_files(shards)
        for _, tensor in streamer.get_tensors():
            yield tensor


def main(arguments: list[str]) -> None:
    """Reads what is named."""
    scratch = torch.ones(SCRATCH, dtype=torch.uint8)
    if arguments[0].startswith("s3://"):
        import runai_model_streamer  # noqa: F401 - an import is not part of a load
    else:
        import safetensors  # noqa: F401
    if arguments[0].startswith("s3://"):
        tensors = streamed(arguments)
    elif arguments[1:]:
        print("ready", flush=True)
        tensors = files(arriving(arguments[0], arguments[1:]))
    else:
        tensors = files(sorted(Path(arguments[0]).glob("*.safetensors")))
    count, began, worked = 0, time.perf_counter(), time.process_time()
    for tensor in tensors:
        raw = tensor.contiguous().view(-1).view(torch.uint8)
        scratch[: raw.numel()].copy_(raw)
        count += raw.numel()
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    print(json.dumps({"seconds": seconds, "bytes": count, "cpu": cpu, "ended": time.time()}))


if __name__ == "__main__":
    main(sys.argv[1:])
