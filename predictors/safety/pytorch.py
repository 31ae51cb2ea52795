"""PyTorch models: pt2 archives.

MLflow's check that they hold no pickles is not enough: torch evaluates expressions and guards in the archive's JSON as
Python, so only known operators, plain names and arithmetic may be in it.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile

from predictors.safety.model_files import ModelFiles
from predictors.safety.pt2 import unsafe_texts
from predictors.safety.zip_layout import open_strictly


def check_pytorch(model: ModelFiles) -> None:
    for data in model.files("data", "model_data"):
        archive, pickled = data / "model.pt2", data if data.is_file() else data / "model.pth"
        if pickled.exists():
            model.refuse_code(model.describe(pickled), "torch.load runs code of pickles and of TorchScript")
        if not archive.is_file():
            model.refuse_code(model.describe(data), "it holds no pt2 archive")
        check_pt2(model, archive)


def check_pt2(model: ModelFiles, archive: Path) -> None:
    with archive.open("rb") as file:
        try:
            records = open_strictly(file)
        except BadZipFile as error:
            model.refuse_code(model.describe(archive), f"torch may read it in another way than its check ({error})")
            return
        check_records(model, archive, records)


def check_records(model: ModelFiles, archive: Path, records: ZipFile) -> None:
    try:
        from mlflow.pytorch import _validate_pt2_archive_is_pickle_free as check_archive

        check_archive(str(archive))
    except Exception as error:
        why = f"MLflow does not prove it free of pickles ({str(error).split('. ')[0]})"
        model.refuse_code(model.describe(archive), why)
    for record in records.infolist():
        text = next(unsafe_texts(record.filename, records.read(record)), None)
        if text is not None:
            why = f"torch may run it as Python: {text[:200]!r}"
            model.refuse_code(f"record {record.filename} in {model.describe(archive)}", why)
