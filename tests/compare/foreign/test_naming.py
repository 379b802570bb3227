"""Naming: what was seen and when, and what is said where the network is not among the arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compare.foreign import layout
from compare.foreign.convention import Convention
from compare.foreign.naming import hints
from compare.foreign.naming.named import Named, distinct, earliest
from compare.foreign.naming.observations import OBJECTS, VERSIONS, Observations
from compare.foreign.naming.search import NotFound, find
from compare.foreign.naming.stack import Stack
from compare.foreign.naming.values import cosine, distance, multiple, tight
from compare.network.architecture import Architecture
from compare.watching.observation import Observation
from tests.compare.foreign.student import Student

Array = Any


def at(time: int, name: str, value: Any = 0.0, line: int = 1, function: str = "f") -> Observation:
    """What a line of s.py bound."""
    return Observation(np.asarray(value), name, "s.py", line, function, time)


def times(found: Sequence[Observation]) -> list[int]:
    return [o.time for o in found]


# --- seen -------------------------------------------------------------------------------------------------------------

HISTORY = [
    at(0, "W", 1.0, line=1),
    at(1, "b", 2.0, line=2),
    at(2, "z", 3.0, line=3),
    at(3, "W", 4.0, line=4),
    at(4, "z", 5.0, line=3),
    at(5, "W", 6.0, line=4),
]


@pytest.mark.parametrize(
    ("moment", "held"),
    [(0, []), (1, [0]), (2, [0, 1]), (4, [3, 1, 2]), (5, [3, 1, 4])],
)
def test_what_each_variable_held_when_a_line_bound(moment: int, held: list[int]) -> None:
    assert times(Observations(HISTORY).held_at(HISTORY[moment], HISTORY)) == held


def test_variables_of_two_functions_are_two_though_they_have_one_name() -> None:
    history = [at(0, "W", function="f"), at(1, "W", function="g"), at(2, "z")]
    assert times(Observations(history).held_at(history[2], history)) == [0, 1]


def test_an_attribute_keeps_its_last_values_since_it_may_be_one_of_several_objects() -> None:
    history = [at(k, "self.W", line=2) for k in range(OBJECTS + 5)] + [at(OBJECTS + 5, "z", line=3)]
    held = times(Observations(history).held_at(history[-1], history))
    assert sorted(held) == list(range(5, OBJECTS + 5))


@pytest.mark.parametrize(
    ("read", "is_held"),
    [
        (at(1, "self.W", line=3), True),  # read by the line that binds z, and seen after it
        (at(1, "self.W", line=4), False),
        (at(1, "W", line=3), False),
    ],
)
def test_an_attribute_first_read_by_a_line_was_held_when_it_bound(read: Observation, is_held: bool) -> None:
    z = at(0, "z", line=3)
    assert (read in Observations([z, read]).held_at(z, [z, read])) is is_held


def test_arrays_from_no_line_have_no_order() -> None:
    given = [Observation(np.asarray(1.0), name, time=k) for k, name in enumerate("abc")]
    assert times(Observations(given).held_at(given[1], given)) == [0, 2]


@pytest.mark.parametrize(("moment", "before"), [(0, -1), (1, 0), (2, 0), (3, 2), (4, 3)])
def test_before_a_statement_nothing_of_it_is_bound(moment: int, before: int) -> None:
    history = [at(0, "x", line=1), at(1, "a", line=2), at(2, "b", line=2), at(3, "c", line=3), at(4, "d", line=2)]
    assert Observations(history).before_statement(history[moment]) == before


@pytest.mark.parametrize(
    ("shape", "extra", "found"),
    [
        ((2, 3), (0,), [0, 1, 2]),
        ((3,), (0,), [3, 4]),
        ((3, 1), (0,), [3, 4]),
        ((2, 2), (0, 1), [0, 1, 2]),
        ((4, 4), (0,), []),
        ((), (0,), [5]),
    ],
    ids=str,
)
def test_arrays_by_size_in_any_order_of_their_dimensions(shape: Any, extra: Any, found: list[int]) -> None:
    shapes = [(2, 3), (3, 2), (1, 3, 2), (3,), (1, 3), (1, 1)]
    seen = Observations([at(k, f"a{k}", np.zeros(s)) for k, s in enumerate(shapes)])
    assert sorted(times(seen.sized(*shape, extra=extra))) == found


def test_only_a_variables_first_values_are_tried() -> None:
    history = [at(2 * k, "a") for k in range(VERSIONS + 2)] + [at(1, "b")]
    seen = Observations(sorted(history, key=lambda o: o.time))
    assert times(seen.early(seen.all)) == [0, 1, 2, 4, 6]
    assert times(seen.newest_of_each(seen.all)) == [6, 4, 2, 0, 1]


def test_text_and_objects_are_not_seen() -> None:
    assert Observations([at(0, "a", np.array("text")), at(1, "b", np.array([None]))]).all == []


# --- values and hints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "value", "factor", "far", "angle"),
    [
        ([2.0, 4.0], [1.0, 2.0], 2.0, 1.0, 1.0),
        ([-1.0, -2.0], [1.0, 2.0], -1.0, 2.0, -1.0),
        ([0.0, 0.0], [1.0, 2.0], None, 1.0, 0.0),
        ([0.0, 0.0], [0.0, 0.0], None, 0.0, 0.0),
        ([1.0, 0.0], [0.0, 0.0], None, np.inf, 0.0),
        ([np.nan, 1.0], [1.0, 2.0], None, np.inf, 0.0),
        ([2.0, -1.0], [1.0, 2.0], None, np.sqrt(2), 0.0),
    ],
)
def test_multiples_and_distances(a: Any, value: Any, factor: float | None, far: float, angle: float) -> None:
    a, value = np.array(a), np.array(value)
    assert multiple(a, value) == factor
    assert distance(a, value) == pytest.approx(far)
    assert cosine(a, value) == pytest.approx(angle)


@pytest.mark.parametrize(
    ("suggests", "names", "others"),
    [
        (hints.is_loss, ("loss", "J", "self.net.cost", "total_error", "ce_2"), ("closest", "self.loss.x", "fence")),
        (hints.is_bias, ("b1", "bias", "layer_b", "self.b"), ("W1", "label")),
        (hints.is_gradient, ("dW1", "grad_b", "self.delta", "W_grad"), ("W1", "handed")),
        (hints.is_rate, ("lr", "learning_rate", "ETA", "self.alpha"), ("x", "momentum")),
    ],
)
def test_what_a_name_suggests(suggests: Any, names: Sequence[str], others: Sequence[str]) -> None:
    assert [name for name in names if not suggests(name)] == []
    assert [name for name in others if suggests(name)] == []


# --- stacks -----------------------------------------------------------------------------------------------------------


def near(value: Array, dtype: str, rng: np.random.Generator) -> list[Array]:
    """Arrays that are a value, multiples of it, nearly so, and others; zeros and what is not finite among them."""
    off = np.array([0, 1e-9, 0.9e-8, 1.1e-8, 1e-6, 0.9e-4, 1.1e-4, 1e-3, 0.1])
    found = [s * value * (1 + o * rng.choice([-1, 1], value.shape)) for s in (1, -1, 6.0, 1e-3) for o in off]
    found += [rng.normal(size=value.shape), *(np.full_like(value, number) for number in (0, np.nan, np.inf))]
    with np.errstate(invalid="ignore"):
        return [a.astype(dtype) for a in found]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("value", ["random", "zeros", "one number"])
def test_a_stack_leaves_out_no_match(value: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    held = {"random": rng.normal(size=(3, 4)), "zeros": np.zeros((3, 4)), "one number": np.array([[0.7]])}[value]
    arrays = near(held, dtype, rng)
    named = [Named(at(k, "a", a), layout.View(a, layout.ROWS)) for k, a in enumerate(arrays)]
    stack = Stack.of(named)
    for scaled in (False, True):
        scales = [multiple(a, held) if scaled else 1.0 for a in arrays]
        matches = [
            n
            for n, a, scale in zip(named, arrays, scales, strict=True)
            if scale is not None and distance(a, scale * held) <= tight(a)
        ]
        kept = stack.like(held, scaled)
        assert all(n in kept for n in matches)
        assert len(kept) < len(named)
        if value == "random":
            assert matches
            assert kept == sorted(kept, key=lambda n: n.observation.time)


def test_of_a_thousand_arrays_a_stack_leaves_the_one_that_is_looked_for() -> None:
    arrays = np.random.default_rng(2).normal(size=(1000, 3, 4))
    stack = Stack.of([Named(at(k, "a", a), layout.View(a, layout.ROWS)) for k, a in enumerate(arrays)])
    assert [n.observation.time for n in stack.like(6 * arrays[123])] == [123]


# --- found, and not found ---------------------------------------------------------------------------------------------

STUDENT = Student(sizes=(5, 7, 4), m=9)
NETWORK = Architecture.of(STUDENT.network, None)


def observed(arrays: dict[str, Array]) -> list[Observation]:
    return [Observation(a, name, time=k) for k, (name, a) in enumerate(arrays.items())]


def without(*names: str) -> dict[str, Array]:
    return {name: a for name, a in STUDENT.arrays().items() if name not in names}


def test_names_of_a_step() -> None:
    names = find(NETWORK, observed(STUDENT.arrays()), *STUDENT.data())
    held = {name: named.observation.name for name, named in names.tensors.items()}
    assert held["0.weight"] == "w0"
    assert held["2.bias"] == "w1b"
    assert held["0.output"] == "s0"
    assert held["1.output"] == "a0"
    assert names.m == 9
    assert all(named.equal for named in names.tensors.values())


def test_of_equal_arrays_the_first_is_named() -> None:
    twice = [o for k, o in enumerate(observed(STUDENT.arrays())) for o in (o, replace(o, time=100 + k))]
    names = find(NETWORK, sorted(twice, key=lambda o: o.time), *STUDENT.data())
    assert names.tensors["0.weight"].observation.time < 100
    late, soon = names.tensors["2.weight"], names.tensors["0.weight"]
    late, soon = replace(late, observation=at(9, "late")), replace(soon, observation=at(3, "soon"))
    again = replace(soon, observation=at(5, "again"))
    assert [named.observation.name for named in distinct([late, again, soon])] == ["late", "again"]
    assert [named.observation.name for named in earliest([late, again, soon])] == ["soon", "late"]


X, T = STUDENT.data()


@pytest.mark.parametrize(
    ("arrays", "x", "message"),
    [
        (
            {},
            X,
            "no weight of the first layer found: expected an array of shape (7, 5) or (5, 7), "
            "or with the bias in it, one row or column more; no array was seen",
        ),
        (
            without("w0", "g0"),
            X,
            "no weight of the first layer found: expected an array of shape (7, 5) or (5, 7), "
            "or with the bias in it, one row or column more; the arrays seen have shapes (7, 4), (9, 4), (9, 7)",
        ),
        (
            {"a vector": np.ones(7), "w": np.arange(42.0).reshape(7, 6)},
            None,
            "no input found: expected an array with 5 columns or rows; the arrays seen have shapes (7, 6)",
        ),
        (
            {"w": np.ones((7, 5)), "v": np.ones((7, 4))},
            X,
            "no output of the first layer found: nothing equals input times a weight; of its size are w (7, 5)",
        ),
    ],
    ids=["nothing", "no weight", "no input", "no output"],
)
def test_what_is_not_found_is_said_in_one_line(arrays: dict[str, Array], x: Array | None, message: str) -> None:
    with pytest.raises(NotFound) as raised:
        find(NETWORK, observed(arrays), x, None)
    assert str(raised.value) == message


def test_a_convention_that_nothing_follows_is_not_found() -> None:
    with pytest.raises(NotFound, match=re.escape("no output of the first layer found")):
        find(NETWORK, observed(STUDENT.arrays()), X, T, Convention(samples="columns"))
