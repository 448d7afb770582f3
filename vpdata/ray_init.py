"""Connects this process to Ray, so that nothing of it is left behind or hurts the process at its end."""

from __future__ import annotations

import os
import secrets
from typing import Any


def join_ray(address: str, **options: Any) -> None:
    """`ray.init` with a cluster that is running; its errors."""
    import ray

    _export_no_metrics_by_thread()
    ray.init(address=address, **options)


def start_ray(**options: Any) -> None:
    """`ray.init` with a new Ray on this machine alone, without a dashboard, which ends with this process."""
    import ray

    # Ray would otherwise write a token to the user's home, which later `ray start`s then demand.
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _export_no_metrics_by_thread()
    ray.init(address="local", include_dashboard=False, **options)


def _export_no_metrics_by_thread() -> None:
    # The thread of OpenTelemetry goes on after the second shutdown() in a process, and one that fails to export while
    # the process ends kills it (SIGSEGV, Ray 2.60). By OpenCensus the same metrics reach the cluster.
    os.environ.setdefault("RAY_enable_open_telemetry", "0")
