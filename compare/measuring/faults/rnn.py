"""Mistakes in RNN, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ZERO_BIAS, Edit, Fault, at

NETWORK = "RNN(3, 6, batch_first=True), Flatten, Linear(30, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.rnn", "RNN.forward")
_backward = partial(Edit, "scratch.rnn", "RNN.backward")
_from_input = partial(Edit, "scratch.recurrent", "Recurrent._from_input")
_from_state = partial(Edit, "scratch.recurrent", "Recurrent._from_state")
_through_time = partial(Edit, "scratch.recurrent", "Recurrent._through_time")
_slope = partial(Edit, "scratch.rnn", "RNN._slope")
_by_time = partial(Edit, "scratch.recurrent", "Recurrent._by_time")
_fault = partial(Fault, family="recurrent", network=NETWORK)
OUTPUT, GRADIENT = map(at, ("0.output", "0.grad_weight_ih_l0"))

FAULTS = (
    _fault(
        "rnn-state-not-carried",
        "every step begins with zeros",
        edits=(_forward("self._from_state(h[t])", "self._from_state(h[0])"),),
        where=OUTPUT,
    ),
    _fault(
        "rnn-time-reversed",
        "the loop runs over time from its end",
        edits=(_forward("x = self._steps_of(x)", "x = self._steps_of(x)[::-1]"),),
        where=OUTPUT,
    ),
    _fault(
        "rnn-batch-for-time",
        "the first axis is taken for time, though samples are rows",
        edits=(_by_time("if self.batch_first", "if not self.batch_first"),),
        where=OUTPUT,
    ),
    _fault(
        "rnn-weight-transposed",
        "h W_hh in the place of h W_hh^T",
        edits=(_from_state('self.params["weight_hh_l0"].T', 'self.params["weight_hh_l0"]'),),
        where=OUTPUT,
    ),
    _fault(
        "rnn-input-bias-missing",
        "b_ih is not added",
        edits=(_from_input('if "bias_ih_l0" in self.params', "if not self.params"),),
        where=OUTPUT,
        hidden=ZERO_BIAS,
    ),
    _fault(
        "rnn-state-bias-missing",
        "b_hh is not added",
        edits=(_from_state('if "bias_hh_l0" in self.params', "if not self.params"),),
        where=OUTPUT,
        hidden=ZERO_BIAS,
    ),
    _fault(
        "rnn-truncated",
        "the gradient of the state is not carried back",
        edits=(_backward('dh = da[t] @ self.params["weight_hh_l0"]', "pass"),),
        where=GRADIENT,
    ),
    _fault(
        "rnn-one-step-back",
        "the gradient goes back one step only",
        edits=(
            _backward(
                'dh = da[t] @ self.params["weight_hh_l0"]',
                'dh = (dy[t] * self._slope(h[t + 1])) @ self.params["weight_hh_l0"]',
            ),
        ),
        where=GRADIENT,
    ),
    _fault(
        "rnn-output-gradient-lost",
        "dy_t is not added to what comes from the step after",
        edits=(_backward("(dy[t] + dh)", "(dh if t + 1 < len(dy) else dy[t])"),),
        where=GRADIENT,
    ),
    _fault(
        "rnn-carried-through-transpose",
        "da W_hh^T on the way back",
        edits=(_backward('self.params["weight_hh_l0"]', 'self.params["weight_hh_l0"].T'),),
        where=GRADIENT,
    ),
    _fault(
        "rnn-derivative-missing",
        "the tanh has no derivative",
        edits=(_backward(" * self._slope(h[t + 1])", ""),),
        where=GRADIENT,
    ),
    _fault(
        "rnn-derivative-of-the-state-before",
        "tanh' is taken at h of the step before",
        edits=(_backward("self._slope(h[t + 1])", "self._slope(h[t])"),),
        where=GRADIENT,
    ),
    _fault(
        "rnn-derivative-without-square",
        "1 - h in the place of 1 - h^2",
        edits=(_slope("1 - h * h", "1 - h"),),
        where=GRADIENT,
    ),
    _fault(
        "rnn-state-after-for-before",
        "dW_hh from h_t in the place of h_{t-1}",
        edits=(_backward("h[:-1]", "h[1:]"),),
        where=at("0.grad_weight_hh_l0"),
    ),
    _fault(
        "rnn-only-the-last-step",
        "dW = in a loop over time, where += should be: the last step stays",
        edits=(_through_time("_over_time(da, x)", "_over_time(da[-1:], x[-1:])"),),
        where=GRADIENT,
    ),
    _fault(
        "rnn-only-the-first-step",
        "dW = in a loop over time from its end: the first step stays",
        edits=(_through_time("_over_time(da, x)", "_over_time(da[:1], x[:1])"),),
        where=GRADIENT,
    ),
    _fault(
        "rnn-bias-of-the-last-step",
        "db_ih is that of the last step",
        edits=(_through_time("da.sum(axis=(0, 1))", "da[-1].sum(axis=0)"),),
        where=at("0.grad_bias_ih_l0"),
    ),
    _fault(
        "rnn-averaged-over-time",
        "dW_hh is the mean over time",
        edits=(_through_time("_over_time(dr, h)", "_over_time(dr, h) / len(h)"),),
        where=at("0.grad_weight_hh_l0"),
    ),
)
CAUSES = {
    "rnn-state-not-carried": "state-not-carried",
    "rnn-time-reversed": "time-reversed",
    "rnn-batch-for-time": "batch-for-time",
    "rnn-weight-transposed": "weight-transposed",
    "rnn-input-bias-missing": "bias-missing",
    "rnn-state-bias-missing": "bias-missing",
    "rnn-truncated": "truncated",
    "rnn-one-step-back": "truncated",
    "rnn-output-gradient-lost": "output-gradient-lost",
    "rnn-carried-through-transpose": "weight-transposed",
    "rnn-derivative-missing": "derivative-missing",
    "rnn-derivative-of-the-state-before": "wrong-derivative",
    "rnn-derivative-without-square": "wrong-derivative",
    "rnn-state-after-for-before": "state-after-for-before",
    "rnn-only-the-last-step": "steps-not-added-up",
    "rnn-only-the-first-step": "steps-not-added-up",
    "rnn-bias-of-the-last-step": "steps-not-added-up",
    "rnn-averaged-over-time": "mean-over-time",
}
