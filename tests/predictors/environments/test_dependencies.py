"""Requirements of saved models compared with the installed packages."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from predictors.environments.dependencies import (
    DependencyError,
    UnmetRequirement,
    differences,
    newly_critical,
    preflight,
)
from predictors.environments.requirements import RequirementsError, canonical, from_conda, read_lines, read_requirements
from predictors.flavor import MLmodel, read_mlmodel
from tests.serving import in_thread, process
from tests.zoo.case import labels, numbers

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves a classifier with the given requirements."""

    def save_model(*requirements: str, python: str | None = None, conda: str | None = None) -> Path:
        import mlflow.sklearn
        from sklearn.linear_model import LogisticRegression

        data = numbers()
        model = LogisticRegression().fit(data, labels(data))
        folder = tmp_path / "model"
        mlflow.sklearn.save_model(model, folder, pip_requirements=list(requirements))
        if python:
            (folder / "python_env.yaml").write_text(f"python: {python}\ndependencies:\n- -r requirements.txt\n")
        if conda:
            (folder / "requirements.txt").unlink()
            (folder / "python_env.yaml").unlink()
            (folder / "conda.yaml").write_text(conda)
        return folder

    return save_model


def unmet(folder: Path) -> dict[str, tuple[str, str, bool]]:
    return {item.package: (item.required, item.installed, item.critical) for item in differences(read_mlmodel(folder))}


NUMPY, SKLEARN, PANDAS = (metadata.version(name) for name in ("numpy", "scikit-learn", "pandas"))


def test_met_requirements_are_no_difference(save: Save) -> None:
    folder = save(
        f"numpy=={NUMPY}",
        f"scikit_learn~={SKLEARN}",
        "pandas",
        "PyYAML>=5,<99",
        "nothing-like-it; python_version < '3'",
        "six  # a comment",
        f"torch=={metadata.version('torch').partition('+')[0]}",
    )
    assert unmet(folder) == {}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("numpy==1.0.0", {"numpy": ("==1.0.0", NUMPY, False)}),
        ("scikit-learn==0.24.2", {"scikit-learn": ("==0.24.2", SKLEARN, True)}),
        ("scikit-learn==1.0.0", {"scikit-learn": ("==1.0.0", SKLEARN, False)}),
        ("Scikit.Learn<1", {"Scikit.Learn": ("<1", SKLEARN, True)}),
        ("scikit-learn<1.2,>0.9", {"scikit-learn": ("<1.2,>0.9", SKLEARN, False)}),
        ("scikit-learn>=99", {"scikit-learn": (">=99", SKLEARN, True)}),
        ("no-such-package", {"no-such-package": ("any version", "not installed", True)}),
        ("no-such-package @ https://user:secret@127.0.0.1/x.whl", {
            "no-such-package": ("a package from a URL", "not installed", True)}),
        ("wheels/no_such_package-1.2-py3-none-any.whl", {"no-such-package": ("==1.2", "not installed", True)}),
        ("mlflow==2.1.0", {}),
        ("mlflow-skinny==99.0", {"mlflow-skinny": ("==99.0", metadata.version("mlflow-skinny"), False)}),
        ("git+https://127.0.0.1/x.git", {}),
    ],
)  # fmt: skip
def test_each_difference_is_named(save: Save, line: str, expected: dict[str, tuple[str, str, bool]]) -> None:
    folder = save()
    (folder / "requirements.txt").write_text(f"{line}\n")
    assert unmet(folder) == expected


def test_another_python_is_critical_and_comes_first(save: Save) -> None:
    folder = save("numpy==1.0.0", python="3.8.1")
    first, second = differences(read_mlmodel(folder))
    assert (first.package, first.required, first.critical) == ("python", "3.8.1", True)
    assert first.installed.startswith(HERE)
    assert second.package == "numpy"
    (folder / "python_env.yaml").write_text(f"python: {HERE}.999\n")
    assert list(unmet(folder)) == ["numpy"]


def test_conda_alone(save: Save) -> None:
    conda = """
    name: env
    dependencies:
    - python=3.7
    - libgcc
    - conda-forge::numpy=1.2=py_0
    - pytorch==99.1
    - pip:
      - pandas==0.1
    """
    assert unmet(save(conda=conda)) == {
        "python": ("3.7", ".".join(map(str, sys.version_info[:3])), True),
        "torch": ("==99.1", metadata.version("torch"), False),
        "numpy": ("==1.2.*", NUMPY, False),
        "pandas": ("==0.1", PANDAS, False),
    }


def test_requirements_in_included_files(save: Save) -> None:
    folder = save()
    (folder / "requirements.txt").write_text("-r more.txt\n-c limits.txt\n--extra-index-url https://127.0.0.1/simple\n")
    (folder / "more.txt").write_text("numpy==1.0.0 \\\n  --hash=sha256:00\nsix\n")
    (folder / "limits.txt").write_text("pandas<3\n-r low.txt\n")
    (folder / "low.txt").write_text("pandas>1\n")
    required = read_requirements(read_mlmodel(folder))
    assert required.requirements == ("numpy==1.0.0", "six")
    assert required.constraints == ("pandas<3", "pandas>1")
    assert list(unmet(folder)) == ["numpy"]


@pytest.mark.parametrize(
    "line",
    [
        *("-r ../../secret.txt", "-r requirements.txt", "--requirement=/etc/passwd"),
        *("--requirem /etc/passwd", "--cons=/etc/passwd", "-c ../x", "-c limits.txt"),
    ],
)
def test_includes_outside_the_model_are_refused(save: Save, line: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = save()
    (folder / "requirements.txt").write_text(line)
    (folder / "limits.txt").write_text("-r /etc/passwd")
    mlmodel = read_mlmodel(folder)
    with pytest.raises(DependencyError, match="leads out of the model folder or includes itself"):
        preflight(mlmodel, "strict")
    assert preflight(mlmodel, "check") is None
    assert "dependencies cannot be checked" in caplog.text


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"- not\n: yaml: at: all"], ids=["no-text", "no-yaml"])
def test_unreadable_files_are_logged(save: Save, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    folder = save()
    (folder / "requirements.txt").unlink()
    (folder / "conda.yaml").write_bytes(content)
    assert preflight(read_mlmodel(folder), "check") is None
    assert "dependencies cannot be checked: conda.yaml cannot be read" in caplog.text


@pytest.mark.parametrize(
    "line",
    ["numpy==" + "1" * 6000, "numpy; " + "(" * 20_000, "numpy>=" + "1" * 5000 + "!1"],
    ids=["digits", "deep", "epoch"],
)
def test_unreadable_requirements_are_logged(tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "requirements.txt").write_text(line)
    assert preflight(MLmodel(tmp_path), "check") is None
    assert "dependencies cannot be checked: the requirement 'numpy" in caplog.text
    assert len(caplog.text) < 1000
    with pytest.raises(DependencyError, match=r"--dependencies=strict: the requirement 'numpy"):
        preflight(MLmodel(tmp_path), "strict")


@pytest.mark.parametrize("python", ["1" * 6000, "2024-99-99", "[" * 5000])
def test_unreadable_environments_are_logged(tmp_path: Path, python: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "python_env.yaml").write_text(f"python: {python}")
    assert preflight(MLmodel(tmp_path), "check") is None
    assert "dependencies cannot be checked: python_env.yaml cannot be read" in caplog.text


def test_values_of_other_types_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "conda.yaml").write_text("dependencies: [{pip: 5}, {pip: [numpy, {a: b}]}, {1: 2}, 3]")
    (tmp_path / "python_env.yaml").write_text("python: [3, 11]")
    assert read_requirements(MLmodel(tmp_path)).lines == ("numpy",)
    assert read_requirements(MLmodel(tmp_path)).python is None


def test_a_long_requirement_is_cut_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "requirements.txt").write_text("a" * 100_000)
    assert len(preflight(MLmodel(tmp_path), "check") or ()) == 1
    assert len(caplog.text) < 1000


def test_included_files_are_read_once(tmp_path: Path) -> None:
    """60 lines that each include the next file 60 times would otherwise be read 60 ** 5 times."""
    names = ["requirements.txt", "b.txt", "c.txt", "d.txt", "e.txt"]
    for name, included in itertools.pairwise(names):
        (tmp_path / name).write_text(f"-r {included}\n" * 60)
    (tmp_path / "e.txt").write_text("numpy\n")
    assert read_requirements(MLmodel(tmp_path)).lines == ("numpy",)


def test_check_logs_and_serves(save: Save, caplog: pytest.LogCaptureFixture) -> None:
    with in_thread(save("no-such-package==1", "numpy==1.0.0")) as server:
        properties = server.get("/v2/models/model").json()["properties"]
        assert properties["dependencies"] == (
            f"no-such-package: the model requires ==1, but it is not installed; numpy: the model requires ==1.0.0, found {NUMPY}"
        )
    warnings = [record.getMessage() for record in caplog.records if "dependency differs" in record.getMessage()]
    assert warnings == [
        "a critical dependency differs: no-such-package: the model requires ==1, but it is not installed",
        f"a dependency differs: numpy: the model requires ==1.0.0, found {NUMPY}",
    ]


def test_ignore_does_not_check_and_ok_is_shown(save: Save, caplog: pytest.LogCaptureFixture) -> None:
    folder = save("no-such-package==1")
    with in_thread(folder, dependencies="ignore") as server:
        assert server.get("/v2/models/model").json()["properties"]["dependencies"] == "not checked"
    assert "differs" not in caplog.text
    (folder / "requirements.txt").write_text("numpy\n")
    with in_thread(folder, dependencies="strict") as server:
        assert server.get("/v2/models/model").json()["properties"]["dependencies"] == "ok"


def test_strict_refuses_with_one_line(save: Save, tmp_path: Path) -> None:
    folder = save("no-such-package==1", "numpy==1.0.0")
    flags = ("--model-uri", str(folder), "--dependencies", "strict")
    with process(tmp_path, *flags, ready=False) as server:
        assert server.process.wait(60) == 1
        (line,) = [line for line in server.log.splitlines() if "ERROR" in line]
        assert (
            "--dependencies=strict: no-such-package: the model requires ==1, but it is not installed; numpy: the"
            in line
        )
        assert "Traceback" not in server.log


def test_differences_that_are_critical_and_new() -> None:
    old = UnmetRequirement("a", "==1", "2", critical=True)
    small = UnmetRequirement("b", "==1", "2", critical=False)
    new = UnmetRequirement("c", "==1", "not installed", critical=True)
    assert newly_critical([old], [old, small, new]) == [new]
    assert newly_critical([], [old, small]) == [old]
    assert newly_critical([old], [UnmetRequirement("a", "==3", "2", critical=True)]) == [
        UnmetRequirement("a", "==3", "2", critical=True)
    ]


def test_met_requirements_need_no_import(save: Save) -> None:
    folder = save(f"numpy=={NUMPY}", "pandas", f"torch=={metadata.version('torch').partition('+')[0]}")
    (folder / "requirements.txt").write_text(f"numpy=={NUMPY}\npandas\n")
    script = f"""
import sys
from pathlib import Path
from predictors.environments.dependencies import differences
from predictors.flavor import read_mlmodel
print(differences(read_mlmodel(Path({str(folder)!r}))), "packaging" in sys.modules, "predictors.environments.installers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False False"


@pytest.mark.parametrize(
    ("spec", "requirement"),
    [
        ("numpy", "numpy"),
        ("numpy=1.2", "numpy==1.2.*"),
        ("numpy=1.2.*", "numpy==1.2.*"),
        ("numpy=1.2=py_0", "numpy==1.2.*"),
        ("numpy==1.2.3=py_0", "numpy==1.2.3"),
        ("numpy >=1.2,<2", "numpy>=1.2,<2"),
        ("numpy 1.2", "numpy==1.2.*"),
        ("defaults::pytorch=2", "torch==2.*"),
        ("python=3.11", None),
        ("libgcc-ng", None),
        ("cudatoolkit=11", None),
        (7, None),
    ],
)
def test_conda_specs(spec: object, requirement: str | None) -> None:
    assert from_conda(spec) == requirement


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    lines: list[str] = []
    try:
        read_lines(text, Path(__file__).parent / "nowhere", lines, [])
    except RequirementsError:
        return
    assert all(line and line == line.strip() for line in lines)


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True), st.data())
def test_names_are_compared_as_indexes_do(name: str, data: DataObject) -> None:
    from packaging.utils import canonicalize_name

    assert canonical(
        name + data.draw(st.sampled_from(["", "==1.0", " >=2", "[extra]==1", " ; python_version>'3'"]))
    ) == (canonicalize_name(name))
