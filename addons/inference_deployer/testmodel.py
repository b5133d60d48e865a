"""Makes a Llama checkpoint with random weights: safetensors shards, a tokenizer, a chat template.

For demos and tests on machines that reach no model hub. It is a real checkpoint in every respect but sense:
any engine that loads Llama loads it, and every id it can generate decodes to visible text.

    python -m addons.inference_deployer.testmodel OUT --mb 500 --shards 8
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

HEAD = 64
SPECIALS = ["<unk>", "<s>", "</s>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
BLOCK = 1 << 22  # random numbers are drawn once and cut at different places: 30 times faster


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama that fills about the wanted number of bytes."""

    hidden: int
    layers: int
    intermediate: int
    vocabulary: int

    @classmethod
    def for_bytes(cls, size: int) -> Shape:
        """Pick a plausible width, then as many layers as the size holds, then trim with the MLP's width."""
        parameters = max(size, 1 << 20) // 2
        hidden = next((w for w in (4096, 2048, 1024, 512, 256) if 24 * w * w * 4 <= parameters), 128)
        vocabulary = min(8192, max(512, parameters // (8 * hidden) // 64 * 64))
        rest = parameters - 2 * vocabulary * hidden
        layers = max(1, round(rest / (12 * hidden * hidden)))
        intermediate = max(64, int((rest / layers - 4 * hidden * hidden) / (3 * hidden)) // 64 * 64)
        return cls(hidden, layers, intermediate, vocabulary)

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every tensor's name and shape, in loading order."""
        wide, inner = self.hidden, self.intermediate
        yield "model.embed_tokens.weight", (self.vocabulary, wide)
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}."
            for name in "qkvo":
                yield f"{prefix}self_attn.{name}_proj.weight", (wide, wide)
            yield f"{prefix}mlp.gate_proj.weight", (inner, wide)
            yield f"{prefix}mlp.up_proj.weight", (inner, wide)
            yield f"{prefix}mlp.down_proj.weight", (wide, inner)
            yield f"{prefix}input_layernorm.weight", (wide,)
            yield f"{prefix}post_attention_layernorm.weight", (wide,)
        yield "model.norm.weight", (wide,)
        yield "lm_head.weight", (self.vocabulary, wide)


def make_model(out: Path, *, size_mb: int = 10, shards: int = 2, seed: int = 0) -> Shape:
    """Write the checkpoint into `out` and return its shape. The same arguments give the same bytes."""
    shape = Shape.for_bytes(size_mb * 1_000_000)
    out.mkdir(parents=True, exist_ok=True)
    _write_weights(out, shape, shards, seed)
    _write_json(out / "config.json", _config(shape))
    _write_json(out / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    _write_json(out / "tokenizer.json", _tokenizer(shape.vocabulary))
    _write_json(out / "tokenizer_config.json", _tokenizer_config())
    return shape


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _config(shape: Shape) -> dict[str, object]:
    heads = shape.hidden // HEAD
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": HEAD,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _vocabulary(size: int) -> list[str]:
    """Special tokens, printable ASCII, then made-up words, all visible when decoded."""
    tokens = [*SPECIALS, "\u2581", *(chr(c) for c in range(33, 127)), "\n"]
    onsets = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "st", "br"]
    syllables = [o + v for v in ("a", "e", "i", "o", "u", "ai", "el", "on") for o in onsets]
    words = ("\u2581" + first + second for second in syllables for first in syllables)
    while len(tokens) < size:
        tokens.append(next(words))
    return tokens


def _tokenizer(size: int) -> dict[str, object]:
    """A `tokenizers` BPE without merges: text is encoded by character, ids decode to words."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i, token in enumerate(SPECIALS)
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": False,
            "vocab": {token: i for i, token in enumerate(_vocabulary(size))},
            "merges": [],
        },
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "chat_template": CHAT_TEMPLATE,
    }


def _write_weights(out: Path, shape: Shape, shards: int, seed: int) -> None:
    tensors = list(shape.tensors())
    total = sum(2 * int(np.prod(dims)) for _, dims in tensors)
    files: list[list[tuple[str, tuple[int, ...]]]] = [[] for _ in range(max(1, min(shards, len(tensors))))]
    before = 0
    for name, dims in tensors:
        files[min(len(files) - 1, before * len(files) // total)].append((name, dims))
        before += 2 * int(np.prod(dims))
    files = [group for group in files if group]
    random = np.random.default_rng(seed)
    block = _bfloat16(random.standard_normal(BLOCK, dtype=np.float32) * np.float32(0.02))
    weight_map: dict[str, str] = {}
    for number, group in enumerate(files, 1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        weight_map |= {tensor: name for tensor, _ in group}
        _write_shard(out / name, group, block, random)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    _write_json(out / "model.safetensors.index.json", index)


def _write_shard(
    path: Path,
    group: list[tuple[str, tuple[int, ...]]],
    block: npt.NDArray[np.uint16],
    random: np.random.Generator,
) -> None:
    """One file of the safetensors format: header length, JSON header, tensors back to back."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dims in group:
        start, end = end, end + 2 * int(np.prod(dims))
        header[name] = {"dtype": "BF16", "shape": list(dims), "data_offsets": [start, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for name, dims in group:
            if len(dims) == 1:
                file.write(_bfloat16(np.ones(dims, dtype=np.float32)).tobytes())
                continue
            left = int(np.prod(dims))
            if name == "lm_head.weight":  # special ids never win: an answer does not end by chance
                skipped = len(SPECIALS) * dims[1]
                file.write(bytes(2 * skipped))
                left -= skipped
            while left:
                start = int(random.integers(0, BLOCK // 2))
                piece = block[start : start + min(left, BLOCK // 2)]
                file.write(piece.tobytes())
                left -= len(piece)


def _bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    return (values.view(np.uint32) >> 16).astype("<u2")


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="testmodel", description="make a Llama with random weights")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--mb", type=int, default=500, help="size of the weights in MB (default 500)")
    parser.add_argument("--shards", type=int, default=8, help="number of files (default 8)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.mb < 2 or args.shards < 1:
        parser.error("--mb must be at least 2 and --shards at least 1")
    shape = make_model(args.out, size_mb=args.mb, shards=args.shards, seed=args.seed)
    written = sum(f.stat().st_size for f in args.out.glob("*.safetensors"))
    print(f"{args.out}: {written / 1e6:.0f} MB, {shape}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
