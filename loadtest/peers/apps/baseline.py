"""The bare work of one large V2 request, without a server: parse, predict, dump. Prints the median time."""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import orjson

parser = argparse.ArgumentParser()
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--body", type=Path, required=True)
parser.add_argument("--seconds", type=float, required=True)
options = parser.parse_args()
with options.model.open("rb") as file:
    model = pickle.load(file)  # noqa: S301
body = options.body.read_bytes()
weights, bias, classes = model.coef_[0], model.intercept_[0], model.classes_
times = []
end = time.perf_counter() + options.seconds
while True:
    began = time.perf_counter()
    tensor = orjson.loads(body)["inputs"][0]
    rows = np.array(tensor["data"], dtype=np.float64).reshape(tensor["shape"])
    # The arithmetic of the model alone: scikit-learn's checks of its input are left out.
    labels = classes[(rows @ weights + bias > 0).astype(np.intp)]
    output = {"name": "predictions", "shape": [len(rows)], "datatype": "INT64", "data": labels.tolist()}
    reply = orjson.dumps({"model_name": "m", "outputs": [output]})
    ended = time.perf_counter()
    times.append(ended - began)
    if ended > end:
        break
sys.stdout.write("@" + json.dumps({"median_ms": statistics.median(times) * 1e3, "labels": labels.tolist()}) + "\n")
