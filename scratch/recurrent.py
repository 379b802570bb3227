"""Recurrent: what RNN, LSTM and GRU have in common: parameters, the axes of time, and gradients summed over time."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from scratch.initializers import Initializer, RandomSource, linear_default
from scratch.layers import Array, Layer, expect, rows


class Recurrent(Layer):
    """One layer in one direction over time: x (m, t, in) with batch_first, else (t, m, in); y all hidden states.

    Parameters have torch's names and shapes, n the number of `gates`: weight_ih_l0 (n h, in), weight_hh_l0 (n h, h),
    bias_ih_l0 (n h,), bias_hh_l0 (n h,). All are drawn as in torch, uniform in +-1/sqrt(h): their fan in is taken to be
    h. The state before the first step is zero.

    Werbos, Backpropagation through time: what it does and how to do it, 1990.
    """

    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        *,
        rng: RandomSource,
        weight_init: Initializer = linear_default,
        bias_init: Initializer = linear_default,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size) < 1:
            raise ValueError(f"{type(self).__name__} {input_size} -> {hidden_size}: both sizes must be at least 1")
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        self.dtype, n, fans = np.dtype(dtype), self.gates * hidden_size, (hidden_size, hidden_size)
        self.params["weight_ih_l0"] = weight_init(rng, (n, input_size), fans).astype(dtype)
        self.params["weight_hh_l0"] = weight_init(rng, (n, hidden_size), fans).astype(dtype)
        if bias:
            self.params["bias_ih_l0"] = bias_init(rng, (n,), fans).astype(dtype)
            self.params["bias_hh_l0"] = bias_init(rng, (n,), fans).astype(dtype)

    def _by_time(self, a: Array) -> Array:
        """Time as the first axis: from x, y or their gradients, and back."""
        return a.swapaxes(0, 1) if self.batch_first else a

    def _steps_of(self, x: Array) -> Array:
        expect(x, (None, None, self.input_size), self.dtype)
        self._kept = x
        return self._by_time(x)

    def _gradient_by_time(self, dy: Array) -> Array:
        expect(dy, (*self.kept.shape[:2], self.hidden_size), self.dtype)
        return self._by_time(dy)

    def _zeros(self, steps: int, m: int) -> Array:
        """A state before each step, and one after the last: the first stays zero."""
        return np.zeros((steps + 1, m, self.hidden_size), self.dtype)

    def _from_input(self, x: Array) -> Array:
        """W_ih x_t + b_ih of all steps."""
        a: Array = x @ self.params["weight_ih_l0"].T
        return a + self.params["bias_ih_l0"] if "bias_ih_l0" in self.params else a

    def _from_state(self, h: Array) -> Array:
        """W_hh h + b_hh."""
        a: Array = h @ self.params["weight_hh_l0"].T
        return a + self.params["bias_hh_l0"] if "bias_hh_l0" in self.params else a

    def _gates_of(self, a: Array) -> tuple[Array, ...]:
        """One block of columns for each gate, which writes into it where it is written to."""
        k = self.hidden_size
        return tuple(a[..., i * k : (i + 1) * k] for i in range(self.gates))

    def _through_time(self, da: Array, dr: Array, h: Array) -> Array:
        """dW, db and dx, each a sum over all steps; da and dr are the gradients of `_from_input` and `_from_state`."""
        x = self._by_time(self.kept)
        self.grads["weight_ih_l0"] = _over_time(da, x)
        self.grads["weight_hh_l0"] = _over_time(dr, h)
        if "bias_ih_l0" in self.params:
            self.grads["bias_ih_l0"] = da.sum(axis=(0, 1))
            self.grads["bias_hh_l0"] = dr.sum(axis=(0, 1))
        return np.ascontiguousarray(self._by_time(da @ self.params["weight_ih_l0"]))

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.input_size} -> {self.hidden_size}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.input_size}, {self.hidden_size}{self._options()}, dtype={self.dtype})"

    def _options(self) -> str:
        bias = "" if "bias_ih_l0" in self.params else ", bias=False"
        return bias + (", batch_first=True" if self.batch_first else "")


def _over_time(d: Array, a: Any) -> Array:
    """The sum of d_t^T a_t over time and batch."""
    return rows(d).T @ rows(a)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), written in tanh, which cannot overflow."""
    half = x.dtype.type(0.5)
    return half + half * np.tanh(half * x)
