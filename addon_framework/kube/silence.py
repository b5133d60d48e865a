"""Connections that notice a peer which has vanished: where a network breaks, no end comes and no reset."""

from __future__ import annotations

import socket

from aiohttp import AddrInfoType, SocketFactoryType

PATIENCE = 30.0  # seconds; client-go gives up after 45


def connections(patience: float = PATIENCE) -> SocketFactoryType:
    """Makes sockets that fail when the peer has acknowledged nothing for so many seconds.

    Quiet ones, such as a watch on which nothing happens, ask from half of that on.
    """
    probe = max(1, round(patience / 6))
    settings = {
        "TCP_KEEPIDLE": 3 * probe,
        "TCP_KEEPINTVL": probe,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": round(patience * 1000),  # the same for what was sent and is not acknowledged
    }

    def make(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in settings.items():
            if (option := getattr(socket, name, None)) is not None:  # Linux has them all
                made.setsockopt(socket.IPPROTO_TCP, option, value)
        return made

    return make
