"""Where a cluster's agents keep what is their own."""

from __future__ import annotations

from typing import NamedTuple

from addon_framework.kube import Client
from addon_framework.spoke.names import AGENT_NAMESPACE


class Home(NamedTuple):
    """The cluster that the agents run on, and their namespace there.

    It is the managed cluster, or in hosted mode the one that hosts them: then no identity lies on the managed
    cluster, and add-ons that are hosted as well have theirs here.
    """

    client: Client
    namespace: str = AGENT_NAMESPACE


def hosted_namespace(cluster: str) -> str:
    """As OCM's klusterlets in hosted mode are usually called, whose namespace has their name."""
    return f"klusterlet-{cluster}"
