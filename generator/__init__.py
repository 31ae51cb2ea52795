"""The pure function spec → manifests: everything that a cluster needs to serve an MLflow model with KServe."""

from generator.compare import Change, compare
from generator.facts import ModelFacts
from generator.lookup import LookupFailed, fetch_facts
from generator.output import stream as to_yaml
from generator.problems import Problem, SpecError
from generator.render import planned, render
from generator.resources.meta import CANARY_OF
from generator.rollout.actions import Action, ApplyDocuments, Delete, Patch
from generator.rollout.conditions import Accepted
from generator.rollout.drive import PlanDriver, RolloutCluster
from generator.rollout.hosts import with_hosts
from generator.rollout.observed import ClusterTraits, ObservedServe
from generator.rollout.parts import objects_of
from generator.rollout.planner import canary, promote, rollback, undo
from generator.rollout.steps import RolloutPlan, Step
from generator.schema import json_schema
from generator.spec import Canary, ServeSpec
from generator.spec.canary import FlavorName
from generator.specfile.load import read_spec

__all__ = [
    "CANARY_OF",
    "Accepted",
    "Action",
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
    "PlanDriver",
    "Problem",
    "RolloutCluster",
    "RolloutPlan",
    "ServeSpec",
    "SpecError",
    "Step",
    "canary",
    "compare",
    "fetch_facts",
    "json_schema",
    "objects_of",
    "planned",
    "promote",
    "read_spec",
    "render",
    "rollback",
    "to_yaml",
    "undo",
    "with_hosts",
]
