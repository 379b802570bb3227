"""Mistakes in the losses and their gradients: factors, signs, logarithms, targets."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ONE_ROW, Edit, Fault, at, shown

PROBABILITIES = "5-7-4 relu, softmax output, cross-entropy on probabilities"
SQUARES = "5-7-4 tanh, mse"
HALF_SQUARES = "5-7-4 tanh, half squared error"
BITS = "5-7-3 tanh, sigmoid output, binary cross-entropy"
LOGIT_BITS = "5-7-3 tanh, binary cross-entropy on logits"

VALUE = at("loss")
GRADIENT = at("2.grad_output", "loss")  # of a network whose last layer is layer 2
GRADIENT_OF_3 = at("3.grad_output", "loss")  # of one with an output activation

_edit = partial(Edit, "scratch.losses")
_cross_entropy = partial(_edit, "CrossEntropyLoss.forward")
_cross_entropy_back = partial(_edit, "CrossEntropyLoss.backward")
_probabilities = partial(_edit, "ProbabilityCrossEntropyLoss.forward")
_probabilities_back = partial(_edit, "ProbabilityCrossEntropyLoss.backward")
_mse = partial(_edit, "MSELoss.forward")
_mse_back = partial(_edit, "MSELoss.backward")
_half_back = partial(_edit, "HalfSquaredErrorLoss.backward")
_bce = partial(_edit, "BCELoss.forward")
_bce_back = partial(_edit, "BCELoss.backward")
_bits_back = partial(_edit, "BCEWithLogitsLoss.backward")

MEANS = (
    Fault(
        "cross-entropy-gradient-summed",
        "the gradient of the cross-entropy is not divided by the batch size, the loss is",
        "mean",
        (_cross_entropy_back(" / self._per(len(t))", ""),),
        GRADIENT,
        hidden=ONE_ROW,
    ),
    Fault(
        "cross-entropy-gradient-averaged-twice",
        "the gradient of the cross-entropy is divided by the batch size twice",
        "mean",
        (_cross_entropy_back(" / self._per(len(t))", " / len(t) / self._per(len(t))"),),
        GRADIENT,
        hidden=ONE_ROW,
    ),
    Fault(
        "cross-entropy-gradient-averaged-over-classes",
        "the gradient of the cross-entropy is divided by the number of classes instead of samples",
        "mean",
        (_cross_entropy_back("self._per(len(t))", "self._per(t.shape[1])"),),
        GRADIENT,
        hidden="with as many rows as classes the two means are the same",
    ),
    Fault(
        "cross-entropy-gradient-averaged-over-elements",
        "the gradient of the cross-entropy is divided by the number of elements",
        "mean",
        (_cross_entropy_back("self._per(len(t))", "self._per(t.size)"),),
        GRADIENT,
    ),
    Fault(
        "cross-entropy-loss-summed",
        "the cross-entropy is reported as a sum, its gradient is that of the mean",
        "mean",
        (_cross_entropy(" / self._per(len(s))", ""),),
        VALUE,
        hidden=ONE_ROW,
    ),
    Fault(
        "cross-entropy-averaged-over-elements",
        "the cross-entropy and its gradient are divided by samples x classes",
        "mean",
        (_cross_entropy("self._per(len(s))", "self._per(s.size)"), _cross_entropy_back("len(t)", "t.size")),
        VALUE,
    ),
    Fault(
        "mse-averaged-over-samples",
        "the squared error and its gradient are divided by the number of samples instead of elements",
        "mean",
        (_mse("y.size", "len(y)"), _mse_back("y.size", "len(y)")),
        VALUE,
        network=SQUARES,
        hidden="with one output column there are as many elements as samples",
    ),
    Fault(
        "mse-gradient-averaged-over-samples",
        "the gradient of the squared error is divided by the number of samples, the loss by that of elements",
        "mean",
        (_mse_back("y.size", "len(y)"),),
        GRADIENT,
        network=SQUARES,
        hidden="with one output column there are as many elements as samples",
    ),
    Fault(
        "mse-gradient-averaged-over-features",
        "the gradient of the squared error is divided by the number of outputs, not by that of elements",
        "mean",
        (_mse_back("y.size", "y.shape[1]"),),
        GRADIENT,
        network=SQUARES,
        hidden=ONE_ROW,
    ),
    Fault(
        "bce-gradient-summed",
        "the gradient of the binary cross-entropy is not divided by the number of elements",
        "mean",
        (_bce_back(" / self._per(p.size)", ""),),
        GRADIENT_OF_3,
        network=BITS,
        hidden="with one row of one column the mean is the sum",
    ),
    Fault(
        "mean-over-the-nominal-batch-size",
        "sums are divided by the size of the first batch, although a later one is smaller",
        "mean",
        (_edit("Loss._per", "count if", 'self.__dict__.setdefault("batch_size", count) if'),),
        VALUE,
        step=2,
        hidden="no difference while all batches have the same size",
    ),
)

FACTORS = (
    Fault(
        "mse-gradient-without-its-2",
        "the gradient of the squared error lacks its factor 2: it is that of half the loss",
        "factor",
        (_mse_back("2 * (y - t) / self", "(y - t) / self"),),
        GRADIENT,
        network=SQUARES,
    ),
    Fault(
        "mse-loss-halved",
        "the squared error is reported with a factor 1/2, its gradient has the 2",
        "factor",
        (_mse("(d * d).sum()", "0.5 * (d * d).sum()"),),
        VALUE,
        network=SQUARES,
    ),
    Fault(
        "half-squared-error-gradient-doubled",
        "the gradient of half the squared error has a factor 2",
        "factor",
        (_half_back("return (y - t)", "return 2 * (y - t)"),),
        GRADIENT,
        network=HALF_SQUARES,
    ),
    Fault(
        "half-squared-error-without-its-half",
        "half the squared error is reported without its half",
        "factor",
        (_edit("HalfSquaredErrorLoss.forward", "2 * self._per", "self._per"),),
        VALUE,
        network=HALF_SQUARES,
    ),
    Fault(
        "mse-gradient-sign",
        "the gradient of the squared error is t - y instead of y - t",
        "sign",
        (_mse_back("2 * (y - t) / self", "2 * (t - y) / self"),),
        GRADIENT,
        network=SQUARES,
    ),
    Fault(
        "cross-entropy-gradient-sign",
        "the gradient of the cross-entropy is t - p instead of p - t",
        "sign",
        (_cross_entropy_back("ds: Array = (", "ds: Array = -("),),
        GRADIENT,
    ),
    Fault(
        "probability-gradient-sign",
        "the gradient of the cross-entropy on probabilities lacks its minus",
        "sign",
        (_probabilities_back("-_over", "_over"),),
        GRADIENT_OF_3,
        network=PROBABILITIES,
    ),
    Fault(
        "cross-entropy-loss-sign",
        "the cross-entropy is reported without its minus",
        "sign",
        (_cross_entropy("-(t * log_p)", "(t * log_p)"),),
        VALUE,
    ),
)

FORMULAS = (
    Fault(
        "mse-of-absolute-values",
        "the error is summed as absolute values, not squares",
        "formula",
        (_mse("(d * d)", "abs(d)"),),
        VALUE,
        network=SQUARES,
    ),
    Fault(
        "mse-root",
        "the root of the mean squared error is reported, the gradient is that of the square",
        "formula",
        (_mse("(d * d).sum() / self._per(y.size)", "np.sqrt((d * d).sum() / self._per(y.size))"),),
        VALUE,
        network=SQUARES,
    ),
    Fault(
        "log-to-the-base-2",
        "the cross-entropy is computed with log2 instead of log",
        "formula",
        (_edit("_times_log", "np.log(p)", "np.log2(p)"),),
        VALUE,
        network=PROBABILITIES,
    ),
    Fault(
        "probability-gradient-not-divided",
        "the gradient of the cross-entropy on probabilities is -t, not -t / p",
        "formula",
        (_probabilities_back("_over(t, p)", "t"),),
        GRADIENT_OF_3,
        network=PROBABILITIES,
    ),
    Fault(
        "softmax-derivative-counted-twice",
        "the loss on probabilities hands back p - t, already through the softmax, and the softmax layer follows",
        "formula",
        (_probabilities_back("-_over(t, p)", "(p - t)"),),
        GRADIENT_OF_3,
        network=PROBABILITIES,
    ),
    Fault(
        "sigmoid-derivative-counted-twice",
        "the binary cross-entropy hands back p - t, already through the sigmoid, and the sigmoid layer follows",
        "formula",
        (_bce_back("(_over(1 - t, 1 - p) - _over(t, p))", "(p - t)"),),
        GRADIENT_OF_3,
        network=BITS,
    ),
    Fault(
        "mse-gradient-of-cross-entropy",
        "sigmoid output with squared error, but the gradient handed back is that of the binary cross-entropy",
        "formula",
        (_mse_back("2 * (y - t) / self", "(y - t) / (y * (1 - y)) / self"),),
        GRADIENT_OF_3,
        network="5-7-3 tanh, sigmoid output, mse",
        target="bits",
    ),
    Fault(
        "logit-gradient-with-sigmoid-derivative",
        "the gradient of the binary cross-entropy on logits is multiplied by y (1 - y) once more",
        "formula",
        (
            _bits_back(
                "return (np.where(z >= 0, z.dtype.type(1), e) / (1 + e) - t)",
                "y = np.where(z >= 0, z.dtype.type(1), e) / (1 + e)\n    return (y - t) * y * (1 - y)",
            ),
        ),
        GRADIENT,
        network=LOGIT_BITS,
    ),
    Fault(
        "logit-gradient-without-sigmoid",
        "the gradient of the binary cross-entropy on logits is z - t: the sigmoid is missing",
        "formula",
        (_bits_back("np.where(z >= 0, z.dtype.type(1), e) / (1 + e)", "z"),),
        GRADIENT,
        network=LOGIT_BITS,
    ),
    Fault(
        "bce-second-half-missing",
        "the binary cross-entropy lacks (1 - t) log(1 - p), its gradient has it",
        "formula",
        (_bce(" + _times_log(1 - t, 1 - p)", ""),),
        VALUE,
        network=BITS,
        hidden="no difference where all targets are 1",
    ),
    Fault(
        "bce-gradient-second-half-missing",
        "the gradient of the binary cross-entropy lacks (1 - t) / (1 - p)",
        "formula",
        (_bce_back("_over(1 - t, 1 - p) - _over(t, p)", "-_over(t, p)"),),
        GRADIENT_OF_3,
        network=BITS,
        hidden="no difference where all targets are 1",
    ),
    Fault(
        "cross-entropy-gradient-of-log-probabilities",
        "the gradient of the cross-entropy is log p - t: the exponential is missing",
        "formula",
        (_cross_entropy_back("np.exp(log_p)", "log_p"),),
        GRADIENT,
    ),
    Fault(
        "cross-entropy-gradient-without-target",
        "the gradient of the cross-entropy is p: the target is not subtracted",
        "formula",
        (_cross_entropy_back("keepdims=True) - t)", "keepdims=True))"),),
        GRADIENT,
    ),
    Fault(
        "cross-entropy-gradient-of-normalised-target",
        "the gradient of the cross-entropy is p - t also where t does not sum to 1",
        "formula",
        (_cross_entropy_back(" * t.sum(axis=1, keepdims=True)", ""),),
        GRADIENT,
        target="unnormalised",
        hidden="no difference for targets that sum to 1, as labels do",
    ),
    Fault(
        "softmax-applied-twice",
        "the cross-entropy, which takes logits, is given probabilities: softmax of softmax",
        "formula",
        (
            _cross_entropy(
                "shifted = s - s.max(axis=1, keepdims=True)",
                "e = np.exp(s - s.max(axis=1, keepdims=True))\n    shifted = e / e.sum(axis=1, keepdims=True)",
            ),
        ),
        VALUE,
    ),
    Fault(
        "cross-entropy-without-shift",
        "the cross-entropy takes the exponential of the logits as they are, and large ones overflow",
        "overflow",
        (_cross_entropy(" - s.max(axis=1, keepdims=True)", ""),),
        VALUE,
        scale=1e4,
        hidden="as good as the shifted form where no logit exceeds 88 in float32, or 709 in float64",
    ),
    Fault(
        "cross-entropy-shifted-by-the-batch",
        "the cross-entropy subtracts the maximum of the whole batch, and rows far below it underflow",
        "overflow",
        (_cross_entropy("s.max(axis=1, keepdims=True)", "s.max()"),),
        VALUE,
        scale=1e4,
        hidden="as good as the row's maximum where the rows' maxima are close together",
    ),
)

TARGETS = (
    Fault(
        "one-hot-off-by-one",
        "the 1 of a one-hot row is one column too far to the left",
        "target",
        (_edit("one_hot", ", labels]", ", labels - 1]"),),
        VALUE,
    ),
    Fault(
        "one-hot-by-column",
        "the one-hot matrix is filled by columns: rows and labels are exchanged",
        "target",
        (_edit("one_hot", "t[np.arange(len(labels)), labels]", "t[labels, np.arange(len(labels))]"),),
        VALUE,
        network="5-7-6 relu, softmax cross-entropy",
        rows=(6, 6),
        hidden="no difference where the labels are their own inverse permutation; other sizes crash",
    ),
    Fault(
        "soft-target-rounded",
        "a target distribution is replaced by its most probable class",
        "target",
        (
            _edit(
                "_distributions",
                "return _same_shape(y, t)",
                "return one_hot(_same_shape(y, t).argmax(axis=1), y.shape[1], y.dtype)",
            ),
        ),
        VALUE,
        target="soft",
        hidden="no difference for one-hot targets",
    ),
    Fault(
        "one-hot-target-argmax-of-columns",
        "the class of a one-hot row is taken with argmax over the samples",
        "target",
        (
            _edit(
                "_distributions",
                "return _same_shape(y, t)",
                "return one_hot(_same_shape(y, t).argmax(axis=0) % y.shape[1], y.shape[1], y.dtype)",
            ),
        ),
        VALUE,
        network="5-7-6 relu, softmax cross-entropy",
        rows=(6, 6),
        target="one-hot",
        hidden="no difference where the one-hot matrix is symmetric; other sizes crash",
    ),
)


def log_epsilon(size: float) -> Fault:
    """An epsilon of this size in the logarithm."""
    return Fault(
        f"log-epsilon-{shown(size)}",
        f"the loss takes log(p + {shown(size)}), its gradient is -t / p",
        "epsilon",
        (_edit("_times_log", "np.log(p)", f"np.log(p + {size!r})"),),
        VALUE,
        network=PROBABILITIES,
        rows=(24, 12),
        scale=30.0,
        target="soft",
        hidden="as good as without where every probability is much larger than epsilon / u",
        size=size,
    )


EPSILONS = (
    log_epsilon(1e-3),
    log_epsilon(1e-7),
    log_epsilon(1e-12),
    Fault(
        "gradient-epsilon-1e-7",
        "the gradient of the cross-entropy on probabilities is -t / (p + 1e-7), the loss is without epsilon",
        "epsilon",
        (_edit("_over", ", t / p)", ", t / (p + 1e-7))"),),
        GRADIENT_OF_3,
        network=PROBABILITIES,
        rows=(24, 12),
        scale=30.0,
        target="soft",
        hidden="as good as without where every probability is much larger than epsilon / u",
    ),
    Fault(
        "probabilities-clipped-in-the-loss",
        "the loss clips its probabilities to [1e-7, 1 - 1e-7], its gradient does not",
        "epsilon",
        (_edit("_times_log", "np.log(p)", "np.log(np.clip(p, 1e-7, 1 - 1e-7))"),),
        VALUE,
        network=PROBABILITIES,
        rows=(24, 12),
        scale=30.0,
        target="soft",
        hidden="no difference where every probability is within the clip",
    ),
)

LOSSES = MEANS + FACTORS + FORMULAS + TARGETS + EPSILONS
