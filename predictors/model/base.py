"""`MLflowModel`, the base of all flavors: loads a model in stages, and predicts with the one that is loaded."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, ClassVar

import kserve.errors
from kserve import Model

from predictors.engines.engine import Answer, EngineCandidate
from predictors.environments.dependencies import preflight
from predictors.features.declaration import declaration_of
from predictors.features.lookup import Features
from predictors.features.open_features import open_features
from predictors.features.store import FeastError
from predictors.flavor import BY_NAME, MLmodel, read_mlmodel, require_modules
from predictors.model.blame import classify_failure
from predictors.model.choosing import with_engine
from predictors.model.kserve_types import decode_payload, encode_reply
from predictors.model.loaded import Loaded, LoadError, LoadingStatus, Tensor
from predictors.model.native import NO_PARAMS, Native
from predictors.model.settings import ModelSettings
from predictors.model.tensors import input_tensors, output_tensors
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.errors import (
    FeatureMissing,
    FeaturesUnavailable,
    InvalidInput,
    NotReady,
    RequestError,
)
from predictors.protocol.mixed_rows import ColumnType
from predictors.queueing.thread_slots import stop_if_abandoned
from predictors.runtime.package_name import yield_to
from predictors.safety import checks
from predictors.safety.model_files import Policy, UnsafeModel
from predictors.safety.pickle_switch import guarded_load
from predictors.signature.example import placeholder, read_example
from predictors.signature.plan import read_plan
from predictors.storage.failures import one_line
from predictors.storage.source import Source, resolve, served_version

log = logging.getLogger("predictors")


class MLflowModel(Model):  # type: ignore[misc]  # kserve ships no types
    """A `kserve.Model` that serves an MLflow model of one flavor.

    Subclasses load models of their flavor (`load_native`) and know nothing of HTTP.
    People may override `preprocess`, `postprocess` or `predict` as with any `kserve.Model`.
    """

    flavor: ClassVar[str] = "pyfunc"
    probes: ClassVar[bool] = True
    """Whether a model without an example is warmed up with a placeholder row. Custom code may do more than predict."""

    def __init__(
        self,
        name: str,
        model: str | Source | None = None,
        *,
        settings: ModelSettings | None = None,
        executor: Executor | None = None,
    ) -> None:
        """`model` is a model URI or an already resolved source; by default it comes from the settings."""
        super().__init__(name)
        settings = settings or ModelSettings()
        self.source = model if isinstance(model, Source) else None
        self.settings = (
            replace(settings, model_uri=model, model_local_path=None) if isinstance(model, str) else settings
        )
        self.executor = executor
        self.status = LoadingStatus()
        self.loaded: Loaded | None = None
        self.features: Features | None = None
        """The feature lookup of this model; each process has its own."""
        self.features_opened_for: Loaded | None = None
        self.features_lock = asyncio.Lock()
        self.on_prediction: Callable[[Batch, Prediction], None] | None = None
        """Called with each batch that came through `predict`, and its prediction."""

    # -- loading ------------------------------------------------------------------------------------------------

    def load_native(self, mlmodel: MLmodel) -> Native:
        """Loads the model in `mlmodel.path`. Each flavor implements it."""
        raise NotImplementedError

    def engines(self, native: Native) -> list[EngineCandidate]:
        """The engines to try for this model, the most promising first. Flavors override it."""
        return []

    def column_engines(self, native: Native, columns: Sequence[ColumnType]) -> list[EngineCandidate]:
        """The engines to try with columns of several types, if none takes them as one matrix."""
        return []

    def load(self) -> bool:
        """Downloads the model if necessary, builds it, warms it up and chooses its engine. Raises `LoadError`."""
        started = time.perf_counter()
        source = self.source or resolve(self.settings, self.status.note)
        loaded = self.build(source)
        if self.settings.warm_up:
            self.status.note("warming up")
            loaded = self.warm_up(loaded)
        loaded = self.choose_engine(loaded)
        self.loaded = replace(loaded, load_seconds=time.perf_counter() - started)
        self.ready = True
        self.status.note(
            f"loaded {self.name} version {loaded.version} ({source.resolved_uri}) "
            f"with the {self.flavor} flavor after {self.loaded.load_seconds:.1f} s"
        )
        return True

    async def open_features(self) -> None:
        """Opens the feature lookup if the model declares features; on the event loop that will use it."""
        async with self.features_lock:  # under KServe's own server the first requests arrive here concurrently
            loaded, before = self.require_loaded(), self.features
            if self.features_opened_for is loaded:
                return
            opened = None
            if loaded.declaration is not None:
                self.status.note(f"looking for {loaded.declaration.source} in Feast")
                try:
                    opened = await open_features(self.name, loaded.declaration, loaded.plan, self.settings)
                except FeastError as error:
                    raise LoadError(str(error)) from error
            self.features, self.features_opened_for = opened, loaded
            if before is not None:
                await before.close()

    def start(self) -> None:
        """KServe's server calls this for every model, loaded or not."""
        if self.loaded is None:
            self.load()

    def build(self, source: Source) -> Loaded:
        """Loads a model without touching the one that is served."""
        mlmodel = read_mlmodel(source.path)
        require_modules(BY_NAME[self.flavor])
        unmet = preflight(mlmodel, self.settings.dependencies)
        policy = Policy(self.settings.allow_code_execution, self.settings.skops_trusted)
        self.status.note(f"loading {source.resolved_uri} with the {self.flavor} flavor")
        try:
            checks.check(mlmodel.path, mlmodel.content, self.flavor, policy)
            yield_to(mlmodel.code)
            with guarded_load(self.flavor, policy):
                native = self.load_native(mlmodel)
        except UnsafeModel as error:
            raise LoadError(str(error)) from error
        except LoadError:
            raise
        except (Exception, SystemExit) as error:
            log.debug("loading failed", exc_info=True)
            raise LoadError(
                f"the {self.flavor} model in {source.resolved_uri} cannot be loaded: {one_line(error)}"
            ) from error
        plan = read_plan(mlmodel)
        if not plan.has_signature:
            plan = replace(plan, width=native.width, names=native.names, fills_missing=native.fills_missing)
        try:
            declaration = declaration_of(mlmodel.content, self.settings)
        except FeastError as error:
            raise LoadError(str(error)) from error
        return Loaded(
            native=native,
            plan=plan,
            flavor=self.flavor,
            version=served_version(self.settings, source, mlmodel),
            source=source,
            mlmodel=mlmodel,
            example=read_example(mlmodel),
            declaration=declaration,
            unmet=unmet,
            outputs=tuple(
                {"name": field.name or "predictions", "datatype": field.datatype, "shape": list(field.shape)}
                for field in plan.outputs
            ),
        )

    def warm_up(self, loaded: Loaded) -> Loaded:
        """Predicts the example once, which shows the output tensors and spares the first caller the wait."""
        if loaded.example is None:
            return self.probe(replace(loaded, example=placeholder(loaded.plan)))
        try:
            return replace(loaded, outputs=output_tensors(self.predict_batch(loaded, loaded.example)))
        except InvalidInput as error:
            log.warning("the model's own input example does not fit its signature: %s", error)
            return loaded
        except RequestError as error:
            cause = f": {one_line(error.__cause__)}" if error.__cause__ else ""
            reason = f"the model fails on its own input example{cause} (--warm-up=false serves it anyway)"
            raise LoadError(reason) from error

    def probe(self, loaded: Loaded) -> Loaded:
        """Predicts the placeholder row. A failure is no error: the row may not be valid for the model."""
        if loaded.example is None or not self.probes:
            return loaded
        try:
            return replace(loaded, outputs=output_tensors(self.predict_batch(loaded, loaded.example)))
        except RequestError:
            log.debug("the model does not accept a placeholder row", exc_info=True)
            return replace(loaded, example=None)

    def choose_engine(self, loaded: Loaded) -> Loaded:
        """Chooses the engine: the first one that proves itself against the model, else the model itself."""
        self.status.note("choosing an engine")
        mode = self.settings.engine
        loaded = with_engine(loaded, self.settings, self.engines, self.column_engines)
        choice = loaded.choice
        log.info("engine: %s%s", choice.name, f" ({choice.reason})" if choice.reason else "")
        if mode == "compiled" and choice.proven is None:
            raise LoadError(f"--engine=compiled: no compiled engine can serve this model ({choice.reason})")
        return loaded

    # -- predicting ---------------------------------------------------------------------------------------------

    def require_loaded(self) -> Loaded:
        """The loaded model. Raises `NotReady` if there is none."""
        if self.loaded is None:
            raise NotReady(f"model '{self.name}' is not ready: {self.status.text}")
        return self.loaded

    def predict_batch(self, loaded: Loaded, batch: Batch) -> Prediction:
        """Predicts a batch with the engine if it can, else with the model itself."""
        probabilities = self.wants_probabilities(batch)
        rows = loaded.engine_rows(batch)
        if rows is not None and loaded.choice.proven is not None:
            try:
                return self.prediction(loaded, loaded.choice.proven.engine.run(rows, probabilities))
            except Exception:
                log.debug("the engine declines", exc_info=True)
        return self.predict_natively(loaded, batch, with_probabilities=probabilities)

    def wants_probabilities(self, batch: Batch) -> bool:
        return self.settings.probabilities if batch.probabilities is None else batch.probabilities

    def prediction(self, loaded: Loaded, answer: Answer) -> Prediction:
        """An engine's answer as the prediction that the model itself would give."""
        return Prediction(answer[0], "predict", self.name, loaded.version, loaded.output_names, answer[1])

    def predict_natively(self, loaded: Loaded, batch: Batch, *, with_probabilities: bool) -> Prediction:
        """Predicts a batch with the model itself. Raises `RequestError`, whatever the model raises."""
        name = loaded.native.default if batch.method is None else batch.method
        method = loaded.native.methods.get(name)
        if method is None:
            raise InvalidInput(f"unknown method '{name}'; the model has {', '.join(loaded.methods)}")
        batch = loaded.plan.split_bare(batch)
        data = loaded.plan.conform(batch)
        params: Mapping[str, Any] = loaded.plan.conform_params(batch.params, batch.ignored, as_text=batch.tensors)
        if not params and not batch.has_params:
            params = NO_PARAMS
        stop_if_abandoned()
        probabilities = None
        try:
            result = method(data, params)
            if with_probabilities and name == "predict" and loaded.native.probabilities is not None:
                probabilities = loaded.native.probabilities(data, params)
        except RequestError:
            raise
        except (Exception, SystemExit) as error:  # the model's code must not end the server
            raise classify_failure(error, loaded, data) from error
        names = loaded.output_names if name == "predict" else ()
        return Prediction(result, name, self.name, loaded.version, names, probabilities)

    async def predict(
        self, payload: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> Any:
        """KServe's entry point: a V1 object or an `InferRequest` in, its counterpart out."""
        loop = asyncio.get_running_loop()

        def in_executor(work: Callable[[], Any]) -> Awaitable[Any]:
            return loop.run_in_executor(self.executor, work)

        try:
            loaded = self.require_loaded()
            batch = await in_executor(lambda: decode_payload(payload))
            if self.features_opened_for is not loaded:  # another model has been loaded since
                await self.open_features()
            if self.features is not None:
                batch = await self.features.join(batch, in_executor)
            return await in_executor(lambda: encode_reply(payload, self.predict_and_notify(loaded, batch), batch))
        except InvalidInput as error:  # KServe's server has the right status for its own errors
            raise kserve.errors.InvalidInput(str(error)) from error
        except NotReady as error:
            raise kserve.errors.ModelNotReady(self.name, self.status.text) from error
        except (FeatureMissing, FeaturesUnavailable) as error:  # KServe has no errors for these
            from starlette.exceptions import HTTPException

            raise HTTPException(error.status, str(error), dict(error.headers)) from error

    def predict_and_notify(self, loaded: Loaded, batch: Batch) -> Prediction:
        prediction = self.predict_batch(loaded, batch)
        if self.on_prediction is not None:
            self.on_prediction(batch, prediction)
        return prediction

    @property
    def customized(self) -> bool:
        """Whether a subclass overrides a hook of KServe: then every request goes through `kserve.Model.__call__`."""
        hooks = ("__call__", "preprocess", "predict", "postprocess", "validate")
        return any(getattr(type(self), hook) is not getattr(MLflowModel, hook) for hook in hooks)

    # -- metadata -----------------------------------------------------------------------------------------------

    def get_input_types(self) -> list[Tensor]:
        return input_tensors(self.require_loaded().plan)

    def get_output_types(self) -> list[Tensor]:
        return list(self.require_loaded().outputs)
