"""The sizes that a product is bounded by are never too small, at most 1/1000 too large, and 0 only where nothing is."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compare.numbers import sizes
from compare.numbers.sizes import product_of_sizes

F32, F64 = np.float32, np.float64


def draw(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float, zeros: float) -> np.ndarray:
    """Of either sign, sizes from 2^low to 2^high, so many of them 0, and the first row all 0 where there are zeros."""
    a = rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.uniform(low, high, shape)
    a[rng.random(shape) < zeros] = 0
    if zeros and len(shape) > 1:
        a[0] = 0
    return a


def exact(a: np.ndarray, b: np.ndarray, addend: np.ndarray | None) -> np.ndarray:
    """With 64 bits of mantissa and a range that nothing leaves."""
    wide = [np.abs(x.astype(np.longdouble)) for x in (a, b)]
    return wide[0] @ wide[1].T + (0 if addend is None else np.abs(addend.astype(np.longdouble)))


def expect_a_bound(found: np.ndarray, a: np.ndarray, b: np.ndarray, addend: np.ndarray | None) -> None:
    wanted = exact(a, b, addend)
    slack = 2 * (a.shape[1] + 2) * np.finfo(F64).eps  # of the products in float64
    assert np.all(found >= wanted * (1 - slack))
    assert np.all(found <= wanted * (1 + 1e-3))
    assert np.array_equal(found == 0, wanted == 0)


RANGES = {
    "plain": (-4, 0, 0.0),
    "zeros": (-4, 0, 0.3),
    "nearly all zero": (-4, 0, 0.97),
    "small": (-60, -30, 0.0),
    "small and zeros": (-60, -30, 0.5),
    "far apart": (-60, 40, 0.0),
    "subnormal": (-149, -127, 0.2),
    "below float32": (-160, -140, 0.2),
    "products underflow": (-90, -60, 0.2),
    "some underflow": (-149, 10, 0.2),
    "large": (10, 60, 0.0),
    "overflow": (60, 127, 0.1),
}
SHAPES = [(60, 40, 300), (1, 2000, 400), (300, 1, 2000), (700, 900, 1), (4, 5, 3), (30, 4100, 8), (8, 9000, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("held", [F32, F64], ids=["float32", "float64"])
def test_sizes_are_a_bound(name: str, shape: tuple[int, int, int], held: type) -> None:
    m, k, n = shape
    rng = np.random.default_rng(sum(shape))
    low, high, zeros = RANGES[name]
    a, b = (draw(rng, size, low, high, zeros).astype(held) for size in ((m, k), (n, k)))
    for addend, dtype in product((None, draw(rng, (n,), low, high, zeros).astype(held)), (F32, F64)):
        expect_a_bound(product_of_sizes(a, b, addend, dtype), a, b, addend)


def test_what_float32_cannot_hold_counts_where_it_meets_something_large() -> None:
    a, b = np.full((90, 120), 2.0**-40), np.full((160, 120), 2.0**-40)
    a[:, 0], b[:, 0] = 2.0**-155, 2.0**100
    expect_a_bound(product_of_sizes(a, b, None, F32), a, b, None)


@pytest.mark.parametrize("swapped", [False, True])
def test_what_float32_cannot_hold_counts_where_it_meets_something_large_in_float32(swapped: bool) -> None:
    """Of one operand in float64 and one in float32: the sum is of ordinary size, and so is what underflows in it."""
    tiny, huge = np.full((90, 120), 2.0**-60), np.full((160, 120), 1.0, F32)
    tiny[:, 0], huge[:, 0] = 2.0**-155, 2.0**120
    a, b = (huge, tiny) if swapped else (tiny, huge)
    expect_a_bound(product_of_sizes(a, b, None, F32), a, b, None)


@pytest.mark.parametrize("size", [2.0**21, 2.0**100])
def test_an_operand_that_is_large_in_float64_may_be_converted_beside_a_small_one(size: float) -> None:
    a, b = np.full((90, 120), size), np.full((160, 120), 1 / 3, F32)
    assert product_of_sizes(a, b, None, F32).dtype == F32
    expect_a_bound(product_of_sizes(a, b, None, F32), a, b, None)


def test_a_sum_that_is_only_an_addend_below_float32_is_not_nothing() -> None:
    a, b, addend = np.zeros((90, 120), F32), np.ones((160, 120), F32), np.full(160, 2.0**-200)
    a[1:] = 1
    expect_a_bound(product_of_sizes(a, b, addend, F32), a, b, addend)


@given(
    lows=st.tuples(st.floats(-170, 100), st.floats(-170, 100)),
    spans=st.tuples(st.floats(0, 60), st.floats(0, 60)),
    zeros=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    held=st.tuples(*2 * [st.sampled_from([F32, F64])]),
    seed=st.integers(0, 2**32 - 1),
)
def test_sizes_are_a_bound_at_any_scale(
    lows: tuple[float, float],
    spans: tuple[float, float],
    zeros: float,
    held: tuple[type, type],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = 80, 90, 100
    a, b = (
        draw(rng, shape, low, min(low + span, 127), zeros).astype(dtype)
        for shape, low, span, dtype in zip(((m, k), (n, k)), lows, spans, held, strict=True)
    )
    expect_a_bound(product_of_sizes(a, b, None, F32), a, b, None)


@pytest.mark.parametrize("layout", ["rows", "columns", "reversed", "read-only", "every second"])
def test_any_layout_of_the_operands_gives_the_same(layout: str) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(shape).astype(F32) for shape in ((90, 120), (160, 120)))
    wanted = product_of_sizes(a, b, dtype=F32)
    laid = {
        "rows": b,
        "columns": np.asfortranarray(b),
        "reversed": b[::-1].copy()[::-1],
        "read-only": b.copy(),
        "every second": np.repeat(b, 2, axis=0)[::2],
    }[layout]
    laid.flags.writeable = layout != "read-only"
    np.testing.assert_allclose(product_of_sizes(a, laid, dtype=F32), wanted, rtol=1e-6)


def test_many_rows_are_multiplied_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a, b, addend = (rng.standard_normal(shape).astype(F32) for shape in ((90, 120), (160, 120), (160,)))
    wanted = product_of_sizes(a, b, addend, F32)
    monkeypatch.setattr(sizes, "ELEMENTS", 120 * 7)
    np.testing.assert_allclose(product_of_sizes(a, b, addend, F32), wanted, rtol=1e-6)


def test_products_that_torch_may_round_are_not_rounded_here() -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal(shape).astype(F32) for shape in ((128, 700), (256, 700)))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        expect_a_bound(product_of_sizes(a, b, None, F32), a, b, None)
        assert torch.backends.mkldnn.enabled
    finally:
        torch.set_float32_matmul_precision(before)


def test_frozen_settings_leave_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.standard_normal(shape).astype(F32) for shape in ((90, 120), (160, 120)))
    settings = torch.backends.flags_frozen.__globals__  # as torch.backends.disable_global_flags leaves them, for ever
    monkeypatch.setitem(settings, "__allow_nonbracketed_mutation_flag", False)
    assert torch.backends.flags_frozen()
    assert product_of_sizes(a, b, None, F32).dtype == F64
    expect_a_bound(product_of_sizes(a, b, None, F32), a, b, None)


def test_nothing_times_something_is_nothing() -> None:
    assert product_of_sizes(np.zeros((0, 3)), np.ones((2, 3)), dtype=F32).shape == (0, 2)
    assert not product_of_sizes(np.zeros((90, 120), F32), np.ones((160, 120), F32), dtype=F32).any()
    with np.errstate(all="ignore"):
        assert np.isnan(product_of_sizes(np.full((90, 120), np.nan, F32), np.ones((160, 120), F32), dtype=F32)).all()
