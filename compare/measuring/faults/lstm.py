"""Mistakes in LSTM, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "LSTM(3, 6, batch_first=True), Flatten, Linear(30, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.lstm", "LSTM.forward")
_backward = partial(Edit, "scratch.lstm", "LSTM.backward")
_through_time = partial(Edit, "scratch.recurrent", "Recurrent._through_time")
_fault = partial(Fault, family="recurrent", network=NETWORK)
OUTPUT, GRADIENT = map(at, ("0.output", "0.grad_weight_ih_l0"))

FAULTS = (
    _fault(
        "lstm-gates-exchanged",
        "o is where g should be, and g where o should be",
        edits=(_forward("i, f, g, o = self._gates_of(a[t])", "i, f, o, g = self._gates_of(a[t])"),),
        where=OUTPUT,
    ),
    _fault(
        "lstm-cell-not-squashed",
        "h = o c",
        edits=(_forward("np.tanh(c[t + 1])", "c[t + 1]"),),
        where=OUTPUT,
    ),
    _fault(
        "lstm-cell-not-forgotten",
        "c = c + i g",
        edits=(_forward("f * c[t]", "c[t]"),),
        where=OUTPUT,
    ),
    _fault(
        "lstm-cell-not-carried",
        "c of the step before is lost",
        edits=(_forward("f * c[t]", "f * c[0]"),),
        where=OUTPUT,
    ),
    _fault(
        "lstm-state-not-carried",
        "every step begins with a state of zeros",
        edits=(_forward("self._from_state(h[t])", "self._from_state(h[0])"),),
        where=OUTPUT,
    ),
    _fault(
        "lstm-time-reversed",
        "the loop runs over time from its end",
        edits=(_forward("x = self._steps_of(x)", "x = self._steps_of(x)[::-1]"),),
        where=OUTPUT,
    ),
    _fault(
        "lstm-forget-bias",
        "1 is added to the forget gate's argument",
        edits=(_forward("sigmoid(f)", "sigmoid(f + 1)"),),
        where=OUTPUT,
    ),
    _fault(
        "lstm-cell-gradient-lost",
        "dc is not carried to the step before",
        edits=(_backward("dc = dc * f", "dc = np.zeros_like(dc)"),),
        where=GRADIENT,
    ),
    _fault(
        "lstm-forget-path-lost",
        "dc goes back without the forget gate",
        edits=(_backward("dc = dc * f", "pass"),),
        where=GRADIENT,
    ),
    _fault(
        "lstm-cell-derivative-missing",
        "the tanh of the cell has no derivative",
        edits=(_backward("dh * o * (1 - s * s)", "dh * o"),),
        where=GRADIENT,
    ),
    _fault(
        "lstm-truncated",
        "the gradient of the state is not carried back",
        edits=(_backward('dh = da[t] @ self.params["weight_hh_l0"]', "dh = np.zeros_like(dh)"),),
        where=GRADIENT,
    ),
    _fault(
        "lstm-output-gradient-lost",
        "dy_t is not added to what comes from the step after",
        edits=(_backward("dh = dh + dy[t]", "dh = dh if t + 1 < len(dy) else dy[t]"),),
        where=GRADIENT,
    ),
    _fault(
        "lstm-cell-gradient-overwritten",
        "the gradient from h is not added to that of the cell",
        edits=(_backward("dc = dc + dh * o * (1 - s * s)", "dc = dc if t + 1 < len(dy) else dh * o * (1 - s * s)"),),
        where=GRADIENT,
    ),
    _fault(
        "lstm-state-after-for-before",
        "dW_hh from h_t in the place of h_{t-1}",
        edits=(_backward("h[:-1]", "h[1:]"),),
        where=at("0.grad_weight_hh_l0"),
    ),
    _fault(
        "lstm-averaged-over-time",
        "dW_hh is the mean over time",
        edits=(_through_time("_over_time(dr, h)", "_over_time(dr, h) / len(h)"),),
        where=at("0.grad_weight_hh_l0"),
    ),
)
CAUSES = {
    "lstm-gates-exchanged": "gates-in-another-order",
    "lstm-cell-not-squashed": "cell-not-squashed",
    "lstm-cell-not-forgotten": "cell-not-forgotten",
    "lstm-cell-not-carried": "cell-not-carried",
    "lstm-state-not-carried": "state-not-carried",
    "lstm-time-reversed": "time-reversed",
    "lstm-forget-bias": "forget-bias-added",
    "lstm-cell-gradient-lost": "cell-gradient-not-carried",
    "lstm-forget-path-lost": "forget-path-lost",
    "lstm-cell-derivative-missing": "cell-derivative-missing",
    "lstm-truncated": "truncated",
    "lstm-output-gradient-lost": "output-gradient-lost",
    "lstm-cell-gradient-overwritten": "cell-gradient-overwritten",
    "lstm-state-after-for-before": "state-after-for-before",
    "lstm-averaged-over-time": "mean-over-time",
}
