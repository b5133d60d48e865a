"""The cluster whose resources are scored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from addon_framework.testing import EmbeddedApiServer


@pytest.fixture(scope="module")
def spoke_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedApiServer]:
    server = EmbeddedApiServer(tmp_path_factory.mktemp("spoke"), name="spoke")
    server.start()
    yield server
    server.stop()
