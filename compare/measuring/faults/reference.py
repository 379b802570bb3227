"""Mistakes in the reference itself, which must not pass for mistakes of the candidates: what the arbiter is for."""

from __future__ import annotations

from compare.measuring.faults.fault import FIRST_STEP, ONE_ROW, Edit, Fault, at
from compare.network.optimizer import OptimizerSpec

REFERENCE_FAULTS = (
    Fault(
        "reference-bias-gradient-averaged",
        "the reference takes the mean of dy over the samples for db",
        "reference",
        (Edit("compare.operations.linear", "Linear.grad_bias", "a.sum(dim=0)", "a.mean(dim=0)"),),
        at("2.grad_bias"),
        hidden=ONE_ROW,
    ),
    Fault(
        "reference-weight-transposed",
        "the reference's dx is dy W^T, where W is square",
        "reference",
        (Edit("compare.operations.linear", "Linear.grad_input", "@ tensor(weight)", "@ tensor(weight).T"),),
        at("2.grad_input"),
        network="6-6-6 relu, softmax cross-entropy",
        rows=(5, 3),
        hidden="with sizes that differ it crashes; no difference for a symmetric matrix",
    ),
    Fault(
        "reference-derivative-of-activated",
        "the reference takes an activation's derivative at the already activated value",
        "reference",
        (
            Edit(
                "compare.operations.operation",
                "Activation.grad_input",
                "derivative(self.function, x, dy)",
                "derivative(self.function, self.apply(x), dy)",
            ),
        ),
        at("1.grad_input"),
        network="5-7-4 tanh, softmax cross-entropy",
    ),
    Fault(
        "reference-half-squared-error-gradient",
        "the reference's gradient of half the squared error is that of the whole",
        "reference",
        (
            Edit(
                "compare.operations.operation",
                "Loss.gradient",
                "np.ones(())",
                'np.full((), 2.0 if self.kind == "half_squared_error" else 1.0)',
            ),
        ),
        at("2.grad_output", "loss"),
        network="5-7-4 tanh, half squared error",
    ),
    Fault(
        "reference-half-squared-error-without-its-half",
        "the reference's half squared error lacks its half, and so does its gradient",
        "reference",
        (Edit("torch_ref.losses", "HalfSquaredErrorLoss.forward", ".sum() / 2", ".sum()"),),
        at("loss"),
        network="5-7-4 tanh, half squared error",
    ),
    Fault(
        "reference-bias-correction-one-step-off",
        "the reference's AdamW is one step ahead in its bias correction",
        "reference",
        (Edit("compare.operations.adam", "Adam.stepped", "step - 1.0", "float(step - (step < 2))"),),
        at("0.new_weight"),
        step=2,
        optimizer=OptimizerSpec("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
        rows=(6, 3, 6),
        hidden=FIRST_STEP,
    ),
)
