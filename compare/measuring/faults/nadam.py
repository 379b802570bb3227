"""Mistakes in NAdam, and what each may be called. Those in its averages are Adam's."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import FIRST_STEP, Edit, Fault, at
from compare.network.optimizer import OptimizerSpec

_spec = partial(OptimizerSpec, "NAdam")
PLAIN = _spec({"lr": 0.01, "momentum_decay": 0.5})

_adaptive = partial(Edit, "scratch.nadam", "NAdam._adaptive")
_mu = partial(Edit, "scratch.nadam", "NAdam._mu")
_product = partial(Edit, "scratch.nadam", "NAdam._mu_product")
_fault = partial(Fault, family="nadam", rows=(6, 3, 6), optimizer=PLAIN)
WEIGHT, FIRST, SECOND = at("0.new_weight"), at("0.new_weight.exp_avg"), at("0.new_weight.exp_avg_sq")

FAULTS = (
    _fault(
        "nadam-momentum-constant",
        "mu is beta1 at every step",
        edits=(_mu("self.betas[0] * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))", "self.betas[0]"),),
        where=WEIGHT,
    ),
    _fault(
        "nadam-schedule-not-halved",
        "mu is beta1 (1 - 0.96^(t d))",
        edits=(_mu("1 - 0.5 * 0.96", "1 - 0.96"),),
        where=WEIGHT,
    ),
    _fault(
        "nadam-without-gradient",
        "the gradient enters through its average alone",
        edits=(_adaptive("p -= self.lr * (1 - mu) / (1 - product) * g / root", "pass"),),
        where=WEIGHT,
    ),
    _fault(
        "nadam-without-momentum",
        "the average is kept, and not used",
        edits=(_adaptive("p -= self.lr * ahead / (1 - product * ahead) * m / root", "pass"),),
        where=WEIGHT,
    ),
    _fault(
        "nadam-looks-not-ahead",
        "mu of this step stands in the place of the next one's",
        edits=(_adaptive("self._mu(self.steps + 1)", "self._mu(self.steps)"),),
        where=WEIGHT,
    ),
    _fault(
        "nadam-product-too-short",
        "the product for the average lacks the next step's mu",
        edits=(_adaptive("(1 - product * ahead)", "(1 - product)"),),
        where=WEIGHT,
    ),
    _fault(
        "nadam-product-of-one",
        "the product of mu is not kept from step to step",
        edits=(_product("product *= self._mu(t)", "product = self._mu(t)"),),
        where=WEIGHT,
        step=2,
        hidden=FIRST_STEP,
    ),
    _fault(
        "nadam-uncorrected",
        "neither term is corrected for its bias",
        edits=(_adaptive(" / (1 - product)", ""), _adaptive(" / (1 - product * ahead)", "")),
        where=WEIGHT,
    ),
    _fault(
        "nadam-second-moment-uncorrected",
        "v is taken as it is",
        edits=(_adaptive(" / math.sqrt(1 - b2**self.steps)", ""),),
        where=WEIGHT,
    ),
    _fault(
        "nadam-epsilon-under-the-root",
        "sqrt(v^ + eps)",
        edits=(
            _adaptive(
                "np.sqrt(v) / math.sqrt(1 - b2**self.steps) + self.eps",
                "np.sqrt(v / (1 - b2**self.steps) + self.eps)",
            ),
        ),
        where=WEIGHT,
    ),
    _fault(
        "nadam-average-grows",
        "the first average keeps all that it held",
        edits=(_adaptive("(1 - b1) * (g - m)", "(1 - b1) * g"),),
        where=FIRST,
        step=2,
        hidden=FIRST_STEP,
    ),
    _fault(
        "nadam-squares-forgotten",
        "the second average is of |g|",
        edits=(_adaptive("(g * g)", "abs(g)"),),
        where=SECOND,
    ),
    _fault(
        "nadam-uphill",
        "both terms are added",
        edits=(
            _adaptive("p -= self.lr * (1 - mu)", "p += self.lr * (1 - mu)"),
            _adaptive("p -= self.lr * ahead", "p += self.lr * ahead"),
        ),
        where=WEIGHT,
    ),
)
CAUSES = {
    "nadam-momentum-constant": "momentum-schedule-missing",
    "nadam-schedule-not-halved": "momentum-schedule-missing",
    "nadam-without-gradient": "look-ahead-missing",
    "nadam-without-momentum": "momentum-missing",
    "nadam-looks-not-ahead": "momentum-of-this-step",
    "nadam-product-too-short": "momentum-product-short",
    "nadam-product-of-one": "momentum-product-forgotten",
    "nadam-uncorrected": "bias-correction-missing",
    "nadam-second-moment-uncorrected": "bias-correction-missing",
    "nadam-epsilon-under-the-root": "epsilon-inside-root",
    "nadam-average-grows": "moving-average-not-decayed",
    "nadam-squares-forgotten": "square-missing",
    "nadam-uphill": "update-sign",
}
