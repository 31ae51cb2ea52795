"""docs/scaling.md: what it says is rendered is what is rendered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator import ServeSpec, render
from generator.spec.scaling import parse_line

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
BLOCK = re.compile(r"```yaml\n(?:# ([^\n]*)\n)?(.*?)```", re.DOTALL)


def examples() -> list[tuple[str, str, str]]:
    """Each fragment with what it is of, and the spec before it."""
    fragments, spec = [], ""
    for about, text in BLOCK.findall(PAGE):
        if about == "serve.yaml":
            spec = text
        elif about:
            fragments.append((about.rpartition(": ")[2], spec, text))
    return fragments


def part(about: str, resources: list[dict[str, Any]], shown: Any) -> Any:
    """What the fragment is compared with."""
    if about == "annotations":
        annotations = resources[0]["metadata"]["annotations"]
        return {key: value for key, value in annotations.items() if key.startswith("autoscaling.knative.dev/")}
    if about == "InferenceService":
        predictor = resources[0]["spec"]["predictor"]
        return {key: predictor[key] for key in predictor if key in shown or "cale" in key or "Replicas" in key}
    if about.startswith("CronJobs"):
        jobs = [each for each in resources if each["kind"] == "CronJob"]
        return {each["metadata"]["name"]: f"{each['spec']['schedule']}, {arguments(each)}" for each in jobs}
    (resource,) = [each for each in resources if each["kind"] == about]
    return resource["spec"]


def arguments(job: dict[str, Any]) -> str:
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return " ".join(container["args"])


@pytest.mark.parametrize(("about", "spec", "text"), examples(), ids=[f"{i}-{each[0]}" for i, each in enumerate(examples())])  # fmt: skip
def test_the_fragment_is_the_real_one(about: str, spec: str, text: str) -> None:
    shown = yaml.safe_load(text)
    assert part(about, render(ServeSpec.model_validate(yaml.safe_load(spec))), shown) == shown


def test_there_are_as_many_as_are_meant() -> None:
    assert len(examples()) == 5


def test_the_clauses_of_the_table_mean_their_fields() -> None:
    table = PAGE.partition("| clause | field |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) == 4
    for clauses, fields in rows:
        lines = re.findall("`([^`]*)`", clauses)
        said = [yaml.safe_load(field) for field in re.findall("`([^`]*)`", fields)]
        for line, expected in zip(lines, said if len(said) > 1 else said * len(lines), strict=True):
            (name,) = expected
            assert list(parse_line(line)) == [name]
        assert parse_line(lines[0]) == said[0]


def test_the_line_at_the_top() -> None:
    top = next(text for about, text in BLOCK.findall(PAGE) if not about)
    spec = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", **yaml.safe_load(top)}
    assert render(ServeSpec.model_validate(spec))[0]["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda"  # fmt: skip
