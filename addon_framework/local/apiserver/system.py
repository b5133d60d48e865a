"""Who the server is to itself."""

from __future__ import annotations

from addon_framework.local.apiserver.authn import User

SYSTEM = User("system:apiserver", ("system:masters", "system:authenticated"))
