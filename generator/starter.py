"""A first spec file for a model, with common options ready to be uncommented."""

from __future__ import annotations

import yaml

from generator.facts import ModelFacts
from generator.plan import decide
from generator.spec import ServeSpec
from predictors.uris import ModelURI

# Common options, the most frequent first: a comment, and the lines to uncomment.
NEXT_STEPS = """\
# MLflow's address as pods reach it, and the Secret with its credentials.
tracking:
  uri: http://mlflow.mlflow:5000
  secret: mlflow

# Number of pods, and the rule for scaling; scaling.schedule adds times.
replicas:
  min: 2
  max: 10
scaling: 70% CPU

# Requests of a pod; memory must hold the model up to three times. Also available: gpu: 1.
resources:
  cores: 2
  memory: 4Gi

# Kind of node; node_capacities defines the kinds of your cluster.
node_capacity: on-demand

# A cache on a shared volume, for large models.
storage:
  strategy: pvc
  cache:
    claim: model-cache
    create: true
    size: 100Gi

# Bearer tokens of callers.
auth:
  tokens:
    secret: callers
    key: tokens

# The only callers and destinations of the pods, besides DNS.
network_policy:
  from_namespaces:
    - istio-system
    - monitoring
  allow_to:
    - namespace: mlflow
      ports:
        - 5000

# Protocol that most callers use: v1, v2 or grpc.
protocol: v1

# Images from your own registry, with a fixed tag.
image_registry: registry.example.com/mlflow-kserve
image_tag: 0.1.0

# Additional environment variables, also from a Secret.
env:
  TEAM: fraud
  API_KEY:
    secret: api
    key: token

# Differences between environments; select one with --env prod.
environments:
  staging:
    replicas:
      max: 2
  prod:
    cluster: prod
    namespace: ml-prod
    replicas:
      min: 3
"""


def starter(name: str, model: str, namespace: str, facts: ModelFacts | None, schema: str | None = None) -> str:
    """The text of the file; `schema` is the path or URL of the JSON Schema for editors."""
    spec = ServeSpec(name=name, model=model, namespace=namespace, flavor=None if facts else "pyfunc")
    plan = decide(spec, {model: facts} if facts else None)
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    lines += [
        "# The spec of a serve: python -m generator render serve.yaml makes manifests of it.",
        "# Other fields have defaults: python -m generator explain serve.yaml shows them, with reasons.",
        "",
        pair("name", name) + "  # of the InferenceService, and of the model in URLs",
        pair("namespace", namespace),
        pair("model", model) + (f"  # {about(facts)}" if facts else ""),
    ]
    if ModelURI.parse(model).is_moving:
        lines.append(
            "# The predictor follows the registry; a version (models:/NAME/3) would stay until this file changes."
        )
    if facts:
        request = f"{plan.stable.cores} core{'' if plan.stable.cores == '1' else 's'}, {plan.stable.memory} of memory"
        lines.append(f"# By default a pod requests {request}.")
    lines += ["", *(line if line.startswith("#") or not line else f"# {line}" for line in NEXT_STEPS.splitlines())]
    return "\n".join(lines) + "\n"


def pair(field: str, value: str) -> str:
    return yaml.safe_dump({field: value}, allow_unicode=True, width=1000).strip()


def about(facts: ModelFacts) -> str:
    size = f", {facts.size / 2**20:.1f} MiB" if facts.size is not None else ""
    logged = f", logged with MLflow {facts.mlflow_version}" if facts.mlflow_version else ""
    return f"{facts.flavor}{size}{logged}"
