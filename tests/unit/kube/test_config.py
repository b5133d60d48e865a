"""Kubeconfigs: what is missing is named."""

import base64
from pathlib import Path

import pytest
import yaml

from addon_framework.kube import ConfigError, load_kubeconfig


def kubeconfig() -> dict[str, object]:
    ca = base64.b64encode(b"CA").decode()
    return {
        "current-context": "hub",
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": "admin", "namespace": "team"}}],
        "clusters": [
            {"name": "hub", "cluster": {"server": "https://h:1/", "certificate-authority-data": ca}}
        ],
        "users": [{"name": "admin", "user": {"token": "t"}}],
    }


def test_reads_server_ca_token_and_namespace(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig()))
    config = load_kubeconfig(path)
    assert (config.server, config.ca, config.token(), config.namespace) == ("https://h:1", b"CA", "t", "team")


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    config = kubeconfig()
    config["users"] = [{"name": "admin", "user": {"tokenFile": "token"}}]
    (tmp_path / "token").write_text("from file\n")
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    assert load_kubeconfig(tmp_path / "config").token() == "from file"


def test_an_unknown_context_is_named_with_those_there() -> None:
    with pytest.raises(ConfigError, match=r"no context 'spoke'.*there: hub"):
        load_kubeconfig(kubeconfig(), "spoke")


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; give --kubeconfig"):
        load_kubeconfig(tmp_path / "none")


def test_a_broken_file_says_where(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a: [1")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_kubeconfig(tmp_path / "config")
