"""The commands of a rollout, as people call them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from generator import SpecError
from generator.cli.main import main
from generator.rollout.planner import rollback
from generator.specfile.load import read_spec

SPEC = """\
# the fraud team's
name: fraud
namespace: ml
model: models:/fraud/7  # reviewed
flavor: sklearn
mode: Knative
environments:
  prod:
    cluster: prod-eu
"""
CANARY = ("--model", "models:/fraud/8", "--percent", "10")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "serve.yaml"
    path.write_text(SPEC)
    return path


def test_a_rollout_from_begin_to_end(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["canary", str(file), *CANARY, "--write"]) == 0
    printed = capsys.readouterr().out
    command = shlex.split(printed.splitlines()[-1])
    assert command[:4] == ["kubectl", "patch", "inferenceservice", "fraud"]
    patch = json.loads(command[-1])
    assert patch["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert json.loads(printed[printed.index("{") : printed.rindex("kubectl")]) == patch
    assert file.read_text() == SPEC + "canary:\n  model: models:/fraud/8\n  percent: 10\n"

    assert main(["canary", str(file), "--percent", "50", "--write", "--only", "command"]) == 0
    assert json.loads(shlex.split(capsys.readouterr().out)[-1]) == {"spec": {"predictor": {"canaryTrafficPercent": 50}}}

    assert main(["promote", str(file), "--type", "json", "--only", "patch", "--write"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"op": "remove", "path": "/spec/predictor/canaryTrafficPercent"}]
    before = "previous:\n  model: models:/fraud/7\n  flavor: sklearn\n"
    assert file.read_text() == SPEC.replace("models:/fraud/7", "models:/fraud/8") + before

    assert main(["undo", str(file), "--write"]) == 0
    assert file.read_text() == SPEC


def test_without_write_the_file_stays_and_the_change_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["canary", str(file), *CANARY]) == 0
    told = capsys.readouterr().err
    assert "canary:\n  model: models:/fraud/8\n  percent: 10\n" in told
    assert file.read_text() == SPEC


def test_an_environment_has_its_own_canary(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["canary", str(file), "--env", "prod", *CANARY, "--write", "--only", "command"]) == 0
    assert shlex.split(capsys.readouterr().out)[:3] == ["kubectl", "--context", "prod-eu"]
    assert read_spec(file.read_text()).canary is None
    assert read_spec(file.read_text(), "prod").canary is not None
    assert main(["promote", str(file), "--env", "prod", "--write"]) == 0
    assert read_spec(file.read_text()).model == "models:/fraud/7"
    after = read_spec(file.read_text(), "prod")
    assert (after.model, after.canary) == ("models:/fraud/8", None)


def test_a_canary_of_the_base_can_end_in_one_environment(file: Path) -> None:
    file.write_text(SPEC.replace("Knative", "Standard").replace("name: fraud\n", "name: fraud\npredictor: runtime\n"))
    assert main(["canary", str(file), *CANARY, "--by", "kserve", "--write"]) == 0
    assert main(["rollback", str(file), "--env", "prod", "--write"]) == 0
    assert read_spec(file.read_text(), "prod").canary is None
    assert read_spec(file.read_text()).canary is not None


def test_files(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "patches"
    assert main(["canary", str(file), *CANARY, "-o", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["1-inferenceservice-fraud.patch.json", "rollout.sh"]
    assert json.loads((folder / "1-inferenceservice-fraud.patch.json").read_text())["spec"]["predictor"]
    assert "--patch-file 1-inferenceservice-fraud.patch.json" in (folder / "rollout.sh").read_text()


def test_no_patch_is_printed_if_the_spec_cannot_follow(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SPEC.replace("prod:\n    cluster: prod-eu", "staging: &all\n    cluster: eu\n  prod: *all")
    file.write_text(text)
    assert main(["canary", str(file), "--env", "prod", *CANARY, "--write"]) == 2
    caught = capsys.readouterr()
    assert (caught.out, file.read_text()) == ("", text)
    assert "environments.prod: cannot be changed in place" in caught.err


def test_what_is_written_is_what_the_step_says(file: Path) -> None:
    """Rolled back in Knative, the canary stays with no traffic; the spec knows."""
    main(["canary", str(file), *CANARY, "--write"])
    spec = read_spec(file.read_text())
    assert main(["rollback", str(file), "--write"]) == 0
    assert read_spec(file.read_text()) == rollback(spec).spec
    assert yaml.safe_load(file.read_text())["canary"] == {"model": "models:/fraud/8", "percent": 0}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["promote"], 1, "canary: is not set"),
        (["canary"], 2, "expected --model and --percent"),
        (["canary", "--model", "models:/fraud/8", "--percent", "many"], 2, "--percent: "),
        (["canary", *CANARY, "--name", "v8"], 1, "canary.name: is for mode: Standard"),
        (["canary", "--model", "models:/fraud/7", "--percent", "10"], 1, "canary.model: is the stable model"),
        (["canary", *CANARY, "--env", "prd"], 1, "did you mean prod?"),
    ],
    ids=["no canary", "nothing said", "not a number", "a name in Knative", "the same model", "unknown environment"],
)
def test_bad_input(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    assert main([arguments[0], str(file), *arguments[1:]]) == status
    caught = capsys.readouterr()
    assert said in caught.err
    assert caught.out == ""
    assert file.read_text() == SPEC


def test_the_same_canary_again_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["canary", str(file), *CANARY, "--write"])
    capsys.readouterr()
    assert main(["canary", str(file), *CANARY]) == 2
    assert "nothing to change" in capsys.readouterr().err


def test_a_second_rollback_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["canary", str(file), *CANARY, "--write"])
    main(["rollback", str(file), "--write"])
    capsys.readouterr()
    assert main(["rollback", str(file)]) == 2
    caught = capsys.readouterr()
    assert "nothing to change: none of the traffic" in caught.err
    assert caught.out == ""


def test_the_file_behind_a_link_is_changed_and_keeps_its_mode(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file.name)
    file.chmod(0o600)
    assert main(["canary", str(link), *CANARY, "--write"]) == 0
    assert link.is_symlink()
    assert "models:/fraud/8" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_environment_of_another_file_is_not_changed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = file.with_name("platform.yaml")
    shared.write_text("environments:\n  test:\n    namespace: test\n")
    assert main(["canary", str(file), "--env", "test", "--environments", str(shared), *CANARY, "--write"]) == 2
    assert "environments.test: is not in this file" in capsys.readouterr().err


def test_a_spec_error_names_the_place() -> None:
    with pytest.raises(SpecError, match="canary: is not set"):
        rollback(read_spec(SPEC))
