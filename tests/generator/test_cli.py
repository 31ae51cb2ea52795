"""The command line as people call it: what it prints, what it writes, with which status it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "predictors" / "demo"
SPEC = """\
name: fraud
model: models:/fraud/3
flavor: sklearn
replicas: {min: 2, max: 8}
disruption_budget: off
environments:
  staging: {replicas: {max: 3}}
  prod:
    cluster: prod-1
    namespace: ml-prod
    image_tag: 1.10
"""
ONE_LINER = ["--model", "models:/fraud/3", "--name", "fraud", "--flavor", "sklearn"]


class Ran:
    """What a command said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def documents(self) -> list[dict[str, Any]]:
        return list(yaml.safe_load_all(self.out))

    @property
    def predictor(self) -> dict[str, Any]:
        service = next(each for each in self.documents if each["kind"] == "InferenceService")
        predictor: dict[str, Any] = service["spec"]["predictor"]
        return predictor


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs a command in a folder with serve.yaml."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "serve.yaml").write_text(SPEC)

    def call(*argv: str) -> Ran:
        try:
            status = main(list(argv))
        except SystemExit as end:  # argparse's own --help
            status = int(end.code or 0)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return call


def command(
    *argv: str, env: dict[str, str] | None = None, input: str | None = None, encoding: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "generator", *argv],
        capture_output=True, text=True, timeout=60, cwd=ROOT, env={**os.environ, **(env or {})}, check=False,
        input=input, encoding=encoding,
    )  # fmt: skip


def test_one_line_makes_a_serve(run: Callable[..., Ran]) -> None:
    rendered = run(
        *ONE_LINER, "--namespace", "ml", "--max", "7", "--cores", "2", "--scaling", "80% CPU", "--set", "timeout=30"
    )
    assert (rendered.status, rendered.predictor["maxReplicas"], rendered.predictor["timeout"]) == (0, 7, 30)
    assert rendered.predictor["scaleTarget"] == 80
    assert rendered.out.startswith(
        "---\n# Made by mlflow-kserve 0.1.0: python -m generator render --model models:/fraud/3 --name fraud --namespace ml "
        "--flavor sklearn --max 7 --scaling '80% CPU' --cores 2 --set timeout=30. Change the spec, not this.\n"
    )
    assert "Note:" in rendered.err
    assert rendered.err.splitlines()[0] in rendered.out.replace("# ", "")  # for whoever applies it, too


def test_what_it_says_of_itself_can_be_run_again(run: Callable[..., Ran]) -> None:
    import shlex

    first = run(
        "render",
        "serve.yaml",
        "--env",
        "prod",
        "--set",
        "annotations[example.com/team]=a b",
        "--set",
        "args=[x, 'y z']",
    )
    again = shlex.split(first.out.splitlines()[1].partition(": ")[2].partition(". Change")[0])[3:]
    assert run(*again).out == first.out


def test_an_environment(run: Callable[..., Ran]) -> None:
    rendered = run("render", "serve.yaml", "--env", "prod")
    assert rendered.documents[0]["metadata"]["namespace"] == "ml-prod"
    assert rendered.predictor["containers"][0]["image"].endswith(":1.10")
    assert "\n# For the environment prod on the cluster prod-1.\n" in rendered.out
    base = run("render", "serve.yaml")
    assert base.status == 0
    assert "no environment is selected" in base.err
    assert "staging, prod" in base.err


def test_environments_in_a_file_of_their_own(run: Callable[..., Ran]) -> None:
    Path("platform.yaml").write_text(
        "environments:\n  prod: {namespace: shared, workers: 3, defaults: {replicas: {min: 9}, timeout: 9s}}\n"
        "  edge: {namespace: edge}\n"
    )
    rendered = run("render", "serve.yaml", "--env", "prod", "--environments", "platform.yaml")
    assert rendered.documents[0]["metadata"]["namespace"] == "ml-prod"  # the serve's own environment wins
    assert (rendered.predictor["minReplicas"], rendered.predictor["timeout"]) == (2, 9)
    assert run("render", "serve.yaml", "--env", "edge", "--environments", "platform.yaml").documents[0]["metadata"]["namespace"] == "edge"  # fmt: skip


def test_flags_win_and_are_laid_over_lists_too(run: Callable[..., Ran]) -> None:
    Path("serve.yaml").write_text(SPEC + "scaling: 70% CPU\nargs: [a, b]\nenv: {A: 1}\n")
    rendered = run(
        "render", "serve.yaml", "--env", "staging", "--max", "6", "--set", "args[1]=c", "--set", "args[2]=d",
        "--set", "env.A=null", "--set", "env.B=007", "--set", "scaling.memory=60", "--set", "scaling.by=hpa",
    )  # fmt: skip
    container = rendered.predictor["containers"][0]
    assert rendered.predictor["maxReplicas"] == 6
    rows = json.loads(run("explain", "serve.yaml", "--set", "scaling.memory=60", "--json").out)
    assert {("scaling.cpu", 70), ("scaling.memory", 60)} <= {
        (row["path"], row["value"]) for row in rows if row["path"] in ("scaling.cpu", "scaling.memory")
    }
    assert container["args"][1:] == ["a", "c", "d"]
    assert {"name": "B", "value": "007"} in container["env"]
    assert "A" not in {each["name"] for each in container["env"]}


def test_secrets_stay_out_of_the_header(run: Callable[..., Ran]) -> None:
    rendered = run(*ONE_LINER, "--set", "env.PASSWORD=hunter2")
    assert "--set env.PASSWORD=…" in rendered.out
    assert rendered.out.count("hunter2") == 1  # the variable itself


def test_nothing_of_this_machine_in_the_header(run: Callable[..., Ran], tmp_path: Path) -> None:
    assert str(tmp_path) not in run("render", str(tmp_path / "serve.yaml")).out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["rendr"], "did you mean render?"),
        (["render"], "expected a spec file, or --model and --name"),
        (["render", "serve.yaml", "--colour"], "unrecognized arguments: --colour"),
        (["render", "other.yaml"], "other.yaml: cannot be read: No such file"),
        (["render", "."], ".: cannot be read: Is a directory"),
        (["render", "serve.yaml", "--set", "a b=1"], "--set a b=1: expected PATH=VALUE"),
        (["render", "serve.yaml", "--set", "timeout"], "expected PATH=VALUE"),
        (["render", "serve.yaml", "--set", "args=[a"], "--set args: '[a' is not a value"),
        (["render", "serve.yaml", "--set", "args[3]=a"], "--set args[3]: there are only 0"),
        (["render", "serve.yaml", "--min", "x"], "--min: expected a whole number, found 'x'"),
        (["render", "serve.yaml", "--set", "replicas.mox=1"], "--set replicas.mox: is not a field: did you mean max?"),
        (["render", "serve.yaml", "-o", "/dev/null/x"], "cannot be written: Not a directory"),
        (["diff", "serve.yaml"], "expected two files, or one with two --env"),
        (["init", "--model", "s3://x/y", "--flavor", "sklearn"], "expected --name"),
        (["init", "--model", "models:/x/1", "--flavor", "skleern"], "did you mean sklearn?"),
        (["validate", "serve.yaml", "--crds", "nowhere"], "--crds: nowhere is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage(run: Callable[..., Ran], argv: list[str], words: str) -> None:
    ran = run(*argv)
    assert words in ran.err
    assert ran.status == 2
    assert ran.out == ""


def test_problems_of_a_spec_end_with_one(run: Callable[..., Ran]) -> None:
    Path("serve.yaml").write_text("name: fraud\nmodel: models:/fraud/3\nflavor: sklearn\nbatcher: {}\n")
    ran = run("render", "serve.yaml")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("serve.yaml:4: batcher: KServe's batcher supports 'instances' of V1 only")


def test_a_model_that_nobody_can_look_at_ends_with_three(run: Callable[..., Ran]) -> None:
    for uri, why in (
        ("models:/fraud/3", "no tracking server is named"),
        ("pvc://x/y", "only the cluster can read pvc://"),
    ):
        ran = run("--model", uri, "--name", "fraud")
        assert ran.status == 3
        assert why in ran.err
        assert "set its flavor (xgboost," in ran.err
        assert ran.err.count("\n") == 1


def test_a_copy_of_the_model_to_look_at(run: Callable[..., Ran]) -> None:
    rendered = run("--model", "models:/fraud@champion", "--name", "fraud", "--mlmodel", str(DEMO))
    assert rendered.predictor["containers"][0]["image"] == "mlflow-kserve/predictor-sklearn:latest"
    assert "--mlmodel demo" in rendered.out


def test_a_folder_of_files(run: Callable[..., Ran]) -> None:
    ran = run("render", "serve.yaml", "--env", "prod", "-o", "out/prod")
    assert (ran.status, ran.out) == (0, "")
    assert "kubectl --context prod-1 apply -k out/prod" in ran.err
    names = sorted(file.name for file in Path("out/prod").iterdir())
    listed = yaml.safe_load(Path("out/prod/kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == names
    streamed = {
        (each["kind"], each["metadata"]["name"]): each
        for each in run("render", "serve.yaml", "--env", "prod").documents
    }
    written = [yaml.safe_load(Path("out/prod", name).read_text()) for name in listed]
    assert {(each["kind"], each["metadata"]["name"]): each for each in written} == streamed
    assert all(Path("out/prod", name).read_text().startswith("# Made by mlflow-kserve ") for name in names)


def test_what_is_not_made_any_more_goes_and_what_is_not_ours_stays(run: Callable[..., Ran]) -> None:
    run("render", "serve.yaml", "-o", "out")
    old = Path("out/role-fraud.yaml")
    old.write_text(Path("out/inferenceservice-fraud.yaml").read_text().replace("kind: InferenceService", "kind: Role"))
    Path("out/mine.yaml").write_text("kind: Mine\n")
    ran = run("render", "serve.yaml", "-o", "out")
    assert not old.exists()
    assert f"{old}: is no longer rendered, and was removed" in ran.err
    assert Path("out/mine.yaml").exists()
    assert "out/mine.yaml: was not written by mlflow-kserve, and stays" in ran.err
    other = run("render", "serve.yaml", "--name", "churn", "-o", "out")
    assert other.status == 2
    assert "holds the serve 'fraud'" in other.err
    Path("out/inferenceservice-fraud.yaml").write_text("kind: Mine\n")
    ran = run("render", "serve.yaml", "-o", "out")
    assert ran.status == 2
    assert "would be overwritten" in ran.err


def test_validate_looks_at_every_environment_of_every_file(run: Callable[..., Ran]) -> None:
    Path("bad.yaml").write_text(SPEC + "    mode: Knative\n    rolling: {surge: 2}\ntimeot: 3\n")
    ran = run("validate", "serve.yaml", "bad.yaml")
    assert ran.status == 1
    assert ran.out.splitlines() == [
        "bad.yaml:13: environments.prod.rolling: KServe refuses it in Knative, which starts a new revision before it "
        "ends the old one: leave it out",
        "bad.yaml:14: timeot: is not a field: did you mean timeout?",
    ]
    listed = json.loads(run("validate", "bad.yaml", "--json", "--env", "staging").out)
    assert [(each["file"], each["line"], each["path"]) for each in listed] == [("bad.yaml", 14, "timeot")]
    fine = run("validate", "serve.yaml")
    assert (fine.status, fine.out, fine.err) == (0, "", "serve.yaml: no problems\n")


def test_validate_goes_on_after_what_it_cannot_read(run: Callable[..., Ran]) -> None:
    Path("bad.yaml").write_text(
        "name: fraud\nmodel: models:/fraud/3\nflavor: sklearn\nmode: Knative\nname: again\ntimeout: !!binary x\n"
        "replicas: {mn: 2}\nenvironments:\n  staging: [1]\n  prod:\n    namespac: ml\n"
    )
    problems = json.loads(run("validate", "bad.yaml", "--json").out)
    assert [(each["line"], each["path"]) for each in problems] == [
        (5, "name"), (6, "timeout"), (7, "replicas.mn"), (9, "environments.staging"), (11, "environments.prod.namespac"),
    ]  # fmt: skip


def test_validate_goes_on_without_the_model(run: Callable[..., Ran]) -> None:
    Path("serve.yaml").write_text("name: fraud\nmodel: models:/fraud/3\ncontainer_concurrency: 3\n")
    ran = run("validate", "serve.yaml")
    assert ran.status == 1
    assert "serve.yaml:3: container_concurrency" in ran.out
    assert "cannot be looked up" in ran.err


def test_explain_names_the_source_of_each_value(run: Callable[..., Ran]) -> None:
    rows = {
        row["path"]: row
        for row in json.loads(run("explain", "serve.yaml", "--env", "prod", "--max", "9", "--json").out)
    }
    assert [rows[path]["source"] for path in ("name", "replicas.min", "replicas.max", "image_tag", "image", "timeout")] == [
        "serve.yaml:1", "serve.yaml:4", "--max", "serve.yaml:11 (prod)", "decided", "default",
    ]  # fmt: skip
    assert rows["image"]["value"] == "mlflow-kserve/predictor-sklearn:1.10"
    assert rows["resources.memory"]["why"] == "for sklearn, without knowing the size of the model"
    assert rows["resources.limits.cores"]["value"] == rows["resources.cores"]["value"]
    assert "canary" not in rows
    assert "\ncanary " in run("explain", "serve.yaml", "--all").out
    assert run("explain", "serve.yaml").out.splitlines()[0].split()[:3] == ["name", "fraud", "serve.yaml:1"]


@pytest.mark.parametrize("pods", ["1", "2"])
def test_explain_tells_of_the_budget_and_the_limits_that_are_made(run: Callable[..., Ran], pods: str) -> None:
    serve = [*ONE_LINER, "--min", pods, "--cores", "3", "--set", "resources.limits.memory=8Gi"]
    rows = {row["path"]: row["value"] for row in json.loads(run("explain", *serve, "--json").out)}
    rendered = run("render", *serve)
    limits = rendered.predictor["containers"][0]["resources"]["limits"]
    assert (rows["resources.limits.cores"], rows["resources.limits.memory"]) == ("3", "8Gi")
    assert limits == {"cpu": "3", "memory": "8Gi"}
    budget = next((each["spec"] for each in rendered.documents if each["kind"] == "PodDisruptionBudget"), None)
    assert rows["disruption_budget"] == ({"max_unavailable": budget["maxUnavailable"]} if budget else "off")


def test_diff_in_words(run: Callable[..., Ran]) -> None:
    ran = run("diff", "serve.yaml", "--env", "staging", "--env", "prod")
    assert ran.status == 1
    assert ran.out.splitlines() == [
        "InferenceService fraud: namespace default → ml-prod: a new one is created there, and the old one stays",
        "InferenceService fraud: maximum replicas: 3 → 8",
        "InferenceService fraud: image mlflow-kserve/predictor-sklearn:latest → mlflow-kserve/predictor-sklearn:1.10",
        "InferenceService fraud: predictor.initContainers[model-downloader].image: mlflow-kserve/storage:latest → mlflow-kserve/storage:1.10",
        "Restarts the pods, one after another.",
    ]  # fmt: skip
    same = run("diff", "serve.yaml", "serve.yaml", "--env", "prod")
    assert (same.status, same.out) == (0, "")


def test_diff_takes_what_was_rendered(run: Callable[..., Ran]) -> None:
    Path("old.yaml").write_text(run("render", "serve.yaml", "--env", "prod").out)
    run("render", "serve.yaml", "--env", "prod", "-o", "out")
    for old in ("old.yaml", "out"):
        assert run("diff", old, "serve.yaml", "--env", "prod").status == 0
    Path("serve.yaml").write_text(SPEC.replace("max: 8", "max: 10"))
    ran = run("diff", "old.yaml", "serve.yaml", "--env", "prod")
    assert ran.out == "InferenceService fraud: maximum replicas: 8 → 10\nDoes not restart the pods.\n"
    as_yaml = run("diff", "old.yaml", "serve.yaml", "--env", "prod", "--yaml")
    assert as_yaml.status == 1
    assert "-    maxReplicas: 8\n+    maxReplicas: 10\n" in as_yaml.out
    Path("serve.yaml").write_text("name: X\n")
    assert run("diff", "old.yaml", "serve.yaml").status == 2


def test_diff_takes_what_a_cluster_has(run: Callable[..., Ran]) -> None:
    (live,) = run("render", "serve.yaml", "--env", "prod").documents
    live["metadata"] |= {"uid": "1", "resourceVersion": "7", "generation": 2}
    live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{}"
    live["status"] = {"url": "http://fraud"}
    for content in (live, {"apiVersion": "v1", "kind": "List", "items": [live]}):
        Path("live.yaml").write_text(yaml.safe_dump(content))
        assert run("diff", "live.yaml", "serve.yaml", "--env", "prod").out == ""


def test_validate_holds_what_is_rendered_against_crds(run: Callable[..., Ran]) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"model": {"type": "string"}}}}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": {
            "group": "serving.kserve.io", "names": {"kind": "InferenceService"}, "scope": "Namespaced",
            "versions": [{"name": "v1beta1", "served": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }  # fmt: skip
    Path("crds").mkdir()
    Path("crds/isvc.yaml").write_text(yaml.safe_dump(crd))
    ran = run("validate", "serve.yaml", "--env", "prod", "--crds", "crds")
    assert ran.status == 1
    assert ran.out.startswith("crds: inferenceservice-fraud.yaml: spec.predictor")


def test_validate_takes_no_guess_for_a_fact(run: Callable[..., Ran]) -> None:
    Path("serve.yaml").write_text("name: fraud\nmodel: models:/fraud/3\nresources: {limits: {memory: 900Mi}}\n")
    assert run("validate", "serve.yaml").status == 0


def test_init_makes_a_spec_that_is_valid_as_it_is_and_uncommented(run: Callable[..., Ran]) -> None:
    text = run("init", "--model", "models:/Fraud_EU@champion", "--mlmodel", str(DEMO), "--schema", "./serve.json").out
    assert text.startswith("# yaml-language-server: $schema=./serve.json\n")
    assert "name: fraud-eu  #" in text
    assert "champion  # sklearn, 0.0 MiB, logged with MLflow" in text
    _, *blocks = text.split("\n\n# ")  # the lines on top, then what can be uncommented
    for number, chosen in enumerate([[], *([block] for block in blocks), blocks]):
        lines = [line for block in chosen for line in block.split("\n", 1)[1].splitlines()]
        file = Path(f"{number}.yaml")
        top = text.split("\n\n# ")[0] + "\nflavor: sklearn\n"
        file.write_text(top + "".join(line.removeprefix("# ") + "\n" for line in lines))
        assert run("validate", file.name).err == f"{file}: no problems\n", file.read_text()


def test_init_writes_over_nothing(run: Callable[..., Ran]) -> None:
    argv = ["init", "--model", "models:/fraud/3", "--flavor", "sklearn", "-o", "serve.yaml"]
    ran = run(*argv)
    assert ran.status == 2
    assert "serve.yaml: already exists" in ran.err
    assert run(*argv, "--force").status == 0
    assert run("render", "serve.yaml").status == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_help(run: Callable[..., Ran], name: str) -> None:
    ran = run(name, "--help")
    assert ran.status == 0
    assert ran.out.startswith(f"usage: python -m generator {name} ")
    assert name in run("--help").out


def test_stdin_and_stdout_of_a_real_process() -> None:
    rendered = command("render", "-", "--env", "prod", input=SPEC)
    assert rendered.returncode == 0
    assert [each["kind"] for each in yaml.safe_load_all(rendered.stdout)]
    bad = command("render", "-", input="name: X\n")
    assert bad.stderr.startswith("stdin:1: name: 'X' is not a name")
    assert (bad.returncode, bad.stdout) == (1, "")


def test_the_same_bytes_whatever_the_order_of_hashes() -> None:
    outs = {command("render", "-", "--env", "prod", input=SPEC, env={"PYTHONHASHSEED": seed}).stdout for seed in "12"}
    assert len(outs) == 1
    assert outs != {""}


def test_the_same_bytes_whatever_the_locale() -> None:
    spec = SPEC + "annotations: {motto: für €}\n"
    outs = {
        command("render", "-", input=spec, encoding="utf-8", env={"PYTHONIOENCODING": each}).stdout
        for each in ("ascii", "latin-1", "utf-8")
    }
    assert len(outs) == 1
    assert "für €" in outs.pop()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("argv", [["schema"], ["--version"]], ids=["long", "short"])
def test_a_full_disk_is_told_in_one_line(argv: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "generator", *argv],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
    assert done.stderr == "stdout: cannot be written: No space left on device\n"
    assert done.returncode == 2


def test_a_pipe_that_ends_early_is_no_error() -> None:
    shell = shutil.which("bash")
    line = f"{sys.executable} -m generator schema | head -1"
    done = subprocess.run(
        [str(shell), "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("{\n", "", 0)


def test_what_needs_no_model_does_not_wait_for_mlflow() -> None:
    code = "import sys; from generator.cli.main import main; main(['validate', '-']); print('mlflow' in sys.modules)"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], input=SPEC, capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "False\n"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("http://mlflow.example.com:5000", True),
        ("http://localhost:5000", False),
        ("http://me:secret@mlflow.example.com", False),
        ("sqlite:///mlflow.db", False),
    ],
    ids=["for all", "loopback", "with a password", "a file"],
)
def test_flags_alone_tell_pods_where_mlflow_is(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, uri: str, told: bool
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    rendered = run("--model", "models:/fraud/3", "--name", "fraud", "--flavor", "sklearn")
    env = {one["name"]: one.get("value") for one in rendered.predictor["containers"][0]["env"]}
    assert env.get("MLFLOW_TRACKING_URI") == (uri if told else None)
    assert (f"--tracking-uri {uri}" in rendered.out.splitlines()[1]) is told
    assert "me:secret" not in rendered.out
    assert "MLFLOW_TRACKING_URI" not in run("render", "serve.yaml", "--set", "tracking=null").out
