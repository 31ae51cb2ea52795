"""What the demo prints: commands that work when pasted."""

from __future__ import annotations

import json

from predictors.model.loaded import Loaded
from predictors.pipeline.pipeline import Pipeline
from predictors.processes.ports import Ports
from predictors.signature.example import samples

OWN_MODEL_COMMAND = "python -m predictors.mlflow --model-uri models:/fraud@champion --model-name fraud"


def print_demo_banner(pipeline: Pipeline, ports: Ports) -> None:
    """Prints nothing unless the demo model is served and a person reads the log."""
    served = pipeline.served_models.current()
    if served is None:  # the model was unloaded while it was loaded
        return
    if served.loaded.source.demo and pipeline.settings.log_format == "text":
        url = f"http://localhost:{ports.http_port}"
        print(demo_banner(url, ports.grpc_port, pipeline.name, served.loaded), flush=True)


def demo_banner(url: str, grpc_port: int, name: str, loaded: Loaded) -> str:
    """Curl lines for the served model, made from its own example."""
    examples = samples(loaded.plan, loaded.example, name)
    lines = [
        "",
        f"No model was asked for: serving the demo model as '{name}'.",
        "It predicts whether a machine will fail soon. Try:",
        "",
    ]
    for title, form in (("V1", "v1"), ("Open Inference Protocol (V2)", "v2"), ("MLflow", "invocations")):
        if form in examples:
            body = json.dumps(examples[form]["body"])
            lines += [f"# {title}", f"curl {url}{examples[form]['path']} -H 'Content-Type: application/json' \\"]
            lines += [f"  -d '{body}'", ""]
    lines += [
        "# the model's inputs and outputs, the metrics, and a page to try it",
        f"curl {url}/schema",
        f"curl {url}/metrics",
        f"# {url}/docs",
    ]
    if grpc_port:
        lines.append(f"# gRPC (with reflection and health) listens on port {grpc_port}")
    return "\n".join([*lines, "", f"Your own model: {OWN_MODEL_COMMAND}", ""])
