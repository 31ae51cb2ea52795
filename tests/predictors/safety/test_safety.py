"""What the operator refuses is not executed, and would have been: every attack is shown to work without the check."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from predictors.safety.checks import check
from predictors.safety.model_files import Policy, UnsafeModel
from predictors.safety.pickle_switch import PICKLE_SWITCH, guarded_load
from predictors.safety.pt2 import is_arithmetic
from tests.predictors.safety.two_faced import two_faced

# The frameworks' own warnings, while models are saved, are not what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore")

ALLOWED = Policy()
STRICT = Policy(allow_code_execution=False)
X = np.arange(24, dtype=np.float32).reshape(8, 3)
Y = np.array([0, 1] * 4)
Edit = Callable[[dict[str, Any]], None]


class Bomb:
    """Its pickle creates a folder when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


class Attack:
    """A crafted model and the marker that appears once its payload runs."""

    def __init__(self, folder: Path, flavor: str, marker: Path) -> None:
        self.folder, self.flavor, self.marker = folder, flavor, marker

    def refused(self, words: str, policy: Policy = STRICT) -> None:
        """The check names what it refuses, in one line, and runs nothing."""
        message = refusal(self.folder, self.flavor, policy)
        assert words in message
        assert not self.marker.exists()

    def works_if_allowed(self, policy: Policy = ALLOWED) -> None:
        """The check lets it pass, and loading then runs the payload: the refusal is not for nothing."""
        check(self.folder, read(self.folder), self.flavor, policy)
        assert not self.marker.exists()
        self.works_unchecked()

    def works_unchecked(self) -> None:
        with contextlib.suppress(Exception):
            predict(self.folder)
        assert self.marker.exists()


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow neither reports on its use nor leaves the code paths of models behind."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv(PICKLE_SWITCH, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def evil(tmp_path: Path, marker: Path) -> Iterator[Callable[[Path], str]]:
    """Writes a module into a folder that runs the payload when it is imported; gives its name."""
    name = f"evil_{abs(hash(str(tmp_path)))}"

    def write(folder: Path) -> str:
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
        return name

    yield write
    sys.modules.pop(name, None)


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "MLmodel").read_text())
    return content


def edited(folder: Path, edit: Edit) -> Path:
    content = read(folder)
    edit(content)
    (folder / "MLmodel").write_text(yaml.safe_dump(content))
    return folder


def setting(section: str, **values: Any) -> Edit:
    return lambda content: content["flavors"][section].update(values)


def refusal(folder: Path, flavor: str, policy: Policy = STRICT) -> str:
    with pytest.raises(UnsafeModel) as refused:
        check(folder, read(folder), flavor, policy)
    message = str(refused.value)
    assert " is refused: " in message
    assert "\n" not in message
    return message


def predict(folder: Path) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)._model_impl.predict(X)


def serves(folder: Path, flavor: str, policy: Policy = STRICT) -> None:
    """What passes the check really loads and answers under the guard."""
    check(folder, read(folder), flavor, policy)
    with guarded_load(flavor, policy):
        assert len(predict(folder)) == len(X)


def save(flavor: str, model: Any, folder: Path, requirement: str, **options: Any) -> Path:
    module = importlib.import_module(f"mlflow.{flavor}")
    module.save_model(model, str(folder), pip_requirements=[requirement], **options)
    return folder


# -- sklearn and skops ---------------------------------------------------------------------------------------


def fitted(kind: str = "LogisticRegression") -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    return {"LogisticRegression": LogisticRegression, "Tree": DecisionTreeClassifier}[kind]().fit(X, Y)


def save_sklearn(folder: Path, serialization: str = "skops", kind: str = "LogisticRegression", **options: Any) -> Path:
    options |= {"skops_trusted_types": ["sklearn.tree._tree.Tree"]} if kind == "Tree" else {}
    return save("sklearn", fitted(kind), folder, "scikit-learn", serialization_format=serialization, **options)


def skops_bomb(file: Path, marker: Path) -> None:
    """A skops file that calls os.mkdir."""
    import skops.io

    name = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(str(marker))}
    args = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": [name]}
    call = {"__class__": "mkdir", "__module__": "os", "__loader__": "ConstructorFromReduceNode", "content": args}
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps([]))) as genuine:
        protocol = json.loads(genuine.read("schema.json"))["protocol"]
    with zipfile.ZipFile(file, "w") as crafted:
        crafted.writestr("schema.json", json.dumps({**call, "protocol": protocol, "_skops_version": "0.13"}))


def test_skops_is_served(tmp_path: Path) -> None:
    folder = save_sklearn(tmp_path / "model")
    serves(folder, "sklearn")
    serves(folder, "pyfunc")  # forced; its loader is sklearn's


def test_skops_with_a_tree_needs_the_operator(tmp_path: Path) -> None:
    folder = save_sklearn(tmp_path / "model", kind="Tree")
    for policy in (STRICT, Policy(True, frozenset()), Policy(True, frozenset({"sklearn.linear_model.Ridge"}))):
        message = refusal(folder, "sklearn", policy)
        assert "file model.skops" in message
        assert message.endswith("--skops-trusted sklearn.tree._tree.Tree would allow it")
    trusted = frozenset({"sklearn.tree._tree.Tree"})
    serves(folder, "sklearn", Policy(False, trusted))
    serves(folder, "sklearn", Policy(True, trusted))
    serves(folder, "sklearn", ALLOWED)


@pytest.mark.parametrize("flavor", ["sklearn", "pyfunc"])
def test_model_cannot_trust_its_own_types(tmp_path: Path, marker: Path, flavor: str) -> None:
    folder = edited(save_sklearn(tmp_path / "model"), setting("sklearn", skops_trusted_types=["os.mkdir"]))
    skops_bomb(folder / "model.skops", marker)
    attack = Attack(folder, flavor, marker)
    attack.refused("types that the operator does not trust: os.mkdir")
    attack.refused("os.mkdir", Policy(True, frozenset()))
    attack.refused("os.mkdir", Policy(False, frozenset({"sklearn.tree._tree.Tree"})))
    attack.works_if_allowed()


def test_operator_decides_even_about_dangerous_types(tmp_path: Path, marker: Path) -> None:
    folder = edited(save_sklearn(tmp_path / "model"), setting("sklearn", skops_trusted_types=["os.mkdir"]))
    skops_bomb(folder / "model.skops", marker)
    Attack(folder, "sklearn", marker).works_if_allowed(Policy(False, frozenset({"os.mkdir"})))


@pytest.mark.parametrize("serialization", ["pickle", "cloudpickle"])
def test_pickled_sklearn(tmp_path: Path, marker: Path, serialization: str) -> None:
    folder = save_sklearn(tmp_path / "model", serialization)
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    attack = Attack(folder, "sklearn", marker)
    attack.refused("file model.pkl")
    attack.refused("--allow-code-execution=true would allow it")
    attack.works_if_allowed(Policy(True, frozenset()))  # the list is about skops


def test_pickle_named_skops(tmp_path: Path, marker: Path) -> None:
    folder = save_sklearn(tmp_path / "model")
    (folder / "model.skops").write_bytes(pickle.dumps(Bomb(marker)))
    attack = Attack(folder, "sklearn", marker)
    attack.refused("file model.skops is refused: skops cannot tell")
    edited(folder, setting("sklearn", serialization_format="cloudpickle"))
    attack.refused("serialization_format 'cloudpickle' of file model.skops")
    attack.works_if_allowed()


def test_sklearn_without_a_format_is_a_pickle(tmp_path: Path, marker: Path) -> None:
    folder = edited(save_sklearn(tmp_path / "model"), lambda content: content["flavors"].pop("sklearn"))
    (folder / "model.skops").write_bytes(pickle.dumps(Bomb(marker)))
    attack = Attack(folder, "sklearn", marker)
    attack.refused("serialization_format 'pickle' of file model.skops")
    attack.works_if_allowed()


def test_every_named_file_is_checked(tmp_path: Path, marker: Path) -> None:
    """The flavor names a harmless file, pyfunc another one, which is what loads."""
    folder = edited(save_sklearn(tmp_path / "model"), setting("sklearn", skops_trusted_types=["os.mkdir"]))
    edited(folder, setting("python_function", data="other.skops"))
    skops_bomb(folder / "other.skops", marker)
    attack = Attack(folder, "sklearn", marker)
    attack.refused("file other.skops")
    attack.works_if_allowed()


def test_files_that_are_pickles_by_name(tmp_path: Path) -> None:
    for flavor, key in (("xgboost", "data"), ("catboost", "model_binary"), ("onnx", "data"), ("lightgbm", "data")):
        content = {"flavors": {flavor: {key: "sub/model.joblib"}}}
        with pytest.raises(UnsafeModel, match=r"^file sub/model\.joblib is refused: a pickle runs code"):
            check(tmp_path, content, flavor, STRICT)
        with pytest.raises(UnsafeModel, match=f"the {flavor} model is refused: MLmodel does not name its file"):
            check(tmp_path, {"flavors": {flavor: {}}}, flavor, STRICT)


# -- what MLflow imports because the MLmodel file says so ----------------------------------------------------


def test_loader_module(tmp_path: Path, marker: Path, evil: Callable[[Path], str]) -> None:
    folder = save_sklearn(tmp_path / "model")
    module = evil(folder / "code")
    edited(folder, setting("python_function", loader_module=module))
    for flavor in ("sklearn", "pyfunc"):
        Attack(folder, flavor, marker).refused(f"python_function.loader_module '{module}'")
    edited(folder, setting("python_function", code="code"))
    attack = Attack(folder, "sklearn", marker)
    attack.refused("python_function.code 'code'")
    attack.works_if_allowed()


def test_loader_of_another_flavor(tmp_path: Path) -> None:
    folder = edited(save_sklearn(tmp_path / "model"), setting("python_function", loader_module="mlflow.statsmodels"))
    assert "loader_module 'mlflow.statsmodels'" in refusal(folder, "sklearn")
    assert "loader_module 'mlflow.statsmodels'" in refusal(folder, "pyfunc")
    edited(folder, setting("python_function", loader_module="mlflow.xgboost"))
    assert "loader_module 'mlflow.xgboost'" in refusal(folder, "sklearn")


@pytest.mark.parametrize("section", ["python_function", "sklearn"])
def test_code_paths(tmp_path: Path, section: str) -> None:
    brought = tmp_path / "brought.py"
    brought.write_text("")
    folder = save_sklearn(tmp_path / "model", code_paths=[str(brought)])
    other = "sklearn" if section == "python_function" else "python_function"
    edited(folder, setting(other, code=None))
    assert f"{section}.code 'code' in MLmodel" in refusal(folder, "sklearn")
    serves(folder, "sklearn", ALLOWED)
    assert (str(folder / "code") in sys.path) is (section == "python_function")


def test_python_model(tmp_path: Path, marker: Path) -> None:
    import mlflow.pyfunc

    def model(model_input: list[str]) -> list[str]:
        return model_input

    folder = tmp_path / "model"
    mlflow.pyfunc.save_model(folder, python_model=model, pip_requirements=["mlflow"])
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    attack = Attack(folder, "pyfunc", marker)
    attack.refused("python_function.python_model 'python_model.pkl'")
    attack.works_if_allowed()


def test_model_from_code(tmp_path: Path, marker: Path) -> None:
    import mlflow.pyfunc

    script = tmp_path / "script.py"
    script.write_text(
        "import mlflow\n"
        "class Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input):\n        return model_input\n"
        "mlflow.models.set_model(Model())\n"
    )
    folder = tmp_path / "model"
    mlflow.pyfunc.save_model(folder, python_model=str(script), pip_requirements=["mlflow"])
    with (folder / "script.py").open("a") as file:
        file.write(f"import os\nos.mkdir({str(marker)!r})\n")
    attack = Attack(folder, "pyfunc", marker)
    attack.refused("python_function.model_code_path")
    # Its path is the one of the machine that saved it; MLflow takes the name alone.
    attack.works_if_allowed()


def test_second_mlmodel(tmp_path: Path, marker: Path, evil: Callable[[Path], str]) -> None:
    """MLflow reads the MLmodel file beside the data, which need not be the one that was checked."""
    folder = save_xgboost(tmp_path / "model")
    module = evil(tmp_path / "installed")
    sys.path.insert(0, str(tmp_path / "installed"))
    (folder / "sub").mkdir()
    for name in ("MLmodel", "model.ubj"):
        shutil.copy(folder / name, folder / "sub" / name)
    edited(folder / "sub", setting("xgboost", model_class=f"{module}.Model"))
    edited(folder, setting("python_function", data="sub/model.ubj"))
    attack = Attack(folder, "xgboost", marker)
    attack.refused("file sub/MLmodel")
    attack.works_if_allowed()


# -- paths and links -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [ALLOWED, STRICT, Policy(True, frozenset())])
@pytest.mark.parametrize("absolute", [False, True])
def test_paths_out_of_the_folder(tmp_path: Path, marker: Path, policy: Policy, absolute: bool) -> None:
    folder = save_sklearn(tmp_path / "model", "pickle")
    outside = tmp_path / "outside.pkl"
    outside.write_bytes(pickle.dumps(Bomb(marker)))
    name = str(outside) if absolute else "../outside.pkl"
    edited(folder, setting("python_function", model_path=name))
    attack = Attack(folder, "sklearn", marker)
    attack.refused(f"python_function.model_path {name!r}", policy)
    attack.refused("no setting allows it", policy)
    attack.works_unchecked()


@pytest.mark.parametrize("key", ["data", "pickled_model", "code", "model_data", "saved_model_dir", "peft_adaptor"])
@pytest.mark.parametrize("name", ["/etc", "a/../../b", "..", "..\\b", "C:\\b", "\\b", "a\0b"])
def test_every_path_key(tmp_path: Path, key: str, name: str) -> None:
    for content in (
        {"flavors": {"sklearn": {key: name}}},
        {"flavors": {"other": {key: ["fine", name]}}},
        {"flavors": {"python_function": {"artifacts": {"weights": {"path": name, "uri": "/elsewhere"}}}}},
        {"flavors": {}, "saved_input_example_info": {"artifact_path": name}},
        {"flavors": {}, "saved_input_example_info": {"serving_input_path": name}},
    ):
        with pytest.raises(UnsafeModel, match="it leads out of the model folder; no setting allows it"):
            check(tmp_path, content, "sklearn", ALLOWED)


def test_paths_that_are_none_of_ours(tmp_path: Path) -> None:
    """What merely looks like a path is left alone."""
    config = {"data": "/srv/data", "path": ".."}
    content = {"flavors": {"python_function": {"config": config, "data": "sub/./model", "code": None}}}
    check(tmp_path, content, "pyfunc", ALLOWED)


@pytest.mark.parametrize("policy", [ALLOWED, STRICT, Policy(True, frozenset())])
def test_links_out_of_the_folder(tmp_path: Path, marker: Path, policy: Policy) -> None:
    folder = save_sklearn(tmp_path / "model", "pickle")
    outside = tmp_path / "outside.pkl"
    outside.write_bytes(pickle.dumps(Bomb(marker)))
    (folder / "model.pkl").unlink()
    (folder / "model.pkl").symlink_to(outside)
    attack = Attack(folder, "sklearn", marker)
    attack.refused("link model.pkl is refused: it leads out of the model folder; no setting allows it", policy)
    attack.works_unchecked()


@pytest.mark.parametrize("policy", [ALLOWED, STRICT])
def test_pipes(tmp_path: Path, policy: Policy) -> None:
    """Reading one would wait for its writer."""
    os.mkfifo(tmp_path / "model.skops")
    with pytest.raises(UnsafeModel, match=r"file model\.skops is refused: it is a pipe"):
        check(tmp_path, {"flavors": {"sklearn": {"pickled_model": "model.skops"}}}, "sklearn", policy)


def test_linked_folders(tmp_path: Path) -> None:
    """As volumes of ConfigMaps have them: the model folder and its files are links that stay inside."""
    real = save_sklearn(tmp_path / "real")
    (real / "..data").mkdir()
    (real / "model.skops").rename(real / "..data" / "model.skops")
    (real / "model.skops").symlink_to(Path("..data", "model.skops"))
    linked = tmp_path / "linked"
    linked.symlink_to(real)
    serves(linked, "sklearn")
    (real / "elsewhere").symlink_to(tmp_path)
    assert "link elsewhere" in refusal(linked, "sklearn", ALLOWED)


# -- boosting ------------------------------------------------------------------------------------------------


def save_xgboost(folder: Path, **options: Any) -> Path:
    from xgboost import XGBClassifier

    return save("xgboost", XGBClassifier(n_estimators=2).fit(X, Y), folder, "xgboost", **options)


@pytest.mark.parametrize("model_format", ["ubj", "json"])
def test_xgboost_is_served(tmp_path: Path, model_format: str) -> None:
    serves(save_xgboost(tmp_path / "model", model_format=model_format), "xgboost")


def test_xgboost_booster_is_served(tmp_path: Path) -> None:
    import xgboost

    booster = xgboost.train({}, xgboost.DMatrix(X, Y), 2)
    serves(save("xgboost", booster, tmp_path / "model", "xgboost"), "xgboost")


def test_xgboost_model_class(tmp_path: Path, marker: Path, evil: Callable[[Path], str]) -> None:
    folder = save_xgboost(tmp_path / "model")
    module = evil(tmp_path / "installed")
    sys.path.insert(0, str(tmp_path / "installed"))
    edited(folder, setting("xgboost", model_class=f"{module}.Model"))
    attack = Attack(folder, "xgboost", marker)
    attack.refused(f"xgboost.model_class '{module}.Model'")
    attack.works_if_allowed()


@pytest.mark.parametrize(
    "name", ["os.system", "xgboost.dask.DaskXGBClassifier", "xgboost.core.os.abort", "xgboost.Booster\n", "xgboost"]
)
def test_xgboost_class_names(tmp_path: Path, name: str) -> None:
    folder = edited(save_xgboost(tmp_path / "model"), setting("xgboost", model_class=name))
    assert "xgboost.model_class" in refusal(folder, "xgboost")


def save_lightgbm(folder: Path, **options: Any) -> Path:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(n_estimators=2, min_child_samples=1, verbose=-1).fit(X, Y)
    return save("lightgbm", model, folder, "lightgbm", **options)


def test_lightgbm_booster_is_served(tmp_path: Path) -> None:
    import lightgbm

    params = {"verbose": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
    booster = lightgbm.train(params, lightgbm.Dataset(X, Y), 2)
    serves(save("lightgbm", booster, tmp_path / "model", "lightgbm"), "lightgbm")


@pytest.mark.parametrize("policy", [STRICT, Policy(True, frozenset()), Policy(False, frozenset({"some.Type"}))])
def test_lightgbm_sklearn_is_served(tmp_path: Path, policy: Policy) -> None:
    folder = save_lightgbm(tmp_path / "model", serialization_format="skops")
    serves(folder, "lightgbm", policy)
    # In other flavors nobody trusts its types, but the operator can.
    with pytest.raises(UnsafeModel, match="lightgbm.sklearn.LGBMClassifier"):
        check(folder, as_sklearn(folder), "sklearn", policy)


def as_sklearn(folder: Path) -> dict[str, Any]:
    content = read(folder)
    config = content["flavors"].pop("lightgbm")
    content["flavors"]["sklearn"] = {**config, "pickled_model": config["data"]}
    content["flavors"]["python_function"]["loader_module"] = "mlflow.sklearn"
    return content


def test_lightgbm_attacks(tmp_path: Path, marker: Path) -> None:
    folder = save_lightgbm(tmp_path / "model", serialization_format="skops")
    edited(folder, setting("lightgbm", skops_trusted_types=["os.mkdir"]))
    skops_bomb(folder / "model.skops", marker)
    attack = Attack(folder, "lightgbm", marker)
    attack.refused("os.mkdir")
    attack.refused("os.mkdir", Policy(True, frozenset()))
    attack.works_if_allowed()


def test_pickled_lightgbm(tmp_path: Path, marker: Path) -> None:
    folder = save_lightgbm(tmp_path / "model", serialization_format="cloudpickle")
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    attack = Attack(folder, "lightgbm", marker)
    attack.refused("file model.pkl")
    edited(folder, lambda content: content["flavors"]["lightgbm"].pop("serialization_format"))
    (folder / "model.pkl").rename(folder / "model.lgb")
    edited(folder, setting("lightgbm", data="model.lgb"))
    edited(folder, setting("python_function", data="model.lgb"))
    attack.refused("serialization_format 'cloudpickle' of file model.lgb")
    attack.works_if_allowed()


@pytest.mark.parametrize("save_format", ["cbm", "json"])
def test_catboost(tmp_path: Path, save_format: str) -> None:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False).fit(X, Y)
    folder = save("catboost", model, tmp_path / "model", "catboost", format=save_format)
    serves(folder, "catboost")
    edited(folder, setting("catboost", model_type="os.system"))
    assert "catboost.model_type 'os.system'" in refusal(folder, "catboost")
    edited(folder, setting("catboost", model_type="CatBoostClassifier", save_format="python"))
    assert "catboost.save_format 'python'" in refusal(folder, "catboost")


# -- onnx ----------------------------------------------------------------------------------------------------


def test_onnx(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negative", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = save("onnx", model, tmp_path / "model", "onnx", onnx_session_options={"extra_session_config": {}})
    check(folder, read(folder), "onnx", STRICT)
    with guarded_load("onnx", STRICT):
        np.testing.assert_allclose(predict(folder)["y"], -X)
    options = {"trt_extra_plugin_lib_paths": str(folder / "evil.so")}
    edited(folder, setting("onnx", providers=["CPUExecutionProvider", ["TensorrtExecutionProvider", options]]))
    assert "onnx.providers ['TensorrtExecutionProvider'" in refusal(folder, "onnx")
    check(folder, read(folder), "onnx", ALLOWED)
    session = {"extra_session_config": {"session.intra_op.allow_spinning": "0", "ep.some.library": "evil.so"}}
    edited(folder, setting("onnx", providers="CPUExecutionProvider", onnx_session_options=session))
    assert "onnx extra_session_config 'ep.some.library'" in refusal(folder, "onnx")


# -- pytorch -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pt2 archive whose JSON has symbols, arithmetic on shapes and a guard."""
    import torch

    class Net(torch.nn.Module):  # type: ignore[misc]  # torch ships no types
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * (x.shape[0] * 2 // 3) if x.shape[0] > 5 else x
            return torch.nn.functional.gelu(self.inner(x), approximate="tanh")

    folder = tmp_path_factory.mktemp("exported") / "model"
    save("pytorch", Net(), folder, "torch", serialization_format="pt2", input_example=X)
    return folder


@pytest.fixture
def pt2(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "model"))


def rewritten(folder: Path, record: str, change: Callable[[bytes], bytes]) -> Path:
    """The archive with one record changed."""
    archive = folder / "data" / "model.pt2"
    with zipfile.ZipFile(archive) as genuine:
        records = {info.filename: genuine.read(info) for info in genuine.infolist()}
    (target,) = [name for name in records if name.endswith(record)]
    with zipfile.ZipFile(archive, "w") as crafted:
        for name, content in records.items():
            crafted.writestr(name, change(content) if name == target else content)
    return folder


def program(edit: Edit) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        document = json.loads(content)
        edit(document)
        return json.dumps(document).encode()

    return change


def graph(document: dict[str, Any]) -> Any:
    return document["graph_module"]["graph"]


def torch_works_if_allowed(folder: Path, marker: Path) -> None:
    """Also with MLflow's own switch off: its proof is about pickles alone."""
    check(folder, read(folder), "pytorch", ALLOWED)
    assert not marker.exists()
    with guarded_load("pytorch", STRICT), contextlib.suppress(Exception):
        predict(folder)
    assert marker.exists()


def test_pt2_is_served(pt2: Path) -> None:
    with zipfile.ZipFile(pt2 / "data" / "model.pt2") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("models/model.json")]
        document = archive.read(name).decode()
    assert re.search(r'"guards_code": \["', document)  # else there is nothing to mistake for an attack
    assert "Mul(Integer(2)" in document
    serves(pt2, "pytorch")
    serves(pt2, "pyfunc")


def test_pt2_expression(pt2: Path, marker: Path) -> None:
    code = f"__import__('os').mkdir({str(marker)!r})"

    def edit(document: dict[str, Any]) -> None:
        graph(document)["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = code

    rewritten(pt2, "models/model.json", program(edit))
    Attack(pt2, "pytorch", marker).refused("models/model.json in file data/model.pt2")
    torch_works_if_allowed(pt2, marker)


def test_pt2_guard(pt2: Path, marker: Path) -> None:
    code = f"__import__('os').mkdir({str(marker)!r}) is None"
    rewritten(pt2, "models/model.json", program(lambda document: document.update(guards_code=[code])))
    Attack(pt2, "pytorch", marker).refused("torch may run it as Python")
    torch_works_if_allowed(pt2, marker)


def test_pt2_example_inputs(pt2: Path, marker: Path) -> None:
    """torch writes the names of inputs into a message in the code that it compiles, without quoting them."""
    import torch

    code = f'x"+str(__import__("os").mkdir("{marker}"))+"'
    content = io.BytesIO()
    torch.save((({code: torch.zeros(8, 3)},), {}), content)

    rewritten(pt2, "sample_inputs/model.pt", lambda _: content.getvalue())
    Attack(pt2, "pytorch", marker).refused("sample_inputs/model.pt in file data/model.pt2")
    torch_works_if_allowed(pt2, marker)


def test_pt2_example_inputs_in_disguise(pt2: Path, marker: Path) -> None:
    """torch reads a file by its beginning, zip by its end: MLflow's proof then looks at the harmless half."""
    import torch

    code = f'x"+str(__import__("os").mkdir("{marker}"))+"'
    content = io.BytesIO()
    torch.save((({code: torch.zeros(8, 3)},), {}), content, _use_new_zipfile_serialization=False)
    harmless = io.BytesIO()
    torch.save((), harmless)
    rewritten(pt2, "sample_inputs/model.pt", lambda _: content.getvalue() + harmless.getvalue())
    Attack(pt2, "pytorch", marker).refused("torch may run it as Python: '(a pickle)'")
    torch_works_if_allowed(pt2, marker)


def test_pt2_with_two_faces(pt2: Path, marker: Path) -> None:
    """torch reads the directory that the end record names, MLflow's proof the one before the end record."""
    import torch

    content = io.BytesIO()
    torch.save(((Bomb(marker),), {}), content)
    archive = pt2 / "data" / "model.pt2"
    with zipfile.ZipFile(archive) as genuine:
        shown = {info.filename: genuine.read(info) for info in genuine.infolist()}
    (inputs,) = [name for name in shown if name.endswith("sample_inputs/model.pt")]
    archive.write_bytes(two_faced(shown, {**shown, inputs: content.getvalue()}))
    Attack(pt2, "pytorch", marker).refused("torch may read it in another way than its check")
    torch_works_if_allowed(pt2, marker)


def test_pt2_example_inputs_with_two_faces(pt2: Path, marker: Path) -> None:
    import torch

    code = f'x"+str(__import__("os").mkdir("{marker}"))+"'
    faces = []
    for name in ("x", code):
        content = io.BytesIO()
        torch.save((({name: torch.zeros(8, 3)},), {}), content)
        with zipfile.ZipFile(content) as saved:
            faces.append({info.filename: saved.read(info) for info in saved.infolist()})
    rewritten(pt2, "sample_inputs/model.pt", lambda _: two_faced(*faces))
    Attack(pt2, "pytorch", marker).refused("its files cannot be checked (BadZipFile")
    torch_works_if_allowed(pt2, marker)


def test_pt2_example_inputs_in_capitals(pt2: Path, marker: Path) -> None:
    """torch compares names of records without regard to case."""
    import torch

    code = f'x"+str(__import__("os").mkdir("{marker}"))+"'
    content = io.BytesIO()
    torch.save((({code: torch.zeros(8, 3)},), {}), content)
    rewritten(pt2, "sample_inputs/model.pt", lambda _: content.getvalue())
    archive = pt2 / "data" / "model.pt2"
    archive.write_bytes(archive.read_bytes().replace(b"sample_inputs/model.pt", b"sample_inputs/MODEL.PT"))
    Attack(pt2, "pytorch", marker).refused("sample_inputs/MODEL.PT in file data/model.pt2")
    torch_works_if_allowed(pt2, marker)


def test_pt2_compiled(pt2: Path) -> None:
    with zipfile.ZipFile(pt2 / "data" / "model.pt2", "a") as archive:
        archive.writestr("model/data/aotinductor/model/metadata.json", "{}")
    assert "compiled code" in refusal(pt2, "pytorch")


def test_other_torch_data(pt2: Path) -> None:
    (pt2 / "data" / "model.pt2").rename(pt2 / "data" / "other")
    assert "file data is refused: it holds no pt2 archive" in refusal(pt2, "pytorch")
    for section, key in (("python_function", "data"), ("pytorch", "model_data")):
        edited(pt2, setting(section, **{key: "data/other"}))
    # As MLflow of long ago wrote it: the data is the file for torch.load.
    assert "file data/other is refused: torch.load runs code" in refusal(pt2, "pytorch")


def test_pt2_pickle(pt2: Path, marker: Path) -> None:
    import torch

    content = io.BytesIO()
    torch.save(((Bomb(marker),), {}), content)
    rewritten(pt2, "sample_inputs/model.pt", lambda _: content.getvalue())
    attack = Attack(pt2, "pytorch", marker)
    attack.refused("MLflow does not prove it free of pickles")
    attack.works_if_allowed()


@pytest.mark.parametrize(
    "target",
    ["torch.os.system", "torchx.os.system", "_operator.methodcaller", "torch.ops.aten.from_file.default",
     "torch.ops.aten.save.default", "torch.ops.higher_order.aoti_call_delegate", "#other:operator"],
)  # fmt: skip
def test_pt2_operators(pt2: Path, target: str) -> None:
    rewritten(pt2, "models/model.json", program(lambda document: graph(document)["nodes"][0].update(target=target)))
    assert target in refusal(pt2, "pytorch")


@pytest.mark.parametrize(
    ("kind", "context", "named"),
    [
        ("collections.defaultdict", {"default_factory_module": "os", "default_factory_name": "abort"}, "defaultdict"),
        ("builtins.dict", {"__enum__": True, "fqn": "os:abort", "name": "x"}, "__enum__"),
    ],
)
def test_pt2_containers(pt2: Path, kind: str, context: Any, named: str) -> None:
    """torch imports the module that a defaultdict or an enum among the inputs names."""
    spec = json.dumps([1, {"type": kind, "context": json.dumps(context), "children_spec": []}])

    def edit(document: dict[str, Any]) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = spec

    rewritten(pt2, "models/model.json", program(edit))
    assert named in refusal(pt2, "pytorch")


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("Add(Symbol('s17', positive=True, integer=True), Integer(-1))", True),
        ("FloatPow(ToFloat(Symbol('s77', integer=True)), Float('0.5', precision=53))", True),
        ("(L['x'].size()[0] % 2) == 0 and L['args'][1].stride()[0] <= 3", True),
        ("2*s0 + math.ceil(s1 / 2)", True),
        ("exit()", False),
        ("floor('exit()')", False),
        ("Max.__class__", False),
        ("L['x'].numpy()", False),
        ("(eval)('x')", False),
        ("[exit() for x in y]", False),
        ("lambda: 0", False),
        ("Symbol(f'{exit()}')", False),
        ("Symbol(b'x')", False),
        ('L["a\'b"]', False),
        ("__import__", False),
        ("1 # exit()", False),
        ("(1 \n + 2)", False),
        ("x = 1", False),
        ("", False),
    ],
)
def test_arithmetic(text: str, harmless: bool) -> None:
    assert is_arithmetic(text) is harmless


@pytest.mark.parametrize("kind", ["pickle", "torchscript"])
def test_pickled_torch(tmp_path: Path, marker: Path, kind: str) -> None:
    import torch

    model = torch.nn.Linear(3, 2)
    scripted = torch.jit.trace(model, torch.from_numpy(X)) if kind == "torchscript" else model
    folder = save("pytorch", scripted, tmp_path / "model", "torch", serialization_format="pickle")
    attack = Attack(folder, "pytorch", marker)
    attack.refused("file data/model.pth")
    serves(folder, "pytorch", ALLOWED)
    with guarded_load("pytorch", STRICT), pytest.raises(Exception, match="pickle is disallowed"):
        predict(folder)
    torch.save(Bomb(marker), folder / "data" / "model.pth")
    attack.works_if_allowed()


def test_pickle_module_of_torch(pt2: Path, marker: Path, evil: Callable[[Path], str]) -> None:
    """A model.pth beside the archive wins, and its pickle module is imported before anything is read."""
    module = evil(pt2.parent / "installed")
    sys.path.insert(0, str(pt2.parent / "installed"))
    (pt2 / "data" / "model.pth").write_bytes(b"")
    (pt2 / "data" / "pickle_module_info.txt").write_text(module)
    attack = Attack(pt2, "pytorch", marker)
    attack.refused("file data/model.pth")
    attack.works_if_allowed()


# -- tensorflow ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras_saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(loss="mse")
    return save("tensorflow", model, tmp_path_factory.mktemp("keras") / "model", "tensorflow")


@pytest.fixture
def keras_model(keras_saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(keras_saved, tmp_path / "keras-model"))


def test_keras_is_served(keras_model: Path, tmp_path: Path) -> None:
    import keras

    serves(keras_model, "tensorflow")
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    folder = save("keras", model, tmp_path / "keras", "keras")
    serves(folder, "tensorflow")
    edited(folder, setting("keras", save_exported_model=True))
    assert "a SavedModel" in refusal(folder, "tensorflow")


def test_keras_custom_objects(keras_model: Path, marker: Path) -> None:
    for name in ("custom_objects.cloudpickle", "global_custom_objects.cloudpickle"):
        bomb = keras_model / "data" / name
        bomb.write_bytes(pickle.dumps(Bomb(marker)))
        attack = Attack(keras_model, "tensorflow", marker)
        attack.refused(f"file data/{name}")
        attack.works_if_allowed()
        bomb.unlink()
        marker.rmdir()


def test_keras_module(keras_model: Path, marker: Path, evil: Callable[[Path], str]) -> None:
    module = evil(keras_model.parent / "installed")
    sys.path.insert(0, str(keras_model.parent / "installed"))
    (keras_model / "data" / "keras_module.txt").write_text(module)
    attack = Attack(keras_model, "tensorflow", marker)
    attack.refused(f"'{module}' in file data/keras_module.txt")
    attack.works_if_allowed()


def test_keras_layers(keras_model: Path) -> None:
    archive = keras_model / "data" / "model.keras"
    with zipfile.ZipFile(archive) as genuine:
        records = {name: genuine.read(name) for name in genuine.namelist()}
    for change, named in (
        (("keras.layers", "Lambda"), "layer Lambda"),
        (("keras.layers", "TFSMLayer"), "layer TFSMLayer"),
        (("os", "system"), "module 'os'"),
        (("keras.src.utils.file_utils", "get_file"), "module 'keras.src.utils.file_utils'"),
        (("keras.config", "enable_unsafe_deserialization"), "module 'keras.config'"),
    ):
        document = json.loads(records["config.json"])
        document["config"]["layers"][1].update(module=change[0], class_name=change[1])
        with zipfile.ZipFile(archive, "w") as crafted:
            for name, content in records.items():
                crafted.writestr(name, json.dumps(document) if name == "config.json" else content)
        assert named in refusal(keras_model, "tensorflow")
        check(keras_model, read(keras_model), "tensorflow", ALLOWED)


def test_keras_lambda(tmp_path: Path) -> None:
    """As Keras itself writes one."""
    import keras

    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    folder = save("tensorflow", model, tmp_path / "model", "tensorflow")
    assert "layer Lambda in file data/model.keras" in refusal(folder, "tensorflow")


def test_other_tensorflow_formats(keras_model: Path, tmp_path: Path) -> None:
    import tensorflow

    (keras_model / "data" / "save_format.txt").write_text("h5")
    assert "file data/model.h5 is refused" in refusal(keras_model, "tensorflow")
    (keras_model / "data" / "save_format.txt").unlink()  # MLflow then takes it for HDF5
    assert "file data/model.h5 is refused" in refusal(keras_model, "tensorflow")
    (keras_model / "data" / "save_format.txt").write_text("tf")
    (keras_model / "data" / "model.keras").rename(keras_model / "data" / "model")
    assert "file data is refused: it holds no .keras file" in refusal(keras_model, "tensorflow")
    folder = save("tensorflow", tensorflow.Module(), tmp_path / "module", "tensorflow")
    assert "a SavedModel (model_type 'tf2-module' in MLmodel)" in refusal(folder, "tensorflow")
    check(folder, read(folder), "tensorflow", ALLOWED)
    # MLflow believes the section of the older flavor first.
    edited(folder, lambda content: content["flavors"].update(tensorflow={"model_type": "keras"}))
    edited(folder, lambda content: content["flavors"].update(keras={"model_type": "tf1-estimator"}))
    assert "tf1-estimator" in refusal(folder, "tensorflow")


# -- transformers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline_saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer, pipeline

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]))
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(vocab_size=7, **size))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    classifier = pipeline("text-classification", model=model, tokenizer=tokenizer)
    return save("transformers", classifier, folder / "model", "transformers", task="text-classification")


@pytest.fixture
def bert(pipeline_saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    return Path(shutil.copytree(pipeline_saved, tmp_path / "model"))


def json_edited(file: Path, edit: Edit) -> None:
    document = json.loads(file.read_text())
    edit(document)
    file.write_text(json.dumps(document))


def test_safetensors_are_served(bert: Path) -> None:
    import mlflow.pyfunc

    check(bert, read(bert), "transformers", STRICT)
    with guarded_load("transformers", STRICT):
        assert len(mlflow.pyfunc.load_model(str(bert)).predict(["good", "bad"])) == 2


def test_transformers_with_code(bert: Path, marker: Path, evil: Callable[[Path], str]) -> None:
    module = evil(bert / "model")
    names = {"AutoConfig": f"{module}.Config", "AutoModelForSequenceClassification": f"{module}.Model"}
    json_edited(bert / "model" / "config.json", lambda config: config.update(auto_map=names, architectures=["Model"]))
    edited(bert, setting("transformers", pipeline_model_type="Model"))
    attack = Attack(bert, "transformers", marker)
    attack.refused("auto_map")
    json_edited(bert / "model" / "config.json", lambda config: config.pop("auto_map"))
    attack.refused(f"file model/{module}.py")
    json_edited(bert / "model" / "config.json", lambda config: config.update(auto_map=names))
    attack.works_if_allowed()


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "tf_model.h5", "model.ckpt", "flax_model.msgpack", "vocab.pkl", "custom_generate.py"]
)
def test_transformers_files(bert: Path, name: str) -> None:
    (bert / "model" / name).write_bytes(b"")
    assert f"file model/{name}" in refusal(bert, "transformers")
    check(bert, read(bert), "transformers", ALLOWED)


def test_transformers_references(bert: Path) -> None:
    original = read(bert)
    params = json.dumps([{"name": "custom_generate", "type": "string", "default": "someone/repository"}])
    for edit, named in (
        (setting("transformers", source_model_revision="0" * 40), "transformers.source_model_revision"),
        (setting("transformers", local_base_model_path="/srv/base"), "transformers.local_base_model_path"),
        (setting("python_function", config={"trust_remote_code": True}), "trust_remote_code"),
        (lambda content: content.update(signature={"inputs": "[]", "params": params}), "custom_generate"),
    ):
        edited(bert, edit)
        assert named in refusal(bert, "transformers")
        (bert / "MLmodel").write_text(yaml.safe_dump(original))
    (bert / "components" / "inference_config.txt").write_text('{"trust_remote_code": true}')
    assert "components/inference_config.txt" in refusal(bert, "transformers")
    (bert / "components" / "inference_config.txt").unlink()
    json_edited(bert / "model" / "config.json", lambda config: config.update(attn_implementation="someone/kernel"))
    assert "attn_implementation 'someone/kernel'" in refusal(bert, "transformers")


@pytest.mark.parametrize("nested", ["&a [*a]", "aliases"])
def test_aliases_are_walked_once(bert: Path, nested: str) -> None:
    """Ten aliases on each of twelve levels are 10 ** 12 values, written in a few lines."""
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 13))]
    with (bert / "MLmodel").open("a") as file:
        file.write("\n".join(lines if nested == "aliases" else [f"x: {nested}"]))
    check(bert, read(bert), "transformers", STRICT)
    with (bert / "MLmodel").open("a") as file:
        file.write("\ny: {auto_map: x}\n")
    assert "auto_map" in refusal(bert, "transformers")


def test_files_that_cannot_be_checked(bert: Path, keras_model: Path) -> None:
    (bert / "model" / "config.json").write_text("{")
    assert "its files cannot be checked (JSONDecodeError" in refusal(bert, "transformers")
    (keras_model / "data" / "model.keras").write_bytes(b"PK")
    assert "its files cannot be checked (BadZipFile" in refusal(keras_model, "tensorflow")


# -- the guard -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, "true", "false"])
def test_guard_restores_the_switch(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    if before is not None:
        monkeypatch.setenv(PICKLE_SWITCH, before)
    seen = []

    def load() -> None:
        with guarded_load("pytorch", STRICT):
            seen.append(os.environ[PICKLE_SWITCH])
            raise RuntimeError("loading failed")

    with pytest.raises(RuntimeError, match="loading failed"):
        load()
    assert seen == ["false"]
    assert os.environ.get(PICKLE_SWITCH) == before
    for flavor, policy in (("pytorch", ALLOWED), ("sklearn", STRICT), ("lightgbm", STRICT), ("pyfunc", STRICT)):
        with guarded_load(flavor, policy):
            assert os.environ.get(PICKLE_SWITCH) == before
