"""What the demo prints: commands that work when pasted."""

from __future__ import annotations

import json

from predictors.model.loaded import Loaded
from predictors.signature.example import samples


def demo_banner(url: str, grpc_port: int, name: str, loaded: Loaded) -> str:
    """Curl lines for the served model, made from its own example."""
    made = samples(loaded.plan, loaded.example, name)
    lines = [
        "",
        f"No model was asked for: serving the demo model as '{name}'.",
        "It says whether a machine will fail soon. Try:",
        "",
    ]
    for title, form in (("V1", "v1"), ("Open Inference Protocol (V2)", "v2"), ("MLflow", "invocations")):
        if form in made:
            body = json.dumps(made[form]["body"])
            lines += [f"# {title}", f"curl {url}{made[form]['path']} -H 'Content-Type: application/json' \\"]
            lines += [f"  -d '{body}'", ""]
    lines += [
        "# what the model takes, how it does, and a page to try it",
        f"curl {url}/schema",
        f"curl {url}/metrics",
        f"# {url}/docs",
    ]
    if grpc_port:
        lines.append(f"# gRPC (with reflection and health) listens on port {grpc_port}")
    own = "python -m predictors.mlflow --model-uri models:/fraud@champion --model-name fraud"
    return "\n".join([*lines, "", f"Your own model: {own}", ""])
