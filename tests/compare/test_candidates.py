"""What check is given: it goes on, or refuses in one clear line with the place, what was found and was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import scratch
from compare.recording.torch_recorder import record_torch
from compare.report.report import Report

Array = np.ndarray
M = 9  # rows


def linear(n: int, k: int, kind: Any = scratch.Linear) -> Any:
    return kind(n, k, rng=np.random.default_rng(n))


def batch() -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((M, 7)).astype(np.float32), rng.integers(0, 4, M)


def check(*layers: Any, loss: Any = None, sgd: Any = None) -> Report:
    net = scratch.Sequential(*layers)
    return compare.check(net, *batch(), loss=loss or scratch.CrossEntropyLoss(), optimizer=sgd and sgd(net, 0.1))


def returns(base: Any, method: str, of: Callable[..., Any]) -> Any:
    """A subclass whose `method` returns of(what it should return, the layer itself)."""

    def changed(self: Any, *args: Any) -> Any:
        return of(getattr(base, method)(self, *args), self)

    return type(f"Odd{base.__name__}", (base,), {method: changed})


def raises(base: Any, method: str, error: Exception) -> Any:
    def changed(self: Any, *args: Any) -> Any:
        raise error

    return type(f"Odd{base.__name__}", (base,), {method: changed})


def leaves(name: str, value: Any) -> Any:
    """A linear layer whose backward leaves `value` as this gradient; a missing one for ..."""

    def of(dx: Array, layer: Any) -> Array:
        layer.grads[name] = value
        if value is ...:
            del layer.grads[name]
        return dx

    return returns(scratch.Linear, "backward", of)


def tanh(method: str, of: Callable[..., Any]) -> Any:
    return returns(scratch.Tanh, method, of)()


def between(layer: Any) -> Callable[[], Report]:
    return lambda: check(linear(7, 6), layer, linear(6, 4))


def last(kind: Any, **rest: Any) -> Callable[[], Report]:
    return lambda: check(linear(7, 6), scratch.Tanh(), linear(6, 4, kind), **rest)


def with_loss(method: str, of: Callable[..., Any]) -> Callable[[], Report]:
    return lambda: check(linear(7, 4), loss=returns(scratch.CrossEntropyLoss, method, of)())


def torch_model(model: nn.Module, loss: Any) -> Callable[[], Report]:
    return lambda: compare.check(model, *batch(), loss=loss)


def arrays(found: Any, x: Any = None, t: Any = None) -> Callable[[], Report]:
    data = batch()
    return lambda: compare.check(
        found, data[0] if x is None else x, t if x is not None else data[1], network="7-4, mse"
    )


class NoSuper(scratch.Linear):
    """Forgets super().__init__()."""

    def __init__(self, n: int, k: int, **_: Any) -> None:
        self.n, self.k = n, k


class NoSuperTanh(scratch.Tanh):
    def __init__(self) -> None:
        pass


class NoSuperLoss(scratch.CrossEntropyLoss):
    def __init__(self) -> None:
        pass


class NoSuperSGD(scratch.SGD):
    def __init__(self, network: Any, lr: float) -> None:
        self.rate = lr


class Renamed(scratch.Linear):
    def __init__(self, n: int, k: int, **rest: Any) -> None:
        super().__init__(n, k, **rest)
        self.params = {"W": self.params["weight"], "b": self.params["bias"]}


class Lists(scratch.Linear):
    def __init__(self, n: int, k: int, **rest: Any) -> None:
        super().__init__(n, k, **rest)
        self.params["weight"] = self.params["weight"].tolist()


class ListOfGrads(scratch.Linear):
    def __init__(self, n: int, k: int, **rest: Any) -> None:
        super().__init__(n, k, **rest)
        self.grads = []  # type: ignore[assignment]


class OwnLayer:
    """No layer of scratch."""

    def forward(self, x: Array) -> Array:
        return x


class OwnLoss:
    def forward(self, y: Array, t: Array) -> float:
        return 0.0


class LossWithoutBackward(scratch.Loss):
    def forward(self, y: Array, t: Any) -> Any:
        return np.float32(0)


BAD = ValueError("no such\nluck")

# what it does, the exception's type, and its words
REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    # --- what a layer is ---
    ("no layer", between(OwnLayer()), TypeError, "got layer OwnLayer, expected Add, AvgPool2d, BatchNorm1d, "),
    ("no super", last(NoSuper), TypeError, "layer 2 (NoSuper) has no in_features, expected in_features, out_features,"),
    (
        "no super, tanh",
        between(NoSuperTanh()),
        TypeError,
        "layer 1 (NoSuperTanh) has no params, expected params, grads",
    ),
    ("other names", last(Renamed), TypeError, "layer 2 (Renamed): params has ['W', 'b'], expected ['weight']"),
    ("lists", last(Lists), TypeError, "layer 2 (Lists): params['weight'] is a list, expected an array (4, 6)"),
    (
        "a list of gradients",
        last(ListOfGrads),
        TypeError,
        "layer 2 (ListOfGrads): grads is a list, expected a dictionary",
    ),
    (
        "in two places",
        lambda: check(linear(7, 7), *[scratch.Tanh()] * 2, linear(7, 4)),
        ValueError,
        "layers 1 and 2 are the same Tanh object, expected one for each place: a layer keeps what its last forward saw",
    ),
    # --- what it returns ---
    (
        "forward: None",
        between(tanh("forward", lambda y, _: None)),
        ValueError,
        "layer 1 (OddTanh): forward returned nothing (None), expected an array (9, 6)",
    ),
    (
        "forward: list",
        between(tanh("forward", lambda y, _: y.tolist())),
        ValueError,
        "layer 1 (OddTanh): forward returned a list of 9, expected an array (9, 6)",
    ),
    (
        "forward: tuple",
        between(tanh("forward", lambda y, _: (y, y))),
        ValueError,
        "layer 1 (OddTanh): forward returned a tuple of 2, expected an array (9, 6)",
    ),
    (
        "forward: tensor",
        between(tanh("forward", lambda y, _: torch.from_numpy(y))),
        ValueError,
        "layer 1 (OddTanh): forward returned a Tensor, expected an array (9, 6)",
    ),
    (
        "forward: objects",
        between(tanh("forward", lambda y, _: y.astype(object))),
        ValueError,
        "layer 1 (OddTanh): forward returned an array of object, expected one of floating-point numbers (9, 6)",
    ),
    (
        "forward: complex",
        between(tanh("forward", lambda y, _: y.astype(complex))),
        ValueError,
        "layer 1 (OddTanh): forward returned an array of complex128, expected one of floating-point numbers (9, 6)",
    ),
    (
        "backward: None",
        between(tanh("backward", lambda dx, _: None)),
        ValueError,
        "layer 1 (OddTanh): backward returned nothing (None), expected an array (9, 6)",
    ),
    (
        "backward: tuple",
        last(returns(scratch.Linear, "backward", lambda dx, layer: (dx, *layer.grads.values()))),
        ValueError,
        "layer 2 (Linear 6 -> 4): backward returned a tuple of 3, expected an array (9, 6)",
    ),
    (
        "backward of the first: tuple",
        lambda: check(linear(7, 4, returns(scratch.Linear, "backward", lambda dx, _: (dx, None)))),
        ValueError,
        "layer 0 (Linear 7 -> 4): backward returned a tuple of 2, expected an array (9, 7)",
    ),
    # --- its gradients ---
    (
        "a gradient of None",
        last(leaves("bias", None)),
        ValueError,
        "layer 2 (Linear 6 -> 4): backward left nothing (None) in grads['bias'], expected an array (4,)",
    ),
    (
        "a gradient in a list",
        last(leaves("bias", [0.0] * 4)),
        ValueError,
        "layer 2 (Linear 6 -> 4): backward left a list of 4 in grads['bias'], expected an array (4,)",
    ),
    (
        "a gradient of something else",
        last(leaves("w", None)),
        ValueError,
        "layer 2 (Linear 6 -> 4): backward left nothing (None) in grads['w'], expected one of ['bias', 'weight']",
    ),
    (
        "a gradient too many",
        last(leaves("w", np.zeros(3, np.float32))),
        ValueError,
        "2.grad_w: no such tensor in 7-6-4 tanh",
    ),
    # --- what it raises ---
    *[
        (
            f"{method} raises {type(error).__name__}",
            between(raises(scratch.Tanh, method, error)()),
            ValueError,
            f"layer 1 (OddTanh): {method} raised {type(error).__name__}: {words}",
        )
        for method in ("forward", "backward")
        for error, words in (
            (KeyError("weight"), "'weight'"),
            (AttributeError("no x"), "no x"),
            (TypeError("t"), "t"),
            (IndexError("i"), "i"),
            (BAD, "no such"),
            (ZeroDivisionError("z"), "z"),
        )
    ],
    # --- the loss ---
    ("no loss", lambda: check(linear(7, 4), loss=OwnLoss()), TypeError, "got loss OwnLoss, expected a scratch loss"),
    (
        "a loss without backward",
        lambda: check(linear(7, 4), loss=LossWithoutBackward()),
        TypeError,
        "got loss LossWithoutBackward, expected one of BCELoss",
    ),
    (
        "no super, loss",
        lambda: check(linear(7, 4), loss=NoSuperLoss()),
        TypeError,
        "NoSuperLoss: got reduction None, expected 'mean' or 'sum'",
    ),
    (
        "loss: None",
        with_loss("forward", lambda v, _: None),
        ValueError,
        "the loss (OddCrossEntropyLoss): forward returned nothing (None), expected one number",
    ),
    (
        "loss: a number for each sample",
        with_loss("forward", lambda v, _: np.full(M, v)),
        ValueError,
        "the loss (OddCrossEntropyLoss): forward returned an array (9,), expected one number",
    ),
    (
        "loss: with its gradient",
        with_loss("forward", lambda v, _: (v, v)),
        ValueError,
        "the loss (OddCrossEntropyLoss): forward returned a tuple of 2, expected one number",
    ),
    (
        "loss: backward None",
        with_loss("backward", lambda dy, _: None),
        ValueError,
        "the loss (OddCrossEntropyLoss): backward returned nothing (None), expected an array (9, 4)",
    ),
    (
        "loss: backward raises",
        lambda: check(linear(7, 4), loss=raises(scratch.MSELoss, "backward", KeyError("t"))()),
        ValueError,
        "the loss (OddMSELoss): forward: got a target of int64 (9,), expected float32 (9, 4)",
    ),
    # --- the optimiser ---
    (
        "step raises",
        lambda: check(linear(7, 4), sgd=raises(scratch.SGD, "update", KeyError("v"))),
        ValueError,
        "the optimiser (OddSGD): step raised KeyError: 'v'",
    ),
    (
        "no super, optimiser",
        lambda: check(linear(7, 4), sgd=NoSuperSGD),
        TypeError,
        "NoSuperSGD has no lr: is super().__init__() called?",
    ),
    # --- data and arrays ---
    ("one number", arrays({}, 3.0, [1]), ValueError, "x: got one number, expected"),
    ("words", arrays({}, [["a"]], [1]), TypeError, "x: got <U1, expected an array of numbers"),
    ("no target", arrays({}, np.zeros((9, 7)), None), TypeError, "t: got None, expected"),
    ("None for an array", arrays({"0.weight": None}), TypeError, "0.weight: got None, expected an array of numbers"),
    (
        "rows of different lengths",
        arrays({"0.bias": [[1], [1, 2]]}),
        ValueError,
        "0.bias: got rows of different lengths, expected an array",
    ),
    (
        "complex",
        arrays({"0.bias": np.zeros(4, complex)}),
        TypeError,
        "0.bias: got complex128, expected an array of numbers",
    ),
    ("a name that is none", arrays({0: np.zeros(4)}), TypeError, "got the name 0, expected a text such as '0.weight'"),
    # --- torch ---
    (
        "torch: no loss",
        lambda: compare.check(nn.Sequential(nn.Linear(7, 4)), *batch()),
        ValueError,
        "the loss is missing",
    ),
    (
        "torch: other precision",
        torch_model(nn.Sequential(nn.Linear(7, 4)).double(), nn.CrossEntropyLoss()),
        ValueError,
        "the model raised RuntimeError: ",
    ),
    (
        "torch: another shape",
        torch_model(nn.Sequential(nn.Linear(5, 4)), nn.CrossEntropyLoss()),
        ValueError,
        "mat1 and mat2 shapes cannot be multiplied (9x7 and 5x4)",
    ),
    (
        "torch: no layer",
        torch_model(nn.Sequential(nn.Hardswish()), nn.CrossEntropyLoss()),
        TypeError,
        "got layer Hardswish(), expected Add, AvgPool2d, BatchNorm1d, ",
    ),
    (
        "torch: shared weights",
        torch_model(nn.Sequential(*[nn.Linear(7, 7)] * 2), nn.CrossEntropyLoss()),
        ValueError,
        "layers 0 and 1 are the same Linear(in_features=7, out_features=7, bias=True): shared weights are not",
    ),
    *[
        (
            f"torch: {loss}",
            torch_model(nn.Sequential(nn.Linear(7, 4)), loss),
            ValueError,
            f"got {words}, which is not checked",
        )
        for loss, words in (
            (nn.NLLLoss(weight=torch.ones(4)), "NLLLoss(weight=...)"),
            (nn.CrossEntropyLoss(ignore_index=0), "CrossEntropyLoss(ignore_index=0)"),
            (nn.BCEWithLogitsLoss(pos_weight=torch.ones(4)), "BCEWithLogitsLoss(pos_weight=...)"),
        )
    ],
    (
        "torch: no reduction",
        torch_model(nn.Sequential(nn.Linear(7, 4)), nn.CrossEntropyLoss(reduction="none")),
        TypeError,
        "CrossEntropyLoss: got reduction 'none', expected 'mean' or 'sum'",
    ),
]


@pytest.mark.parametrize(("call", "kind", "words"), [pytest.param(*rest, id=name) for name, *rest in REFUSED])
def test_it_is_refused_in_one_line(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    assert words in message
    assert "\n" not in message


def test_the_exception_of_the_candidate_s_own_code_is_kept_as_the_cause() -> None:
    with pytest.raises(ValueError, match=r"forward raised ValueError: no such$") as raised:
        between(raises(scratch.Tanh, "forward", BAD)())()
    assert raised.value.__cause__ is BAD


def test_bad_sizes_still_name_the_layer() -> None:
    with pytest.raises(ValueError, match=r"layer 2 \(Linear 5 -> 4\): got \(9, 6\), expected \(m, 5\)"):
        check(linear(7, 6), scratch.Tanh(), linear(5, 4))


# --- the check goes on: what it does, the verdict, the first tensor that is off, and words of the report ---

GOES_ON: list[tuple[str, Callable[[], Report], str, str | None, str]] = [
    ("no gradient of the bias", last(leaves("bias", ...)), "incomplete", None, "not handed in: 2.grad_bias"),
    (
        "no gradient of the bias, with an optimiser",
        last(leaves("bias", ...), sgd=scratch.SGD),
        "incomplete",
        None,
        "not handed in: 2.grad_bias",
    ),
    (
        "no gradients at all",
        last(returns(scratch.Linear, "backward", lambda dx, layer: layer.grads.clear() or dx)),
        "incomplete",
        None,
        "not handed in: 2.grad_weight, 2.grad_bias",
    ),
    (
        "a gradient in one number",
        last(leaves("bias", np.float32(0))),
        "mismatch",
        "2.grad_bias",
        "shape (), expected (4,)",
    ),
    (
        "a gradient in a row, with an optimiser",
        last(leaves("bias", np.zeros((1, 4), np.float32)), sgd=scratch.Adam),
        "mismatch",
        "2.grad_bias",
        "shape (1, 4), expected (4,)",
    ),
    (
        "the first layer returns nothing",
        lambda: check(linear(7, 4, returns(scratch.Linear, "backward", lambda dx, _: None))),
        "incomplete",
        None,
        "0.grad_input (layer 0 (Linear 7 -> 4): backward returned nothing (None))",
    ),
    (
        "an output transposed",
        between(tanh("forward", lambda y, _: y.T.copy())),
        "mismatch",
        "1.output",
        "shape (6, 9), expected (9, 6)",
    ),
    (
        "the last output in one dimension",
        last(returns(scratch.Linear, "forward", lambda y, _: y.ravel())),
        "mismatch",
        "2.output",
        "shape (36,), expected (9, 4)",
    ),
    (
        "a gradient on the way back transposed",
        between(tanh("backward", lambda dx, _: dx.T.copy())),
        "mismatch",
        "1.grad_input",
        "shape (6, 9), expected (9, 6)",
    ),
    (
        "the gradient of the loss transposed",
        with_loss("backward", lambda dy, _: dy.T.copy()),
        "mismatch",
        "0.grad_output",
        "shape (4, 9), expected (9, 4)",
    ),
    ("the loss as a Python number", with_loss("forward", lambda v, _: float(v)), "parity", None, ""),
    ("the loss as an array of no dimension", with_loss("forward", lambda v, _: np.array(v)), "parity", None, ""),
]


@pytest.mark.parametrize(
    ("run", "verdict", "tensor", "words"), [pytest.param(*rest, id=name) for name, *rest in GOES_ON]
)
def test_the_check_goes_on(run: Callable[[], Report], verdict: str, tensor: str | None, words: str) -> None:
    report = run()
    assert report.verdict == verdict
    assert (report.first and report.first.tensor) == tensor
    assert words in str(report)


def test_torch_modules_without_parameters_may_stand_in_several_places() -> None:
    act = nn.Tanh()
    model = nn.Sequential(nn.Linear(7, 6), act, nn.Linear(6, 5), act, nn.Linear(5, 4))
    assert compare.check(model, *batch(), loss=nn.CrossEntropyLoss()).verdict == "parity"


def test_a_relu_in_place_is_a_relu_and_stays_in_place() -> None:
    model = nn.Sequential(nn.Linear(7, 6), nn.ReLU(inplace=True), nn.Linear(6, 4))
    assert compare.check(model, *batch(), loss=nn.CrossEntropyLoss()).verdict == "parity"
    record_torch(model, nn.CrossEntropyLoss(), None, [batch()])
    assert model[1].inplace


def test_a_frozen_parameter_of_torch_is_a_gradient_that_was_not_handed_in() -> None:
    model = nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 4))
    model[2].bias.requires_grad_(False)
    report = compare.check(model, *batch(), loss=nn.CrossEntropyLoss())
    assert report.verdict == "incomplete"
    assert "not handed in: 2.grad_bias" in report.coverage


def test_tensors_of_torch_are_arrays_too() -> None:
    model, (x, t) = nn.Sequential(nn.Linear(7, 4)), batch()
    y = model(torch.from_numpy(x))
    loss = nn.CrossEntropyLoss()(y, torch.from_numpy(t))
    loss.backward()
    found = {"0.weight": model[0].weight, "0.bias": model[0].bias, "0.output": y, "loss": loss}
    found |= {"0.grad_weight": model[0].weight.grad, "0.grad_bias": model[0].bias.grad}
    assert compare.check(found, x, t, network="7-4, softmax cross-entropy").verdict == "parity"
