"""scikit-learn's tree ensembles in ONNX Runtime: its operator finds the leaves many times as fast as the trees do."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictors.engines.engine import Answer, Engine, Unsuited
from predictors.engines.forests import Ensemble, ensemble_of, run_trees
from predictors.protocol.casting import Array

CHUNK_ROWS = 512  # rows per call: the output has a number for each row and tree
MAX_OPERATOR_ROWS = 700  # for more rows, tree after tree is faster than row after row
NODE_FIELDS = ("featureids", "truenodeids", "falsenodeids", "trueleafs", "falseleafs", "missing_value_tracks_true")
LESS_OR_EQUAL = 0  # the first of the operator's node modes


def onnx_runtime_engine(model: Any) -> Engine:
    """Finds the leaves with ONNX Runtime in double precision, and adds up their values here."""
    ensemble = ensemble_of(model)
    session = tree_session(ensemble)
    values = np.concatenate([tree.values[tree.left < 0] for tree in ensemble.trees])
    outputs = values.shape[1]
    try:
        trees_run = run_trees(model)
    except Unsuited:
        trees_run = None
    if outputs == 1:  # numpy adds in another order along a contiguous axis: a second column prevents that
        values = np.concatenate((values, np.zeros_like(values)), axis=1)
    start = None if ensemble.start is None else np.resize(ensemble.start, values.shape[1])

    def sums(rows: Array) -> Array:
        leaves = session.run(None, {"rows": rows.astype(np.float64)})[0].astype(np.intp)
        summands = values.take(leaves.T, axis=0)  # a layer per tree
        if start is not None:
            summands = np.concatenate((np.broadcast_to(start, (1, *summands.shape[1:])), summands))
        total: Array = np.add.reduce(summands, axis=0)
        return total[:, :outputs]

    def run(rows: Array, probabilities: bool) -> Answer:
        if len(rows) > MAX_OPERATOR_ROWS and trees_run is not None:
            return trees_run(rows, probabilities)
        rows = ensemble.input(rows)
        parts = [sums(rows[at : at + CHUNK_ROWS]) for at in range(0, len(rows), CHUNK_ROWS)]
        return ensemble.finish(parts[0] if len(parts) == 1 else np.concatenate(parts), probabilities)

    return Engine("onnxruntime", run, ensemble.thresholds, compiled=True)


def tree_session(ensemble: Ensemble) -> Any:
    """A session with one operator, whose output is the number of the leaf in each tree."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread: the server runs requests concurrently, and a thread pool would not survive a fork.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        tree_graph(ensemble).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def tree_graph(ensemble: Ensemble) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    count = sum(max(int((tree.left >= 0).sum()), 1) for tree in ensemble.trees)
    ids = {name: np.zeros(count, dtype=np.int64) for name in NODE_FIELDS}
    splits = np.zeros(count)
    roots, targets, leaves, nodes = [], [], 0, 0
    for number, tree in enumerate(ensemble.trees):
        inner, leaf = np.flatnonzero(tree.left >= 0), np.flatnonzero(tree.left < 0)
        index = np.empty(len(tree.left), dtype=np.int64)
        index[inner] = nodes + np.arange(len(inner))
        index[leaf] = leaves + np.arange(len(leaf))
        roots.append(nodes)
        size = max(len(inner), 1)
        span = slice(nodes, nodes + size)
        if len(inner):
            left, right = tree.left[inner], tree.right[inner]
            ids["featureids"][span] = tree.feature[inner]
            splits[span] = tree.threshold[inner]
            ids["truenodeids"][span], ids["falsenodeids"][span] = index[left], index[right]
            ids["trueleafs"][span], ids["falseleafs"][span] = tree.left[left] < 0, tree.left[right] < 0
            ids["missing_value_tracks_true"][span] = tree.missing_left[inner]
        else:  # a tree that is one leaf: both branches lead to it
            ids["truenodeids"][span] = ids["falsenodeids"][span] = leaves
            ids["trueleafs"][span] = ids["falseleafs"][span] = 1
        targets += [number] * len(leaf)
        nodes, leaves = nodes + size, leaves + len(leaf)
    trees = len(ensemble.trees)
    node = helper.make_node(
        "TreeEnsemble", ["rows"], ["leaves"], domain="ai.onnx.ml",
        n_targets=trees, aggregate_function=1, post_transform=0, tree_roots=roots,
        nodes_splits=numpy_helper.from_array(splits),
        nodes_modes=numpy_helper.from_array(np.full(count, LESS_OR_EQUAL, dtype=np.uint8)),
        leaf_targetids=targets, leaf_weights=numpy_helper.from_array(np.arange(leaves, dtype=np.float64)),
        **{f"nodes_{name}": values.tolist() for name, values in ids.items()},
    )  # fmt: skip
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        [node], "trees",
        [helper.make_tensor_value_info("rows", double, [None, ensemble.width])],
        [helper.make_tensor_value_info("leaves", double, [None, trees])],
    )  # fmt: skip
    versions = [helper.make_opsetid("ai.onnx.ml", 5), helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=versions, ir_version=10)
