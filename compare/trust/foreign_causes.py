"""Foreign faults: which causes are right for each fault of somebody who has not read the diagnosis.

Judged by hand, by comparing the author's sentence (TRUE_CAUSE) with the words of the causes. FIRST_RUN keeps what the
diagnosis said of them when it had not been changed since they were written: the only blind measurement there can be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from compare.trust.causes import Causes, causes

FIRST_RUN = Path(__file__).with_name("foreign_first_run.json")


def first_run() -> dict[str, dict[str, list[tuple[str, float]]]]:
    """dtype -> fault -> [(cause, confidence), ...]."""
    found: dict[str, dict[str, list[tuple[str, float]]]] = json.loads(FIRST_RUN.read_text(encoding="utf-8"))["said"]
    return found


FOREIGN_CAUSES: Mapping[str, Causes] = {
    # --- Linear ---
    "weight-read-column-major": causes("reshaped-for-transposed"),
    "gradient-reshaped-to-fit": causes("reshaped-for-transposed"),
    "square-weight-transposed-on-the-way-back": causes("weight-transposed"),
    "input-gradient-through-dw": causes("wrong-weight"),
    "input-gradient-through-new-weights": causes("updated-weights"),
    "own-output-kept": causes("wrong-input"),
    "first-batch-kept-for-good": causes("previous-batch"),
    "sample-loop-starts-at-one": causes("sample-left-out"),
    "sample-loop-assigns": causes("last-sample-only"),
    "last-neuron-never-reached": causes("part-missing"),
    "weight-gradient-over-m-once-more": causes("mean-doubled"),
    "bias-gradient-mean": causes("mean-doubled"),
    "bias-gradient-other-axis": causes("bias-over-features"),
    "bias-gradient-of-one-sample": causes("first-sample-only"),
    "bias-on-first-row": causes("bias-on-one-row"),
    "weights-in-half-precision": causes("float16-round-trip"),
    "gradient-in-single-precision": causes("computed-in-float32"),
    "gradient-through-a-text-file": causes("rounded-to-decimals"),
    "gradients-not-zeroed": causes("accumulated"),
    "penalty-in-the-gradient": causes("weight-decay-in-gradient"),
    # --- activations ---
    "relu-mask-from-gradient": causes("relu-mask-from-gradient"),
    "relu-leak-left-in-backward": causes("leaky-relu"),
    "relu-leak-left-in-forward": causes("leaky-relu"),
    "relu-derivative-by-sign": causes("relu-sign-for-mask"),
    "relu-compares-integers": causes("relu-mask-of-integers"),
    "relu-mask-of-last-sample": causes("relu-mask-of-one-sample"),
    "relu-returns-activation": causes("value-for-gradient another-tensor", note="another tensor, which is named: y"),
    "relu-forward-in-place": causes("overwritten-in-place"),
    "sigmoid-keeps-z": causes("derivative-of-pre-activation"),
    "sigmoid-prime-of-the-activation": causes("derivative-of-activated"),
    "sigmoid-with-tanh-derivative": causes("wrong-derivative"),
    "sigmoid-without-parentheses": causes("", note="that it is zero is true, and says nothing of the parentheses"),
    "sigmoid-shortcut-with-squared-error": causes("derivative-missing"),
    "sigmoid-clipped-too-tightly": causes("input-clipped"),
    "sigmoid-expf": causes("computed-in-float32"),
    "tanh-with-sigmoid-derivative": causes("wrong-derivative"),
    "tanh-square-of-the-bracket": causes("wrong-derivative"),
    "tanh-drops-the-chain": causes("upstream-gradient-missing"),
    "tanh-derivative-applied-twice": causes("derivative-twice"),
    "tanh-from-sigmoid-without-the-two": causes("exponent-halved"),
    "softmax-sums-over-batch": causes("softmax-wrong-axis"),
    "softmax-maximum-over-batch": causes("softmax-shifted-by-column"),
    "softmax-as-if-elementwise": causes("softmax-diagonal"),
    "softmax-sum-over-everything": causes("softmax-over-batch"),
    "softmax-plus-for-minus": causes("wrong-derivative", note="the words are: the sum over the row is added"),
    "softmax-backward-in-place": causes("activation-changed-by-backward overwritten-in-place"),
    "relu-open-at-zero": causes("relu-mask-at-zero"),
    "dropout-in-relu": causes("dropout-left-in"),
    "tanh-by-its-definition": causes("exponential-overflows"),
    # --- losses ---
    "labels-from-one": causes("label-off-by-one"),
    "cross-entropy-gradient-negated": causes("sign"),
    "loss-averaged-gradient-not": causes("mean-missing"),
    "cross-entropy-gradient-over-all-elements": causes("wrong-mean"),
    "one-over-m-in-integers": causes("", note="that it is zero is true, and says nothing of the integers"),
    "cross-entropy-in-bits": causes("wrong-logarithm"),
    "batch-size-remembered": causes("mean-over-other-batch"),
    "soft-targets-hardened": causes("target-hardened"),
    "logits-not-shifted": causes("softmax-not-shifted"),
    "epsilon-in-the-logarithm": causes("epsilon-in-log"),
    "epsilon-under-the-target": causes("epsilon-in-log"),
    "shortcut-behind-a-softmax-layer": causes("derivative-twice"),
    "softmax-twice": causes("softmax-twice"),
    "mse-gradient-without-the-two": causes("factor-half"),
    "mse-gradient-over-samples-only": causes("wrong-mean"),
    "column-minus-row": causes("target-broadcast"),
    "root-of-the-mean-square": causes("root-taken"),
    "half-squared-error-differentiated-as-whole": causes("factor-two"),
    "residual-not-passed-on": causes("absolute-value"),
    "sum-taken-for-mean": causes("wrong-mean", note="with the right words: a convention, divided by all elements"),
    "binary-loss-of-the-ones-only": causes("last-term-missing"),
    "binary-denominators-swapped": causes("denominators-swapped"),
    "binary-gradient-with-a-second-derivative": causes("derivative-twice"),
    "binary-gradient-of-the-logit": causes("softmax-missing"),
    "binary-loss-without-the-absolute-value": causes("absolute-value-missing"),
    "labels-smoothed": causes("labels-smoothed"),
    "half-squared-error-over-all-elements": causes("wrong-mean"),
    "binary-epsilon-in-the-logarithms": causes("epsilon-in-log"),
    # --- the training step ---
    "gradient-not-handed-on": causes(
        "activation-derivative-lost wrong-gradient",
        note="the first tensor that is off is what entered the next layer's backward, which the words say",
    ),
    "layers-walked-forward-on-the-way-back": causes("another-tensor wrong-gradient"),
    "backward-of-weighted-layers-only": causes("activation-derivative-lost"),
    "clipping-left-in": causes("values-clipped"),
    "rate-in-the-gradient-too": causes("learning-rate-in-gradient"),
    "update-twice": causes("update-doubled"),
    "labels-one-row-behind": causes("targets-shuffled"),
    "inputs-scaled-again": causes("data-normalised-twice"),
    "prediction-before-the-backward-pass": causes(
        "overwritten-in-place",
        "rows-in-another-order",
        "that the rows of what the layers kept are others is all that the record shows",
    ),
    # --- optimisers ---
    "update-of-a-local-name": causes("update-missing"),
    "uphill": causes("update-sign"),
    "last-layer-not-updated": causes("update-missing"),
    "loop-over-matrices-only": causes("update-missing"),
    "gradients-in-backward-order": causes("wrong-gradient"),
    "rate-falls-as-one-over-t": causes("learning-rate-decays wrong-learning-rate"),
    "decay-of-matrices-only": causes("weight-decay-missing"),
    "decay-makes-weights-grow": causes("weight-decay-sign"),
    "velocity-averaged": causes("momentum-averaged"),
    "friction-on-the-new-gradient-too": causes("momentum-order"),
    "velocity-scaled-in-place": causes("learning-rate-in-gradient momentum-order"),
    "one-velocity-for-all-layers": causes("state-shared"),
    "nesterov-terms-swapped": causes("momentum-order"),
    "decay-past-the-velocity": causes("weight-decay-missing"),
    "step-counted-per-parameter": causes("bias-correction-off-by-one"),
    "bias-correction-of-one-moment": causes("bias-correction-missing"),
    "epsilon-under-the-root": causes("epsilon-inside-root"),
    "epsilon-corrected-too": causes("epsilon-before-correction"),
    "epsilon-of-another-library": causes("other-epsilon"),
    "square-of-the-product": causes("square-of-product", note="beta2 is 0.999999 is another mistake"),
    "second-moment-of-the-first": causes("momentum-squared"),
    "second-moment-decays-by-b1": causes("betas-swapped other-beta"),
    "moments-start-again-every-step": causes("moving-average-reset"),
    "adam-decays-like-adamw": causes("weight-decay-missing weight-decay-decoupled"),
    "adamw-decay-without-the-rate": causes("weight-decay-without-rate"),
    "adamw-decays-afterwards": causes("weight-decay-after-step"),
    "adamw-decays-twice": causes("weight-decay-coupled weight-decay-doubled"),
}
