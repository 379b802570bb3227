"""docs/derivations.md: the lines that it quotes are still in the files that it names, and so are the tests."""

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from scratch import BatchNorm1d, LayerNorm, Linear, Sequential
from scratch.column_view import ColumnView

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "derivations.md"
TITLES = [
    "ReLU",
    "The fully connected layer",
    "The Jacobian of softmax",
    "Cross-entropy with respect to probabilities",
    "Softmax and cross-entropy together",
    "Shift invariance of softmax",
    "Sigmoid from its output",
    "The three modes of automatic differentiation",
    "Backpropagation through time",
    "Self-attention",
    "The bias as a row of ones",
    "A batch in shards",
    "A normalisation",
]


class Quote(NamedTuple):
    """A line of code, or the name of a test, that a section claims to be in a file."""

    section: str
    kind: str
    path: str
    text: str


def quotes(page: str) -> list[Quote]:
    found = []
    for section in re.split(r"^## ", page, flags=re.M)[1:]:
        title = section.splitlines()[0]
        for path, block in re.findall(r"^Code: \[`(.+?)`\]\(.+?\)\n+```python\n(.+?)^```", section, flags=re.M | re.S):
            found += [Quote(title, "Code", path, line.strip()) for line in block.splitlines()]
        for path, names in re.findall(r"^Test: \[`(.+?)`\]\(.+?\)\n((?:.+\n?)+)", section, flags=re.M):
            found += [Quote(title, "Test", path, name) for name in re.findall(r"`(.+?)`", names)]
    return found


def is_there(quote: Quote) -> bool:
    path = ROOT / quote.path
    if not path.is_file():
        return False
    source = path.read_text(encoding="utf-8")
    if quote.kind == "Code":
        return quote.text in map(str.strip, source.splitlines())
    return quote.text in (node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))


QUOTES = quotes(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: f"{quote.path}: {quote.text}")
def test_what_the_page_quotes_is_there(quote: Quote) -> None:
    assert is_there(quote), f"{quote.section}: not found in {quote.path}: {quote.text}"


def test_every_section_quotes_code_and_a_test() -> None:
    assert list(dict.fromkeys(quote.section for quote in QUOTES)) == TITLES
    for title in TITLES:
        assert {quote.kind for quote in QUOTES if quote.section == title} == {"Code", "Test"}, title


def test_nothing_on_the_page_is_overlooked() -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = sum(len(block.splitlines()) for block in re.findall(r"```python\n(.+?)^```", page, flags=re.M | re.S))
    assert sum(quote.kind == "Code" for quote in QUOTES) == blocks
    assert sum(quote.kind == "Test" for quote in QUOTES) == len(re.findall(r"`test_\w+`", page))
    for text, path in re.findall(r"\[`(.+?)`\]\((.+?)\)", page):
        assert path == f"../{text}"
        assert (ROOT / text).is_file(), text


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        ("Code", "scratch/layers.py", "dx: Array = dy @ self.params['weight'].T"),
        ("Code", "scratch/layers.py", "dy.T @ x"),  # a part of a line
        ("Code", "scratch/none.py", "import numpy as np"),
        ("Test", "tests/test_derivations.py", "test_of_something_else"),
    ],
)
def test_a_quote_that_is_wrong_is_found(kind: str, path: str, text: str) -> None:
    assert not is_there(Quote("a section", kind, path, text))


# Two of the page's own


def layer(n: int, k: int) -> Linear:
    return Linear(n, k, rng=np.random.default_rng(0), dtype=np.float64)


def test_the_batched_form_is_the_sum_over_samples() -> None:
    linear, rng = layer(4, 3), np.random.default_rng(1)
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    y = linear.forward(x)
    dx = linear.backward(dy)
    W, b = linear.params["weight"], linear.params["bias"]
    dW = sum(np.outer(d, a) for d, a in zip(dy, x, strict=True))
    np.testing.assert_allclose(y, [W @ row + b for row in x], rtol=1e-12)
    np.testing.assert_allclose(linear.grads["weight"], dW, rtol=1e-12)
    np.testing.assert_allclose(linear.grads["bias"], sum(dy), rtol=1e-12)
    np.testing.assert_allclose(dx, [W.T @ d for d in dy], rtol=1e-12)


def test_a_row_of_ones_carries_the_bias() -> None:
    rng = np.random.default_rng(2)
    view = ColumnView(Sequential(layer(4, 3)))
    Y, dZ = rng.normal(size=(4, 6)), rng.normal(size=(3, 6))
    with_ones = np.vstack([Y, np.ones(6)])
    np.testing.assert_allclose(view.forward(Y), view.W[0] @ with_ones, rtol=1e-13)
    view.backward(dZ)
    np.testing.assert_allclose(view.dW[0], dZ @ with_ones.T, rtol=1e-13)


@pytest.mark.parametrize(("kind", "axis"), [(BatchNorm1d, 0), (LayerNorm, 1)])
def test_the_gradient_of_a_normalisation_has_no_part_along_a_shift_or_a_scale(kind: Any, axis: int) -> None:
    rng = np.random.default_rng(3)
    norm = kind(4, eps=0.0, dtype=np.float64)
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    h = norm.forward(x)
    dx = norm.backward(dy)
    np.testing.assert_allclose(dx.sum(axis=axis), 0, atol=1e-13)
    np.testing.assert_allclose((dx * h).sum(axis=axis), 0, atol=1e-13)
    assert np.abs(dx).min() > 1e-4
