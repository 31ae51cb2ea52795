"""A first spec file for a model: what is known of it, and what to think about, ready to be uncommented."""

from __future__ import annotations

import yaml

from generator.facts import ModelFacts
from generator.plan import decide
from generator.spec import ServeSpec
from predictors.uris import ModelURI

# What is thought about next, most often first: why, and the lines to uncomment.
NEXT = """\
# Where MLflow is, as the pods see it, and the Secret with the credentials for it.
tracking:
  uri: http://mlflow.mlflow:5000
  secret: mlflow

# How many pods, and what their number follows; also by the clock, with scaling.schedule.
replicas:
  min: 2
  max: 10
scaling: 70% CPU

# What a pod asks for; memory holds the model up to three times. There is gpu: 1, too.
resources:
  cores: 2
  memory: 4Gi

# On which kind of nodes; node_capacities says what the words mean on your cluster.
node_capacity: on-demand

# A cache on a volume that all pods share, for large models.
storage:
  strategy: pvc
  cache:
    claim: model-cache
    create: true
    size: 100Gi

# Who may call, by a token.
auth:
  tokens:
    secret: callers
    key: tokens

# Only these may reach the pods, and only these are reached by them, besides DNS.
network_policy:
  from_namespaces:
    - istio-system
    - monitoring
  allow_to:
    - namespace: mlflow
      ports:
        - 5000

# Which protocol callers speak first: v1, v2 or grpc.
protocol: v1

# Images of your own registry, by a fixed tag.
image_registry: registry.example.com/mlflow-kserve
image_tag: 0.1.0

# More variables, from a Secret where they are secret.
env:
  TEAM: fraud
  API_KEY:
    secret: api
    key: token

# What is different elsewhere; chosen by --env prod.
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
    """The text of the file; `schema` is where editors find the JSON Schema."""
    spec = ServeSpec(name=name, model=model, namespace=namespace, flavor=None if facts else "pyfunc")
    plan = decide(spec, {model: facts} if facts else None)
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    lines += [
        "# What is served, and how: python -m generator render serve.yaml makes manifests of it.",
        "# What is not said is decided: python -m generator explain serve.yaml tells what, and why.",
        "",
        pair("name", name) + "  # of the InferenceService, and of the model in URLs",
        pair("namespace", namespace),
        pair("model", model) + (f"  # {about(facts)}" if facts else ""),
    ]
    if ModelURI.parse(model).is_moving:
        lines.append("# The model follows the registry: a version (models:/NAME/3) would stay until this file changes.")
    if facts:
        asked = f"{plan.stable.cores} core{'' if plan.stable.cores == '1' else 's'}, {plan.stable.memory} of memory"
        lines.append(f"# Without more words a pod asks for {asked}.")
    lines += ["", *(line if line.startswith("#") or not line else f"# {line}" for line in NEXT.splitlines())]
    return "\n".join(lines) + "\n"


def pair(field: str, value: str) -> str:
    return yaml.safe_dump({field: value}, allow_unicode=True, width=1000).strip()


def about(facts: ModelFacts) -> str:
    size = f", {facts.size / 2**20:.1f} MiB" if facts.size is not None else ""
    logged = f", logged with MLflow {facts.mlflow_version}" if facts.mlflow_version else ""
    return f"{facts.flavor}{size}{logged}"
