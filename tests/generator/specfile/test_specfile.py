"""Spec files: what is wrong is said with its line and in plain words; what is right is taken as it was written."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from generator import SpecError
from generator.problems import Problem
from generator.specfile.load import against_rules, read_spec, spec_file
from generator.specfile.yaml_text import read

HEAD = "name: fraud\nmodel: models:/fraud/3\nflavor: sklearn\n"


def problems(text: str, environment: str | None = None) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        read_spec(text, environment, "serve.yaml")
    return caught.value.problems


def all_problems(text: str) -> list[Problem]:
    """What is wrong, also by the rules."""
    try:
        file = spec_file(read(text, "serve.yaml"))
    except SpecError as error:
        return error.problems
    return file.placed(SpecError(against_rules(file.spec))).problems


# What follows the three lines of HEAD: line, path, words.
WRONG = {
    "typo": ("namspace: ml\n", 4, "namspace", "did you mean namespace?"),
    "a word of Kubernetes": ("tolerations: []\n", 4, "tolerations", "did you mean placement.tolerations?"),
    "a word of KServe": ("minReplicas: 1\n", 4, "minReplicas", "did you mean replicas.min?"),
    "letters that changed places": ("modle: models:/fraud/1\n", 4, "modle", "did you mean model?"),
    "cores in Kubernetes' words": ("resources: {cpu: 2}\n", 4, "resources.cpu", "did you mean cores?"),
    "cores at most": ("resources: {limits: {cpu: 2}}\n", 4, "resources.limits.cpu", "did you mean cores?"),
    "cores at the top": ("cpu: 2\n", 4, "cpu", "did you mean resources.cores?"),
    "memory at the top": ("memory: 2Gi\n", 4, "memory", "did you mean resources.memory?"),
    "no version": ("mode: Knative\ncanary: {model: models:/fraud, percent: 5}\n", 5, "canary.model", "'models:/fraud' names no version: expected models:/fraud/VERSION or models:/fraud@ALIAS"),
    "typo below": ("replicas:\n  mox: 1\n", 5, "replicas.mox", "did you mean max?"),
    "nothing near": ("replicas: {colour: 1}\n", 4, "replicas.colour", "expected one of min, max"),
    "word of a choice": ("mode: knative\n", 4, "mode", "expected Standard or Knative, found 'knative': did you mean Knative?"),
    "range": ("replicas: {min: -1}\n", 4, "replicas.min", "expected 0 or more, found -1"),
    "not whole": ("replicas: {min: 1.5}\n", 4, "replicas.min", "expected a whole number, found 1.5"),
    "missing": ("tracing: {sample: 1}\n", 4, "tracing.endpoint", "is missing: URL to which spans are sent"),
    "list for a text": ("timeout: []\n", 4, "timeout", "expected text, found an empty list"),
    "text for fields": ("storage: pvc\n", 4, "storage", "expected fields (strategy, storage_container, image, cache"),
    "text for a list": ("args: --x\n", 4, "args", "expected a list, found '--x'"),
    "fields for a list": ("args: {a: 1}\n", 4, "args", "expected a list, found fields"),
    "cron": ('scaling:\n  schedule:\n  - {start: "0 8", end: "0 9 * * *", min: 1}\n', 6, "scaling.schedule[0].start", "five fields"),
    "scaling line": ("scaling: 70 percent\n", 4, "scaling", "is not a scaling rule"),
    "scaling number": ("scaling: 70\n", 4, "scaling", "or a line such as '70% CPU or 100 RPS per pod', found 70"),
    "union of a word and fields": ("security: of\n", 4, "security", "tmp_size) or off, found 'of': did you mean off?"),
    "fields of a union": ("disruption_budget: {min_availble: 1}\n", 4, "disruption_budget.min_availble", "mean min_available?"),
    "union of a quantity and a word": ("volumes: [{name: x, path: /x, empty_dir: 5x}]\n", 4, "volumes[0].empty_dir", "'5x' is not a quantity"),
    "variable from half a key": ("env:\n  A: {secret: x}\n", 5, "env.A.key", "is missing: key in it"),
    "variable from half a key of a config map": ("env:\n  A: {config_map: x}\n", 5, "env.A.key", "is missing: key in it"),
    "variable without value": ("env:\n  A:\n", 5, "env.A", "found nothing"),
    "name of a variable": ("env:\n  A B: 1\n", 5, "env[A B]", "'A B' is not a name of an environment variable"),
    "number that is none": ("tracing: {endpoint: http://x, sample: .nan}\n", 4, "tracing.sample", "expected a finite number"),
    "said twice": ("timeout: 1s\nmode: Knative\ntimeout: 2s\n", 6, "timeout", "is set twice: here and in line 4"),
    "tag": ("timeout: !!python/object:os.system x\n", 4, "timeout", "the tag !!python/object:os.system is not supported"),
    "tab": ("replicas:\n\tmin: 1\n", 5, "", "a tab: expected spaces"),
    "second colon": ("image: a: b\n", 4, "", "a second ':'"),
    "bracket": ("args: [a\nmode: Knative\n", 5, "", "the closing bracket of the one opened in line 4"),
    "quote": ("image: 'a\n", 5, "", "the closing quote of the one opened in line 4"),
    "alias of nothing": ("image: *other\n", 4, "", "expected an anchor (&name)"),
    "at sign": ("image: @x\n", 4, "", "cannot begin with '@'"),
    "list as a key": ("? [a]\n: 1\n", 4, "", "expected a name before ':'"),
    "alias in its own anchor": ("annotations: &a\n  x: *a\n", 4, "annotations.x", "never ends"),
    "second document": ("---\nname: other\n", 5, "", "a second document begins here"),
    "local address for pods": ("tracking: {uri: http://localhost:5000}\n", 4, "tracking.uri", "leads a pod to itself"),
    "file for pods": ("tracking: {uri: sqlite:///mlflow.db}\n", 4, "tracking.uri", "is on this machine"),
    "password": ("tracking: {uri: 'https://me:secret@mlflow'}\n", 4, "tracking.uri", "expected tracking.secret instead"),
    "a rule": ("container_concurrency: 5\n", 4, "container_concurrency", "only Knative has this limit"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_each_problem_has_its_line(case: str) -> None:
    text, line, path, words = WRONG[case]
    (problem,) = all_problems(HEAD + text)
    assert words in problem.message
    assert problem.where == path
    if case != "alias in its own anchor":  # its anchor is where it begins
        assert problem.line == line
    assert problem.source == "serve.yaml"


def test_everything_at_once_in_the_order_of_the_file_with_rules() -> None:
    text = "name: Fraud\ncontainer_concurrency: 5\nreplicas: {min: x}\nmode: Standard\n"
    assert [(each.line, each.where) for each in problems(text)] == [
        (1, "name"), (1, "model"), (2, "container_concurrency"), (3, "replicas.min"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# only words\n", "is empty"),
        ("- a\n", "expected fields such as name: and model:, found a list"),
        ("fraud\n", "found 'fraud'"),
        ("apiVersion: v1\nkind: Pod\n", "is a Pod of Kubernetes, not a spec"),
        ("a: " + "[" * 100 + "]" * 100, "is nested too deeply"),
        ("a: " + "[" * 5000, "is nested too deeply"),
        ("x" * 1_000_001, "expected at most 1,000,000"),
        ("name: a\x07b\n", "YAML does not allow"),
        ("environments: [prod]\n", "expected environments by name"),
        ("environments: {prod: 3}\n", "expected fields, found 3"),
        ("environments: {prod: {environments: {}}}\n", "environments cannot be nested"),
        ("environments: {prod: {defaults: []}}\n", "expected fields of a spec"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
            "aliases counted",
        ),
    ],
    ids=lambda value: value[:20].encode("unicode_escape").decode() if isinstance(value, str) else "",
)
def test_what_is_no_spec_at_all(text: str, words: str) -> None:
    assert words in problems(text)[0].message


def test_numbers_are_taken_as_they_were_written() -> None:
    spec = read_spec(
        HEAD + "kserve: 0.20\nimage_tag: 1.10\nlabels: {version: 1.10, build: 007, on: off}\ntimeout: 90\n"
        "resources: {cores: 0.50, memory: 8589934592}\nreplicas: {min: 012, max: 20}\ndisruption_budget: off\n"
        "env: {A: 1e3, B: 0x10, C: yes, D: 0.20, E: true, F: 1234567.5, G: 12:30, H: 2026-01-01}\n"
    )
    assert (spec.kserve, spec.image_tag, spec.timeout) == ("0.20", "1.10", "90s")
    assert spec.labels == {"version": "1.10", "build": "007", "on": "off"}
    assert (spec.resources.cores, spec.resources.memory) == ("500m", "8589934592")
    assert (spec.replicas.min, spec.disruption_budget) == (12, "off")
    assert spec.env == {
        "A": "1e3", "B": "0x10", "C": "yes", "D": "0.20", "E": "true", "F": "1234567.5", "G": "12:30", "H": "2026-01-01",
    }  # fmt: skip


def test_kubernetes_own_words_have_plain_numbers() -> None:
    spec = read_spec(HEAD + "placement: {topology_spread: [{maxSkew: 1, x: 0.50}]}\n")
    constraints = spec.placement.topology_spread
    assert isinstance(constraints, list)
    assert [[type(value) for value in constraint.values()] for constraint in constraints] == [[int, float]]


def test_anchors_and_merge_keys() -> None:
    spec = read_spec(HEAD + "labels: &l {team: ml, tier: a}\nannotations: {<<: *l, tier: b}\n")
    assert spec.annotations == {"team": "ml", "tier": "b"}


PROD = """
replicas: {min: 2, max: 8}
args: [--a, --b]
env: {A: 1, B: 2}
environments:
  staging:
  prod:
    cluster: prod-1
    domain_suffix: .example.com
    defaults: {mode: Knative, replicas: {min: 5}, drain_delay: 3s}
    namespace: ml
    replicas: {max: 20}
    args: [--c]
    env: {A: null, C: 3}
    overrides: {namespace: ml-prod}
"""


def test_an_environment_is_laid_over_the_spec() -> None:
    spec = read_spec(HEAD + PROD, "prod")
    assert spec.namespace == "ml-prod"
    assert (spec.replicas.min, spec.replicas.max) == (2, 20)
    assert (spec.mode, spec.drain_delay) == ("Knative", "3s")
    assert spec.args == ["--c"]
    assert spec.env == {"B": "2", "C": "3"}
    assert spec.exposure.domain_suffix == "example.com"
    assert read_spec(HEAD + PROD, "staging") == read_spec(HEAD + PROD) != spec


def test_null_takes_back_what_the_spec_says() -> None:
    text = (
        HEAD + "timeout: 5s\ncanary: {model: models:/fraud/4, percent: 5}\nenvironments: {prod: {timeout: , canary: }}"
    )
    assert (read_spec(text).timeout, read_spec(text, "prod").timeout) == ("5s", "60s")
    assert read_spec(text, "prod").canary is None


def test_null_says_something_where_a_field_may_be_empty() -> None:
    security = read_spec(HEAD + "security: {fs_group: , run_as_user: }\n").security
    assert security != "off"
    assert (security.fs_group, security.run_as_user) == (None, 65532)


def test_an_environment_may_say_what_the_spec_leaves_out() -> None:
    text = "name: fraud\nflavor: sklearn\nenvironments:\n  prod: {model: models:/fraud/3}\n  dev: {}\n"
    assert read_spec(text, "prod").model == "models:/fraud/3"
    (missing,) = problems(text, "dev")
    assert missing.where == "model"


def test_problems_of_an_environment_have_its_lines_and_its_path() -> None:
    (problem,) = problems(HEAD + "environments:\n  prod:\n    replicas:\n      max: 0\n", "prod")
    assert (problem.line, problem.where) == (7, "environments.prod.replicas.max")
    (problem,) = problems(HEAD + "environments:\n  prod:\n    defaults:\n      mod: x\n", "prod")
    assert (problem.line, problem.where) == (7, "environments.prod.defaults.mod")


def test_an_environment_that_is_not_there() -> None:
    assert "did you mean prod? There are staging, prod" in problems(HEAD + PROD, "prd")[0].message
    assert "has no environment 'prod'" in problems(HEAD, "prod")[0].message


# Texts that are nearly specs, so that what comes after the parser is reached.
LINES = st.lists(
    st.sampled_from(
        [
            *HEAD.splitlines(),
            *PROD.splitlines(),
            *(text for text, *_ in WRONG.values()),
            "  - a",
            "    b: &x 1",
            "c: *x",
        ]
    ),
    max_size=12,
).map("\n".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "model", "env", "security", "x"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.sampled_from(sorted(__import__("generator").ServeSpec.model_fields))
SPECS = st.dictionaries(FIELDS, VALUES, max_size=4).map(lambda data: HEAD + "\n" + yaml.safe_dump(data))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(alphabet=st.characters(), max_size=60) | LINES | SPECS)
@example(text="a: !!int x")
@example(text="<<: [*a]")
@example(text="? ? a\n")
@example(text="&a [*a]")
@example(text="? ~\n: ~")
@example(text="<<: &a\n  <<: *a")
@example(text="9" * 5000 + ": " + "9" * 5000)
def test_no_text_is_too_much(text: str) -> None:
    wrong = all_problems(text)
    for problem in wrong:
        assert "\n" not in problem.message
        assert not any(word in problem.message for word in ("Input should", "pydantic", "function-", "type="))
