"""Mistakes in RMSprop, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import FIRST_STEP, Edit, Fault, at
from compare.network.optimizer import OptimizerSpec

_spec = partial(OptimizerSpec, "RMSprop")
PLAIN = _spec({"lr": 0.01})
COARSE = _spec({"lr": 0.01, "eps": 1e-3})

_update = partial(Edit, "scratch.rmsprop", "RMSprop.update")
_mean_square = partial(Edit, "scratch.rmsprop", "RMSprop._mean_square")
_velocity = partial(Edit, "scratch.rmsprop", "RMSprop._velocity")
_fault = partial(Fault, family="rmsprop", rows=(6, 3, 6), optimizer=PLAIN)
WEIGHT, AVERAGE = at("0.new_weight"), at("0.new_weight.square_avg")
VELOCITY = at("0.new_weight.momentum_buffer")

FAULTS = (
    _fault(
        "rmsprop-epsilon-under-the-root",
        "RMSprop divides by sqrt(v + eps)",
        edits=(
            _update(
                "np.sqrt(self._mean_square(g, state)) + self.eps", "np.sqrt(self._mean_square(g, state) + self.eps)"
            ),
        ),
        where=WEIGHT,
    ),
    _fault(
        "rmsprop-without-epsilon",
        "RMSprop's eps is left out",
        edits=(_update(" + self.eps", ""),),
        where=WEIGHT,
        optimizer=COARSE,
    ),
    _fault(
        "rmsprop-without-root",
        "RMSprop divides by v itself",
        edits=(_update("np.sqrt(self._mean_square(g, state))", "self._mean_square(g, state)"),),
        where=WEIGHT,
    ),
    _fault(
        "rmsprop-of-absolute-gradients",
        "the running mean is of |g|",
        edits=(_mean_square("(g * g)", "abs(g)"),),
        where=AVERAGE,
    ),
    _fault(
        "rmsprop-factors-exchanged",
        "the new square weighs alpha and the old mean 1 - alpha",
        edits=(
            _mean_square("v *= self.alpha", "v *= 1 - self.alpha"),
            _mean_square("(1 - self.alpha) * (g * g)", "self.alpha * (g * g)"),
        ),
        where=AVERAGE,
    ),
    _fault(
        "rmsprop-forgets-its-mean",
        "the running mean is made anew at every step",
        edits=(
            _mean_square(
                'v = state.setdefault("square_avg", np.zeros_like(g))', 'v = state["square_avg"] = np.zeros_like(g)'
            ),
        ),
        where=AVERAGE,
        step=2,
        hidden=FIRST_STEP,
    ),
    _fault(
        "rmsprop-sums-up",
        "the squares are added up without any factor",
        edits=(_mean_square("v *= self.alpha", "pass"), _mean_square("(1 - self.alpha) * (g * g)", "g * g")),
        where=AVERAGE,
    ),
    _fault(
        "rmsprop-mean-of-the-weights",
        "the squares are those of the weights",
        edits=(_update("self._mean_square(g, state)", "self._mean_square(p, state)"),),
        where=AVERAGE,
    ),
    _fault(
        "rmsprop-mean-starts-at-one",
        "the running mean starts at 1, as another library's does",
        edits=(
            _mean_square(
                'v = state.setdefault("square_avg", np.zeros_like(g))',
                'v = state.setdefault("square_avg", np.ones_like(g))',
            ),
        ),
        where=AVERAGE,
    ),
    _fault(
        "rmsprop-decay-lost",
        "the weight decay is not added to the gradient",
        edits=(_update("g = g + self.weight_decay * p", "pass"),),
        where=AVERAGE,
        optimizer=_spec({"lr": 0.01, "weight_decay": 0.1}),
    ),
    _fault(
        "rmsprop-not-centered",
        "the centered form does not subtract the square of the mean gradient",
        edits=(_mean_square("return v - a * a", "return v"),),
        where=WEIGHT,
        optimizer=_spec({"lr": 0.01, "centered": True}),
    ),
    _fault(
        "rmsprop-momentum-of-the-gradient",
        "the velocity takes in the gradient as it is",
        edits=(_update("self._velocity(step, state)", "self._velocity(g, state)"),),
        where=VELOCITY,
        optimizer=_spec({"lr": 0.01, "momentum": 0.9}),
    ),
    _fault(
        "rmsprop-velocity-not-decayed",
        "the velocity keeps all that it held",
        edits=(_velocity("b *= self.momentum", "pass"),),
        where=VELOCITY,
        step=2,
        optimizer=_spec({"lr": 0.01, "momentum": 0.9}),
        hidden=FIRST_STEP,
    ),
    _fault("rmsprop-uphill", "the step is added", edits=(_update("p -= ", "p += "),), where=WEIGHT),
)
CAUSES = {
    "rmsprop-epsilon-under-the-root": "epsilon-inside-root",
    "rmsprop-without-epsilon": "epsilon-missing",
    "rmsprop-without-root": "root-missing",
    "rmsprop-of-absolute-gradients": "square-missing",
    "rmsprop-factors-exchanged": "alpha-exchanged",
    "rmsprop-forgets-its-mean": "moving-average-reset",
    "rmsprop-sums-up": "summed-not-averaged",
    "rmsprop-mean-of-the-weights": "square-of-weights",
    "rmsprop-mean-starts-at-one": "state-not-zero",
    "rmsprop-decay-lost": "weight-decay-missing",
    "rmsprop-not-centered": "centering-missing",
    "rmsprop-momentum-of-the-gradient": "momentum-order",
    "rmsprop-velocity-not-decayed": "moving-average-not-decayed",
    "rmsprop-uphill": "update-sign",
}
