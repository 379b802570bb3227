"""Mistakes in GRU, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "GRU(3, 6, batch_first=True), Flatten, Linear(30, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.gru", "GRU.forward")
_backward = partial(Edit, "scratch.gru", "GRU.backward")
_through_time = partial(Edit, "scratch.recurrent", "Recurrent._through_time")
_fault = partial(Fault, family="recurrent", network=NETWORK)
OUTPUT, GRADIENT = map(at, ("0.output", "0.grad_weight_ih_l0"))

FAULTS = (
    _fault(
        "gru-gates-exchanged",
        "z is where r should be",
        edits=(_forward("(r, z, n), (qr, qz, qn) = self", "(z, r, n), (qz, qr, qn) = self"),),
        where=OUTPUT,
    ),
    _fault(
        "gru-reset-before-product",
        "r is applied to h, and then W_hh",
        edits=(
            _forward(
                "n[...] = np.tanh(n + r * qn)", "n[...] = np.tanh(n + self._gates_of(self._from_state(r * h[t]))[2])"
            ),
        ),
        where=OUTPUT,
    ),
    _fault(
        "gru-update-gate-exchanged",
        "z n + (1 - z) h",
        edits=(_forward("(1 - z) * n + z * h[t]", "z * n + (1 - z) * h[t]"),),
        where=OUTPUT,
    ),
    _fault(
        "gru-reset-left-out",
        "the reset gate is not used",
        edits=(_forward("n + r * qn", "n + qn"),),
        where=OUTPUT,
    ),
    _fault(
        "gru-update-gate-exchanged-on-the-way-back",
        "dn from z, in the place of 1 - z, and dh from 1 - z",
        edits=(
            _backward("dh * (1 - z) * (1 - n * n)", "dh * z * (1 - n * n)"),
            _backward("dh * z + dq", "dh * (1 - z) + dq"),
        ),
        where=GRADIENT,
    ),
    _fault(
        "gru-direct-path-lost",
        "z dh does not go on",
        edits=(_backward("dh = dh * z + dq[t]", "dh = dq[t]"),),
        where=GRADIENT,
    ),
    _fault(
        "gru-reset-path-lost",
        "the reset gate has no gradient",
        edits=(_backward("dr[...] = dn * qn * r * (1 - r)", "dr[...] = 0"),),
        where=GRADIENT,
    ),
    _fault(
        "gru-reset-left-out-on-the-way-back",
        "dq is da in every block",
        edits=(_backward("self._gates_of(dq[t])[2][...] *= r", "pass"),),
        where=GRADIENT,
    ),
    _fault(
        "gru-truncated",
        "the gradient of the state is not carried back",
        edits=(_backward('dh = dh * z + dq[t] @ self.params["weight_hh_l0"]', "dh = np.zeros_like(dh)"),),
        where=GRADIENT,
    ),
    _fault(
        "gru-output-gradient-lost",
        "dy_t is not added to what comes from the step after",
        edits=(_backward("dh = dh + dy[t]", "dh = dh if t + 1 < len(dy) else dy[t]"),),
        where=GRADIENT,
    ),
    _fault(
        "gru-state-after-for-before",
        "dW_hh from h_t in the place of h_{t-1}",
        edits=(_backward("h[:-1]", "h[1:]"),),
        where=at("0.grad_weight_hh_l0"),
    ),
    _fault(
        "gru-bias-of-the-last-step",
        "db_hh is that of the last step",
        edits=(_through_time("dr.sum(axis=(0, 1))", "dr[-1].sum(axis=0)"),),
        where=at("0.grad_bias_hh_l0"),
    ),
)
CAUSES = {
    "gru-gates-exchanged": "gates-in-another-order",
    "gru-reset-before-product": "reset-before-product",
    "gru-update-gate-exchanged": "update-gate-exchanged",
    "gru-reset-left-out": "reset-left-out",
    "gru-update-gate-exchanged-on-the-way-back": "update-gate-exchanged",
    "gru-direct-path-lost": "direct-path-lost",
    "gru-reset-path-lost": "reset-path-lost",
    "gru-reset-left-out-on-the-way-back": "reset-left-out",
    "gru-truncated": "truncated",
    "gru-output-gradient-lost": "output-gradient-lost",
    "gru-state-after-for-before": "state-after-for-before",
    "gru-bias-of-the-last-step": "steps-not-added-up",
}
