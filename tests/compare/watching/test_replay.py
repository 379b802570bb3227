"""Replay: what an expression gives is believed, and what it cannot give is not."""

from __future__ import annotations

import numpy as np
import pytest

from compare.watching.replay import Replayed, Source, replays

A, B = np.arange(6.0).reshape(2, 3) - 2.0, np.full((3, 2), 0.3)
ROW = np.array([0.1, 0.2, 0.3])
# an expression, its operands, and what it gives
GIVES = {
    "a + b": ([A, ROW], A + ROW),
    "a - 1": ([A, 1.0], A - 1),
    "a * a": ([A, A], A * A),
    "1 / a": ([1.0, B], 1 / B),
    "a ** 2": ([A, 2.0], A**2),
    "a @ b": ([A, B], A @ B),
    "-a": ([A], -A),
    "a > 0": ([A, 0.0], A > 0),
    "a.T": ([A], A.T),
    "a[1:]": ([A], A[1:]),
    "np.exp(a)": ([A.astype(np.float32)], np.exp(A.astype(np.float32))),
    "np.dot(a, b)": ([A, B], A @ B),
    "a.sum(axis=0)": ([A, 0.0], A.sum(axis=0)),
    "np.sum(a, axis=1, keepdims=True)": ([A, 1.0, 1.0], A.sum(axis=1, keepdims=True)),
    "np.mean(a)": ([A], A.mean()),
    "np.outer(a, b)": ([ROW, ROW], np.outer(ROW, ROW)),
    "np.maximum(a, 0)": ([A, 0.0], np.maximum(A, 0)),
    "a + b ": ([A, A], np.concatenate([A, A])),  # lists
    "a * 2": ([ROW, 2.0], np.concatenate([ROW, ROW])),
}


@pytest.mark.parametrize("text", GIVES)
def test_what_it_gives_is_believed_and_another_value_is_not(text: str) -> None:
    source = Source(f"import numpy as np\nz = ({text})\n", "s.py")
    site = next(each for each in reversed(source.sites) if each.what != "bind" and each.line == 2 and each.column == 5)
    operands, gives = GIVES[text]
    assert replays(site, source, operands, np.asarray(gives)) is True
    wrong = np.asarray(gives).copy()
    wrong[...] = ~wrong if wrong.dtype.kind == "b" else wrong * 1.01 + 0.01
    assert replays(site, source, operands, wrong) is False


UNSEEN = {
    "exec('x = 1')": "exec (line 1)",
    "import os\nos._exit(0)": "_exit (line 2)",
    "from os import _exit": "_exit (line 1)",
    "import ctypes": "ctypes (line 1)",
    "_backprop_call.__self__": "_backprop_call (line 1)",
    "import numpy as np\nnp.exp(1.0)": "",
    "model.eval()": "",
}


@pytest.mark.parametrize("text", UNSEEN)
def test_what_can_hide_something_is_named(text: str) -> None:
    assert UNSEEN[text] in (*Source(text, "s.py").unseen, "")
    assert bool(Source(text, "s.py").unseen) == bool(UNSEEN[text])


def test_sites_of_another_text_are_not_believed() -> None:
    replayed = Replayed(lambda _: "x = 1 + 2\n")
    replayed.told(Source("x = 2 - 1\n", "s.py").sites, 0)
    assert list(replayed.unseen) == ["s.py is not the file that was handed in"]
    assert not replayed.value(0, 0, replayed.sources["s.py"].sites[0], [[1.0], [2.0]], [], np.asarray(3.0))  # type: ignore[union-attr]
