"""What a model needs at its first prediction is there before it is ready, or it is not served."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from predictors.model.loaded import LoadError
from tests.predictors.model.test_categories import loaded
from tests.zoo.case import PIP


def speech(folder: Path, kind: str) -> None:
    """A pipeline for sounds as small as can be."""
    import mlflow.transformers
    from transformers import (
        AudioClassificationPipeline,
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForSequenceClassification,
    )

    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16, conv_dim=(8,),
        conv_kernel=(4,), conv_stride=(4,), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=1, num_labels=2,
        classifier_proj_size=8,
    )  # fmt: skip
    model = Wav2Vec2ForSequenceClassification(config)
    pipeline = AudioClassificationPipeline(
        model=model, feature_extractor=Wav2Vec2FeatureExtractor(), task="audio-classification"
    )
    signature = ModelSignature(inputs=Schema([ColSpec(kind)]), outputs=Schema([ColSpec("string")]))
    mlflow.transformers.save_model(pipeline, folder, signature=signature, **PIP)


def test_encoded_audio_needs_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("predictors.transformers.FFMPEG", "ffmpeg-that-nobody-has")
    speech(tmp_path / "encoded", "binary")
    with pytest.raises(LoadError, match="audio-classification decodes audio with ffmpeg.*, which is not installed"):
        loaded(tmp_path / "encoded")
    speech(tmp_path / "samples", "float")
    assert loaded(tmp_path / "samples", warm_up=False).loaded is not None
    monkeypatch.setattr("predictors.transformers.FFMPEG", "sh")
    assert loaded(tmp_path / "encoded", warm_up=False).loaded is not None


def test_what_openai_models_import_late_is_imported_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    flavors = {"python_function": {"loader_module": "mlflow.openai", "data": "model.yaml"}}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors}))
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({"task": "embeddings", "model": "m"}))
    with pytest.raises(LoadError, match="cannot be loaded: ModuleNotFoundError: import of openai halted"):
        loaded(tmp_path, allow_code_execution=True)
