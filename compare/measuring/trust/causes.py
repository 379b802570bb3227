"""Causes: for every planted fault, what a diagnosis may call it, judged from the fault's summary as a teacher would.

`right` names what is wrong in the code or, where the fault is nothing but a number that is off, that number and its
place. `vague` is true but leaves the search to the reader: "0.143 x what it should be". What is in neither is wrong.
A loss whose gradient has the same factor is called a convention, which is right if the factor is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compare.measuring.faults import of_operations

Verdict = Literal["right", "tied", "vague", "unknown", "wrong"]


@dataclass(frozen=True)
class Causes:
    """Of one fault; `note` says what cannot be told apart in principle, and why."""

    right: frozenset[str]
    vague: frozenset[str]
    note: str = ""

    def judge(self, diagnosis: Sequence[tuple[str, float]]) -> Verdict:
        """`diagnosis`: (cause, confidence), the best first. Tied: a right one fits exactly as well as the first."""
        diagnosis = [(cause.removeprefix("convention: "), confidence) for cause, confidence in diagnosis]
        if not diagnosis or diagnosis[0][0] == "unknown":
            return "unknown"
        first, confidence = diagnosis[0]
        if first in self.right:
            return "right"
        if any(cause in self.right and other == confidence for cause, other in diagnosis[1:]):
            return "tied"
        return "vague" if first in self.vague else "wrong"


NO_MEAN = "with one {}, over the {} is no mean at all"
ONE_NUMBER = "where both give infinity or NaN in the loss, one number shows no more than that the shift is wrong"
SUMS_TO_ZERO = "where dy sums to 0 along the row, as under softmax cross-entropy, it is zero but for rounding"
VAGUE = frozenset({"factor", "few-elements", "constant", "another-tensor", "zero"})


def causes(right: str, vague: str = "", note: str = "") -> Causes:
    return Causes(frozenset(right.split()), VAGUE | frozenset(vague.split()) - frozenset(right.split()), note)


CAUSES_OF: dict[str, Causes] = {
    # --- the linear layer ---
    "weight-not-transposed": causes("weight-transposed"),
    "weight-gradient-transposed": causes("transposed operands-swapped"),
    "weight-transposed-on-the-way-back": causes("weight-transposed"),
    "weight-gradient-operands-swapped": causes("operands-swapped"),
    "input-gradient-operands-swapped": causes("operands-swapped"),
    "weight-gradient-of-own-output": causes("wrong-input"),
    "weight-gradient-averaged-again": causes("mean-doubled"),
    "weight-gradient-averaged-over-inputs": causes(
        "wrong-mean", note="where the number of inputs is that of rows or of output columns, any of them is right"
    ),
    "weight-gradient-of-the-last-sample": causes("last-sample-only"),
    "weight-gradient-sign": causes("sign"),
    "weight-gradient-zero": causes("zero"),
    "weight-gradient-of-absolute-values": causes("input-changed"),
    "penalty-left-in-the-gradient": causes("weight-decay-in-gradient"),
    "input-gradient-sign": causes("sign"),
    "input-gradient-averaged": causes("mean-doubled"),
    "input-gradient-with-bias": causes("bias-on-the-way-back"),
    "units-swapped": causes("columns-in-another-order"),
    "units-swapped-in-the-gradient": causes("rows-in-another-order"),
    "bias-missing": causes("bias-missing"),
    "bias-added-twice": causes("bias-doubled"),
    "bias-subtracted": causes("bias-subtracted"),
    "bias-added-to-the-rows": causes("bias-along-rows"),
    "bias-gradient-averaged": causes("mean-doubled"),
    "bias-gradient-summed-over-features": causes("bias-over-features", note=SUMS_TO_ZERO),
    "bias-gradient-summed-to-a-number": causes("bias-over-features", note=SUMS_TO_ZERO),
    "bias-gradient-without-axis": causes("bias-over-features", "wrong-shape"),
    "bias-gradient-of-the-last-sample": causes("last-sample-only"),
    "bias-gradient-zero": causes("zero"),
    "bias-gradient-doubled": causes("factor-two"),
    # --- activations ---
    "relu-mask-of-the-gradient": causes("relu-mask-from-gradient"),
    "relu-mask-with-zero": causes("relu-mask-at-zero"),
    "relu-mask-missing": causes("derivative-missing"),
    "relu-mask-inverted": causes("relu-mask-inverted"),
    "relu-mask-from-the-next-layer": causes(
        "relu-mask-from-elsewhere",
        note="the mask of the next ReLU is that of its input as of its output, and either may be named",
    ),
    "relu-gradient-of-leaky": causes("leaky-relu"),
    "relu-gradient-times-value": causes("value-for-derivative"),
    "relu-gradient-is-the-mask": causes("upstream-gradient-missing"),
    "relu-leaky": causes("leaky-relu"),
    "relu-of-absolute-values": causes("absolute-value"),
    "relu-capped-at-6": causes("relu-clipped", "values-clipped"),
    "dropout-left-in": causes("dropout-left-in"),
    "dropout-scaling-left-in": causes(
        "dropout-scaling", note="with the mask off, dropout's 1 / (1 - rate) is a factor like any other"
    ),
    "sigmoid-derivative-of-activated": causes("derivative-of-activated"),
    "sigmoid-derivative-of-preactivation": causes("derivative-of-pre-activation"),
    "sigmoid-derivative-lost": causes("derivative-missing"),
    "output-sigmoid-derivative-lost": causes("derivative-missing"),
    "sigmoid-derivative-without-complement": causes("derivative-incomplete"),
    "sigmoid-exponent-sign": causes("exponent-sign"),
    "sigmoid-input-clipped": causes(
        "input-clipped", "output-clipped", "where every input is beyond the clip, it is a clip of the output as well"
    ),
    "sigmoid-output-clipped": causes("output-clipped"),
    "tanh-derivative-of-activated": causes("derivative-of-activated"),
    "tanh-derivative-of-preactivation": causes("derivative-of-pre-activation"),
    "tanh-derivative-of-sigmoid": causes("wrong-derivative"),
    "tanh-derivative-without-square": causes("derivative-incomplete"),
    "tanh-derivative-lost": causes("derivative-missing"),
    "activations-skipped-on-the-way-back": causes("activation-derivative-lost", "wrong-gradient"),
    "softmax-without-shift": causes("softmax-not-shifted"),
    "softmax-shifted-by-the-batch": causes("softmax-shifted-by-batch-maximum"),
    "softmax-over-the-batch": causes("softmax-wrong-axis"),
    "softmax-over-everything": causes("softmax-over-batch"),
    "softmax-jacobian-diagonal": causes("softmax-diagonal"),
    "softmax-jacobian-without-diagonal": causes("softmax-diagonal-missing"),
    "softmax-jacobian-sign": causes("wrong-derivative"),
    "softmax-jacobian-over-the-batch": causes("softmax-wrong-axis"),
    "softmax-derivative-lost": causes("derivative-missing"),
    # --- losses ---
    "cross-entropy-gradient-summed": causes("mean-missing"),
    "cross-entropy-gradient-averaged-twice": causes("mean-doubled"),
    "cross-entropy-gradient-averaged-over-classes": causes("wrong-mean"),
    "cross-entropy-gradient-averaged-over-elements": causes(
        "wrong-mean", "mean-doubled", "divided by m n: with as many classes as rows the mean is also taken twice"
    ),
    "cross-entropy-loss-summed": causes("mean-missing"),
    "cross-entropy-averaged-over-elements": causes("wrong-mean"),
    "mse-averaged-over-samples": causes("wrong-mean", "mean-missing", NO_MEAN.format("row", "samples")),
    "mse-gradient-averaged-over-samples": causes("wrong-mean", "mean-missing", NO_MEAN.format("row", "samples")),
    "mse-gradient-averaged-over-features": causes("wrong-mean", note=NO_MEAN.format("column", "features")),
    "bce-gradient-summed": causes("mean-missing"),
    "mean-over-the-nominal-batch-size": causes(
        "mean-over-other-batch", "factor-half", "with a second batch of half the rows it is half of the right value"
    ),
    "mse-gradient-without-its-2": causes("factor-half"),
    "mse-loss-halved": causes("factor-half"),
    "half-squared-error-gradient-doubled": causes("factor-two"),
    "half-squared-error-without-its-half": causes("factor-two"),
    "mse-gradient-sign": causes("sign"),
    "cross-entropy-gradient-sign": causes("sign"),
    "probability-gradient-sign": causes("sign"),
    "cross-entropy-loss-sign": causes("sign"),
    "mse-of-absolute-values": causes("square-missing"),
    "mse-root": causes("root-taken"),
    "log-to-the-base-2": causes("wrong-logarithm"),
    "probability-gradient-not-divided": causes("wrong-derivative"),
    "softmax-derivative-counted-twice": causes("derivative-twice"),
    "sigmoid-derivative-counted-twice": causes("derivative-twice"),
    "mse-gradient-of-cross-entropy": causes("wrong-loss-gradient"),
    "logit-gradient-with-sigmoid-derivative": causes("derivative-twice"),
    "logit-gradient-without-sigmoid": causes("softmax-missing"),
    "bce-second-half-missing": causes("last-term-missing"),
    "bce-gradient-second-half-missing": causes("last-term-missing"),
    "cross-entropy-gradient-of-log-probabilities": causes("exponential-missing"),
    "cross-entropy-gradient-without-target": causes("target-missing"),
    "cross-entropy-gradient-of-normalised-target": causes("target-not-normalised"),
    "softmax-applied-twice": causes("softmax-twice"),
    "cross-entropy-without-shift": causes(
        "softmax-not-shifted",
        "softmax-shifted-by-batch-maximum",
        ONE_NUMBER,
    ),
    "cross-entropy-shifted-by-the-batch": causes("softmax-shifted-by-batch-maximum", "softmax-not-shifted", ONE_NUMBER),
    "one-hot-off-by-one": causes("label-off-by-one"),
    "one-hot-by-column": causes("target-transposed"),
    "soft-target-rounded": causes("target-hardened"),
    "one-hot-target-argmax-of-columns": causes("target-transposed"),
    "log-epsilon-1e-3": causes("epsilon-in-log"),
    "log-epsilon-1e-7": causes("epsilon-in-log"),
    "log-epsilon-1e-12": causes("epsilon-in-log", "probabilities-clipped"),
    "gradient-epsilon-1e-7": causes("epsilon-in-log"),
    "probabilities-clipped-in-the-loss": causes("probabilities-clipped", "epsilon-in-log"),
    # --- the training step ---
    "weights-updated-before-the-gradient-passed": causes("updated-weights"),
    "update-before-backward": causes(
        "wrong-gradient previous-step",
        "update-missing",
        "in the first step there is no gradient yet, and nothing but the missing update can be seen",
    ),
    "layers-backward-in-forward-order": causes("wrong-gradient another-tensor"),
    "backward-twice": causes("factor-two"),
    "first-layer-left-out": causes("zero"),
    "backward-gradient-clipped": causes("values-clipped"),
    "output-layer-left-in": causes("softmax-twice"),
    "cache-overwritten-by-a-second-forward": causes(
        "overwritten-in-place",
        "rows-in-another-order",
        "the second forward pass shows in the record as inputs in another order, and as nothing else",
    ),
    "gradient-of-the-previous-batch": causes("previous-step previous-batch"),
    "weight-gradients-accumulated": causes("accumulated"),
    "bias-gradients-accumulated": causes("accumulated"),
    "loss-gradient-of-the-first-batch": causes("previous-step previous-batch"),
    "input-of-the-first-batch": causes("previous-batch"),
    "mask-of-the-first-batch": causes("previous-batch"),
    "stale-weights-backward": causes("stale-weights"),
    "stale-weights-forward": causes("stale-weights"),
    "buffer-shared-between-layers": causes("overwritten-before-use", "wrong-input"),
    "cache-overwritten-in-place": causes("overwritten-in-place", "activation-changed-by-backward"),
    "activation-overwritten-before-backward": causes("overwritten-before-use", "input-changed wrong-input"),
    "activation-changed-by-backward": causes("activation-changed-by-backward overwritten-in-place"),
    "upstream-gradient-overwritten": causes("overwritten-in-place activation-changed-by-backward"),
    "input-normalised-in-place": causes(
        "overwritten-before-use input-changed", note="with one row, what its mean is taken from is zero"
    ),
    "targets-shuffled": causes("targets-shuffled", "rows-in-another-order"),
    "inputs-shuffled": causes("rows-in-another-order"),
    "one-label-off": causes("few-elements", "label-off-by-one", "with one row, one label is every label"),
    "labels-counted-from-one": causes("label-off-by-one"),
    "data-normalised-twice": causes("data-normalised-twice"),
    "data-scaled-twice": causes("data-normalised-twice"),
    "last-batch-only": causes("wrong-shape"),
    "loss-of-the-last-batch": causes("last-sample-only"),
    "bias-column-in-the-data": causes("column-of-ones"),
    "weights-initialised-equal": causes("constant"),
    "initialisation-without-root": causes("initialisation-scale"),
    # --- optimisers ---
    "decay-coupled": causes("weight-decay-coupled"),
    "decay-decoupled": causes("weight-decay-missing weight-decay-decoupled"),
    "decay-not-on-biases": causes("weight-decay-missing"),
    "decay-missing": causes("weight-decay-missing"),
    "decay-without-rate": causes("weight-decay-without-rate"),
    "decay-grows": causes("weight-decay-sign"),
    "decay-after-the-step": causes("weight-decay-after-step"),
    "sgd-decay-doubled": causes("weight-decay-doubled", "weight-decay-without-rate"),
    "sgd-decay-missing": causes("weight-decay-missing"),
    "bias-correction-missing": causes("bias-correction-missing"),
    "bias-correction-of-m-missing": causes("bias-correction-missing"),
    "bias-correction-of-v-missing": causes("bias-correction-missing"),
    "bias-correction-one-step-off": causes("bias-correction-off-by-one"),
    "bias-correction-per-parameter": causes("bias-correction-off-by-one"),
    "epsilon-inside-the-root": causes("epsilon-inside-root"),
    "epsilon-before-the-correction": causes("epsilon-before-correction"),
    "epsilon-missing": causes("epsilon-missing"),
    "root-missing": causes("root-missing"),
    "second-moment-of-absolute-values": causes("square-missing"),
    "betas-swapped": causes("betas-swapped"),
    "beta2-hard-coded": causes("other-beta"),
    "moments-swapped": causes("moments-swapped"),
    "first-moment-not-decayed": causes("moving-average-not-decayed"),
    "moments-forgotten": causes("moving-average-reset"),
    "momentum-after-the-step": causes("momentum-order", "update-missing"),
    "momentum-as-an-average": causes("momentum-averaged"),
    "momentum-forgotten": causes("momentum-missing"),
    "momentum-not-decayed": causes("moving-average-not-decayed"),
    "momentum-on-both": causes("momentum-and-gradient", "update-doubled"),
    "dampening-ignored": causes("dampening-missing"),
    "nesterov-ignored": causes("nesterov-missing", "wrong-learning-rate"),
    "update-sign": causes("update-sign"),
    "rate-applied-twice": causes("learning-rate-twice"),
    "rate-missing": causes("learning-rate-missing"),
    "update-lost": causes("update-missing"),
    "biases-not-updated": causes("update-missing"),
    "gradient-clipping-left-in": causes("gradient-clipped"),
    "norm-clipping-left-in": causes("gradient-clipped", "wrong-learning-rate"),
    "gradient-normalised": causes("sign-of-gradient", "gradient-clipped"),
    "factors-that-cancel": causes("factor-two"),
    "signs-that-cancel": causes("sign"),
    # --- sizes and formats ---
    "one-element-off-by-1e-3": causes("few-elements"),
    "one-element-off-by-1e-6": causes("few-elements"),
    "one-element-off-by-ulp-64": causes("few-elements"),
    "one-output-off-by-1e-3": causes("few-elements"),
    "gradient-scaled-by-1-plus-1e-3": causes("factor"),
    "gradient-scaled-by-1-plus-1e-5": causes("factor"),
    "rate-off-by-1e-4": causes("wrong-learning-rate"),
    "adam-rate-off-by-1e-4": causes("wrong-learning-rate"),
    "output-in-float16": causes("float16-round-trip"),
    "gradient-in-float16": causes("float16-round-trip", note="where all of it underflows, it is zero"),
    "weights-in-float16": causes("float16-round-trip"),
    "gradient-in-float32": causes("computed-in-float32"),
    "float64-gradient": causes("dtype"),
    "float32-gradient": causes("dtype computed-in-float32"),
    "float64-loss": causes("dtype"),
}

CAUSES_OF |= {name: causes(right) for module in of_operations() for name, right in module.CAUSES.items()}
