"""A store that is far away: it answers each request after a while, as that of another region or cloud does.

tc's netem, which would delay packets, is not in every kernel; so Envoy stands before it, as the fleet has it.
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec

from addon_framework.testing.servers import free_port
from model_start_parts.ground import Ground, WayError, program

_HTTP = "type.googleapis.com/envoy.extensions.filters"


@contextmanager
def distant(ground: Ground, milliseconds: int) -> Iterator[Ground]:
    """The ground with the store that far away; itself for 0. Raises WayError."""
    if not milliseconds:
        yield ground
        return
    address, port = ground.state.hub_address, free_port()
    config = json.dumps(_bootstrap((address, port), (address, ground.state.store.s3), milliseconds))
    command = [program("envoy"), "--config-yaml", config, "--log-level", "error", "--use-dynamic-base-id"]
    with subprocess.Popen(command) as proxy:
        try:
            _listens(address, port, proxy)
            store = msgspec.structs.replace(ground.state.store, s3=port)
            yield replace(ground, state=msgspec.structs.replace(ground.state, store=store))
        finally:
            proxy.terminate()


def _listens(address: str, port: int, proxy: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            if proxy.poll() is not None or time.monotonic() > deadline:
                raise WayError("Envoy does not listen") from None
            time.sleep(0.05)


def _bootstrap(listen: tuple[str, int], store: tuple[str, int], milliseconds: int) -> dict[str, object]:
    delay = {"fixed_delay": f"{milliseconds / 1000}s", "percentage": {"numerator": 100}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "store", "timeout": "0s"}}
    manager = {
        "@type": f"{_HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "store",
        "route_config": {"virtual_hosts": [{"name": "store", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "fault", "typed_config": {"@type": f"{_HTTP}.http.fault.v3.HTTPFault", "delay": delay}},
            {"name": "router", "typed_config": {"@type": f"{_HTTP}.http.router.v3.Router"}},
        ],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(*store)}}]}
    assignment = {"cluster_name": "store", "endpoints": [endpoint]}
    cluster = {"name": "store", "type": "STATIC", "load_assignment": assignment}
    listener = {"address": _address(*listen), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}
