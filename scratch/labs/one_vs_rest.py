"""Lab 1, `one_vs_rest`: is this image of MNIST the target digit (4, unless another is chosen)?

Logistic regression: p = sigmoid(X w + b), binary cross-entropy, its mean over a batch; X (n, 784) are the pixels / 255,
y = 1 for the target. In the lab's notation b is w_0, the weight of a column of ones. Gradients come from a reverse
sweep through the graph of the loss (scratch/autodiff.py); the closed form X^T (p - y) / m is their check, not their
source. The samples come in index order, an image is called the target where p > 0.5, and the misclassified share of
all training images is printed every 10 iterations, after the update.

The default settings: w = 0.01 randn, batches of 256, rate 0.5, 20 epochs (4,700 iterations): test accuracy 0.983.
`algorithm_7_1`: w = 0, one sample a step, rate 0.01, one pass (Bishop & Bishop 2024, Algorithm 7.1): 0.980; its error
is printed every 1,000 steps, since every 10 would be 6,000 passes over all images.
`published`: w = 0.01 randn, batches of 256, rate 0.01, 100 iterations: error 0.0974, test accuracy 0.9018, which is
what "never the target" scores (1 - 5842/60000, 1 - 982/10000). Nothing is learned yet: the same network with a larger
rate and more steps reaches 0.983, and a convex loss has no local optimum to be caught in.

The network is one linear layer and its loss takes the logit z, not p: in float32 p = sigmoid(z) is 1 from z = 17 on,
log(1 - p) then -inf, and torch's BCELoss would clamp it. p > 0.5 is z > 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratch import datasets, plots
from scratch.autodiff import Node, gradients, log, sigmoid
from scratch.datasets import Dataset, DatasetMissing
from scratch.initializers import Initializer, RandomSource, normal, zeros
from scratch.labs import autodiff_trace
from scratch.labs.autodiff_trace import Trace, trace_of_image
from scratch.labs.lab import Folder, Lab, LabSetup, Outcome
from scratch.layers import Array, Linear
from scratch.learner import Rows, ScratchLearner
from scratch.losses import BCEWithLogitsLoss
from scratch.network import Sequential
from scratch.optim import SGD
from scratch.training import BatchProgress, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Say = Callable[[str], None]

# --- data -------------------------------------------------------------------------------------------------------------


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The files in data_dir, all ten digits. DatasetMissing if none is there, DatasetError if they are damaged."""
    if data_dir is None:
        raise DatasetMissing("MNIST: no data folder was named")
    return datasets.mnist(data_dir, dtype)


def against_the_rest(digit: int, data: Dataset) -> Dataset:
    """The same images, labelled 1 for the digit and 0 for the other nine."""
    t_train, t_val = ((t == digit).astype(np.int64) for t in (data.t_train, data.t_val))
    source = f"{data.source}, is it a {digit}?"
    return replace(data, t_train=t_train, t_val=t_val, class_names=(f"not {digit}", str(digit)), source=source)


# --- network and gradients --------------------------------------------------------------------------------------------


def network(sizes: tuple[int, ...], rng: RandomSource, dtype: str, *, init: Initializer) -> Sequential:
    """z = X w + b: one linear layer. ValueError where hidden layers are asked for."""
    if len(sizes) != 2:
        raise ValueError(f"one_vs_rest: got hidden layers {sizes[1:-1]}, expected none in a logistic regression")
    return Sequential(Linear(*sizes, rng=rng, weight_init=init, bias_init=init, dtype=dtype))


def graph(w: Node, b: Node, x: Array, y: Array) -> tuple[Node, Node]:
    """(z, L): z = x w^T + b, and L = -(1/m) sum log q, where q = sigmoid((2y - 1) z) is the chance of the truth.

    q is p for y = 1 and 1 - p for y = 0, so that L is the binary cross-entropy; no 1 - p is ever rounded to 0.
    """
    z = (x @ w.T + b).named("z")
    q = sigmoid((2 * y - 1) * z).named("q")
    return z, (-log(q).sum() / len(x)).named("L")


class AutodiffLearner(ScratchLearner):
    """A ScratchLearner whose gradients are adjoints. `trace`: that of its first step, None before it.

    The trace is of the first sample of the first batch, at two lit pixels of it.
    """

    trace: Trace | None = None

    def train_step(self, data: tuple[Array, NDArray[Any]], rows: Rows) -> tuple[float, int]:
        x, y = data[0][rows], data[1][rows]
        (linear,) = self.network
        w, b = Node(linear.params["weight"], "w"), Node(linear.params["bias"], "b")
        z, loss = graph(w, b, x, y)
        linear.grads["weight"], linear.grads["bias"] = gradients(loss, [w, b])
        if self.optimizer.steps == 0:
            self.trace = trace_of_image(w.value[0], b.value[0], x[0], f"the first step, training image {rows[0]}")
        correct = self._correct(z.value, y)
        self.optimizer.step()
        return float(loss.value), correct


def learner(setup: LabSetup) -> AutodiffLearner:
    return AutodiffLearner(setup.network, setup.loss, setup.optimizer, threshold=setup.lab.threshold)


class ErrorEvery:
    """Called after every update; notes and says the misclassified share of all training images at every n-th."""

    def __init__(self, n: int, setup: LabSetup, say: Say) -> None:
        self.n, self.samples, self.say = n, setup.samples, say
        self.errors: dict[int, float] = {}
        self.backend: str | None = None  # the first that trains; of two, the other one's weights are the same

    def __call__(self, backend: str, weights: Mapping[str, NDArray[Any]], batch: BatchProgress) -> None:
        self.backend = self.backend or backend
        iteration = (batch.epoch - 1) * batch.batches + batch.batch - 1
        if backend == self.backend and iteration % self.n == 0:
            z = self.samples.x_train @ weights["0.weight"].T + weights["0.bias"]
            self.errors[iteration] = float(((z > 0) != (self.samples.t_train > 0.5)).mean())
            self.say(f"Iteration {iteration}, Training Error: {self.errors[iteration]:.4f}")


class Trained(NamedTuple):
    """What training returns: w (1, 784) and b (1,) by name, the trace of its first step, the error by iteration."""

    weights: dict[str, NDArray[Any]]
    trace: Trace
    errors: dict[int, float]


def train_logistic_regression(setup: LabSetup, say: Say = print) -> Trained:
    """The lab's training: `train` with gradients from the graph. Errors as `train` raises them."""
    ours, follow = learner(setup), ErrorEvery(_every(setup), setup, say)
    train(
        ours,
        setup.samples,
        epochs=setup.epochs,
        rng=setup.rng,
        batch_size=setup.batch_size,
        shuffle=False,
        max_batches=setup.lab.max_batches,
        on_batch=lambda batch: follow("scratch", setup.network.params, batch),
    )
    assert ours.trace is not None
    return Trained(ours.weights(), ours.trace, follow.errors)


def _every(setup: LabSetup) -> int:
    return 1000 if setup.batch_size == 1 else 10


# --- what it is worth -------------------------------------------------------------------------------------------------


class Assessment(NamedTuple):
    """A classifier on test images. confusion: a row a truth, a column a prediction, the rest before the target."""

    digit: int
    accuracy: float
    precision: float
    recall: float
    confusion: list[list[int]]

    @property
    def warning(self) -> str | None:
        """What is to be said where only one class is ever predicted."""
        (rest, false_yes), (false_no, hits) = self.confusion
        n = rest + false_yes + false_no + hits
        if false_yes + hits == 0:
            called, of_it = f"not {self.digit}", rest
        elif rest + false_no == 0:
            called, of_it = f"{self.digit}", hits
        else:
            return None
        share = f"the share of such images, {of_it:,} of {n:,}"
        return f'every image is called "{called}": accuracy {self.accuracy:.4f} is {share}, and nothing is recognised'

    def lines(self) -> list[str]:
        """As they are printed."""
        (rest, false_yes), (false_no, hits) = self.confusion
        names = (f"not {self.digit}", str(self.digit))
        return [
            f"test accuracy {self.accuracy:.4f}, precision {self.precision:.4f}, recall {self.recall:.4f}",
            f"{'confusion matrix':>16}  called {names[0]}  called {names[1]}",
            f"{f'is {names[0]}':>16}  {rest:12,}  {false_yes:8,}",
            f"{f'is {names[1]}':>16}  {false_no:12,}  {hits:8,}",
        ]


def assess(weights: Mapping[str, NDArray[Any]], x: Array, t: NDArray[Any], digit: int) -> Assessment:
    """Accuracy, precision, recall (0 where nothing is called the target) and confusion matrix on x (n, 784), t (n,)."""
    from sklearn import metrics

    called = predict(weights, x)
    return Assessment(
        digit,
        accuracy=float(metrics.accuracy_score(t, called)),
        precision=float(metrics.precision_score(t, called, zero_division=0.0)),
        recall=float(metrics.recall_score(t, called, zero_division=0.0)),
        confusion=metrics.confusion_matrix(t, called, labels=[0, 1]).tolist(),
    )


def predict(weights: Mapping[str, NDArray[Any]], x: Array) -> NDArray[np.int64]:
    """1 where p > 0.5, which is z > 0, for each row of x."""
    return (x @ weights["0.weight"][0] + weights["0.bias"] > 0).astype(np.int64)


# --- figures ----------------------------------------------------------------------------------------------------------


def misclassified(weights: Mapping[str, NDArray[Any]], data: Dataset, title: str) -> Figure:
    """Up to ten of the test images that are misclassified, the first ones, with truth and prediction."""
    from matplotlib.figure import Figure

    called = predict(weights, data.x_val)
    wrong = np.flatnonzero(called != data.t_val)
    figure = Figure(figsize=(14, 7.8), layout="constrained")
    figure.suptitle(f"{title}\n{len(wrong):,} of {len(called):,} test images are misclassified", fontsize=plots.TITLE)
    for axes, k in zip(figure.subplots(2, 5).flat, range(10), strict=True):
        axes.set_axis_off()
        if k < len(wrong):
            i = wrong[k]
            truth, prediction = data.class_names[data.t_val[i]], data.class_names[called[i]]
            axes.imshow(data.x_val[i].reshape(28, 28), cmap="gray", vmin=0, vmax=1)
            axes.set_title(f"is {truth},\ncalled {prediction}", fontsize=plots.TEXT)
    return figure


def weight_image(weights: Mapping[str, NDArray[Any]], title: str) -> Figure:
    """The 784 weights where their pixels are: ink on an orange pixel speaks for the target, on a purple one against."""
    from matplotlib.figure import Figure

    w = weights["0.weight"].reshape(28, 28)
    figure = Figure(figsize=(10, 9), layout="constrained")
    figure.suptitle(f"{title}\nthe weights, bias {weights['0.bias'][0]:.2f}", fontsize=plots.TITLE)
    axes, limit = figure.subplots(), float(np.abs(w).max())
    drawn = axes.imshow(w, cmap="PuOr_r", vmin=-limit, vmax=limit)
    axes.set_axis_off()
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
    bar.ax.tick_params(labelsize=plots.TICKS)
    bar.set_label("weight of the pixel: orange for, purple against", fontsize=plots.TEXT)
    return figure


def epilogue(outcome: Outcome) -> None:
    """Metrics of every backend, with a warning where one class only is predicted; the lab's figures."""
    data, found = outcome.setup.data, {}
    digit = int(data.class_names[1])
    for backend, each in outcome.learners.items():
        assessment = assess(each.weights(), data.x_val, data.t_val, digit)
        found[backend] = assessment._asdict()
        outcome.say("\n".join([f"{backend}: {assessment.lines()[0]}", *assessment.lines()[1:]]))
        if assessment.warning:
            outcome.say(f"WARNING: {assessment.warning}")
    (outcome.folder / "assessment.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    first = next(iter(outcome.learners.values()))
    title = outcome.setup.title.splitlines()[0]
    plots.save(misclassified(first.weights(), data, title), outcome.folder / "misclassified.png")
    plots.save(weight_image(first.weights(), title), outcome.folder / "weights.png")
    if isinstance(first, AutodiffLearner) and first.trace:  # a resumed run has no first step
        plots.save(autodiff_trace.bars(first.trace), outcome.folder / "trace.png")


# --- settings ---------------------------------------------------------------------------------------------------------


def against(digit: int) -> Lab:
    """The lab with this target digit, and its variants. ValueError unless it is 0 to 9."""
    if digit not in range(10):
        raise ValueError(f"got digit {digit}, expected 0 to 9")
    lab = Lab(
        name="one_vs_rest",
        load=load,
        prepare=partial(against_the_rest, digit),
        network=partial(network, init=normal(0.01)),
        loss=BCEWithLogitsLoss,
        optimizer=lambda network, lr: SGD(network, lr),
        lr=0.5,
        hidden=(),
        batch_size=256,
        epochs=20,
        targets="column",
        shuffle=False,
        rng=np.random.RandomState,
        downloads="mnist",
        threshold=0.0,
        learner=learner,
        follow=_follow,
        epilogue=epilogue,
        options={"digit": _by_text},
    )
    one_by_one = {"network": partial(network, init=zeros), "batch_size": 1, "lr": 0.01, "epochs": 1}
    published = {"lr": 0.01, "max_batches": 100, "epochs": 1}
    variants = {
        name: replace(lab, variant=name, **changes)  # type: ignore[arg-type]
        for name, changes in {"algorithm_7_1": one_by_one, "published": published}.items()
    }
    return replace(lab, variants=variants)


def _by_text(text: str) -> Lab:
    if text not in tuple("0123456789"):
        raise ValueError(f"got digit {text!r}, expected 0 to 9")
    return against(int(text))


def _follow(setup: LabSetup, folder: Path) -> ErrorEvery:
    return ErrorEvery(_every(setup), setup, print)


LAB = against(4)
