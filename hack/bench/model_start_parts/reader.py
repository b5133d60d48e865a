"""Reads a checkpoint as vLLM's default loader does: shard by shard, tensor by tensor, in one thread.

Run by the engine's Python, `reader.py DIRECTORY` or `reader.py s3://bucket/shard ...` (Run:ai streamer).
Every tensor is copied into memory that was touched before, so that reading is measured and not the kernel's
zeroing of fresh pages. Prints one JSON object: seconds, bytes, CPU seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

SCRATCH = 1 << 28


def files(directory: str) -> Iterator[torch.Tensor]:
    """Every tensor of a directory."""
    from safetensors import safe_open

    for shard in sorted(Path(directory).glob("*.safetensors")):
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
    count, began, worked = 0, time.perf_counter(), time.process_time()
    tensors = streamed(arguments) if arguments[0].startswith("s3://") else files(arguments[0])
    for tensor in tensors:
        raw = tensor.contiguous().view(-1).view(torch.uint8)
        scratch[: raw.numel()].copy_(raw)
        count += raw.numel()
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    print(json.dumps({"seconds": seconds, "bytes": count, "cpu": cpu}))


if __name__ == "__main__":
    main(sys.argv[1:])
