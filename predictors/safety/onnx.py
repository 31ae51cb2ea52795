"""ONNX models: execution providers by name, without options (some of them name shared libraries to load)."""

from __future__ import annotations

import re

from predictors.safety.model_files import MLMODEL, ModelFiles

SESSION_OPTION = re.compile(r"session\.(intra|inter)_op\.\w+")


def check_onnx(model: ModelFiles) -> None:
    model.files("data")
    providers = model.config.get("providers") or []
    for provider in [providers] if isinstance(providers, str) else providers:
        if not isinstance(provider, str):
            model.refuse_code(f"onnx.providers {provider!r} in {MLMODEL}", "options may name libraries to load")
    for key in (model.config.get("onnx_session_options") or {}).get("extra_session_config") or {}:
        if not SESSION_OPTION.fullmatch(str(key)):
            model.refuse_code(f"onnx extra_session_config {key!r} in {MLMODEL}", "it is not known to be safe")
