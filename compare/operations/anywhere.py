"""Mistakes that can be made with any tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, clip, where
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Formula, Guess, as_found, fitted, shortest
from compare.operations.mistake import Mistake as M

SEVERAL = 4  # elements, below which a pattern says nothing
PAIR = 2  # elements, below which "all but one" and "all equal" say nothing


def _factor(e: Letters) -> Iterator[Guess]:
    """The ratio at the largest element."""
    factor, words = fitted(e, e.got, e.ref.value)
    yield e.ref * factor, words


def _samples(factor: Callable[[int], float]) -> Formula:
    """Off by a factor of the number of samples, which is not 1."""

    def guesses(e: Letters) -> Iterator[Guess]:
        if e.m > 1:
            yield e.ref * factor(e.m), f"{e.m}"

    return guesses


def _wrong_mean(e: Letters) -> Iterator[Guess]:
    if e.n > 1:
        yield e.ref * float(e.n), f"{e.n} x what it should be: the number of output columns"
        yield e.ref * (1.0 / e.n), f"1/{e.n} of what it should be: divided by the number of output columns"


def _learning_rate(e: Letters) -> Iterator[Guess]:
    yield e.ref * e.option("lr"), ""
    yield -(e.ref * e.option("lr")), ", with a minus sign"


def _permutation(axis: int) -> Formula:
    """Rows or columns in another order, found by one random projection; of more than two axes, the first two."""

    def guesses(e: Letters) -> Iterator[Guess]:
        ref, got = e.ref.value, e.got
        if ref.ndim <= axis or ref.shape != got.shape or ref.shape[axis] < 2:
            return
        lines_ref, lines_got = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in (ref, got))
        direction = np.sqrt(np.arange(2, lines_ref.shape[1] + 2))
        keys_ref, keys_got = lines_ref @ direction, lines_got @ direction
        order = np.empty(len(keys_ref), int)
        order[np.argsort(keys_got, kind="stable")] = np.argsort(keys_ref, kind="stable")
        moved = np.flatnonzero(order != np.arange(len(order)))
        if len(moved):
            words = f"{moved[0]} and {moved[1]} are swapped" if len(moved) == 2 else "are in another order"
            yield (e.ref[order] if axis == 0 else e.ref[:, order]), words

    return guesses


def _few_elements(e: Letters) -> Iterator[Guess]:
    """All but a few elements, or all but one row or column, are right."""
    if e.got.shape != e.ref.shape or e.got.size < PAIR:
        return
    wrong = ~(np.abs(e.got - e.ref.value) <= e.ref.error)
    rest = where(wrong, Bounded.of(e.got, e.p), e.ref, e.p)
    index, count = [int(i) for i in np.argwhere(wrong)[0]], int(wrong.sum())
    if count <= max(1, e.got.size // 100):
        yield rest, f"element {index}" if count == 1 else f"{count} elements, the first at {index}"
    elif e.got.ndim >= 2 and e.got.size >= SEVERAL:
        lines = [(axis, _lines(wrong, axis)) for axis in (1, 0, *range(2, e.got.ndim))]
        alone = ((axis, at) for axis, at in lines if len(at) == 1 < e.got.shape[axis])
        yield from ((rest, _line(e.got.ndim, axis, at[0])) for axis, at in islice(alone, 1))


def _lines(mask: Array, axis: int) -> Array:
    """The places along an axis at which anything is marked."""
    found: Array = np.flatnonzero(np.moveaxis(mask, axis, 0).reshape(mask.shape[axis], -1).any(axis=1))
    return found


def _line(axes: int, axis: int, at: int) -> str:
    """row 3, or column 3 of a matrix; [:, 3] of more axes."""
    if axis == 0:
        return f"row {at}"
    return f"column {at}" if axes == 2 else f"[{':, ' * axis}{at}]"


def _through(dtype: Any) -> Formula:
    """Every element representable in the coarser type, and as near as its rounding allows."""

    def holds(e: Letters) -> bool:
        with np.errstate(all="ignore"):
            there_and_back = e.got.astype(dtype).astype(np.float64)
            spacing = np.abs(np.spacing(np.abs(e.ref.value).astype(dtype)).astype(np.float64))
            near = np.abs(e.got - e.ref.value) <= 2 * (spacing + e.ref.error)
            too_large = np.abs(e.ref.value) + 2 * e.ref.error >= float(np.finfo(dtype).max)
            near |= too_large & np.isinf(e.got) & (np.sign(e.got) == np.sign(e.ref.value))
        return e.got.size >= PAIR and bool(near.all()) and np.array_equal(e.got, there_and_back)

    return as_found(holds)


def _off_as_float32(e: Letters) -> Array:
    """How far it is off, relative to its size, where it is in float64 and as near as float32. Absent if it is not."""
    size, off = np.abs(e.ref.value) + e.ref.error / e.p.u, np.abs(e.got - e.ref.value)
    if e.p.dtype != np.float64 or not (off <= 2.0**-20 * size).all():
        raise Absent("too far off")
    return off[size > 0] / size[size > 0]


def _in_float32(e: Letters) -> bool:
    _off_as_float32(e)
    return e.got.size >= PAIR and np.array_equal(e.got, e.got.astype(np.float32))


def _partly_in_float32(e: Letters) -> bool:
    """As far off as float32's rounding on the way would put it."""
    return e.got.size >= SEVERAL and bool(np.median(_off_as_float32(e)) >= 2.0**-33)


def _part_missing(e: Letters) -> Iterator[Guess]:
    """One row or column, or one place along another axis, is zero, all others are right."""
    if e.got.shape != e.ref.shape or e.got.ndim < 2:
        return
    for axis in range(e.got.ndim):
        nothing = np.setdiff1d(_lines(e.ref.value != 0, axis), _lines(e.got != 0, axis))
        if e.got.shape[axis] >= PAIR and len(nothing) == 1:
            mask = np.moveaxis(np.zeros(e.got.shape, bool), axis, 0)
            mask[nothing] = True
            yield where(np.moveaxis(mask, 0, axis), 0.0, e.ref, e.p), _line(e.got.ndim, axis, nothing[0])


def _to_decimals(e: Letters) -> Iterator[Guess]:
    """Rounded to a number of decimals, as through a text file."""
    for digits in range(9):
        near = np.abs(e.got - e.ref.value) <= 0.51 * 10.0**-digits + e.ref.error
        is_round = np.abs(e.got - np.round(e.got, digits)) <= 4 * e.p.u * np.abs(e.got)
        fine = 64 * e.p.u * np.abs(e.got).max(initial=0) < 10.0**-digits  # else every number of the precision is round
        if e.got.size >= SEVERAL and e.got.any() and fine and near.all() and is_round.all():
            yield Bounded.of(e.got, e.p), str(digits)
            return


def _clipped_values(e: Letters) -> Iterator[Guess]:
    limit = float(np.abs(e.got).max(initial=0))
    inside = np.abs(e.ref.value) < limit
    if e.got.size >= SEVERAL and limit > 0 and not inside.all():
        near = shortest(limit, 4 * e.p.u * limit)
        yield clip(e.ref, -near, near), f"[-{near:g}, {near:g}]"


def _clipped_norm(e: Letters) -> Iterator[Guess]:
    norm, true = float(np.linalg.norm(e.got)), float(np.linalg.norm(e.ref.value))
    near = shortest(norm, 1e-5 * norm)
    if e.got.size >= SEVERAL and true and (norm < true or near == 1) and len(f"{near:g}") <= 4:
        scale = Bounded(np.array(near / true), np.array(1e-5 * near / true), e.p)
        yield e.ref * scale, f"{near:g}"


def _constant(e: Letters) -> bool:
    return e.got.size >= PAIR and bool((e.got == e.got.flat[0]).all())


def _handed_to(name: str) -> tuple[str, ...]:
    """The tensors that are copies of this one when all is well."""
    layer, _, part = name.partition(".")
    if part == "output":
        return (f"{int(layer) + 1}.input",)
    return (f"{int(layer) - 1}.grad_output",) if part == "grad_input" else ()


def _another(e: Letters) -> Iterator[Guess]:
    """The bits of another tensor of the step."""
    for name, other in e.others(e.ref, ("input", "output", "grad_output", "grad_input", "weight", "grad_weight")):
        if name not in _handed_to(e.name) and other.value.any() and np.array_equal(other.value, e.got):
            yield Bounded.of(other.value, e.p), name


# fmt: off
MISTAKES = {
    "*": [
        M("sign", lambda e: e.ref * -1.0, "its sign is wrong",
          wrong="-dy.T @ x", right="dy.T @ x"),
        M("factor-two", lambda e: e.ref * 2.0, "it is twice what it should be: computed or added up twice",
          wrong="2 * dy.T @ x", right="dy.T @ x"),
        M("factor-half", lambda e: e.ref * 0.5, "it is half of what it should be",
          wrong="dy.T @ x / 2", right="dy.T @ x"),
        M("mean-missing", _samples(float), "it is {0} x what it should be: not divided by the {0} samples",
          wrong="rows * dy.T @ x", right="dy.T @ x"),
        M("mean-doubled", _samples(lambda m: 1.0 / m),
          "it is 1/{0} of what it should be: divided by the {0} samples once too often",
          wrong="dy.T @ x / rows", right="dy.T @ x"),
        M("wrong-mean", _wrong_mean, "it is {}", rank=1,
          wrong="columns * dy.T @ x", right="dy.T @ x"),
        M("learning-rate-in-gradient", _learning_rate, "the learning rate is inside{}", rank=1,
          wrong="0.1 * dy.T @ x", right="dy.T @ x"),
        M("transposed", lambda e: e.ref.T, "it is transposed",
          wrong="x.T @ dy", right="dy.T @ x"),
        M("zero", lambda e: Bounded.of(0 * e.ref.value, e.p), "it is zero everywhere: not computed, or not kept",
          rank=-1,
          wrong="np.zeros_like(W)", right="dy.T @ x"),
        M("previous-step", lambda e: e.before(e.name) * 1.0, "it is that of the step before: not computed anew",
          wrong="before.value", right="dy.T @ x"),
        M("accumulated", lambda e: e.ref + e.before(e.name),
          "that of the step before is still in it: not set to zero between steps",
          wrong="before.value + dy.T @ x", right="dy.T @ x"),
        M("float16-round-trip", _through(np.float16), "it went through float16", rank=1, overflows=True,
          wrong="(dy.T @ x).astype(np.float16)", right="dy.T @ x"),
        M("computed-in-float32", as_found(_in_float32), "it was computed in float32", rank=1,
          wrong="dy.astype(np.float32).T @ x.astype(np.float32)", right="dy.T @ x", case={"dtype": "float64"}),
        M("rounded-to-decimals", _to_decimals, "it is rounded to {} decimals", rank=1,
          wrong="np.round(dy.T @ x, 4)", right="dy.T @ x"),
        M("computed-in-float32", as_found(_partly_in_float32),
          "it is as far off as float32 arithmetic on the way puts it", rank=2,
          wrong="dy.T @ x.astype(np.float32)", right="dy.T @ x", case={"dtype": "float64"}),
        M("rows-in-another-order", _permutation(0), "its rows {}",
          wrong="(dy.T @ x)[::-1]", right="dy.T @ x"),
        M("columns-in-another-order", _permutation(1), "its columns {}",
          wrong="(dy.T @ x)[:, ::-1]", right="dy.T @ x"),
        M("values-clipped", _clipped_values, "its values are clipped to {}", rank=1,
          wrong="np.clip(dy.T @ x, -0.05, 0.05)", right="dy.T @ x"),
        M("norm-clipped", _clipped_norm, "it is scaled to a norm of {}: clipped or normalised", rank=1,
          wrong="0.1 * (dy.T @ x) / np.linalg.norm(dy.T @ x)", right="dy.T @ x"),
        M("factor", _factor, "it is {} x what it should be", rank=2,
          wrong="1.7 * dy.T @ x", right="dy.T @ x"),
        M("another-tensor", _another, "it is {}, bit for bit", rank=1,
          wrong="W", right="dy.T @ x"),
        M("part-missing", _part_missing, "{} is zero: not reached, or not kept", rank=1,
          wrong="np.vstack([dy[:, :-1].T @ x, np.zeros((1, 7))])", right="dy.T @ x"),
        M("few-elements", _few_elements, "only {} is wrong", rank=2,
          wrong="np.where(np.arange(28).reshape(4, 7) == 3, 1, dy.T @ x)", right="dy.T @ x"),
        M("constant", as_found(_constant), "all its elements are equal", rank=2,
          wrong="np.full_like(W, 0.1)", right="dy.T @ x"),
    ],
}
# fmt: on
