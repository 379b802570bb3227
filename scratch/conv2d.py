"""Conv2d: a convolution as deep learning calls it: filters slide over images, and are not flipped."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from scratch.initializers import Initializer, RandomSource, linear_default
from scratch.layers import Array, Layer, expect
from scratch.windows import Pair, Windows, brief, option, pair


class Conv2d(Layer):
    """y = x * W + b;  x (m, in, height, width), W (out, in / groups, kh, kw), b (out,) -> y (m, out, down, across).

    y[n, o, i, j] = b[o] + sum over c, u, v of W[o, c, u, v] x[n, c, i stride + u dilation, j stride + v dilation], x
    with `padding` zeros around it. Each of `groups` has channels of its own of x and of y. The windows of an image are
    the columns of one matrix, and the sum is a matrix product (im2col). Weights are drawn as in Linear; torch's default
    is uniform in +-1/sqrt(in / groups kh kw).

    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016; Chellapilla, Puri and Simard, High
    Performance Convolutional Neural Networks for Document Processing, 2006, section 4 (the matrix product).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: RandomSource,
        weight_init: Initializer = linear_default,
        bias_init: Initializer = linear_default,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d {in_channels} -> {out_channels}: groups={groups}, expected numbers of at least 1, and groups "
                "that divide both"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = pair("kernel_size", kernel_size, 1), pair("stride", stride, 1)
        self.padding, self.dilation = pair("padding", padding, 0), pair("dilation", dilation, 1)
        self.windows = Windows(self.kernel_size, self.stride, self.padding, self.dilation)
        self.dtype = np.dtype(dtype)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        fans = (math.prod(shape[1:]), out_channels * math.prod(self.kernel_size))
        self.params["weight"] = weight_init(rng, shape, fans).astype(dtype)
        if bias:
            self.params["bias"] = bias_init(rng, (out_channels,), fans).astype(dtype)

    def forward(self, x: Array) -> Array:
        expect(x, (None, self.in_channels, None, None), self.dtype)
        self._kept = x
        windows = self.windows.of(x)
        y: Array = (self._filters @ self._columns(windows)).reshape(len(x), self.out_channels, *windows.shape[4:])
        if "bias" in self.params:
            y += self.params["bias"][:, np.newaxis, np.newaxis]
        return y

    def backward(self, dy: Array) -> Array:
        """dW = dy columns^T, over the batch;  db = sum of dy over batch and positions;  dx = W^T dy, added up."""
        x = self.kept
        windows = self.windows.of(x)
        expect(dy, (len(x), self.out_channels, *windows.shape[4:]), self.dtype)
        if "bias" in self.params:
            self.grads["bias"] = dy.sum(axis=(0, 2, 3))
        d = dy.reshape(len(x), self.groups, self.out_channels // self.groups, -1)
        dw = (d @ self._columns(windows).swapaxes(-1, -2)).sum(axis=0)
        self.grads["weight"] = dw.reshape(self.params["weight"].shape)
        dcolumns = self._filters.swapaxes(-1, -2) @ d
        return self.windows.add_up(dcolumns.reshape(windows.shape), x.shape)

    @property
    def _filters(self) -> Array:
        """Each filter as a row: (groups, out / groups, in / groups kh kw)."""
        return self.params["weight"].reshape(self.groups, self.out_channels // self.groups, -1)

    def _columns(self, windows: Array) -> Array:
        """Each window as a column: (m, groups, in / groups kh kw, down across)."""
        return windows.reshape(len(windows), self.groups, self._filters.shape[-1], -1)

    def __str__(self) -> str:
        return f"Conv2d {self.in_channels} -> {self.out_channels}, {self.kernel_size[0]} x {self.kernel_size[1]}"

    def __repr__(self) -> str:
        options = option("stride", self.stride, (1, 1)) + option("padding", self.padding, (0, 0))
        options += option("dilation", self.dilation, (1, 1)) + (f", groups={self.groups}" if self.groups > 1 else "")
        options += "" if "bias" in self.params else ", bias=False"
        sizes = f"{self.in_channels}, {self.out_channels}, {brief(self.kernel_size)}"
        return f"Conv2d({sizes}{options}, dtype={self.dtype})"
