"""What a model artifact may do when it is loaded, as the operator allows it.

Always refused: file names in the MLmodel file, and links in the model folder, that lead out of the folder.

`--allow-code-execution=false` refuses whatever runs code that the artifact brings along, by the name of the file
or key. `check` is the only judge; `guarded_load` adds MLflow's own refusal of pickles where that helps. Served are:

- xgboost (ubj, json): `model_class` is imported by MLflow, so only XGBoost's own model classes pass.
- catboost (cbm, json, onnx) and the text of a LightGBM Booster: parsed by the library, nothing is imported.
- skops (sklearn, lightgbm): every type in the file that skops does not trust must be in `--skops-trusted`. skops
  trusts no decision trees (a crafted one can crash the process): operators name `sklearn.tree._tree.Tree`. Four
  types of LightGBM's scikit-learn interface are trusted in the lightgbm flavor alone, as in MLflow: restoring them
  sets attributes and lets LightGBM parse the text of its Booster.
- pytorch: pt2 archives. MLflow's proof that they hold no pickles does not suffice: torch evaluates expressions and
  guards in the archive's JSON as Python, so that JSON is held to a list of known operators and plain arithmetic.
- tensorflow: .keras files, which Keras loads in its safe mode; nothing outside of Keras may be named in their
  configuration. Refused: HDF5 (its Lambda layers hold bytecode) and SavedModels (graphs that may read and write
  files, already while they are loaded).
- transformers: safetensors, with no Python file and no reference to code or to files elsewhere.
- onnx: execution providers by name, without options (some of them name shared libraries to load).

`--skops-trusted` alone holds skops files to the operator's list; the list in the MLmodel file cannot widen it. It
says nothing about models in other formats: a pickle still loads unless code execution is refused as well.
"""

from __future__ import annotations

import ast
import json
import os
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn
from zipfile import ZipFile

MLMODEL = "MLmodel"
PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
ALLOW = "--allow-code-execution=true would allow it"
NEVER = "no setting allows it"
# MLflow's pyfunc loaders, and whose checks hold for each.
LOADERS = {f"mlflow.{flavor}": flavor for flavor in
           ("xgboost", "lightgbm", "catboost", "sklearn", "pytorch", "tensorflow", "transformers", "onnx")}  # fmt: skip
LOADERS["mlflow.keras"] = "tensorflow"
SKOPS_FLAVORS = ("sklearn", "lightgbm")
# Keys of the MLmodel file that MLflow, or this product, joins to the model folder.
PATHS = ("data", "model_path", "pickled_model", "model_data", "model_binary", "saved_model_dir", "code", "code_paths",
         "python_model", "peft_adaptor", "components", "serialized_explainer",
         "artifact_path", "serving_input_path")  # fmt: skip
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill")
PICKLED_WEIGHTS = (*PICKLES, ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".py")
LIGHTGBM_TYPES = frozenset({"collections.OrderedDict", "lightgbm.basic.Booster",
                            "lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor"})  # fmt: skip
XGBOOST_CLASS = re.compile(r"xgboost\.(core\.|sklearn\.)?(Booster|XGB(RF)?(Model|Classifier|Regressor|Ranker))")
CATBOOST_TYPES = ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker")
# Layers that hold bytecode, a SavedModel or a pickle; modules of Keras that are no part of a model.
KERAS_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper")
KERAS_MODULE = re.compile(r"builtins|keras(\.(?!utils\b|config\b|saving\b)\w+)*")
# Keys, and names of parameters, with which Hugging Face's libraries fetch and import Python files.
REMOTE_CODE = ("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code")
SESSION_OPTION = re.compile(r"session\.(intra|inter)_op\.\w+")

PLAIN = re.compile(r"(?!__)[\w .,<>+*/|-]*", re.ASCII)
OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!(from_file|save)\b)\w+(\.\w+)?|torch\.sym_\w+|math\.\w+"
    r"|torch\.ops\.higher_order\.(cond|map_impl|scan|while_loop|wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
# `type` is a container of the program's inputs or the kind of a device; torch imports what others name.
TREES = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict",
         "cpu", "cuda", "mps", "xpu", "meta")  # fmt: skip
# What torch keeps for error messages alone.
INERT = ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack")
ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop,
              ast.cmpop, ast.expr_context, ast.Call, ast.keyword, ast.Subscript)  # fmt: skip
FUNCTIONS = frozenset(
    [
        "Symbol",
        "Integer",
        "Float",
        "Rational",
        "Add",
        "Mul",
        "Pow",
        "Max",
        "Min",
        "Abs",
        "Mod",
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "And",
        "Or",
        "Not",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "LessThan",
        "StrictGreaterThan",
        "GreaterThan",
        "Piecewise",
        "floor",
        "ceiling",
        "FloorDiv",
        "ModularIndexing",
        "Where",
        "PythonMod",
        "CleanDiv",
        "CeilToInt",
        "FloorToInt",
        "CeilDiv",
        "LShift",
        "RShift",
        "PowByNatural",
        "FloatPow",
        "FloatTrueDiv",
        "IntTrueDiv",
        "IsNonOverlappingAndDenseIndicator",
        "TruncToFloat",
        "TruncToInt",
        "RoundToInt",
        "RoundDecimal",
        "ToFloat",
        "Identity",
        "size",
        "stride",
        "storage_offset",
        "dim",
        "ceil",
        "trunc",
        "sqrt",
        "isnan",
        "inf",
    ]
)


@dataclass(frozen=True)
class Policy:
    """The operator's two settings."""

    allow_code_execution: bool = True
    skops_trusted: frozenset[str] | None = None
    """None: the operator gave no list."""


class Unsafe(Exception):
    """The model is refused; the message is one line for the operator."""


@dataclass(frozen=True)
class Candidate:
    """A model that is about to be loaded."""

    folder: Path
    content: Mapping[str, Any]
    flavor: str
    policy: Policy

    def section(self, name: str) -> Mapping[str, Any]:
        found = (self.content.get("flavors") or {}).get(name)
        return found if isinstance(found, Mapping) else {}

    @property
    def pyfunc(self) -> Mapping[str, Any]:
        return self.section("python_function")

    @property
    def config(self) -> Mapping[str, Any]:
        return self.section(self.flavor)

    @property
    def loader(self) -> str:
        return str(self.pyfunc.get("loader_module", f"mlflow.{self.flavor}"))

    def runs_code(self, what: str, why: str) -> None:
        if not self.policy.allow_code_execution:
            refuse(what, why)

    def files(self, *keys: str) -> list[Path]:
        """The files that the flavor or pyfunc names under these keys; one of them is the model."""
        named = [section.get(key) for section in (self.pyfunc, self.config) for key in keys]
        files = [self.folder / str(name) for name in dict.fromkeys(named) if name]
        if not files:
            self.runs_code(f"the {self.flavor} model", f"its {MLMODEL} file does not name it ({', '.join(keys)})")
        for file in files:
            if file.suffix in PICKLES:
                self.runs_code(f"file {self.name(file)}", "a pickle runs code when it is loaded")
        return files

    def name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


def refuse(what: str, why: str, setting: str = ALLOW) -> NoReturn:
    raise Unsafe(" ".join(f"{what} is refused: {why}; {setting}".split()))


def check(path: Path, mlmodel: Mapping[str, Any], flavor: str, policy: Policy) -> None:
    """Raises `Unsafe` if loading the model with this flavor would do what the policy does not allow."""
    folder = path.resolve()
    check_links(folder)
    check_paths(folder, mlmodel)
    candidate = Candidate(folder, mlmodel, flavor, policy)
    kind = LOADERS.get(candidate.loader, flavor) if flavor == "pyfunc" else flavor
    candidate = Candidate(folder, mlmodel, kind, policy)
    if policy.allow_code_execution and (kind not in SKOPS_FLAVORS or policy.skops_trusted is None):
        return
    check_brought_code(candidate)
    CHECKS[kind](candidate)


@contextmanager
def guarded_load(flavor: str, policy: Policy) -> Iterator[None]:
    """Holds MLflow's own switch against pickles off while a checked model is loaded. The switch belongs to the
    process: one load at a time. MLflow counts skops among the pickles, so where skops may come the switch stays."""
    if policy.allow_code_execution or flavor in (*SKOPS_FLAVORS, "pyfunc"):
        yield
        return
    before = os.environ.get(PICKLE_SWITCH)
    os.environ[PICKLE_SWITCH] = "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(PICKLE_SWITCH, None)
        else:
            os.environ[PICKLE_SWITCH] = before


def check_links(folder: Path) -> None:
    for parent, folders, files in os.walk(folder):
        for entry in (Path(parent, name) for name in (*folders, *files)):
            if entry.is_symlink() and not entry.resolve().is_relative_to(folder):
                refuse(f"link {entry.relative_to(folder)}", "it leads out of the model folder", NEVER)


def check_paths(folder: Path, mlmodel: Mapping[str, Any]) -> None:
    named = {**(mlmodel.get("flavors") or {}), "saved_input_example_info": mlmodel.get("saved_input_example_info")}
    for section, value in named.items():
        for key, name in entries(value):
            artifact = key == "path" and section == "python_function"
            if isinstance(name, str) and (key in PATHS or artifact) and leads_out(folder, name):
                refuse(f"{section}.{key} {name!r} in {MLMODEL}", "it leads out of the model folder", NEVER)


def leads_out(folder: Path, name: str) -> bool:
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.anchor or ".." in windows.parts or "\0" in name:
        return True
    return not (folder / name).resolve().is_relative_to(folder)


def check_brought_code(model: Candidate) -> None:
    for section, config in (("python_function", model.pyfunc), (model.flavor, model.config)):
        for key in ("code", "code_paths", "python_model", "model_code_path"):
            if config.get(key):
                model.runs_code(f"{section}.{key} {config[key]!r} in {MLMODEL}", "it is code of the model")
    if LOADERS.get(model.loader) != model.flavor:
        why = "MLflow imports it to load the model, and it may run code of the model"
        model.runs_code(f"python_function.loader_module {model.loader!r} in {MLMODEL}", why)
    # Loaders read the MLmodel file that lies beside the data, so a second one would be believed unchecked.
    for second in model.folder.rglob(MLMODEL):
        if second.parent != model.folder:
            model.runs_code(f"file {model.name(second)}", f"MLflow may read it instead of the {MLMODEL} file checked")


def check_pyfunc(model: Candidate) -> None:
    model.runs_code("the pyfunc flavor", "what its loaders read may run code")


def check_sklearn(model: Candidate) -> None:
    files = model.files("data", "model_path", "pickled_model")
    check_skops(model, files, frozenset(), default="pickle")


def check_lightgbm(model: Candidate) -> None:
    files = model.files("data")
    if model.config.get("model_class", "lightgbm.basic.Booster") != "lightgbm.basic.Booster":
        check_skops(model, files, LIGHTGBM_TYPES, default="cloudpickle")


def check_skops(model: Candidate, files: list[Path], known: frozenset[str], default: str) -> None:
    serialization = model.config.get("serialization_format", default)
    if serialization != "skops":
        names = ", ".join(model.name(file) for file in files)
        model.runs_code(f"serialization_format {serialization!r} of {names}", "it runs code when it is loaded")
        return
    from skops.io import get_untrusted_types

    for file in files:
        try:
            held = get_untrusted_types(file=file)
        except Exception as error:
            why = f"skops cannot tell which types it holds ({type(error).__name__}: {error})"
            refuse(f"file {model.name(file)}", why, NEVER)
        unknown = sorted({*held} - known - (model.policy.skops_trusted or frozenset()))
        if unknown:
            why = f"it holds types that the operator does not trust: {', '.join(unknown)}"
            refuse(f"file {model.name(file)}", why, f"--skops-trusted {','.join(unknown)} would allow it")


def check_xgboost(model: Candidate) -> None:
    model.files("data")
    name = str(model.config.get("model_class", "xgboost.core.Booster"))
    if not XGBOOST_CLASS.fullmatch(name):
        model.runs_code(f"xgboost.model_class {name!r} in {MLMODEL}", "MLflow imports and calls it")


def check_catboost(model: Candidate) -> None:
    model.files("data", "model_binary")
    for key, known in (("model_type", CATBOOST_TYPES), ("save_format", ("cbm", "json", "onnx", None))):
        if model.config.get(key) not in known:
            model.runs_code(f"catboost.{key} {model.config.get(key)!r} in {MLMODEL}", "it is not known to be safe")


def check_onnx(model: Candidate) -> None:
    model.files("data")
    providers = model.config.get("providers") or []
    for provider in [providers] if isinstance(providers, str) else providers:
        if not isinstance(provider, str):
            model.runs_code(f"onnx.providers {provider!r} in {MLMODEL}", "options may name libraries to load")
    options = model.config.get("onnx_session_options") or {}
    for key in options.get("extra_session_config") or {}:
        if not SESSION_OPTION.fullmatch(str(key)):
            model.runs_code(f"onnx extra_session_config {key!r} in {MLMODEL}", "it is not known to be safe")


def check_transformers(model: Candidate) -> None:
    for key in ("source_model_revision", "local_base_model_path"):
        if key in model.config:
            model.runs_code(f"transformers.{key} in {MLMODEL}", "it loads a model from outside of the model folder")
    documents: list[tuple[str, Any]] = [(MLMODEL, model.content)]
    for file in sorted(model.folder.rglob("*")):
        if file.suffix in PICKLED_WEIGHTS:
            model.runs_code(f"file {model.name(file)}", "it is not safetensors and may run code when it is loaded")
        if file.suffix == ".json" or file.name == "inference_config.txt":
            documents.append((model.name(file), read_json(model, file)))
    for name, document in documents:
        for key, value in entries(document):
            if (key in REMOTE_CODE and value) or (isinstance(value, str) and value in REMOTE_CODE):
                model.runs_code(f"{key} in {name}", "it makes transformers import Python files")
            if key.endswith("_implementation") and "/" in str(value):
                model.runs_code(f"{key} {value!r} in {name}", "it makes transformers load a kernel from elsewhere")


def check_tensorflow(model: Candidate) -> None:
    flavors = model.content["flavors"]
    config = model.section("keras" if "keras" in flavors else "tensorflow")
    kind = config.get("model_type", "keras" if "keras" in flavors else "tf1-estimator")
    if kind != "keras" or config.get("save_exported_model"):
        model.runs_code(f"model_type {kind!r} in {MLMODEL}", "a SavedModel may read and write files")
    data = model.folder / str(model.pyfunc.get("data", ""))
    if model.loader == "mlflow.keras":
        data /= str(config.get("data", "model"))
    for pickled in ("custom_objects.cloudpickle", "global_custom_objects.cloudpickle"):
        if (data / pickled).exists():
            model.runs_code(f"file {model.name(data / pickled)}", "a pickle runs code when it is loaded")
    module, written = (read_text(data / name) for name in ("keras_module.txt", "save_format.txt"))
    if module not in (None, "keras", "tensorflow.keras"):
        model.runs_code(f"{module!r} in file {model.name(data / 'keras_module.txt')}", "MLflow imports it")
    archive = data / "model.keras"
    hdf5 = model.loader == "mlflow.tensorflow" and written in (None, "h5")
    if hdf5 or not archive.is_file():
        found = "an HDF5 file" if hdf5 else "no .keras file"
        model.runs_code(f"the model in {model.name(data)}", f"it is {found}, and others may run code when loaded")
    check_keras(model, archive)


def check_keras(model: Candidate, archive: Path) -> None:
    try:
        with ZipFile(archive) as opened:
            config = json.loads(opened.read("config.json"))
    except Exception as error:
        model.runs_code(f"file {model.name(archive)}", f"it is not a .keras file ({type(error).__name__})")
        return
    for key, value in entries(config):
        if key == "class_name" and value in KERAS_CODE:
            model.runs_code(f"layer {value} in {model.name(archive)}", "it runs code of the model")
        if key == "module" and isinstance(value, str) and not KERAS_MODULE.fullmatch(value):
            model.runs_code(f"module {value!r} in {model.name(archive)}", "it is no part of Keras")


def check_pytorch(model: Candidate) -> None:
    for data in model.files("data", "model_data"):
        archive = data / "model.pt2"
        pickled = data if data.is_file() else data / "model.pth"
        if pickled.exists() or not archive.is_file():
            model.runs_code(f"file {model.name(pickled)}", "torch.load runs code, and so may TorchScript")
        check_pt2(model, archive)


def check_pt2(model: Candidate, archive: Path) -> None:
    try:
        from mlflow.pytorch import _validate_pt2_archive_is_pickle_free as prove

        prove(str(archive))
    except Exception as error:
        model.runs_code(f"file {model.name(archive)}", f"it is not free of pickles ({str(error).split('. ')[0]})")
    with ZipFile(archive) as opened:
        for record in opened.infolist():
            found = next(suspicious(record.filename, opened.read(record)), None)
            if found is not None:
                why = f"torch may run it as Python: {found[:200]!r}"
                model.runs_code(f"record {record.filename} in {model.name(archive)}", why)


def suspicious(record: str, content: bytes) -> Iterator[str]:
    """The texts of a record in a pt2 archive that are not known to be harmless."""
    if "aotinductor" in record:
        yield "compiled code"
    if record.endswith(".pt"):
        yield from (text for text in pickled_texts(content) if not PLAIN.fullmatch(text))
        return
    try:
        document = json.loads(content)
    except ValueError:
        return  # not JSON: weights, which MLflow's proof has covered
    for key, value in entries(document):
        if not PLAIN.fullmatch(key):
            yield key
        if isinstance(value, str) and not is_harmless(key, value):
            yield value


def pickled_texts(content: bytes) -> Iterator[str]:
    """The names in a program's example inputs, which torch puts into its guards."""
    if not content.startswith(b"PK"):
        yield "(a pickle)"
        return
    with ZipFile(BytesIO(content)) as opened:
        for record in opened.namelist():
            if record.endswith("data.pkl"):
                yield from (arg for _, arg, _ in pickletools.genops(opened.read(record)) if isinstance(arg, str))


def is_harmless(key: str, value: str) -> bool:
    if key in INERT:
        return True
    if key in ("expr_str", "guards_code"):
        return is_arithmetic(value)
    if key in ("target", "as_operator") and value.startswith(("torch", "math", "_operator", "#")):
        return OPERATOR.fullmatch(value) is not None
    return value in TREES if key == "type" else PLAIN.fullmatch(value) is not None


def is_arithmetic(text: str) -> bool:
    if re.search(r"[#;\\\n\r]", text):
        return False
    try:
        return all(is_arithmetic_node(node) for node in ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def is_arithmetic_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        called = node.func
        return (called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")) in FUNCTIONS
    if isinstance(node, ast.Attribute):
        return node.attr in FUNCTIONS
    if isinstance(node, ast.Name):
        return not node.id.startswith("__")
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (int, float)) or (
            isinstance(node.value, str) and PLAIN.fullmatch(node.value) is not None
        )
    return isinstance(node, ARITHMETIC)


def entries(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value at any depth with the nearest key above it; JSON in texts counts as what it stands for."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except ValueError:
            pass
    yield key, value
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from entries(child, str(name))
    elif isinstance(value, (list, tuple)):
        for child in value:
            yield from entries(child, key)


def read_text(file: Path) -> str | None:
    return file.read_text(errors="replace") if file.is_file() else None


def read_json(model: Candidate, file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except ValueError:
        model.runs_code(f"file {model.name(file)}", "it is not JSON")


CHECKS: Mapping[str, Callable[[Candidate], None]] = {
    "xgboost": check_xgboost,
    "lightgbm": check_lightgbm,
    "catboost": check_catboost,
    "sklearn": check_sklearn,
    "pytorch": check_pytorch,
    "tensorflow": check_tensorflow,
    "transformers": check_transformers,
    "onnx": check_onnx,
    "pyfunc": check_pyfunc,
}
