"""Functions as they are said: what is served, by which name, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import urlsplit

from mlflow_kserve.sdk.saving import PICKLES, model_of_checkpoint, model_of_pickle
from mlflow_kserve.sdk.status import UnusableFunction

Kind = Literal["mlflowserve", "sklearnserve", "huggingfaceserve"]
KINDS: tuple[str, ...] = get_args(Kind)
DEFAULT_MODEL_NAME = "model"
EXPECTED: dict[Kind, str] = {
    "mlflowserve": "the folder of an MLflow model: it has no file MLmodel",
    "sklearnserve": "a model of scikit-learn: expected the folder of an MLflow model, or a .pkl or .joblib file",
    "huggingfaceserve": "a model of transformers: expected the folder of an MLflow model, or one with a config.json",
}
HUGGING_FACE = ("hf", "huggingface")


@dataclass(frozen=True)
class FunctionSpec:
    name: str
    kind: Kind
    path: str
    model_name: str = DEFAULT_MODEL_NAME
    image: str | None = None
    project: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Raises UnusableFunction."""
        if self.kind not in KINDS:
            raise UnusableFunction(f"kind is {self.kind!r}: expected one of {', '.join(KINDS)}")
        if not self.path:
            raise UnusableFunction("path is missing: expected a folder of a model, or its URI")

    def model_uri(self) -> str:
        """The URI of the model as the server takes it; bare files are saved as one. Raises UnusableFunction."""
        scheme = urlsplit(self.path).scheme
        if scheme in HUGGING_FACE or (scheme and self.path.endswith(PICKLES)):
            raise UnusableFunction(f"{self.path} is no MLflow model: download it, and give the path")
        if scheme:
            return self.path
        place = Path(self.path).expanduser().absolute()
        if (place / "MLmodel").is_file():
            return str(place)
        if place.name.endswith(PICKLES) and self.kind == "sklearnserve":
            return str(model_of_pickle(place))
        if (place / "config.json").is_file() and self.kind == "huggingfaceserve":
            return str(model_of_checkpoint(place))
        raise UnusableFunction(f"{place} is not {EXPECTED[self.kind]}")


Envs = Mapping[str, Any] | list[Mapping[str, Any]]
Named = Mapping[str, str] | list[Mapping[str, str]]


class RunOptions(TypedDict, total=False):
    """How a function is run; what is absent is left to the control plane."""

    replicas: int
    resources: Mapping[str, Any]
    """cpu, mem and gpu: an amount, or requests and limits"""
    envs: Envs
    """variables: name and value, or a secret as {"secret": NAME, "key": KEY}"""
    secrets: list[str]
    """names of secrets whose keys all become variables"""
    volumes: list[Mapping[str, Any]]
    node_selector: Named
    affinity: Mapping[str, Any]
    tolerations: list[Mapping[str, Any]]
    service_type: str
    profile: str
    """kind of node, such as spot"""
    backoff_limit: int
    """is for jobs, and changes nothing: a service is started again for as long as it is wanted"""


def check_options(options: Mapping[str, Any]) -> None:
    """Raises UnusableFunction for an option that there is not."""
    if unknown := set(options) - set(RunOptions.__annotations__):
        known = ", ".join(RunOptions.__annotations__)
        raise UnusableFunction(f"run has no option {', '.join(sorted(unknown))}: expected {known}")


def variables_of(options: RunOptions) -> dict[str, Any]:
    envs = options.get("envs") or {}
    if isinstance(envs, Mapping):
        return {str(name): plain(value) for name, value in envs.items()}
    return {str(each["name"]): plain(each["value"]) for each in envs}


def overlay_of(options: RunOptions, image: str | None) -> dict[str, Any]:
    """What is said of pods, in the words of the spec; raises UnusableFunction."""
    service_type = options.get("service_type")
    if service_type not in (None, "ClusterIP", "NodePort"):
        raise UnusableFunction(
            f"service_type is {service_type!r}: a serve is reached at the address of its environment; "
            "expected ClusterIP or NodePort, which change nothing"
        )
    placement = {
        "node_selector": pairs(options.get("node_selector") or {}),
        "affinity": options.get("affinity"),
        "tolerations": options.get("tolerations"),
    }
    replicas = options.get("replicas")
    overlay = {
        "replicas": None if replicas is None else {"min": replicas, "max": replicas},
        "resources": amounts(options.get("resources") or {}),
        "placement": said(placement),
        "volumes": [mount(each) for each in options.get("volumes") or ()],
        "env_from": options.get("secrets"),
        "node_capacity": options.get("profile"),
        "image": image,
    }
    return said(overlay)


def said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, {}, [])}


def plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def pairs(named: Named) -> dict[str, str]:
    if isinstance(named, Mapping):
        return dict(named)
    return {each["key"]: each["value"] for each in named}


WORDS = {"cpu": "cores", "mem": "memory", "memory": "memory", "cores": "cores", "gpu": "gpu"}


def amounts(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Requests and limits; raises UnusableFunction for what is none."""
    requests: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, amount in resources.items():
        if name not in WORDS:
            raise UnusableFunction(f"resources has {name!r}: expected cpu, mem or gpu")
        word = WORDS[name]
        parts = amount if isinstance(amount, Mapping) else {"requests": amount}
        if unknown := set(parts) - {"requests", "limits"}:
            raise UnusableFunction(f"resources.{name} has {', '.join(sorted(unknown))}: expected requests and limits")
        if word == "gpu":
            requests["gpu"] = int(parts["requests"] if "requests" in parts else parts["limits"])
            continue
        if "requests" in parts:
            requests[word] = str(parts["requests"])
        if "limits" in parts:
            limits[word] = str(parts["limits"])
    return said({**requests, "limits": limits})


def mount(volume: Mapping[str, Any]) -> dict[str, Any]:
    """A volume as the spec has it, of one as it has it or as digitalhub has it; raises UnusableFunction."""
    if "path" in volume:
        return dict(volume)
    kind, spec = volume.get("volume_type"), volume.get("spec") or {}
    sources = {
        "persistent_volume_claim": ("pvc", spec.get("claim_name")),
        "config_map": ("config_map", spec.get("name")),
        "secret": ("secret", spec.get("secret_name")),
        "empty_dir": ("empty_dir", spec.get("size_limit", "unlimited")),
    }
    if kind not in sources or not volume.get("name") or not volume.get("mount_path"):
        raise UnusableFunction(
            f"a volume is {dict(volume)}: expected name, mount_path and a volume_type of {', '.join(sources)}"
        )
    source, name = sources[kind]
    return {"name": volume["name"], "path": volume["mount_path"], source: name, "read_only": source != "pvc"}
