"""The door: the command `mlflow-kserve`."""
