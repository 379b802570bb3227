"""Orientation: the products of backpropagation, with samples as rows, columns or vectors and weights either way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Orientation:
    """How samples lie and weights are laid out. Every method gives the text of an expression."""

    samples: str
    out_in: bool
    dot: str = "@"

    def product(self, a: str, b: str) -> str:
        if self.dot == "@":
            return f"({a}) @ ({b})"
        return f"np.dot({a}, {b})" if self.dot == "np.dot" else f"({a}).dot({b})"

    def forward(self, W: str, a: str) -> str:
        """What leaves a layer without its bias."""
        if self.samples == "rows":
            return self.product(a, f"({W}).T" if self.out_in else W)
        if self.out_in:
            return self.product(W, a)
        return self.product(f"({W}).T", a) if self.samples == "columns" else self.product(a, W)

    def back(self, W: str, d: str) -> str:
        """The gradient on its way back through the weights."""
        if self.samples == "rows":
            return self.product(d, W if self.out_in else f"({W}).T")
        return self.product(f"({W}).T" if self.out_in else W, d)

    def gradient(self, a: str, d: str) -> str:
        """Of the weights, from what entered and the delta."""
        first, second = (d, a) if self.out_in else (a, d)
        if self.samples == "vectors":
            return f"np.outer({first}, {second})"
        return self.product(f"({first}).T", second) if self.samples == "rows" else self.product(first, f"({second}).T")

    def with_ones(self, a: str) -> str:
        """The samples, each with a 1 at its end: its weight is the bias."""
        if self.samples == "rows":
            return f"np.hstack([{a}, np.ones((len({a}), 1))])"
        if self.samples == "columns":
            return f"np.vstack([{a}, np.ones((1, ({a}).shape[1]))])"
        return f"np.append({a}, 1)"

    def without_bias(self, W: str) -> str:
        """The weights without those of the ones."""
        return f"({W})[:, :-1]" if self.out_in else f"({W})[:-1]"

    def shape(self, n_in: int | str, n_out: int | str) -> tuple[int | str, int | str]:
        return (n_out, n_in) if self.out_in else (n_in, n_out)
