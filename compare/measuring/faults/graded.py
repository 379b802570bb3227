"""Mistakes that come in sizes, to find the smallest one that is still seen; and those of the number format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at, shown
from compare.measuring.faults.linear import GRAD_BIAS, GRAD_WEIGHT
from compare.measuring.faults.losses import log_epsilon
from compare.network.optimizer import OptimizerSpec

# Planted in every linear layer; where it is below the allowance in the last one, it may still show in the first.
EITHER_GRAD_WEIGHT = GRAD_WEIGHT | at("0.grad_weight")

_forward = partial(Edit, "scratch.layers", "Linear.forward")
_dw = partial(Edit, "scratch.layers", "Linear.backward", 'self.grads["weight"] = dy.T @ x')


def _largest(of: str, factor: str) -> str:
    return f"{of}.flat[np.abs({of}).argmax()] *= {factor}"


def _element_off(size: float) -> Fault:
    line = _largest("dw", f"1 + {size!r}")
    return Fault(
        _name("one-element-off-by", size),
        f"the largest element of dW is wrong by a factor 1 + {shown(size)}",
        "one element",
        (_dw(f'dw = dy.T @ x\n    {line}\n    self.grads["weight"] = dw'),),
        EITHER_GRAD_WEIGHT,
        size=size,
    )


def _element_off_in_ulp(size: float) -> Fault:
    line = _largest("dw", f"1 + {size!r} * np.finfo(dw.dtype).eps")
    return Fault(
        _name("one-element-off-by-ulp", size),
        f"the largest element of dW is wrong by {shown(size)} units in the last place",
        "one element",
        (_dw(f'dw = dy.T @ x\n    {line}\n    self.grads["weight"] = dw'),),
        EITHER_GRAD_WEIGHT,
        size=size,
    )


def _output_off(size: float) -> Fault:
    return Fault(
        _name("one-output-off-by", size),
        f"the largest output of the linear layer is wrong by a factor 1 + {shown(size)}",
        "one element",
        (_forward("return y", f"{_largest('y', f'1 + {size!r}')}\n    return y"),),
        at("0.output"),
        size=size,
    )


def _gradient_scaled(size: float) -> Fault:
    return Fault(
        _name("gradient-scaled-by-1-plus", size),
        f"dW is multiplied by 1 + {shown(size)}",
        "scale",
        (_dw(f'self.grads["weight"] = (1 + {size!r}) * (dy.T @ x)'),),
        EITHER_GRAD_WEIGHT,
        size=size,
    )


def _rate_off(size: float) -> Fault:
    return Fault(
        _name("rate-off-by", size),
        f"the learning rate is wrong by a factor 1 + {shown(size)}",
        "rate",
        (Edit("scratch.optim", "SGD.update", "self.lr * g", f"self.lr * (1 + {size!r}) * g"),),
        at("0.new_weight"),
        optimizer=OptimizerSpec("SGD", {"lr": 1.0}),
        size=size,
    )


def _adam_rate_off(size: float) -> Fault:
    return Fault(
        _name("adam-rate-off-by", size),
        f"Adam's learning rate is wrong by a factor 1 + {shown(size)}",
        "rate",
        (Edit("scratch.optim", "Adam._adaptive", "(self.lr / ", f"((1 + {size!r}) * self.lr / "),),
        at("0.new_weight"),
        optimizer=OptimizerSpec("Adam", {"lr": 0.1}),
        size=size,
    )


GRADED: dict[str, Callable[[float], Fault]] = {
    "one-element-off-by": _element_off,
    "one-element-off-by-ulp": _element_off_in_ulp,
    "one-output-off-by": _output_off,
    "gradient-scaled-by-1-plus": _gradient_scaled,
    "rate-off-by": _rate_off,
    "adam-rate-off-by": _adam_rate_off,
    "log-epsilon": log_epsilon,
}


def graded(name: str, size: float) -> Fault:
    """The fault of this kind (a key of GRADED) in this size. ValueError for a kind that is not graded."""
    if name not in GRADED:
        raise ValueError(f"got graded fault {name!r}, expected one of {', '.join(GRADED)}")
    return GRADED[name](size)


def _name(kind: str, size: float) -> str:
    return f"{kind}-{shown(size)}"


FORMATS = (
    Fault(
        "output-in-float16",
        "the linear layer's output makes a round trip through float16",
        "format",
        (_forward("return y", "return y.astype(np.float16).astype(y.dtype)"),),
        at("0.output"),
        hidden="no difference for numbers that float16 holds exactly",
    ),
    Fault(
        "gradient-in-float16",
        "dW makes a round trip through float16",
        "format",
        (_dw('self.grads["weight"] = (dy.T @ x).astype(np.float16).astype(x.dtype)'),),
        GRAD_WEIGHT,
        hidden="no difference for numbers that float16 holds exactly",
    ),
    Fault(
        "weights-in-float16",
        "the updated weights make a round trip through float16",
        "format",
        (
            Edit(
                "scratch.optim",
                "SGD.update",
                "p -= self.lr * g",
                "p[...] = (p - self.lr * g).astype(np.float16)",
            ),
        ),
        at("0.new_weight"),
        hidden="no difference for numbers that float16 holds exactly",
    ),
    Fault(
        "gradient-in-float32",
        "dW makes a round trip through float32 in a float64 network",
        "format",
        (_dw('self.grads["weight"] = (dy.T @ x).astype(np.float32).astype(x.dtype)'),),
        GRAD_WEIGHT,
        dtypes=("float64",),
        hidden="no difference in a float32 network",
    ),
    Fault(
        "float64-gradient",
        "db stays in float64 in a float32 network: it is divided by a NumPy number, which has that dtype",
        "format",
        (
            Edit(
                "scratch.layers",
                "Linear.backward",
                'self.grads["bias"] = dy.sum(axis=0)',
                'self.grads["bias"] = dy.sum(axis=0) / np.float64(1)',
            ),
        ),
        GRAD_BIAS,
        dtypes=("float32",),
        hidden="no difference in a float64 network",
    ),
    Fault(
        "float32-gradient",
        "dW is left in float32 in a float64 network",
        "format",
        (_dw('self.grads["weight"] = (dy.T @ x).astype(np.float32)'),),
        GRAD_WEIGHT,
        dtypes=("float64",),
        hidden="no difference in a float32 network",
    ),
    Fault(
        "float64-loss",
        "the loss is added up in float64 in a float32 network",
        "format",
        (
            Edit(
                "scratch.losses",
                "CrossEntropyLoss.forward",
                "-(t * log_p).sum()",
                "-(t * log_p).sum(dtype=np.float64)",
            ),
        ),
        at("loss"),
        dtypes=("float32",),
        hidden="no difference in a float64 network",
    ),
)

SIZED = (
    graded("one-element-off-by", 1e-3),
    graded("one-element-off-by", 1e-6),
    graded("one-element-off-by-ulp", 64),
    graded("one-output-off-by", 1e-3),
    graded("gradient-scaled-by-1-plus", 1e-3),
    graded("gradient-scaled-by-1-plus", 1e-5),
    graded("rate-off-by", 1e-4),
    graded("adam-rate-off-by", 1e-4),
)

GRADED_FAULTS = SIZED + FORMATS
