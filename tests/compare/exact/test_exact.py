"""Exact mode: the proof against fractions, equality bit for bit, faults of one unit in the last place, and refusals."""

import json
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import nn

import scratch
from compare import check
from compare.exact.exact import DEFAULT, NotExact, draw, dyadic, exact_check
from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.recording.scratch_recorder import record_scratch

DTYPES = ("float32", "float64")
DIGITS = {"float32": 24, "float64": 53}
PLAIN = OptimizerSpec("SGD", {"lr": 0.25})
FULL = OptimizerSpec("SGD", {"lr": 0.5, "momentum": 0.5, "dampening": 0.25, "weight_decay": 0.125})
NESTEROV = OptimizerSpec("SGD", {"lr": 0.125, "momentum": 0.5, "nesterov": True})


def fractions(a: Any) -> Any:
    return np.frompyfunc(lambda v: Fraction(float(v)), 1, 1)(np.asarray(a, np.float64))


# --- dyadic arithmetic ------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6).filter(any))
def test_lowest_bit_is_the_coarsest_grid_that_holds_every_element(values: list[float]) -> None:
    low = dyadic.lowest_bit(np.array(values))
    held = [Fraction(v) for v in values if v]
    grid = Fraction(2) ** int(low)
    assert all((v / grid).denominator == 1 for v in held)
    assert any((v / (2 * grid)).denominator != 1 for v in held)


def test_zeros_are_on_every_grid() -> None:
    assert dyadic.lowest_bit(np.array([0.0, -0.0])) == np.inf


def test_what_is_not_finite_needs_infinitely_many_bits() -> None:
    for value in (np.nan, np.inf):
        need = dyadic.combination((1, np.array([value, 1.0]))).worst
        assert need.bits == np.inf
        assert not need.fits(np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_need_fits_up_to_the_last_digit_the_smallest_and_the_largest_number(dtype: str) -> None:
    f = np.finfo(dtype)
    one = 2.0 ** DIGITS[dtype]
    assert dyadic.Need(one - 1, 0).fits(dtype)
    assert not dyadic.Need(one, 0).fits(dtype)
    least = f.minexp - f.nmant
    assert dyadic.Need(2.0**least, least).fits(dtype)
    assert not dyadic.Need(2.0**f.minexp, least - 1).fits(dtype)
    assert not dyadic.Need(2.0 ** (f.maxexp - 1), f.maxexp - 1).fits(dtype)
    assert dyadic.Need(0.0, np.inf).fits(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9), top=st.integers(1, 12), scale=st.integers(-30, 30))
def test_a_product_that_fits_is_exact_in_every_order(dtype: str, seed: int, k: int, top: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (
        rng.integers(-(2**top), 2**top, shape) * 2.0**s
        for shape, s in (((3, k), scale), ((2, k), 0), ((2,), scale - 2))
    )
    proven = dyadic.product(a, b, c)
    exact = fractions(a) @ fractions(b).T + fractions(c)
    assume(proven.fits(dtype))
    assert (fractions(proven.value) == exact).all()
    for _ in range(5):
        total = np.broadcast_to(c, (3, 2)).astype(dtype)
        for j in rng.permutation(k):
            total = total + a[:, None, j].astype(dtype) * b[None, :, j].astype(dtype)
        assert total.dtype == dtype
        assert (fractions(total) == exact).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_digit_more_than_fits_is_rounded(dtype: str) -> None:
    """The bound is tight: with one bit more than the dtype has, a sum of that size does round."""
    a = np.array([[2.0 ** DIGITS[dtype], 1.0]])
    proven = dyadic.product(a, np.ones((1, 2)))
    assert proven.worst.bits == DIGITS[dtype] + 1
    assert not proven.fits(dtype)
    assert Fraction(float(a.astype(dtype).sum(dtype=dtype))) != sum(map(Fraction, a[0]))


# --- the proof of a whole training step, against fractions ------------------------------------------------------------


class Rationals:
    """A Linear-ReLU-Linear training step in fractions, that looks at every product and partial sum on the way."""

    def __init__(self, dtype: str, rng: np.random.Generator) -> None:
        self.dtype, self.rng = np.dtype(dtype), rng

    def held(self, a: Any) -> Any:
        for v in np.ravel(np.asarray(a, object)):
            assert Fraction(float(self.dtype.type(float(v)))) == v, f"{v} is no {self.dtype}"
        return a

    def sum(self, terms: list[Any]) -> Any:
        """In a random order, each partial sum held by the dtype."""
        total = terms[0] * 0
        for i in self.rng.permutation(len(terms)):
            total = self.held(total + self.held(terms[i]))
        return total

    def product(self, a: Any, b: Any, addend: Any = None) -> Any:
        terms = [np.multiply.outer(a[:, j], b[:, j]) for j in range(a.shape[1])]
        return self.sum(terms + ([] if addend is None else [np.broadcast_to(addend, terms[0].shape)]))


def rational_step(r: Rationals, w: dict[str, Any], x: Any, t: Any, kind: str, count: int) -> dict[str, Any]:
    z = r.product(x, w["0.weight"], w["0.bias"])
    h = np.where(z > 0, z, Fraction(0))
    y = r.product(h, w["2.weight"], w["2.bias"])
    d = r.held(y - t)
    squares = r.sum([*np.ravel(r.held(d * d))])
    dy = r.held(d * (2 if kind == "mse" else 1) / Fraction(count))
    dh = r.product(dy, w["2.weight"].T)
    dz = np.where(z > 0, dh, Fraction(0))
    return {
        "0.output": z,
        "2.output": y,
        "loss": r.held(squares / (count if kind == "mse" else 2 * count)),
        "2.grad_output": dy,
        "2.grad_weight": r.product(dy.T, h.T),
        "2.grad_bias": r.sum(list(dy)),
        "1.grad_output": dh,
        "0.grad_weight": r.product(dz.T, x.T),
        "0.grad_bias": r.sum(list(dz)),
        "0.grad_input": r.product(dz, w["0.weight"].T),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 2, 4])),
    loss=st.sampled_from(["mse", "half squared error"]),
    reduction=st.sampled_from(["", " sum"]),
    batch=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=settings().max_examples // 4)
def test_every_partial_sum_of_a_proven_run_is_representable(
    dtype: str, seed: int, sizes: tuple[int, int, int], loss: str, reduction: str, batch: int
) -> None:
    network = Architecture.of("-".join(map(str, sizes)) + f" relu, {loss}{reduction}")
    case = draw(network, PLAIN, dtype, steps=3, batch=batch, seed=seed)
    r = Rationals(dtype, np.random.default_rng(seed))
    weights = {name: fractions(a) for name, a in case.weights.items()}
    for x, t in case.batches:
        count = 1 if reduction else len(x) * (sizes[-1] if loss == "mse" else 1)
        step = rational_step(r, weights, fractions(x), fractions(t), loss, count)
        for name, before in weights.items():
            layer, _, part = name.partition(".")
            weights[name] = r.held(before - r.held(step[f"{layer}.grad_{part}"] * Fraction(1, 4)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_candidate_has_the_bits_of_the_fractions(dtype: str) -> None:
    network = Architecture.of("5-7-4 relu, mse")
    case = draw(network, PLAIN, dtype, steps=1, seed=3)
    rng = np.random.default_rng(0)
    net = scratch.Sequential(
        scratch.Linear(5, 7, rng=rng, dtype=dtype), scratch.ReLU(), scratch.Linear(7, 4, rng=rng, dtype=dtype)
    )
    for name, p in net.params.items():
        p[...] = case.weights[name]
    record = record_scratch(net, scratch.MSELoss(), None, case.batches)[0]
    (x, t) = case.batches[0]
    weights = {name: fractions(a) for name, a in case.weights.items()}
    step = rational_step(Rationals(dtype, rng), weights, fractions(x), fractions(t), "mse", t.size)
    for name, exact in step.items():
        assert np.all(fractions(record[name]) == exact), name


@pytest.mark.parametrize("spec", [DEFAULT, PLAIN, FULL, NESTEROV], ids=str)
def test_the_drawn_numbers_reach_every_parameter_and_are_not_all_zero(spec: OptimizerSpec) -> None:
    for seed in range(5):
        dtype = "float64" if spec is FULL else "float32"
        case = draw(Architecture.of("6-5-4 relu, half squared error"), spec, dtype, seed=seed)
        assert case.dead == []
        assert case.proof.alive > 0.3
        assert case.proof.needs[case.proof.tightest].bits <= DIGITS[dtype]
        assert [len(x) for x, _ in case.batches] == [8, 4, 8]


def test_a_draw_is_repeated_from_its_seed() -> None:
    network = Architecture.of("6-5-4 relu, mse")
    one, two, other = (draw(network, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one.weights[n], two.weights[n]) for n in one.weights)
    assert not np.array_equal(one.weights["0.weight"], other.weights["0.weight"])


# --- candidates that are right ----------------------------------------------------------------------------------------

TEXTS = (
    "2-1, mse",
    "6-5-4 relu, mse",
    "6-5-3 relu, mse sum",
    "5-7-3 relu, relu output, half squared error",
    "40-30-20-10 relu, half squared error",
    "10-9-8-7-6 relu, mse sum",
    "64-256-10 relu, half squared error sum",
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", TEXTS)
def test_the_projects_own_network_is_exact(text: str, dtype: str) -> None:
    report = exact_check(text, dtype=dtype)
    assert report.verdict == "parity", str(report)
    assert report.dtype == dtype
    assert report.compared == report.total
    assert all(row.allowed == 0 and row.max_abs_diff == 0 for row in report.rows)
    assert {row.check for row in report.rows} == {"isolated", "wiring", "update"}


@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    dtype=st.sampled_from(DTYPES),
    spec=st.sampled_from([DEFAULT, PLAIN, FULL, NESTEROV]),
    batch=st.integers(1, 9),
    torch_side=st.booleans(),
)
@example(seed=0, sizes=[1, 1], dtype="float32", spec=FULL, batch=1, torch_side=True)
@settings(max_examples=settings().max_examples // 2)
def test_every_correct_network_is_exact_on_both_sides(
    seed: int, sizes: list[int], dtype: str, spec: OptimizerSpec, batch: int, torch_side: bool
) -> None:
    network, loss = built(sizes, seed), scratch.MSELoss("sum")
    if torch_side:
        network, loss = torch_net(sizes), nn.MSELoss(reduction="sum")
    try:
        report = exact_check(network, loss, optimizer=spec, dtype=dtype, batch=batch, seed=seed)
    except NotExact:
        assume(False)
    assert report.verdict == "parity", str(report)


def built(sizes: list[int], seed: int = 0, dtype: str = "float32") -> scratch.Sequential:
    rng, layers = np.random.default_rng(seed), []
    for i, o in pairwise(sizes):
        layers += [scratch.Linear(i, o, rng=rng, bias=bool(rng.random() < 0.8), dtype=dtype), scratch.ReLU()]
    return scratch.Sequential(*layers[:-1])


def torch_net(sizes: list[int]) -> nn.Sequential:
    layers = [m for i, o in pairwise(sizes) for m in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def test_the_candidate_is_not_changed() -> None:
    network, model = built([4, 3, 2]), torch_net([4, 3, 2])
    before = {n: p.copy() for n, p in network.params.items()}
    theirs = {n: p.clone() for n, p in model.state_dict().items()}
    assert exact_check(network, scratch.MSELoss(), optimizer=scratch.SGD(network, 0.5), dtype="float64").rows
    assert exact_check(model, nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), lr=0.5)).rows
    assert all(np.array_equal(p, before[n]) and p.dtype == np.float32 for n, p in network.params.items())
    assert all(torch.equal(p, theirs[n]) for n, p in model.state_dict().items())


class OtherForms(scratch.Linear):
    """Sums in another order, with the bias first, and minus zeros."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        self._kept = x
        y = np.broadcast_to(self.params["bias"], (len(x), self.out_features)).copy()
        for j in reversed(range(self.in_features)):
            y += np.outer(x[:, j], self.params["weight"][:, j])
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = super().backward(dy)
        self.grads["bias"] = np.add.accumulate(dy[::-1])[-1]
        return np.where(dx == 0, -np.zeros_like(dx), dx)


@pytest.mark.parametrize("dtype", DTYPES)
def test_another_order_of_summation_and_minus_zero_are_in_parity(dtype: str) -> None:
    rng = np.random.default_rng(0)
    network = scratch.Sequential(OtherForms(6, 5, rng=rng), scratch.ReLU(), OtherForms(5, 4, rng=rng))
    report = exact_check(network, scratch.MSELoss(), dtype=dtype)
    assert report.verdict == "parity", str(report)


# --- candidates that are wrong ----------------------------------------------------------------------------------------


def one_ulp(a: np.ndarray) -> np.ndarray:
    """The same, with one element moved to the next number."""
    a = np.array(a)
    flat = a.reshape(-1)
    i = flat.size // 2
    flat[i] = np.nextafter(flat[i], np.inf, dtype=a.dtype)
    return a


LAYERS: list[tuple[type, Callable[[Any], bool]]] = [
    (scratch.Linear, lambda layer: layer.out_features == 5),
    (scratch.ReLU, lambda layer: True),
    (scratch.Linear, lambda layer: layer.out_features == 4),
]


def nudge(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, chosen: Callable[[Any], bool], gradient: str = ""
) -> None:
    """owner.method's result, or the gradient of that name, is off by one ulp in one element."""
    original = getattr(owner, method)

    def wrong(self: Any, *args: Any) -> Any:
        result = original(self, *args)
        if not chosen(self):
            return result
        if not gradient:
            return one_ulp(result)
        self.grads[gradient] = one_ulp(self.grads[gradient])
        return result

    monkeypatch.setattr(owner, method, wrong)


def nudge_update(monkeypatch: pytest.MonkeyPatch) -> None:
    original = scratch.SGD.update

    def wrong(self: Any, p: np.ndarray, g: np.ndarray, state: Any) -> None:
        original(self, p, g, state)
        if p.shape == (4, 5):
            p[...] = one_ulp(p)

    monkeypatch.setattr(scratch.SGD, "update", wrong)


ULP_FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "loss": lambda m: nudge(m, scratch.MSELoss, "forward", lambda loss: True),
    "2.grad_output": lambda m: nudge(m, scratch.MSELoss, "backward", lambda loss: True),
    "2.new_weight": nudge_update,
}
for number, (kind, is_it) in enumerate(LAYERS):
    ULP_FAULTS[f"{number}.output"] = lambda m, o=kind, c=is_it: nudge(m, o, "forward", c)
    ULP_FAULTS[f"{number}.grad_input"] = lambda m, o=kind, c=is_it: nudge(m, o, "backward", c)
    for part in ("weight", "bias") if kind is scratch.Linear else ():
        ULP_FAULTS[f"{number}.grad_{part}"] = lambda m, c=is_it, g=part: nudge(m, scratch.Linear, "backward", c, g)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tensor", ULP_FAULTS)
def test_one_ulp_in_one_element_is_found_in_the_tensor_that_has_it(
    tensor: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ULP_FAULTS[tensor](monkeypatch)
    report = exact_check("6-5-4 relu, mse", dtype=dtype, optimizer=PLAIN)
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert (report.first.tensor, report.first.wrong, report.first.step) == (tensor, 1, 1)
    assert "exact mode" in str(report)


class Stale(scratch.ReLU):
    """dx where x >= 0: wrong at 0 only."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return np.where(self.kept >= 0, dy, dy.dtype.type(0))


def test_small_integers_hit_the_kink() -> None:
    """Pre-activations that are exactly 0 are common here and hardly ever drawn elsewhere."""
    rng = np.random.default_rng(0)
    network = scratch.Sequential(scratch.Linear(6, 12, rng=rng), Stale(), scratch.Linear(12, 4, rng=rng))
    report = exact_check(network, scratch.MSELoss())
    assert report.verdict == "mismatch"
    assert report.first is not None
    assert report.first.tensor == "1.grad_input"
    x, t = rng.standard_normal((8, 6)).astype("f"), rng.standard_normal((8, 4)).astype("f")
    assert check(network, x, t, loss=scratch.MSELoss()).verdict == "parity"


def test_after_a_fault_what_cannot_be_proven_is_not_checked_and_says_so() -> None:
    class Off(scratch.Linear):
        def forward(self, x: np.ndarray) -> np.ndarray:
            return super().forward(x) * np.float32(1 / 3)

    rng = np.random.default_rng(0)
    network = scratch.Sequential(Off(6, 5, rng=rng), scratch.ReLU(), scratch.Linear(5, 4, rng=rng))
    report = exact_check(network, scratch.MSELoss())
    assert report.first is not None
    assert report.first.tensor == "0.output"
    unproven = [row for row in report.rows if row.status == "not checked"]
    assert unproven
    assert all("not those of the proof" in row.note for row in unproven)


# --- where exactness cannot hold --------------------------------------------------------------------------------------

REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("6-5-4 tanh, mse", {}, r"layer 1 \(Tanh\) has irrational values"),
    ("6-5-4 relu, softmax output, mse", {}, r"layer 3 \(Softmax\) has irrational values"),
    ("6-5-4 relu, cross-entropy", {}, 'logarithms.*such as "6-5-4 relu, half squared error"'),
    ("6-5-3 relu, mse", {}, "mean over 8 x 3 = 24 elements divides by no power of two"),
    ("6-5-4 relu, half squared error", {"batch": 6}, "mean over 6 rows divides by no power of two"),
    ("6-5-4 relu, mse", {"optimizer": OptimizerSpec("SGD", {"lr": 0.1})}, "lr=0.1 is no dyadic number"),
    ("6-5-4 relu, mse", {"optimizer": OptimizerSpec("SGD", {"lr": 0.5, "momentum": 0.9})}, "momentum=0.9 is no"),
    ("6-5-4 relu, mse", {"optimizer": OptimizerSpec("Adam", {"lr": 0.5})}, "Adam takes roots"),
    (
        "6-5-4 relu, mse",
        {"optimizer": FULL, "steps": 4},
        "bits and float32 has 24.*take fewer steps, fewer layers, or float64",
    ),
    ("-".join(["1"] * 25) + " relu, mse sum", {"steps": 1}, "has no gradient but 0"),
    ("6-5-4 relu, mse", {"optimizer": FULL, "steps": 8, "dtype": "float64"}, "bits and float64 has 53"),
]


@pytest.mark.parametrize(("text", "options", "words"), REFUSALS, ids=[words for *_, words in REFUSALS])
def test_what_cannot_be_exact_is_refused_in_one_line(text: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(NotExact, match=words) as caught:
        exact_check(text, **options)
    assert "\n" not in str(caught.value)


def test_what_is_no_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="loss is missing"):
        exact_check(built([3, 2]))
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        exact_check("3-2, mse", steps=0)
    network = built([3, 2])
    used = scratch.SGD(network, 0.5, momentum=0.5)
    network.backward(network.forward(np.ones((2, 3), "f")))
    used.step()
    with pytest.raises(ValueError, match="taken steps already"):
        exact_check(network, scratch.MSELoss(), optimizer=used)
    with pytest.raises(TypeError, match="expected float32 or float64"):
        exact_check("3-2, mse", dtype="float16")


def test_the_report_says_that_it_is_exact_in_text_and_json() -> None:
    report = exact_check("6-5-4 relu, mse")
    text, found = str(report), json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert text.startswith("exact mode, equality bit for bit: PARITY in float32")
    assert "no tolerance: every sum proved exact, at most" in text
    assert found["mode"] == "exact"
    assert found["verdict"] == "parity"
    assert {row["allowed"] for row in found["rows"]} == {0.0}
