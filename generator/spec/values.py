"""Value types of the spec: names, quantities, durations, percentages, each with a message of what it expects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from monitoring.values import DNS_1035, DNS_SUBDOMAIN, LABEL_KEY, LABEL_VALUE, duration_text
from monitoring.values import seconds as seconds  # the durations of the spec are read with it

QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
DECIMAL = ("m", "", "k", "M", "G", "T", "P")
BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi")
FACTORS = {
    "": 1.0,
    "m": 1e-3,
    **{unit: 1e3**power for power, unit in enumerate("kMGTP", 1)},
    **{unit: 1024.0**power for power, unit in enumerate(BINARY, 1)},
}


class Part(BaseModel):
    """A part of the spec: immutable, and without unknown fields."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        # Numbers are accepted as text, as they were written.
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


@dataclass(frozen=True, slots=True)
class Matching:
    """A text that matches a pattern, which the JSON Schema shows to editors."""

    pattern: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^({self.pattern})$"}

    def check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{text!r} is not {self.expected}")
        return text


def matching(pattern: str, expected: str) -> Matching:
    return Matching(pattern, expected)


def word_of(value: Any) -> Any:
    """Booleans become the words true and false where text is expected."""
    return str(value).lower() if isinstance(value, bool) else value


def quantity(text: str) -> float:
    """The number that a Kubernetes quantity stands for."""
    match = QUANTITY.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a quantity: expected a number with a unit such as 500m, 2, 512Mi or 4Gi")
    return float(match[1]) * FACTORS[match[2] or ""]


def canonical(text: str) -> str:
    """The quantity as KServe stores it, in the largest unit without a fraction: another spelling looks changed."""
    match = QUANTITY.fullmatch(text)
    if not match:
        return text
    unit = match[2] or ""
    units = BINARY if unit.endswith("i") else DECIMAL
    scale = 1024 if unit.endswith("i") else 1000
    number, place = Fraction(match[1]), units.index(unit)
    while number.denominator > 1 and place > 0:
        number, place = number * scale, place - 1
    while number and number % scale == 0 and place + 1 < len(units):
        number, place = number / scale, place + 1
    return f"{number}{units[place]}" if number.denominator == 1 else text


def checked_quantity(text: str) -> str:
    if quantity(text) <= 0:
        raise ValueError(f"{text!r} must be more than 0")
    return canonical(text)


def memory_quantity(text: str) -> str:
    checked = checked_quantity(text)
    if quantity(text) < 2**20:
        raise ValueError(f"{text!r} is less than a mebibyte: is a unit missing, as in 4Gi?")
    return checked


def checked_duration(text: str) -> str:
    seconds(text)
    return text


NumberToo = WithJsonSchema({"type": ["string", "number"]})
WordToo = WithJsonSchema({"type": ["string", "number", "boolean"]})

Name = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matching(DNS_1035, "a name that Kubernetes takes: small letters, digits and -, a letter first, no - last"),
]
Subdomain = Annotated[
    str, Field(min_length=1, max_length=253), matching(DNS_SUBDOMAIN, "a name of small letters, digits, - and .")
]
Cores = Annotated[str, AfterValidator(checked_quantity), NumberToo]
Memory = Annotated[str, AfterValidator(memory_quantity), NumberToo]
Duration = Annotated[str, BeforeValidator(duration_text), AfterValidator(checked_duration), NumberToo]
Percent = Annotated[int, Field(ge=0, le=100)]
Utilization = Annotated[int, Field(ge=1, le=100)]
Port = Annotated[int, Field(ge=1, le=65535)]
LabelKey = Annotated[
    str,
    matching(
        LABEL_KEY,
        "a key of a label: [prefix/]name of at most 63",
    ),
]
LabelValue = Annotated[
    str,
    BeforeValidator(word_of),
    matching(
        LABEL_VALUE,
        "a value of a label: letters, digits, -, _ and ., at most 63",
    ),
    WordToo,
]
EnvName = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_.-]*", "a name of an environment variable")]
Share = Annotated[str, matching(r"100%|\d{1,2}%", "a share: expected a number of pods, or a percentage such as 25%")]
Url = Annotated[str, matching(r"https?://[^\s/]+\S*", "a URL: expected http://… or https://…")]
Labels = dict[LabelKey, LabelValue]
Annotations = dict[LabelKey, Annotated[str, BeforeValidator(word_of), WordToo]]
