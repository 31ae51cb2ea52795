"""The pure function spec → manifests: everything that a cluster needs to serve an MLflow model with KServe."""

from generator.facts import ModelFacts
from generator.problems import Problem, SpecError
from generator.render import render
from generator.rollout import Patch, Step, canary, promote, rollback
from generator.spec import Canary, ServeSpec

__all__ = [
    "Canary",
    "ModelFacts",
    "Patch",
    "Problem",
    "ServeSpec",
    "SpecError",
    "Step",
    "canary",
    "promote",
    "render",
    "rollback",
]
