"""MLflow's client without the plugin that Feast brings for it.

The plugin adds a header to what Feast itself asks of MLflow. MLflow loads it before the first request of any process,
and with it all of Feast: seconds and hundreds of megabytes for one that only asks a registry for a version.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint


@cache  # once in a process: registries are looked at every few seconds
def leave_out_feast() -> None:
    """To be called before the first request of this process."""
    from mlflow.utils import plugins

    found = plugins.get_entry_points

    def without_feast(group: str) -> list[EntryPoint]:
        return [one for one in found(group) if not one.value.startswith("feast.")]

    plugins.get_entry_points = without_feast
    try:
        import mlflow.tracking.request_header.registry  # noqa: F401 - it loads them once
    finally:
        plugins.get_entry_points = found
