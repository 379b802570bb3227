"""Mistakes that several normalisations share; each has its own examples, as their axes differ."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from compare.numbers.bounded import Bounded, sqrt
from compare.operations.letters import Letters
from compare.operations.mistake import Formula, Unseen
from compare.operations.mistake import Mistake as M
from compare.operations.normalization import (
    beside,
    centred,
    deviation,
    into_h,
    mean,
    over_samples,
    own_axes,
    scaled,
    standardized,
    variance,
)

Of = Callable[[Letters], Bounded]

NEAR_ZERO = {"scale": 0.05}  # then eps counts

ONE_AT_START = Unseen("all weights are one", lambda e: bool((e.W.value == 1).all()))
ZERO_AT_START = Unseen("all biases are zero", lambda e: not e.b.value.any())
SMALL_EPS = Unseen("eps is small beside the variances")


def count(e: Letters) -> int:
    """N, the elements of a group."""
    return prod(e.x.shape[i] for i in own_axes(e))


def output_by(divisor: Of) -> Formula:
    """y with something else in the place of s."""
    return lambda e: scaled(e, centred(e) / divisor(e))


def sample_variance(e: Letters) -> Bounded:
    """The sum of squares, over N - 1."""
    return variance(e) * float(count(e)) / float(count(e) - 1)


def without_eps(e: Letters) -> Bounded:
    return sqrt(variance(e))


def eps_outside(e: Letters) -> Bounded:
    return sqrt(variance(e)) + e.operation.eps


def variance_as_divisor(e: Letters) -> Bounded:
    return variance(e) + e.operation.eps


def of_deviation(e: Letters) -> Bounded:
    return sqrt(sqrt(variance(e)) + e.operation.eps)


def of_sample(e: Letters) -> Bounded:
    return sqrt(sample_variance(e) + e.operation.eps)


def about_zero(e: Letters) -> Bounded:
    return sqrt(mean(e, e.x * e.x) + e.operation.eps)


def _shifted(e: Letters, h: Bounded) -> Bounded:
    """h + b, where the layer has b."""
    return h + beside(e, e.b) if e.has(f"{e.k}.bias") else h * 1.0


def over(*axes: int) -> Formula:
    """y with mean and variance over other axes."""
    return lambda e: scaled(e, standardized(e, axes))


def over_everything(e: Letters) -> Bounded:
    return scaled(e, standardized(e, tuple(range(e.x.value.ndim))))


def first(e: Letters) -> Bounded:
    """t - mean(t)."""
    t = into_h(e)
    return t - mean(e, t)


def along(e: Letters, h: Bounded | None = None) -> Bounded:
    """h mean(t h)."""
    h = standardized(e) if h is None else h
    return h * mean(e, into_h(e) * h)


def input_over(*axes: int) -> Formula:
    """dx with the means of the gradient over other axes."""

    def guess(e: Letters) -> Bounded:
        t, h = into_h(e), standardized(e)
        return (t - mean(e, t, axes) - h * mean(e, t * h, axes)) / deviation(e)

    return guess


def input_by(divisor: Of) -> Formula:
    """dx with something else in the place of s, in h as well."""
    return lambda e: (first(e) - along(e, centred(e) / divisor(e))) / divisor(e)


def with_sums(e: Letters) -> Bounded:
    """dx with sums where means should be."""
    t, h, n = into_h(e), standardized(e), float(count(e))
    return (t - mean(e, t) * n - h * mean(e, t * h) * n) / deviation(e)


def weight_forgotten(e: Letters) -> Bounded:
    """dx of dy as it is."""
    h = standardized(e)
    return (e.dy - mean(e, e.dy) - h * mean(e, e.dy * h)) / deviation(e)


def of_samples(build: Of) -> Formula:
    """A gradient of W or b: this, summed over the samples."""
    return lambda e: build(e).sum(axis=over_samples(e))


def w(e: Letters) -> Bounded:
    """W, beside x."""
    return beside(e, e.W)


def b(e: Letters) -> Bounded:
    """b, beside x."""
    return beside(e, e.b)


def table(group: str, samples: str, wide: str = "") -> dict[str, list[M]]:
    """By part. `group`: the axes of mean and variance, `samples`: those of the gradients of W and b, as NumPy's `axis`
    takes them; `wide`: what brings W and b beside x."""
    W, B, MEAN = f"W{wide}", f"b{wide}", f"x.mean(axis={group}, keepdims=True)"
    VAR = f"x.var(axis={group}, keepdims=True)"
    D, S = f"(x - {MEAN})", f"np.sqrt({VAR} + 1e-5)"
    H = f"{D} / {S}"
    N = f"(x.size // {MEAN}.size)"
    Y, T = f"{W} * {H} + {B}", f"(dy * {W})"
    first_ = f"{T} - {T}.mean(axis={group}, keepdims=True)"
    along_ = f"{H} * ({T} * {H}).mean(axis={group}, keepdims=True)"
    DX, DW, DB = f"({first_} - {along_}) / {S}", f"(dy * {H}).sum(axis={samples})", f"dy.sum(axis={samples})"
    # fmt: off
    return {
        "output": [
            M("eps-forgotten", output_by(without_eps), "eps is not added to the variance", unseen=SMALL_EPS,
              wrong=Y.replace(" + 1e-5", ""), right=Y, case=NEAR_ZERO),
            M("eps-outside-the-root", output_by(eps_outside), "eps is added to the root, not inside it",
              unseen=SMALL_EPS,
              wrong=Y.replace(S, f"(np.sqrt({VAR}) + 1e-5)"), right=Y, case=NEAR_ZERO),
            M("sample-variance", output_by(of_sample),
              "the variance is divided by N - 1: that of a sample, where the batch's own is taken",
              wrong=Y.replace("x.var(", "x.var(ddof=1, "), right=Y),
            M("variance-for-deviation", output_by(variance_as_divisor),
              "it is divided by the variance, not by its root",
              wrong=Y.replace(S, f"({VAR} + 1e-5)"), right=Y),
            M("deviation-for-variance", output_by(of_deviation),
              "it is divided by the root of the standard deviation, which is taken for the variance",
              wrong=Y.replace("x.var(", "x.std("), right=Y),
            M("variance-about-zero", output_by(about_zero),
              "the variance is the mean of x^2: the mean is not subtracted",
              wrong=Y.replace(VAR, f"(x**2).mean(axis={group}, keepdims=True)"), right=Y),
            M("mean-not-subtracted", lambda e: scaled(e, e.x / deviation(e)), "the mean is not subtracted",
              wrong=f"{W} * x / {S} + {B}", right=Y),
            M("not-divided-by-deviation", lambda e: scaled(e, centred(e)),
              "it is not divided by the standard deviation",
              wrong=f"{W} * {D} + {B}", right=Y),
            M("normalisation-missing", lambda e: scaled(e, e.x), "x is not normalised: y = W x + b",
              wrong=f"{W} * x + {B}", right=Y),
            M("normalisation-missing", lambda e: e.x * 1.0, "the layer is left out: y = x",
              wrong="x", right=Y),
            M("scale-missing", lambda e: _shifted(e, standardized(e)), "the factor W (gamma) is missing",
              unseen=ONE_AT_START,
              wrong=f"{H} + {B}", right=Y),
            M("shift-missing", lambda e: standardized(e) * w(e), "the summand b (beta) is missing",
              unseen=ZERO_AT_START,
              wrong=f"{W} * {H}", right=Y),
            M("scale-and-shift-missing", lambda e: standardized(e) * 1.0, "W and b (gamma and beta) are missing",
              wrong=H, right=Y),
            M("scale-and-shift-exchanged", lambda e: standardized(e) * b(e) + w(e),
              "W and b (gamma and beta) are exchanged",
              wrong=f"{B} * {H} + {W}", right=Y),
            M("shift-scaled", lambda e: (standardized(e) + b(e)) * w(e), "b is multiplied by W, too: W (h + b)",
              unseen=ZERO_AT_START,
              wrong=f"{W} * ({H} + {B})", right=Y),
        ],
        "grad_weight": [
            M("x-for-normalised", of_samples(lambda e: e.dy * e.x), "dW takes x in the place of the normalised x",
              wrong=f"(dy * x).sum(axis={samples})", right=DW),
            M("not-divided-by-deviation", of_samples(lambda e: e.dy * centred(e)),
              "dW takes x - mean, which is not divided by the standard deviation",
              wrong=f"(dy * {D}).sum(axis={samples})", right=DW),
            M("variance-for-deviation", of_samples(lambda e: e.dy * centred(e) / variance_as_divisor(e)),
              "x - mean is divided by the variance, not by its root",
              wrong=f"(dy * {D} / ({VAR} + 1e-5)).sum(axis={samples})", right=DW),
            M("y-for-normalised", of_samples(lambda e: e.dy * e.y), "dW takes y in the place of the normalised x",
              wrong=f"(dy * y).sum(axis={samples})", right=DW),
            M("gradients-exchanged", of_samples(lambda e: e.dy), "dW is the gradient of b (beta): the sum of dy",
              wrong=DB, right=DW),
            M("weight-in-its-own-gradient", of_samples(lambda e: into_h(e) * standardized(e)),
              "dW has the factor W: it is the gradient on the other side of the product",
              wrong=f"({T} * {H}).sum(axis={samples})", right=DW),
            M("mean-for-sum", lambda e: (e.dy * standardized(e)).mean(axis=over_samples(e)),
              "it is a mean, where the sum should be",
              wrong=DW.replace(".sum(", ".mean("), right=DW),
        ],
        "grad_bias": [
            M("gradients-exchanged", of_samples(lambda e: e.dy * standardized(e)),
              "db is the gradient of W (gamma): the sum of dy times the normalised x",
              wrong=DW, right=DB),
            M("weight-in-the-gradient-of-b", of_samples(into_h), "db has the factor W (gamma)", unseen=ONE_AT_START,
              wrong=f"{T}.sum(axis={samples})", right=DB),
            M("mean-for-sum", lambda e: e.dy.mean(axis=over_samples(e)), "it is a mean, where the sum should be",
              wrong=DB.replace(".sum(", ".mean("), right=DB),
            M("wrong-gradient", of_samples(lambda e: e.y), "db sums the outputs, not their gradients",
              wrong=f"y.sum(axis={samples})", right=DB),
        ],
        "grad_input": [
            M("statistics-as-constants", lambda e: into_h(e) / deviation(e),
              "dx = W dy / s: mean and variance are taken for constants, and have gradients of their own",
              wrong=f"{T} / {S}", right=DX),
            M("gradient-of-mean-missing", lambda e: (into_h(e) - along(e)) / deviation(e),
              "the gradient through the mean is missing: mean(t)",
              wrong=f"({T} - {along_}) / {S}", right=DX),
            M("gradient-of-variance-missing", lambda e: first(e) / deviation(e),
              "the gradient through the variance is missing: h mean(t h)",
              wrong=f"({first_}) / {S}", right=DX),
            M("sign-of-one-part", lambda e: (first(e) + along(e)) / deviation(e),
              "the gradient through the variance has the wrong sign",
              wrong=f"({first_} + {along_}) / {S}", right=DX),
            M("sign-of-one-part", lambda e: (into_h(e) * 2.0 - first(e) - along(e)) / deviation(e),
              "the gradient through the mean has the wrong sign",
              wrong=f"({first_.replace(' - ', ' + ')} - {along_}) / {S}", right=DX),
            M("scale-missing", weight_forgotten, "dy is not multiplied by W (gamma)", unseen=ONE_AT_START,
              wrong=DX.replace(T, "dy"), right=DX),
            M("sum-for-mean", with_sums, "sums stand where the means over N elements should be",
              wrong=DX.replace(f"{T}.mean(", f"{T}.sum(").replace(f"{H}).mean(", f"{H}).sum("), right=DX),
            M("sample-variance",
              lambda e: (first(e) - along(e) * float(count(e)) / float(count(e) - 1)) / deviation(e),
              "the gradient through the variance is divided by N - 1, where the variance is by N",
              wrong=f"({first_} - {along_} * {N} / ({N} - 1)) / {S}", right=DX),
            M("not-divided-by-deviation", lambda e: first(e) - along(e), "it is not divided by the standard deviation",
              wrong=f"{first_} - {along_}", right=DX),
            M("variance-for-deviation", lambda e: (first(e) - along(e)) / variance_as_divisor(e),
              "it is divided by the variance, not by its root",
              wrong=f"({first_} - {along_}) / ({VAR} + 1e-5)", right=DX),
            M("eps-forgotten", input_by(without_eps), "eps is not added to the variance", unseen=SMALL_EPS,
              wrong=DX.replace(" + 1e-5", ""), right=DX, case=NEAR_ZERO),
            M("eps-outside-the-root", input_by(eps_outside), "eps is added to the root, not inside it",
              unseen=SMALL_EPS,
              wrong=DX.replace(S, f"(np.sqrt({VAR}) + 1e-5)"), right=DX, case=NEAR_ZERO),
            M("x-for-normalised", lambda e: (first(e) - along(e, e.x)) / deviation(e),
              "x stands in the place of the normalised x",
              wrong=f"({first_} - x * ({T} * x).mean(axis={group}, keepdims=True)) / {S}", right=DX),
            M("y-for-normalised", lambda e: (first(e) - along(e, e.y)) / deviation(e),
              "y stands in the place of the normalised x",
              wrong=f"({first_} - y * ({T} * y).mean(axis={group}, keepdims=True)) / {S}", right=DX),
            M("derivative-missing", lambda e: e.dy * 1.0, "the derivative is missing: dx = dy",
              wrong="dy", right=DX),
            M("derivative-missing", lambda e: into_h(e) * 1.0, "only W is passed on the way back: dx = W dy",
              wrong=T, right=DX),
        ],
    }
    # fmt: on
