"""Window: where a filter or a pooling looks at images, and how its results are added up on the way back.

Written with index arithmetic, on arrays that carry their error bound: independent of scratch's windows and of torch's.
Images are (m, channels, height, width), their patches (m, channels, window height, window width, down, across).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from compare.numbers.allowance import gamma
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.operations.mistake import Unseen
from compare.operations.operation import ANY, Shape

Two = tuple[int, int]  # of height and width
Pair = int | Two
Padding = Pair


def two(given: Any) -> Two:
    """(height, width)."""
    return tuple(given) if isinstance(given, tuple) else (given, given)


def brief(name: str, given: Any, least: int) -> Pair:
    """One number where both are equal, as one would type it. ValueError naming it for what is no such pair."""
    found = two(given)
    if len(found) != 2 or any(type(n) is not int or n < least for n in found):
        raise ValueError(f"found {name} {str(given)[:40]!r}, expected one or two whole numbers of at least {least}")
    return found[0] if found[0] == found[1] else found


@dataclass(frozen=True)
class Window:
    """Of `size`, `stride` apart, over images with `padding` around them; `dilation` is the step inside a window."""

    size: Two
    stride: Two
    padding: Two = (0, 0)
    dilation: Two = (1, 1)

    @classmethod
    def of_pooling(cls, size: Pair, stride: Pair | None, padding: Padding) -> Window:
        """Without a stride the windows stand side by side."""
        return cls(two(size), two(size if stride is None else stride), two(padding))

    def leaving(self, entering: Shape, who: str) -> Shape:
        """How many there are: (m, channels, height, width) -> (m, channels, down, across). ValueError for none."""
        if len(entering) != 4:
            raise ValueError(f"{who}: got {entering}, expected images (m, channels, height, width)")
        along = list(self._along(entering))
        if any(n != ANY and n <= last for n, last, _ in along):
            least = " x ".join(str(last + 1) for _, last, _ in along)
            raise ValueError(f"{who}: got {entering}, expected images of at least {least}, padding included")
        return *entering[:2], *(ANY if n == ANY else (n - 1 - last) // s + 1 for n, last, s in along)

    def _along(self, entering: Shape) -> Iterator[tuple[int, int, int]]:
        """Of height and width: the padded size, the place of a window's last element, and the stride."""
        for n, k, s, p, d in zip(entering[2:], self.size, self.stride, self.padding, self.dilation, strict=True):
            yield (ANY if n == ANY else n + 2 * p), d * (k - 1), s

    @property
    def overlap(self) -> int:
        """In how many windows one element can be, at most: of k, those whose places are congruent modulo the stride."""
        sizes = zip(self.size, self.stride, self.dilation, strict=True)
        down, across = (-(-k * gcd(s, d) // s) for k, s, d in sizes)
        return down * across

    def patches(self, x: Bounded, fill: float = 0.0) -> Bounded:
        """What each window sees; `fill` in the padding."""
        value = self.seen(x.value, fill)
        return Bounded(value, self.seen(x.error, 0.0), x.p)

    def seen(self, x: Array, fill: float = 0.0) -> Array:
        """The same of an array."""
        (ph, pw), (down, across) = self.padding, self.leaving(x.shape, "Window")[2:]
        padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
        (rows, columns) = (
            d * np.arange(k)[:, np.newaxis] + s * np.arange(count)
            for k, d, s, count in zip(self.size, self.dilation, self.stride, (down, across), strict=True)
        )
        found: Array = padded[:, :, rows[:, np.newaxis, :, np.newaxis], columns[np.newaxis, :, np.newaxis, :]]
        return found

    def added_up(self, d: Bounded, shape: Shape) -> Bounded:
        """Of each element of images of this shape, the sum of d over the windows that see it."""
        return self.spread(d, shape).arranged(self.cut)

    def spread(self, d: Bounded, shape: Shape) -> Bounded:
        """The same of the padded images."""
        roundings = gamma(self.overlap, d.p.u) * self.laid(np.abs(d.value) + d.error, shape)
        return Bounded(self.laid(d.value, shape), self.laid(d.error, shape) + roundings, d.p)

    def laid(self, d: Array, shape: Shape) -> Array:
        """The same of an array."""
        padded = self.padded(shape, d.dtype)
        for u, v in np.ndindex(self.size):
            padded[self.places(u, v, d.shape[4:])] += d[:, :, u, v]
        return padded

    def overwritten(self, d: Bounded, shape: Shape, by: str) -> Bounded:
        """Not added up: what is written last stays, going "window" by window, or by "element" of the window."""

        def last(a: Array) -> Array:
            padded = self.padded(shape, a.dtype)
            if by == "element":
                for u, v in np.ndindex(self.size):
                    padded[self.places(u, v, a.shape[4:])] = a[:, :, u, v]
            else:
                (h, w), (sh, sw), (dh, dw) = self.size, self.stride, self.dilation
                for i, j in np.ndindex(a.shape[4:]):
                    rows, columns = slice(sh * i, sh * i + dh * h, dh), slice(sw * j, sw * j + dw * w, dw)
                    padded[:, :, rows, columns] = a[..., i, j]
            return self.cut(padded)

        return d.arranged(last)

    def cut(self, padded: Array) -> Array:
        """Without the padding."""
        (ph, pw), (height, width) = self.padding, padded.shape[2:]
        return padded[:, :, ph : height - ph, pw : width - pw]

    def padded(self, shape: Shape, dtype: DTypeLike) -> Array:
        """Zeros for images of this shape, padding included."""
        (ph, pw), (m, channels, height, width) = self.padding, shape
        return np.zeros((m, channels, height + 2 * ph, width + 2 * pw), dtype)

    def places(self, u: int, v: int, counts: Shape) -> tuple[slice, ...]:
        """Where element (u, v) of each of so many windows is in the padded images."""
        starts = (n * k for n, k in zip((u, v), self.dilation, strict=True))
        along = zip(starts, self.stride, counts, strict=True)
        return slice(None), slice(None), *(slice(first, first + s * count, s) for first, s, count in along)


def expect_thin(size: Pair, padding: Padding) -> None:
    """ValueError where a window may lie in the padding alone, as in torch."""
    if any(2 * p > n for p, n in zip(two(padding), two(size), strict=True)):
        raise ValueError(f"found padding {padding}, expected at most half of the windows' size, {size}")


NO_OVERLAP = Unseen("no two windows overlap", lambda e: e.operation.window.overlap == 1)
