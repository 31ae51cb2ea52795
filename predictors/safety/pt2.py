"""Checks the records of pt2 archives: torch evaluates some of their texts as Python when it loads one."""

from __future__ import annotations

import ast
import json
import pickletools
import re
from collections.abc import Iterator
from io import BytesIO

from predictors.safety.json_entries import walk_entries
from predictors.safety.zip_layout import open_strictly

ZIP_MARK = b"PK\3\4"
PLAIN_TEXT = re.compile(r"(?!__)[\w .,<>+*/|-]*", re.ASCII)
OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!(from_file|save)\b)\w+(\.\w+)?|torch\.sym_\w+|math\.\w+"
    r"|torch\.ops\.higher_order\.(cond|map_impl|scan|while_loop|wrap_with_autocast|wrap_with_set_grad_enabled)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
# `type` is a container of the program's inputs or the kind of a device; torch imports the names of some other types.
TYPE = re.compile(r"builtins\.(tuple|list|dict)|collections\.OrderedDict|cpu|cuda|mps|xpu|meta")
# Keys of texts that torch uses only in messages.
INERT_KEYS = ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack")
FUNCTION = re.compile(
    "Symbol|Integer|Float|Rational|Add|Mul|Pow|Max|Min|Abs|Mod|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Equality|Unequality"
    "|(Strict)?(Less|Greater)Than|Piecewise|floor|ceiling|(Floor|Clean|Ceil|FloatTrue|IntTrue)Div|ModularIndexing"
    "|Where|PythonMod|[LR]Shift|PowByNatural|FloatPow|(Ceil|Floor|Trunc|Round)To(Int|Float)|RoundDecimal|ToFloat"
    "|Identity|IsNonOverlappingAndDenseIndicator|size|stride|storage_offset|dim|ceil|trunc|sqrt|isnan|inf"
)
ARITHMETIC_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop),
    *(ast.cmpop, ast.expr_context, ast.Call, ast.keyword, ast.Subscript, ast.Attribute, ast.Name, ast.Constant),
)


def unsafe_texts(record: str, content: bytes) -> Iterator[str]:
    """The texts of a record in a pt2 archive that are not known to be harmless."""
    if "aotinductor" in record:
        yield "compiled code"
    if record.lower().endswith(".pt") or content.startswith(ZIP_MARK):  # torch compares names without regard to case
        yield from (text for text in texts_of_pickles(content) if not PLAIN_TEXT.fullmatch(text))
        return
    try:
        document = json.loads(content)
    except ValueError:
        return  # not JSON: weights, which MLflow's own check covers
    for key, value in walk_entries(document):
        if not PLAIN_TEXT.fullmatch(key):
            yield key
        if isinstance(value, str) and not is_harmless(key, value):
            yield value


def texts_of_pickles(content: bytes) -> Iterator[str]:
    """The names in a program's example inputs, which torch writes into the guards that it compiles."""
    if not content.startswith(ZIP_MARK):
        yield "(a pickle)"
        return
    with open_strictly(BytesIO(content)) as archive:
        for record in archive.infolist():
            if record.filename.lower().endswith(".pkl"):
                yield from (text for _, text, _ in pickletools.genops(archive.read(record)) if isinstance(text, str))


def is_harmless(key: str, value: str) -> bool:
    if key in ("expr_str", "guards_code"):
        return is_arithmetic(value)
    if key in ("target", "as_operator") and value.startswith(("torch", "math", "_operator", "#")):
        return OPERATOR.fullmatch(value) is not None
    return key in INERT_KEYS or (TYPE if key == "type" else PLAIN_TEXT).fullmatch(value) is not None


def is_arithmetic(text: str) -> bool:
    """Whether a text that torch evaluates consists only of numbers, names and functions of shapes."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    functions = [getattr(node, "id", getattr(node, "attr", "")) for node in called]
    functions += [node.attr for node in nodes if isinstance(node, ast.Attribute)]
    names = [node.id for node in nodes if isinstance(node, ast.Name)]
    names += [str(node.value) for node in nodes if isinstance(node, ast.Constant)]
    return (
        not re.search(r"[#;\\\n\r]", text)
        and all(isinstance(node, ARITHMETIC_NODES) for node in nodes)
        and all(FUNCTION.fullmatch(name) for name in functions)
        and all(PLAIN_TEXT.fullmatch(name) for name in names)
    )
