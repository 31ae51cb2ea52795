"""The values of the chart: those that stand as they are in what is rendered, and those that change its shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from generator import FlavorName

Fields = dict[str, Any]
"""Fields of a spec, by dotted path."""

VARIABLES = {
    "$min": '{{- $min := int (dig "replicas" "min" 1 $.Values.AsMap) }}',
    "$max": '{{- $max := int (dig "replicas" "max" (max 5 (dig "replicas" "min" 1 $.Values.AsMap)) $.Values.AsMap) }}',
    "$source": """\
{{- $source := "alias" }}
{{- if regexMatch "^(runs:/.*|models:/([^@]+/[0-9]+|m-[0-9a-f]+))$" $.Values.model }}
{{- $source = "version" }}
{{- else if hasPrefix "pvc://" $.Values.model }}
{{- $source = "claim" }}
{{- else if not (hasPrefix "models:/" $.Values.model) }}
{{- $source = "store" }}
{{- end }}""",
}
"""Variables of the templates, and what sets them."""


@dataclass(frozen=True)
class Placeholder:
    """Stands for a value while a spec is rendered; the template has the expression in its place."""

    expression: str
    samples: tuple[Any, Any]
    """Two of them: a template that differs between both depends on more than where the value stands."""


@dataclass(frozen=True)
class Repeated:
    """Stands for each entry of a mapping or list of the values."""

    collection: str
    keys: tuple[str, str]
    values: tuple[str, str] = ("", "")
    """Of a mapping; a list has keys alone."""


@dataclass(frozen=True)
class Alternative:
    """Fields that hold under a condition, or for a word; and what placeholders are known to be there."""

    condition: str
    fields: Fields
    known: dict[Placeholder, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Choice:
    """Alternatives of which one holds; the first if no other does."""

    name: str
    alternatives: tuple[Alternative, ...]
    subject: str = ""
    """The expression of a word, if the conditions are words."""

    def condition(self, chosen: Sequence[int]) -> str:
        """Whether one of these alternatives holds."""
        others = [index for index in range(len(self.alternatives)) if index not in chosen]
        if self.subject and len(others) < len(chosen):
            words = self.words(others)
            return f"ne {self.subject} {words}" if len(others) == 1 else f"not (has {self.subject} (list {words}))"
        if self.subject:
            words = self.words(chosen)
            return f"eq {self.subject} {words}" if len(chosen) == 1 else f"has {self.subject} (list {words})"
        if 0 in chosen:
            return f"not {operand(self.condition(others))}"
        conditions = [self.alternatives[index].condition for index in chosen]
        return conditions[0] if len(conditions) == 1 else "or " + " ".join(operand(each) for each in conditions)

    def marks(self) -> Iterator[Placeholder | Repeated]:
        for each in self.alternatives:
            yield from marks(list(each.fields.values()))

    def words(self, chosen: Sequence[int]) -> str:
        return " ".join(f'"{self.alternatives[index].condition}"' for index in chosen)


def marks(content: Any) -> Iterator[Placeholder | Repeated]:
    """The placeholders in the content."""
    if isinstance(content, Placeholder | Repeated):
        yield content
    elif isinstance(content, list | dict):
        for each in content.values() if isinstance(content, dict) else content:
            yield from marks(each)


def operand(expression: str) -> str:
    """The expression where a function takes it."""
    return f"({expression})" if " " in expression else expression


def value(path: str) -> str:
    """The expression of a value, which is nothing where a part of the path is not there."""
    *parents, last = path.split(".")
    expression = "$.Values"
    for parent in parents:
        expression = f"({expression}.{parent})"
    return f"{expression}.{last}"


def text(path: str, first: str, second: str) -> Placeholder:
    return Placeholder(value(path), (first, second))


def number(path: str, first: int, second: int) -> Placeholder:
    return Placeholder(f"int {value(path)}", (first, second))


def optional(path: str, content: Any) -> Choice:
    """A field that is there or not."""
    return Choice(path, (Alternative("", {}), Alternative(value(path), {path: content})))


def one_of(path: str, default: str, values: Sequence[str]) -> Choice:
    """A field with one of a few words."""
    words = [default, *(word for word in values if word != default)]
    variable = f"${path.rpartition('.')[2]}"
    VARIABLES[variable] = f'{{{{- {variable} := default "{default}" {value(path)} }}}}'
    return Choice(path, tuple(Alternative(word, {path: word}) for word in words), variable)


MIN, MAX = "$min", "$max"
NAME = Placeholder("$.Release.Name", ("sentinel-fraud", "placeholder-churn"))
NAMESPACE = Placeholder("$.Release.Namespace", ("sentinel-ns", "placeholder-room"))
MINIMUM = Placeholder(MIN, (6101, 6703))
MAXIMUM = Placeholder(MAX, (7103, 7907))
ALWAYS: Fields = {
    "name": NAME,
    "namespace": NAMESPACE,
    "image_registry": Placeholder(
        'default "mlflow-kserve" $.Values.image_registry', ("sentinel.test/ml", "placeholder.test:5000/x")
    ),
    "image_tag": Placeholder('toString (default "latest" $.Values.image_tag)', ("sentinel-9.1", "placeholder-8.2")),
}


def model(source: str, first: str, second: str) -> Alternative:
    return Alternative(source, {"model": text("model", first, second)})


def replicas(condition: str, minimum: Any, maximum: Any, known: dict[Placeholder, Any] | None = None) -> Alternative:
    return Alternative(condition, {"replicas.min": minimum, "replicas.max": maximum}, known or {})


def scaling(name: str, first: int, second: int) -> Alternative:
    return Alternative(value(f"scaling.{name}"), {f"scaling.{name}": number(f"scaling.{name}", first, second)})


CHOICES = (
    one_of("flavor", "sklearn", get_args(FlavorName)),
    Choice(
        "model",
        (
            model("alias", "models:/sentinel-model@champion", "models:/placeholder-model@live"),
            model("version", "models:/sentinel-model/917", "runs:/placeholder0/model"),
            model("claim", "pvc://sentinel-claim/model", "pvc://placeholder-claim/other"),
            model("store", "s3://sentinel-bucket/model", "gs://placeholder-bucket/other"),
        ),
        "$source",
    ),
    one_of("mode", "Standard", ("Standard", "Knative")),
    one_of("protocol", "v2", ("v1", "v2", "grpc")),
    Choice(
        "replicas",
        (
            replicas("", MINIMUM, MAXIMUM),
            replicas(f"and (eq {MIN} 0) (gt {MAX} 0)", 0, MAXIMUM, {MINIMUM: 0}),
            replicas(f"and (eq {MIN} 1) (gt {MAX} 1)", 1, MAXIMUM, {MINIMUM: 1}),
            replicas(f"and (eq {MIN} 1) (eq {MAX} 1)", 1, 1, {MINIMUM: 1, MAXIMUM: 1}),
            replicas(f"and (gt {MIN} 1) (eq {MIN} {MAX})", MINIMUM, MINIMUM, {MAXIMUM: MINIMUM}),
            replicas(f"gt {MIN} {MAX}", Placeholder(MIN, (8101, 8707)), Placeholder(MAX, (5303, 5903))),
        ),
    ),
    Choice(
        "scaling",
        (
            Alternative("", {}),
            scaling("cpu", 37, 43),
            scaling("memory", 38, 47),
            scaling("concurrency", 313, 317),
            scaling("rps", 331, 337),
            Alternative(f'eq (default "auto" {value("scaling.by")}) "none"', {"scaling.by": "none"}),
        ),
    ),
    optional(
        "monitoring.prometheus", text("monitoring.prometheus", "http://sentinel-prom:9090", "http://placeholder:1")
    ),
    optional("tracking.uri", text("tracking.uri", "http://sentinel-mlflow:5000", "http://placeholder-mlflow:80/x")),
    optional("tracking.secret", text("tracking.secret", "sentinel-login", "placeholder-login")),
    optional("storage.secrets", [Repeated(value("storage.secrets"), ("sentinel-store", "placeholder-store"))]),
    optional("image", text("image", "sentinel.test/own:1", "placeholder.test/another:2")),
    optional("image_pull_policy", text("image_pull_policy", "Always", "Never")),
    optional("image_pull_secrets", [Repeated(value("image_pull_secrets"), ("sentinel-pull", "placeholder-pull"))]),
    optional("resources.cores", Placeholder(f"toString {value('resources.cores')}", ("61001m", "67003m"))),
    optional("resources.memory", text("resources.memory", "61001Mi", "67003Mi")),
    optional("resources.gpu", number("resources.gpu", 97, 89)),
    optional(
        "placement.node_selector",
        {
            "each": Repeated(
                value("placement.node_selector"),
                ("sentinel/node", "placeholder/pool"),
                ("sentinel-kind", "placeholder-k"),
            )
        },
    ),
    optional(
        "env",
        {"each": Repeated(value("env"), ("SENTINEL_ENV", "PLACEHOLDER_ENV"), ("sentinel value", "placeholder: 1"))},
    ),
    optional("env_from", [Repeated(value("env_from"), ("sentinel-vars", "placeholder-vars"))]),
    optional("args", [Repeated(value("args"), ("--sentinel-flag", "--placeholder-flag=1"))]),
    optional(
        "labels",
        {
            "each": Repeated(
                value("labels"), ("sentinel.test/label", "placeholder.test/l"), ("sentinel-l", "placeholder-l")
            )
        },
    ),
    optional(
        "annotations",
        {
            "each": Repeated(
                value("annotations"),
                ("sentinel.test/note", "placeholder.test/n"),
                ("sentinel note", "placeholder: note"),
            )
        },
    ),
    optional("service_account.name", text("service_account.name", "sentinel-identity", "placeholder-identity")),
    one_of("exposure.visibility", "external", ("external", "cluster-local")),
    optional(
        "exposure.domain_suffix", text("exposure.domain_suffix", "sentinel.example.com", "placeholder.example.org")
    ),
    optional("exposure.host", text("exposure.host", "sentinel.example.net", "placeholder.example.net")),
    Choice(
        "network_policy",
        (
            Alternative("", {}),
            Alternative(
                value("network_policy"),
                {
                    "network_policy.from_namespaces": [
                        Repeated(value("network_policy.from_namespaces"), ("sentinel-caller", "placeholder-caller"))
                    ],
                    # Without it, the policy would depend on the host and the port in tracking.uri.
                    "tracking.namespace": text("tracking.namespace", "sentinel-home", "placeholder-home"),
                },
            ),
        ),
    ),
    one_of("monitoring.scrape", "annotations", ("annotations", "podmonitor", "servicemonitor", "off")),
)


def sampled(content: Any, sample: int) -> Any:
    """The content with one of the two samples of each placeholder."""
    if isinstance(content, Placeholder):
        return content.samples[sample]
    if isinstance(content, Repeated):
        return content.keys[sample]
    if isinstance(content, list):
        return [sampled(each, sample) for each in content]
    if isinstance(content, dict):
        pairs = [
            (each.keys[sample], each.values[sample]) if isinstance(each, Repeated) else (key, sampled(each, sample))
            for key, each in content.items()
        ]
        return dict(pairs)
    return content


def nested(fields: Fields) -> dict[str, Any]:
    """A mapping of mappings from dotted paths."""
    result: dict[str, Any] = {}
    for path, content in fields.items():
        *parents, last = path.split(".")
        inner = result
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = content
    return result
