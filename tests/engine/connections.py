"""Connections that fail for a moment."""

from __future__ import annotations

import os
import socket

import psutil


def cut_connections(other: psutil.Process | None) -> None:
    """End the TCP connections between this process and another, as a network does that fails for a moment."""
    assert other is not None
    theirs = {(connection.raddr, connection.laddr) for connection in other.net_connections("tcp")}
    for connection in psutil.Process().net_connections("tcp"):
        if (connection.laddr, connection.raddr) in theirs:
            with socket.socket(fileno=os.dup(connection.fd)) as ours:
                ours.shutdown(socket.SHUT_RDWR)
