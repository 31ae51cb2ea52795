"""The pure function spec → manifests: everything that a cluster needs to serve an MLflow model with KServe."""

from generator.compare import Change, compare
from generator.facts import ModelFacts
from generator.lookup import LookupFailed, fetch_facts
from generator.output import stream as to_yaml
from generator.problems import Problem, SpecError
from generator.render import render
from generator.rollout.actions import ApplyDocuments, Delete, Patch
from generator.rollout.observed import ClusterTraits, ObservedServe
from generator.rollout.planner import canary, promote, rollback, undo
from generator.rollout.steps import RolloutPlan, Step
from generator.schema import json_schema
from generator.spec import Canary, ServeSpec
from generator.spec.canary import FlavorName
from generator.specfile.load import read_spec

__all__ = [
    "ApplyDocuments",
    "Canary",
    "Change",
    "ClusterTraits",
    "Delete",
    "FlavorName",
    "LookupFailed",
    "ModelFacts",
    "ObservedServe",
    "Patch",
    "Problem",
    "RolloutPlan",
    "ServeSpec",
    "SpecError",
    "Step",
    "canary",
    "compare",
    "fetch_facts",
    "json_schema",
    "promote",
    "read_spec",
    "render",
    "rollback",
    "to_yaml",
    "undo",
]
