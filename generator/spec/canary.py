"""Canaries: models that get part of the traffic of a serve, a copy of it, or that of testers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from generator.spec.values import Name, Part, Percent, matching
from predictors.flavor import BY_NAME

FLAVORS = tuple(BY_NAME)
FlavorName = Literal[FLAVORS]  # type: ignore[valid-type]
ModelUri = Annotated[
    str, Field(min_length=1, description="models:/name@alias, models:/name/3, runs:/…, s3://…, pvc://…")
]
HEADER_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
HeaderName = Annotated[str, Field(max_length=256), matching(HEADER_NAME, "a name of a header")]
RequestKeyText = Annotated[
    str,
    matching(rf"header:{HEADER_NAME}|(column|entity):\S.*", "a key: expected header:NAME, column:NAME or entity:NAME"),
]


class Shadow(Part):
    """A copy of requests for the canary, whose replies nobody gets."""

    percent: Annotated[int, Field(ge=1, le=100)] = 100
    """percent of the requests that are copied"""


class Testers(Part):
    """Requests with a header that go to the canary, whatever its percent."""

    header: HeaderName
    """name of the header"""
    value: Annotated[str, Field(min_length=1, max_length=4096)] = "true"
    """value of the header"""


class Canary(Part):
    """A second model that gets part of the traffic."""

    model: ModelUri
    percent: Percent = Field(
        0, description="percent of the traffic that the canary gets; required without shadow and testers"
    )
    by: Literal["route", "kserve"] = Field(
        "route",
        description="what splits the traffic (Standard): 'route' is an HTTPRoute of ours over two InferenceServices, "
        "'kserve' is spec.canary of KServe",
    )
    name: Name | None = Field(
        None,
        description="what is appended to the serve's name to name the canary (Standard); default: next, or with by: "
        "kserve the model's version",
    )
    flavor: FlavorName | None = None
    """flavor of the canary; default: from its MLmodel file, or that of the stable model"""
    image: str | None = None
    """image of the canary; default: the image for its flavor"""
    replicas: Annotated[int, Field(ge=1)] | None = Field(
        None, description="number of canary pods (Standard); default: in proportion to its traffic"
    )
    shadow: Shadow | None = None
    testers: Testers | None = None

    @model_validator(mode="after")
    def gets_requests(self) -> Canary:
        if not self.model_fields_set & {"percent", "shadow", "testers"}:
            raise ValueError("expected percent, shadow or testers: the canary would get no requests")
        return self


class BesideModel(Part):
    """A candidate: a second model in the predictor's own server."""

    model: Annotated[
        str,
        matching(
            r"(models:/|mlflow://models/)[^/].*", "in the registry: expected models:/NAME@ALIAS or models:/NAME/3"
        ),
    ]
    """URI of the candidate in the registry, which may be an alias: `models:/fraud@challenger`"""
    mode: Literal["split", "shadow"] = "split"
    """'split' has it answer a share of the requests, 'shadow' asks it afterwards and compares"""
    percent: Percent | None = Field(
        None, description="percent of the requests that it gets; default: the version's tag candidate_share, else 10"
    )
    key: RequestKeyText | None = None
    """where the key of a request is, by which the same caller always gets the same version"""


class Previous(Part):
    """The model that was served before the last promotion."""

    model: ModelUri
    flavor: FlavorName | None = None
    """its flavor, if the spec named it"""
    image: str | None = None
    """its image, if the spec named it"""
