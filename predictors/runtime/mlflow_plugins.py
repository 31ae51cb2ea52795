"""MLflow's client without the plugin that Feast brings for it.

The plugin adds a header to Feast's own requests to MLflow. MLflow loads it before the first request of any process,
and with it all of Feast: seconds and hundreds of megabytes, where only a version is to be read from a registry.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint


@cache  # once in a process: registries are polled every few seconds
def leave_out_feast() -> None:
    """Call it before the first request of this process to MLflow."""
    from mlflow.utils import plugins

    get_entry_points = plugins.get_entry_points

    def without_feast(group: str) -> list[EntryPoint]:
        return [entry for entry in get_entry_points(group) if not entry.value.startswith("feast.")]

    plugins.get_entry_points = without_feast
    try:
        import mlflow.tracking.request_header.registry  # noqa: F401 - it loads the plugins, once
    finally:
        plugins.get_entry_points = get_entry_points
