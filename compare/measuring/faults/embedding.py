"""Mistakes in Embedding, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "Embedding(5, 3), Flatten, Linear(15, 4); CrossEntropyLoss"
NO_REPEATS = "no difference where no class number repeats"

_forward = partial(Edit, "scratch.embedding", "Embedding.forward")
_backward = partial(Edit, "scratch.embedding", "Embedding.backward")
_fault = partial(Fault, family="embedding", network=NETWORK)
OUTPUT, GRAD_WEIGHT = map(at, ("0.output", "0.grad_weight"))
ADDED = 'np.add.at(self.grads["weight"], x, dy)'

FAULTS = (
    _fault(
        "embedding-row-before",
        "class numbers are taken to begin at 1",
        edits=(_forward("[x]", "[x - 1]"),),
        where=OUTPUT,
    ),
    _fault(
        "embedding-row-zero-for-padding",
        "class 0 gives zeros, though no padding was asked for",
        edits=(_forward("[x]", "[x] * (x > 0)[..., np.newaxis].astype(self.dtype)"),),
        where=OUTPUT,
    ),
    _fault(
        "embedding-scaled-by-root",
        "the rows are multiplied by the root of their length",
        edits=(_forward("[x]", "[x] * self.dtype.type(self.embedding_dim**0.5)"),),
        where=OUTPUT,
    ),
    _fault(
        "embedding-repeats-overwritten",
        "+= on an index: NumPy adds each row once only, where a class number repeats",
        edits=(_backward(ADDED, 'self.grads["weight"][x] += dy'),),
        where=GRAD_WEIGHT,
        hidden=NO_REPEATS,
    ),
    _fault(
        "embedding-first-of-repeats",
        "a class that was seen before is passed over",
        edits=(
            _backward(
                ADDED,
                "at = np.unique(x, return_index=True); "
                'self.grads["weight"][at[0]] = dy.reshape(-1, self.embedding_dim)[at[1]]',
            ),
        ),
        where=GRAD_WEIGHT,
        hidden=NO_REPEATS,
    ),
    _fault(
        "embedding-averaged-over-repeats",
        "the rows of a class are averaged, not added up",
        edits=(
            _backward(
                ADDED,
                f"{ADDED}; counts = np.bincount(x.ravel(), minlength=self.num_embeddings); "
                'self.grads["weight"] /= np.maximum(counts, 1)[:, np.newaxis].astype(self.dtype)',
            ),
        ),
        where=GRAD_WEIGHT,
        hidden=NO_REPEATS,
    ),
    _fault(
        "embedding-gradient-to-row-before",
        "the gradient goes to another row than the output came from",
        edits=(_backward(ADDED, 'np.add.at(self.grads["weight"], x - 1, dy)'),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "embedding-gradient-averaged",
        "dW is divided by the number of samples once more",
        edits=(_backward(ADDED, 'np.add.at(self.grads["weight"], x, dy / len(x))'),),
        where=GRAD_WEIGHT,
        hidden="no difference with one row",
    ),
)
CAUSES = {
    "embedding-row-before": "row-beside",
    "embedding-row-zero-for-padding": "padding-not-asked-for",
    "embedding-scaled-by-root": "scaled-by-root",
    "embedding-repeats-overwritten": "repeats-not-added-up",
    "embedding-first-of-repeats": "repeats-not-added-up",
    "embedding-averaged-over-repeats": "averaged-over-repeats",
    "embedding-gradient-to-row-before": "row-beside",
    "embedding-gradient-averaged": "mean-doubled",
}
