"""Web directories and the Hugging Face hub's layout, against small servers that speak as the real ones do."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtimes.source import Credentials, SourceError, open_source
from tests.integration.cache_runtime.webservers import TOKEN, serve_directory, serve_hub

FILES = {
    "config.json": b"{}",
    "model-1.safetensors": bytes(range(256)) * 50,
    "sub/a b+ü.txt": b"odd name",
    "empty": b"",
}


def everything(url: str, options: dict[str, str], token: str = "") -> dict[str, bytes]:
    source = open_source(url, options, Credentials("", "", token) if token else None)
    found = {}
    for obj in list(source.objects()):
        got = bytearray()
        if obj.size:
            source.read(obj, 0, obj.size, got.extend)
        found[obj.path] = bytes(got)
    return found


def test_a_web_directory_with_all_below_it(tmp_path: Path) -> None:
    for path, content in FILES.items():
        (tmp_path / "pub" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pub" / path).write_bytes(content)
    (tmp_path / "beside").write_bytes(b"not ours")
    with serve_directory(tmp_path) as url:
        assert everything(f"{url}/pub/", {}) == FILES


def test_the_hub_in_pages_with_redirects_and_checksums() -> None:
    with serve_hub(FILES) as endpoint:
        assert everything("hf://team/model", {"endpoint": endpoint}, TOKEN) == FILES
        assert everything("hf://team/model@main/sub", {"endpoint": endpoint}, TOKEN) == {
            "a b+ü.txt": b"odd name"
        }
        single = everything("hf://team/model/config.json", {"endpoint": endpoint}, TOKEN)
        assert single == {"config.json": b"{}"}
        source = open_source("hf://team/model", {"endpoint": endpoint}, Credentials("", "", TOKEN))
        large = next(obj for obj in source.objects() if obj.path.endswith(".safetensors"))
        assert large.checksum is not None
        assert large.checksum[0] == "sha256"
        got = bytearray()
        assert source.read(large, 100, 200, got.extend)
        assert bytes(got) == FILES["model-1.safetensors"][100:200]


def test_a_hub_that_wants_a_token_and_a_url_that_names_no_repository() -> None:
    with serve_hub(FILES) as endpoint, pytest.raises(SourceError, match="HTTP 401") as caught:
        everything("hf://team/model", {"endpoint": endpoint})
    assert caught.value.permanent
    with pytest.raises(SourceError, match="hf://owner/name"):
        open_source("hf://model", {}, None)
