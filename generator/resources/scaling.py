"""How the number of pods follows the load: fields and annotations of the InferenceService, and KEDA's object."""

from __future__ import annotations

from typing import Any

from generator.plan import Plan

CLASS = "serving.kserve.io/autoscalerClass"


def annotations_of(plan: Plan) -> dict[str, str]:
    if plan.knative:
        return {}
    return {CLASS: plan.scaler}


def fields_of(plan: Plan) -> dict[str, Any]:
    scaling = plan.spec.scaling
    if plan.scaler == "hpa":
        return {"scaleMetric": "cpu", "scaleTarget": scaling.cpu or 70}
    return {}
