"""A limit for the time that loading may take; the thread of a model that hangs is left alone."""

from __future__ import annotations

import asyncio

from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.queueing.background import BackgroundWork


async def load_in_time(model: MLflowModel, background: BackgroundWork) -> None:
    """Loads a model that has been downloaded. `LoadError` also if that takes longer than its settings allow."""
    seconds = model.settings.load_timeout
    limit = asyncio.timeout(seconds or None)
    try:
        async with limit:
            await background.run(model.load)
    except TimeoutError:
        if not limit.expired():
            raise
        raise too_slow(seconds, model.status.text) from None


def too_slow(seconds: float, stage: str) -> LoadError:
    return LoadError(f"the model is not loaded after {seconds:g} s (--load-timeout); its last stage is: {stage}")
