"""Trees, forests and gradient boosting of scikit-learn, tree by tree in its own order, so that no bit differs.

A tree only says which leaf a row falls into; the values of the leaves are added up as scikit-learn does it. The leaves
are found by scikit-learn's trees themselves, or, much faster, by ONNX Runtime's operator for tree ensembles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from predictors.engines.engine import Answer, Declined, Engine, Run, Unsuited
from predictors.protocol.casting import Array

Finish: TypeAlias = Callable[[Array, bool], Answer]
CHUNK = 512  # rows at a time: there is a number for each of them and each tree
MANY = 700  # rows from which one tree after the other is faster than one row after the other
NODE_FIELDS = ("featureids", "truenodeids", "falsenodeids", "trueleafs", "falseleafs", "missing_value_tracks_true")
SORTED = 200  # rows from which it pays to sort them
LESS_OR_EQUAL = 0  # the first of the operator's node modes


@dataclass(frozen=True)
class Tree:
    """One tree as arrays over its nodes; `left` is negative at leaves."""

    left: Array
    right: Array
    feature: Array
    threshold: Array
    missing_left: Array
    values: Array
    """What each node adds, a column per output."""


@dataclass(frozen=True)
class Ensemble:
    """Trees whose leaves add up, and what is made of the sum."""

    trees: list[Tree]
    width: int
    finish: Finish
    single: bool = True
    """Whether the rows are compared in single precision."""
    missing: bool = False
    """Whether NaN has a way through the trees."""
    start: Array | None = None
    """What the sum starts with, a column per output."""

    def input(self, rows: Array) -> Array:
        """The rows as the trees compare them; those that scikit-learn may refuse are declined."""
        if self.single:
            with np.errstate(over="ignore"):
                rows = rows.astype(np.float32)
        finite = ~np.isinf(rows) if self.missing else np.isfinite(rows)
        if not finite.all():
            raise Declined
        return rows

    @property
    def thresholds(self) -> list[Array]:
        features = np.concatenate([tree.feature[tree.left >= 0] for tree in self.trees])
        limits = np.concatenate([tree.threshold[tree.left >= 0] for tree in self.trees])
        return [np.unique(limits[features == column]).astype(np.float64) for column in range(self.width)]


def ensemble_of(model: Any) -> Ensemble:
    kind = type(model)
    if not kind.__module__.startswith(("sklearn.ensemble.", "sklearn.tree.")):  # not imported for nothing
        raise Unsuited(f"{kind.__name__} is not one of scikit-learn's tree models")
    from sklearn import ensemble, tree

    if kind in (tree.DecisionTreeClassifier, tree.ExtraTreeClassifier):
        return classifier(model, [model])
    if kind in (tree.DecisionTreeRegressor, tree.ExtraTreeRegressor):
        return regressor(model, [model])
    if kind in (ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier):
        return classifier(model, model.estimators_)
    if kind in (ensemble.RandomForestRegressor, ensemble.ExtraTreesRegressor):
        return regressor(model, model.estimators_)
    if kind in (ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor):
        return boosting(model)
    if kind in (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor):
        return histogram_boosting(model)
    raise Unsuited(f"{kind.__name__} is not one of scikit-learn's tree models")


def tree_of(estimator: Any, scale: float = 1.0) -> Tree:
    tree = estimator.tree_
    if tree.n_outputs != 1:
        raise Unsuited("it has several outputs")
    return Tree(
        tree.children_left, tree.children_right, tree.feature, tree.threshold,
        getattr(tree, "missing_go_to_left", np.zeros(tree.node_count)), scale * tree.value[:, 0, :],
    )  # fmt: skip


def classifier(model: Any, estimators: list[Any]) -> Ensemble:
    classes, count = model.classes_, len(estimators)

    def finish(sums: Array, probabilities: bool) -> Answer:
        shares = sums / count if count > 1 else sums
        return classes.take(shares.argmax(axis=1), axis=0), shares if probabilities else None

    return Ensemble([tree_of(one) for one in estimators], model.n_features_in_, finish)


def regressor(model: Any, estimators: list[Any]) -> Ensemble:
    count = len(estimators)
    return Ensemble(
        [tree_of(one) for one in estimators],
        model.n_features_in_,
        lambda sums, probabilities: (sums[:, 0] / count if count > 1 else sums[:, 0], None),
    )


def boosting(model: Any) -> Ensemble:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if model.init_ != "zero" and not isinstance(model.init_, (DummyClassifier, DummyRegressor)):
        raise Unsuited("it starts from a model of its own")
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))
    stages, outputs = model.estimators_.shape
    trees = []
    for stage in range(stages):
        for output in range(outputs):
            tree = tree_of(model.estimators_[stage, output], model.learning_rate)
            trees.append(placed(tree, output, outputs))
    return Ensemble(trees, model.n_features_in_, losses(model), start=start[0])


def histogram_boosting(model: Any) -> Ensemble:
    outputs = model.n_trees_per_iteration_
    trees = []
    for iteration in model._predictors:
        for output, predictor in enumerate(iteration):
            nodes = predictor.nodes
            if nodes["is_categorical"].any():
                raise Unsuited("it has categorical features")
            leaf = nodes["is_leaf"].astype(bool)
            left = np.where(leaf, -1, nodes["left"].astype(np.int64))
            tree = Tree(
                left, nodes["right"].astype(np.int64), nodes["feature_idx"], nodes["num_threshold"],
                nodes["missing_go_to_left"], nodes["value"].reshape(-1, 1),
            )  # fmt: skip
            trees.append(placed(tree, output, outputs))
    start = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)
    return Ensemble(trees, model.n_features_in_, losses(model), single=False, missing=True, start=start)


def placed(tree: Tree, output: int, outputs: int) -> Tree:
    """A tree with one value that adds to one of several outputs."""
    if outputs == 1:
        return tree
    values = np.zeros((len(tree.values), outputs))
    values[:, output] = tree.values[:, 0]
    return Tree(tree.left, tree.right, tree.feature, tree.threshold, tree.missing_left, values)


def losses(model: Any) -> Finish:
    """From raw sums to predictions by scikit-learn's own loss functions."""
    loss, classes = model._loss, getattr(model, "classes_", None)

    def finish(sums: Array, probabilities: bool) -> Answer:
        raw = sums[:, 0] if sums.shape[1] == 1 else sums
        if classes is None:
            return loss.link.inverse(raw) if hasattr(loss, "link") else raw, None
        found = (raw >= 0).astype(int) if raw.ndim == 1 else raw.argmax(axis=1)
        return classes.take(found, axis=0), loss.predict_proba(sums) if probabilities else None

    return finish


# -- ways to the leaves -----------------------------------------------------------------------------------------


def by_trees(model: Any) -> Run:
    """Each of scikit-learn's trees asked by itself, without what its forest does around that."""
    from sklearn import ensemble, tree

    made = ensemble_of(model)
    if isinstance(model, (tree.BaseDecisionTree, ensemble.BaseEnsemble)) and made.start is None:
        estimators = [one.tree_ for one in getattr(model, "estimators_", [model])]
    else:
        raise Unsuited("its trees cannot be asked one by one")

    neighbours = likeness(estimators, made.width)

    def sums(rows: Array) -> Array:
        total = np.zeros((len(rows), made.trees[0].values.shape[1]))
        for one in estimators:
            total += one.predict(rows).reshape(total.shape)
        return total

    def run(rows: Array, probabilities: bool) -> Answer:
        rows = np.ascontiguousarray(made.input(rows))
        if len(rows) < SORTED:
            return made.finish(sums(rows), probabilities)
        order = neighbours(rows)
        total = np.empty((len(rows), made.trees[0].values.shape[1]))
        total[order] = sums(rows[order])
        return made.finish(total, probabilities)

    return run


def likeness(estimators: list[Any], width: int) -> Callable[[Array], Array]:
    """An order in which rows that take similar ways come after each other.

    A processor that guesses the way right saves a fifth of the time. The two features that decide over most of the
    training rows say which ways are similar.
    """
    decided = np.zeros(width)
    for tree in estimators:
        inner = tree.children_left >= 0
        np.add.at(decided, tree.feature[inner], tree.n_node_samples[inner])
    features = np.argsort(-decided)[:2]
    limits = []
    for feature in features:
        splits = [tree.threshold[(tree.children_left >= 0) & (tree.feature == feature)] for tree in estimators]
        limits.append(np.quantile(np.concatenate([*splits, [0.0]]), np.linspace(0, 1, 9)[1:-1]))

    def order(rows: Array) -> Array:
        key = np.zeros(len(rows), dtype=np.int16)
        for feature, limit in zip(features, limits, strict=True):
            key = key * 8 + limit.searchsorted(rows[:, feature]).astype(np.int16)
        return key.argsort(kind="stable")

    return order


def by_onnx_runtime(model: Any) -> Engine:
    """The leaves found by ONNX Runtime in double precision, the values added up here."""
    made = ensemble_of(model)
    session = tree_session(made)
    values = np.concatenate([tree.values[tree.left < 0] for tree in made.trees])
    outputs = values.shape[1]
    try:
        itself = by_trees(model)
    except Unsuited:
        itself = None
    if outputs == 1:  # numpy adds in another order along an axis that lies in one piece: a second column prevents it
        values = np.concatenate((values, np.zeros_like(values)), axis=1)
    start = None if made.start is None else np.resize(made.start, values.shape[1])

    def sums(rows: Array) -> Array:
        leaves = session.run(None, {"rows": rows.astype(np.float64)})[0].astype(np.intp)
        added = values.take(leaves.T, axis=0)  # a layer per tree
        if start is not None:
            added = np.concatenate((np.broadcast_to(start, (1, *added.shape[1:])), added))
        total: Array = np.add.reduce(added, axis=0)
        return total[:, :outputs]

    def run(rows: Array, probabilities: bool) -> Answer:
        if len(rows) > MANY and itself is not None:
            return itself(rows, probabilities)
        rows = made.input(rows)
        parts = [sums(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
        return made.finish(parts[0] if len(parts) == 1 else np.concatenate(parts), probabilities)

    return Engine("onnxruntime", run, made.thresholds, compiled=True)


def tree_session(made: Ensemble) -> Any:
    """A session with one operator whose output is, for each tree, the number of the leaf."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread: the server itself answers requests side by side, and a pool of threads would not survive a fork.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        tree_graph(made).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def tree_graph(made: Ensemble) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    count = sum(max(int((tree.left >= 0).sum()), 1) for tree in made.trees)
    ids = {name: np.zeros(count, dtype=np.int64) for name in NODE_FIELDS}
    splits = np.zeros(count)
    roots, targets, leaves, nodes = [], [], 0, 0
    for number, tree in enumerate(made.trees):
        inner, leaf = np.flatnonzero(tree.left >= 0), np.flatnonzero(tree.left < 0)
        index = np.empty(len(tree.left), dtype=np.int64)
        index[inner] = nodes + np.arange(len(inner))
        index[leaf] = leaves + np.arange(len(leaf))
        roots.append(nodes)
        size = max(len(inner), 1)
        place = slice(nodes, nodes + size)
        if len(inner):
            left, right = tree.left[inner], tree.right[inner]
            ids["featureids"][place] = tree.feature[inner]
            splits[place] = tree.threshold[inner]
            ids["truenodeids"][place], ids["falsenodeids"][place] = index[left], index[right]
            ids["trueleafs"][place], ids["falseleafs"][place] = tree.left[left] < 0, tree.left[right] < 0
            ids["missing_value_tracks_true"][place] = tree.missing_left[inner]
        else:  # a tree that is one leaf: both ways lead to it
            ids["truenodeids"][place] = ids["falsenodeids"][place] = leaves
            ids["trueleafs"][place] = ids["falseleafs"][place] = 1
        targets += [number] * len(leaf)
        nodes, leaves = nodes + size, leaves + len(leaf)
    trees = len(made.trees)
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
        [helper.make_tensor_value_info("rows", double, [None, made.width])],
        [helper.make_tensor_value_info("leaves", double, [None, trees])],
    )  # fmt: skip
    versions = [helper.make_opsetid("ai.onnx.ml", 5), helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=versions, ir_version=10)
