"""The command `mlflow-kserve`."""

from mlflow_kserve.cli.main import main

__all__ = ["main"]
