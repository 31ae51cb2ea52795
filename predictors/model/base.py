"""MLflowModel: what all flavors share. A loaded model is one immutable object; loading another swaps it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, ClassVar

import kserve.errors
from kserve import InferRequest, InferResponse, Model

from predictors.engines.engine import Answer, Choice, EngineCandidate, choose
from predictors.engines.probes import Probing
from predictors.environments.dependencies import preflight
from predictors.features.declaration import declaration_of
from predictors.features.lookup import Features
from predictors.features.open_features import open_features
from predictors.features.store import FeastError
from predictors.flavor import BY_NAME, MLmodel, read_mlmodel, require_modules
from predictors.model.blame import blamed
from predictors.model.kserve_types import batch_of, response_of
from predictors.model.loaded import Loaded, LoadError, LoadingStatus, Tensor
from predictors.model.native import Native
from predictors.model.tensors import input_tensors, output_tensors
from predictors.protocol import v1
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.casting import Array
from predictors.protocol.errors import (
    FeatureMissing,
    FeaturesUnavailable,
    InvalidInput,
    NotReady,
    RequestError,
)
from predictors.safety import checks
from predictors.settings.predictor import Settings
from predictors.signature.example import placeholder, read_example
from predictors.signature.matrix import compile_matrix
from predictors.signature.plan import SignaturePlan, compile_plan
from predictors.storage.retries import one_line
from predictors.storage.source import Source, resolve, served_version

log = logging.getLogger("predictors")


class MLflowModel(Model):  # type: ignore[misc]  # kserve ships no types
    """A `kserve.Model` that serves an MLflow model of one flavor.

    Subclasses say how a model of their flavor is loaded (`load_native`) and know nothing of HTTP.
    People may override `preprocess`, `postprocess` or `predict` as with any `kserve.Model`.
    """

    flavor: ClassVar[str] = "pyfunc"
    probes: ClassVar[bool] = True
    """Whether a model without an example is asked with a made-up row. Code of others might do more than predict."""

    def __init__(
        self,
        name: str,
        model: str | Source | None = None,
        *,
        settings: Settings | None = None,
        executor: Executor | None = None,
    ) -> None:
        """`model` is a model URI or an already resolved source; without it the settings say what to load."""
        super().__init__(name)
        settings = settings or Settings()
        self.source = model if isinstance(model, Source) else None
        self.settings = (
            replace(settings, model_uri=model, model_local_path=None) if isinstance(model, str) else settings
        )
        self.executor = executor
        self.status = LoadingStatus()
        self.loaded: Loaded | None = None
        self.features: Features | None = None
        """What looks features up for this model; in each process its own."""
        self.opened_for: Loaded | None = None
        self.opening = asyncio.Lock()
        self.answered: Callable[[Batch, Prediction], None] | None = None
        """Called with what came through KServe's own entry and what was answered."""

    # -- loading ------------------------------------------------------------------------------------------------

    def load_native(self, mlmodel: MLmodel) -> Native:
        """Loads the model that lies in `mlmodel.path`. For each flavor its own."""
        raise NotImplementedError

    def engines(self, native: Native) -> list[EngineCandidate]:
        """Faster ways to the predictions of this model, the most promising first. For each flavor its own."""
        return []

    def load(self) -> bool:
        """Downloads if need be, loads, warms up; afterwards the model is ready. Raises `LoadError`."""
        started = time.perf_counter()
        source = self.source or resolve(self.settings, self.status.note)
        loaded = self.build(source)
        if self.settings.warm_up:
            self.status.note("warming up")
            loaded = self.warmed(loaded)
        loaded = self.with_engine(loaded)
        self.loaded = replace(loaded, seconds=time.perf_counter() - started)
        self.ready = True
        self.status.note(
            f"serving {self.name} version {loaded.version} ({source.resolved_uri}) "
            f"with the {self.flavor} flavor after {self.loaded.seconds:.1f} s"
        )
        return True

    async def open_features(self) -> None:
        """Makes ready what looks up this model's features, if it has some; on the event loop that will ask for them."""
        async with self.opening:  # under KServe's own server the first requests come here all at once
            loaded, before = self.serving(), self.features
            if self.opened_for is loaded:
                return
            found = None
            if loaded.declaration is not None:
                self.status.note(f"looking for {loaded.declaration.source} in Feast")
                try:
                    found = await open_features(self.name, loaded.declaration, loaded.plan, self.settings)
                except FeastError as error:
                    raise LoadError(str(error)) from error
            self.features, self.opened_for = found, loaded
            if before is not None:
                await before.close()

    def start(self) -> None:
        """KServe's server calls this for every model, loaded or not."""
        if self.loaded is None:
            self.load()

    def build(self, source: Source) -> Loaded:
        """Loads a model beside whatever is served now."""
        mlmodel = read_mlmodel(source.path)
        require_modules(BY_NAME[self.flavor])
        differences = preflight(mlmodel, self.settings.dependencies)
        policy = checks.Policy(self.settings.allow_code_execution, self.settings.skops_trusted)
        self.status.note(f"loading {source.resolved_uri} with the {self.flavor} flavor")
        try:
            checks.check(mlmodel.path, mlmodel.content, self.flavor, policy)
            with checks.guarded_load(self.flavor, policy):
                native = self.load_native(mlmodel)
        except checks.UnsafeModel as error:
            raise LoadError(str(error)) from error
        except LoadError:
            raise
        except (Exception, SystemExit) as error:
            log.debug("loading failed", exc_info=True)
            raise LoadError(
                f"the {self.flavor} model in {source.resolved_uri} cannot be loaded: {one_line(error)}"
            ) from error
        plan = plan_of(mlmodel, native)
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
            differences=differences,
            outputs=tuple(
                {"name": one.name or "predictions", "datatype": one.datatype, "shape": list(one.shape)}
                for one in plan.outputs
            ),
        )

    def warmed(self, loaded: Loaded) -> Loaded:
        """Answers the model's own example once: the first caller does not pay for it, and it shows the outputs."""
        if loaded.example is None:
            return self.probed(replace(loaded, example=placeholder(loaded.plan)))
        try:
            return replace(loaded, outputs=output_tensors(self.answer(loaded, loaded.example)))
        except InvalidInput as error:
            log.warning("the model's own input example does not fit its signature: %s", error)
            return loaded
        except RequestError as error:
            cause = f": {one_line(error.__cause__)}" if error.__cause__ else ""
            reason = f"the model fails on its own input example{cause} (--warm-up=false serves it anyway)"
            raise LoadError(reason) from error

    def probed(self, loaded: Loaded) -> Loaded:
        """Tries the made-up row; a model that does not take it says nothing by that."""
        if loaded.example is None or not self.probes:
            return loaded
        try:
            return replace(loaded, outputs=output_tensors(self.answer(loaded, loaded.example)))
        except RequestError:
            log.debug("the model does not take a made-up row", exc_info=True)
            return replace(loaded, example=None)

    def with_engine(self, loaded: Loaded) -> Loaded:
        """The engine that serves, if one proves itself against the model."""
        mode, native, matrix = self.settings.engine, loaded.native, compile_matrix(loaded.plan)
        choice = Choice(reasons={"engine": "it takes one matrix of numbers and no parameters"})
        if loaded.mlmodel.pyfunc.get("predict_fn", "predict") != "predict":
            choice = Choice(reasons={"engine": "the model was saved with a predict function of its own"})
        elif matrix is not None and not loaded.plan.params and native.default == "predict":

            def itself(rows: Array, probabilities: bool) -> Answer:
                data, wanted = loaded.plan.conform_matrix(rows), native.probabilities if probabilities else None
                return native.methods["predict"](data, {}), wanted(data, {}) if wanted else None

            self.status.note("choosing an engine")
            rows = None if loaded.example is None else matrix.conform(loaded.example)
            probing = Probing(matrix.width, matrix.dtype, matrix.integers, matrix.columnwise, rows)
            choice = choose(self.engines(native), mode, probing, itself)
        log.info("engine: %s%s", choice.name, f" ({choice.reason})" if choice.reason else "")
        if mode == "compiled" and choice.proven is None:
            raise LoadError(f"--engine=compiled: no compiled engine can serve this model ({choice.reason})")
        return replace(loaded, matrix=matrix, choice=choice)

    # -- predicting ---------------------------------------------------------------------------------------------

    def serving(self) -> Loaded:
        if self.loaded is None:
            raise NotReady(f"model '{self.name}' is not ready: {self.status.text}")
        return self.loaded

    def answer(self, loaded: Loaded, batch: Batch) -> Prediction:
        """One batch through the plan and the model."""
        wanted = self.wants_probabilities(batch)
        rows = loaded.rows_of(batch)
        if rows is not None and loaded.choice.proven is not None:
            try:
                return self.prediction(loaded, loaded.choice.proven.engine.run(rows, wanted))
            except Exception:
                log.debug("the engine declines", exc_info=True)
        return self.answer_natively(loaded, batch, wanted)

    def wants_probabilities(self, batch: Batch) -> bool:
        return self.settings.probabilities if batch.probabilities is None else batch.probabilities

    def prediction(self, loaded: Loaded, answer: Answer) -> Prediction:
        """What an engine answered, as the model itself would have."""
        return Prediction(answer[0], "predict", self.name, loaded.version, loaded.output_names, answer[1])

    def answer_natively(self, loaded: Loaded, batch: Batch, wanted: bool) -> Prediction:
        name = batch.method or loaded.native.default
        method = loaded.native.methods.get(name)
        if method is None:
            raise InvalidInput(f"unknown method '{name}'; the model has {', '.join(loaded.methods)}")
        data = loaded.plan.conform(batch)
        params = loaded.plan.conform_params(batch.params)
        probabilities = None
        try:
            result = method(data, params)
            if wanted and name == "predict" and loaded.native.probabilities is not None:
                probabilities = loaded.native.probabilities(data, params)
        except RequestError:
            raise
        except (Exception, SystemExit) as error:  # the code of others must not end the server
            raise blamed(error, loaded, data) from error
        names = loaded.output_names if name == "predict" else ()
        return Prediction(result, name, self.name, loaded.version, names, probabilities)

    async def predict(
        self, payload: Any, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> Any:
        """KServe's own entry: a V1 dict or an `InferRequest` in, its counterpart out."""
        loop = asyncio.get_running_loop()

        def apart(work: Callable[[], Any]) -> Awaitable[Any]:
            return loop.run_in_executor(self.executor, work)

        try:
            loaded = self.serving()
            batch = await apart(lambda: payload_batch(payload))
            if self.opened_for is not loaded:  # it was loaded anew
                await self.open_features()
            if self.features is not None:
                batch = await self.features.join(batch, apart)
            return await apart(lambda: payload_reply(payload, self.noted(loaded, batch), batch))
        except InvalidInput as error:  # KServe's server answers its own errors with the right status
            raise kserve.errors.InvalidInput(str(error)) from error
        except NotReady as error:
            raise kserve.errors.ModelNotReady(self.name, self.status.text) from error
        except (FeatureMissing, FeaturesUnavailable) as error:  # of these KServe knows none
            from starlette.exceptions import HTTPException

            raise HTTPException(error.status, str(error), dict(error.headers)) from error

    def noted(self, loaded: Loaded, batch: Batch) -> Prediction:
        prediction = self.answer(loaded, batch)
        if self.answered is not None:
            self.answered(batch, prediction)
        return prediction

    @property
    def customized(self) -> bool:
        """Whether somebody's subclass changes the way of a request; then every request goes through KServe's."""
        hooks = ("__call__", "preprocess", "predict", "postprocess", "validate")
        return any(getattr(type(self), hook) is not getattr(MLflowModel, hook) for hook in hooks)

    # -- metadata -----------------------------------------------------------------------------------------------

    def get_input_types(self) -> list[Tensor]:
        return input_tensors(self.serving().plan)

    def get_output_types(self) -> list[Tensor]:
        return list(self.serving().outputs)


def payload_batch(payload: Any) -> Batch:
    if isinstance(payload, Mapping):
        return v1.decode_object(payload)
    if isinstance(payload, InferRequest):
        return batch_of(payload)
    raise InvalidInput(f"expected a V1 object or an InferRequest, got {type(payload).__name__}")


def payload_reply(payload: Any, prediction: Prediction, batch: Batch) -> dict[str, Any] | InferResponse:
    return v1.encode_object(prediction) if isinstance(payload, Mapping) else response_of(prediction, batch)


def signed_plan(mlmodel: MLmodel) -> SignaturePlan:
    """What the signature says; the model itself need not be loaded."""
    content = mlmodel.content
    return compile_plan(content.get("signature"), from_type_hints=bool(content.get("is_signature_from_type_hint")))


def plan_of(mlmodel: MLmodel, native: Native) -> SignaturePlan:
    plan = signed_plan(mlmodel)
    return plan if plan.has_signature else replace(plan, width=native.width, names=native.names)
