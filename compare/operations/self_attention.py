"""SelfAttention: y = concat(P_i v_i) W_out^T + b_out, P_i = softmax(q_i k_i^T / sqrt(d)), [q k v] = x W_in^T + b_in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import permutations
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

import scratch
from compare.numbers.allowance import SHARP, SPEAKS, LikelyFirst, Precision, gamma
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.expected import Expected
from compare.numbers.float64 import tensor
from compare.numbers.latest import Latest
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Formula, Guess, Unseen
from compare.operations.mistake import Mistake as M
from compare.operations.operation import ANY, Layer, Part, Scalar, Shape
from compare.operations.softmax import log_softmax_error
from torch_ref import attention

# --- arithmetics ---

SCALING = 6  # roundings of a product's scale: 1 / sqrt(d) and its use, or its root in either factor


@dataclass
class Sums:
    """On Bounded arrays of any number of axes. Sums have the error that always holds, or the likely one.

    `reach` is the largest of the sizes on the way.
    """

    p: Precision
    always: bool = False
    reach: float = field(default=0.0, init=False)

    def of(self, a: Any) -> Bounded:
        return a if isinstance(a, Bounded) else Bounded.of(a, self.p)

    def units(self, terms: int) -> float:
        worst = gamma(terms, self.p.u)
        return worst if self.always else min(worst, SHARP * float(np.sqrt(terms)) * self.p.u)

    def product(self, a: Bounded, b: Bounded, scale: float = 1.0, addend: Bounded | None = None) -> Bounded:
        """scale a b + addend;  a (..., n, k), b (..., k, l): the scale in a, in b, in both, or applied afterwards."""
        size, k = np.abs(a.value) @ np.abs(b.value), a.shape[-1]
        inherited = np.abs(a.value) @ b.error + a.error @ (np.abs(b.value) + b.error)
        value, terms = a.value @ b.value * scale, k + SCALING * (scale != 1)
        size, inherited = size * scale, inherited * scale
        if addend is not None:
            value, size, inherited, terms = value + addend.value, size + np.abs(addend.value), inherited, terms + 1
        self.reach = max(self.reach, float(size.max(initial=0.0)) / min(scale, 1.0))
        return Bounded(value, inherited + self.units(terms) * size + self._underflow(terms, size), self.p)

    def softmax(self, s: Bounded, axis: int = -1) -> Bounded:
        """e^s over its sum; its own roundings as in softmax.py.

        Where each s_j is off by e_j at most, y_i = 1 / (1 + r), r = (1 - y_i) / y_i, becomes 1 / (1 + r e^c) with
        |c| <= e_i + max e = d. So it is off by at most y (1 - y) (1 - e^-d) / (y e^-d + 1 - y).
        """
        rows = lambda a: np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis])  # noqa: E731
        logits, error = rows(s.value), rows(np.where(s.value == -np.inf, 0.0, s.error))
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        y = e / e.sum(axis=1, keepdims=True)
        own = np.expm1(np.minimum(log_softmax_error(logits, y, self.p), 700)) * y
        d = np.minimum(error + error.max(axis=1, keepdims=True), 700)
        rest = np.maximum((e.sum(axis=1, keepdims=True) - e) / e.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        inherited = -y * rest * np.expm1(-d) / (y * np.exp(-d) + rest)
        off = np.where(y > 0, np.minimum(inherited + own * (1 + d), 1.0 + own), inherited)
        off = off + 2 * self.p.subnormal * (logits != -np.inf)
        shape = np.moveaxis(s.value, axis, -1).shape
        back = lambda a: np.moveaxis(a.reshape(shape), -1, axis)  # noqa: E731
        return Bounded(back(y), back(off), self.p)

    def softmax_back(self, y: Bounded, do: Bounded, v: Bounded, axis: int = -1) -> Bounded:
        """y (dy - sum of dy y), dy = do v^T, in that form or through the Jacobian diag(y) - y y^T, as in softmax.py; or
        with do . (y v) for the sum. So its roundings are relative to the sizes |do| |v|^T."""
        dy, size = self.product(do, _turned(v)), np.abs(do.value) @ np.abs(_turned(v).value)
        sizes = (y.value * size).sum(axis=axis, keepdims=True)
        c = (dy.value * y.value).sum(axis=axis, keepdims=True)
        c_error = (np.abs(dy.value) * y.error + dy.error * (y.value + y.error)).sum(axis=axis, keepdims=True)
        terms = y.shape[axis] + do.shape[-1] + 4
        value = y.value * (dy.value - c)
        inherited = y.error * np.abs(dy.value - c) + (y.value + y.error) * (dy.error + c_error)
        local = self.units(terms) * y.value * sizes + 4 * self.p.u * y.value * size
        return Bounded(value, inherited + local + self._underflow(terms, size + sizes), self.p)

    def summed(self, a: Bounded) -> Bounded:
        """Over batch and time, and a factor before or after."""
        size, terms = np.abs(a.value).sum(axis=(0, 1)), a.shape[0] * a.shape[1] + 2
        return Bounded(a.value.sum(axis=(0, 1)), a.error.sum(axis=(0, 1)) + self.units(terms) * size, self.p)

    def _underflow(self, terms: int, size: Array) -> Array:
        found: Array = terms * self.p.subnormal * (size > 0)
        return found


@dataclass
class InTurn:
    """On arrays in a precision, the terms of each sum from the first to the last, or from the last to the first."""

    dtype: DTypeLike
    backwards: bool = False

    def of(self, a: Any) -> Array:
        found: Array = np.asarray(a).astype(self.dtype)
        return found

    def product(self, a: Array, b: Array, scale: float = 1.0, addend: Array | None = None) -> Array:
        total = np.zeros((*a.shape[:-1], b.shape[-1]), self.dtype)
        terms = range(a.shape[-1])
        for k in reversed(terms) if self.backwards else terms:
            total += a[..., :, k, np.newaxis] * b[..., np.newaxis, k, :]
        total = total * self.of(scale)
        return total if addend is None else total + addend

    def softmax(self, s: Array, axis: int = -1) -> Array:
        e = np.exp(s - s.max(axis=axis, keepdims=True))
        return e / self._sum(e, axis)

    def softmax_back(self, y: Array, do: Array, v: Array, axis: int = -1) -> Array:
        dy = self.product(do, _turned(v))
        return y * (dy - self._sum(dy * y, axis))

    def summed(self, a: Array) -> Array:
        found: Array = self._sum(a.reshape(-1, a.shape[-1]), 0)[0]
        return found

    def _sum(self, a: Array, axis: int) -> Array:
        ordered = np.flip(a, axis) if self.backwards else a
        found: Array = np.take(np.add.accumulate(ordered, axis=axis), [-1], axis=axis)
        return found


def _arranged(a: Any, f: Callable[[Array], Array]) -> Any:
    return a.arranged(f) if isinstance(a, Bounded) else f(a)


def _turned(a: Any) -> Any:
    """The last two axes exchanged."""
    return _arranged(a, lambda b: b.swapaxes(-1, -2))


def _joined(parts: Sequence[Any]) -> Any:
    """Side by side along the last axis."""
    if not isinstance(parts[0], Bounded):
        return np.concatenate(parts, axis=-1)
    value, error = (np.concatenate([getattr(a, name) for a in parts], axis=-1) for name in ("value", "error"))
    return Bounded(value, error, parts[0].p)


# --- the layer ---

WEIGHTS = {"W_in": "in_proj_weight", "b_in": "in_proj_bias", "W_out": "out_proj_weight", "b_out": "out_proj_bias"}
ALL = "x W_in b_in W_out b_out"
BACK = "do = dy W_out, dv = P^T do, ds = P (dP - sum of dP P) / sqrt(d), dP = do v^T, dq = ds k, dk = ds^T q"
PLAIN = {"dropout": 0.0, "batch_first": True, "add_zero_attn": False, "bias_k": None}  # torch's, not checked
PASSES: Latest[Any] = Latest(keys=8)  # of a layer or two, forward and back


@dataclass(frozen=True)
class Forward:
    """What one pass forward gave: heads apart in q, k, v and P, side by side in o."""

    q: Any
    k: Any
    v: Any
    P: Any
    o: Any
    y: Any


@dataclass(frozen=True)
class SelfAttention(Layer):
    """x (m, t, E) -> y (m, t, E), with the parameters of torch's MultiheadAttention; a dot in their names is "_".

    All parts are computed once in bounded arithmetic, by running error analysis (Higham, section 3.3), which carries
    what the operands bring along from product to product and through the softmax. The likely bound has 3 sqrt(n) u for
    a sum of n terms, or n u where that is less. It applies where plain computations in the candidate's precision, each
    sum term after term from either end, stay within 0.4 of it, as for any sum (numbers/allowance.py). Else the bound
    applies whose sums have gamma_n, which always holds. Both cover the softmax shifted or not, its derivative in each
    form that `softmax_back` names, the scale in q, in k, in both or after the product, heads by slices or by reshaping,
    and sums over batch and time in any order.
    """

    kind = "self_attention"
    scratch_type, torch_type = scratch.SelfAttention, attention.SelfAttention
    attributes = ("embed_dim", "num_heads", "causal")
    letters: ClassVar = {"x": "input", **WEIGHTS, "y": "output", "dy": "grad_output"}
    parts: ClassVar = {
        "output": Part.of(
            "y = concat(P_i v_i) W_out^T + b_out, P_i = softmax(q_i k_i^T / sqrt(d)), [q, k, v] = x W_in^T + b_in", ALL
        ),
        "grad_out_proj_weight": Part.of("dW_out = dy^T o over batch and time, o = concat(P_i v_i)", f"{ALL} dy"),
        "grad_out_proj_bias": Part.of("db_out = sum of dy over batch and time", f"{ALL} dy"),
        "grad_in_proj_weight": Part.of(f"dW_in = [dq, dk, dv]^T x over batch and time, {BACK}", f"{ALL} dy"),
        "grad_in_proj_bias": Part.of(f"db_in = sum of [dq, dk, dv] over batch and time, {BACK}", f"{ALL} dy"),
        "grad_input": Part.of(f"dx = [dq, dk, dv] W_in, {BACK}", f"{ALL} dy"),
    }

    embed_dim: int
    num_heads: int = 1
    bias: bool = True
    causal: bool = False

    def __post_init__(self) -> None:
        found = (self.embed_dim, self.num_heads)
        if any(type(n) is not int or n < 1 for n in found) or self.embed_dim % self.num_heads:
            raise ValueError(
                f"SelfAttention: found embed_dim {found[0]!r} and num_heads {found[1]!r}, expected numbers of at least "
                "1, of which num_heads divides embed_dim"
            )

    @classmethod
    def of(cls, layer: Any, place: str) -> Self:
        if isinstance(layer, nn.Module) and not isinstance(layer, cls.torch_type):
            own = "torch_ref.attention.SelfAttention"
            raise TypeError(f"{place} takes three things and returns two, expected {own}, which takes x and returns y")
        for name, plain in PLAIN.items():
            if (found := getattr(layer, name, plain)) != plain:
                raise TypeError(f"{place}: got {name}={found!r}, which is not checked; expected {plain!r}")
        named = {f.name: getattr(layer, f.name) for f in fields(cls) if f.name != "bias"}
        if isinstance(layer, nn.Module):
            return cls(**named, bias=layer.in_proj_bias is not None)
        made = cls(**named, bias="in_proj_bias" in layer.params)
        made.expect_parameters(layer, place)
        return made

    @classmethod
    def accepts(cls, layer: Any) -> bool:
        """Torch's own, too, whose message is then of that layer."""
        return isinstance(layer, (cls.scratch_type, nn.MultiheadAttention))

    @property
    def computed(self) -> Mapping[str, Part]:
        if self.bias:
            return self.parts
        without = {name: part for name, part in self.parts.items() if "bias" not in name}
        return {n: replace(p, letters=tuple(a for a in p.letters if a[0] != "b")) for n, p in without.items()}

    @property
    def entering(self) -> Shape:  # type: ignore[override]
        return ANY, ANY, self.embed_dim

    @property
    def fans(self) -> tuple[int, int]:
        return self.embed_dim, self.embed_dim

    def parameters(self) -> dict[str, Shape]:
        n = self.embed_dim
        shapes: dict[str, Shape] = {
            "in_proj_weight": (3 * n, n),
            "in_proj_bias": (3 * n,),
            "out_proj_weight": (n, n),
            "out_proj_bias": (n,),
        }
        return {name: shape for name, shape in shapes.items() if self.bias or "bias" not in name}

    # --- the reference ---

    def output(self, *arrays: Array, p: Precision) -> Expected:
        """x and the weights."""
        y: Array = self._by_torch(arrays)[1].detach().numpy()
        return self._expected("output", y, arrays, p)

    def grad_out_proj_weight(self, *arrays: Array, p: Precision) -> Expected:
        """x, the weights and dy, as those below."""
        return self._gradient("out_proj_weight", arrays, p)

    def grad_out_proj_bias(self, *arrays: Array, p: Precision) -> Expected:
        return self._gradient("out_proj_bias", arrays, p)

    def grad_in_proj_weight(self, *arrays: Array, p: Precision) -> Expected:
        return self._gradient("in_proj_weight", arrays, p)

    def grad_in_proj_bias(self, *arrays: Array, p: Precision) -> Expected:
        return self._gradient("in_proj_bias", arrays, p)

    def grad_input(self, *arrays: Array, p: Precision) -> Expected:
        return self._gradient("input", arrays, p)

    def _by_torch(self, sources: Sequence[Array]) -> tuple[list[Tensor], Tensor]:
        """The sources as autograd knows them, and y, by torch's own function."""

        def make() -> tuple[list[Tensor], Tensor]:
            at = [tensor(a).requires_grad_() for a in map(np.array, sources)]
            x, w_in, b_in, w_out, b_out = at if self.bias else (at[0], at[1], None, at[2], None)
            x, t = x.swapaxes(0, 1), x.shape[1]
            run: Any = nn.functional.multi_head_attention_forward
            hidden = torch.ones(t, t, dtype=torch.bool).triu(1) if self.causal else None
            sizes, no = (self.embed_dim, self.num_heads), (None, None, False, 0.0)  # keys of its own, and dropout
            y, _ = run(x, x, x, *sizes, w_in, b_in, *no, w_out, b_out, need_weights=False, attn_mask=hidden)
            return at, y.swapaxes(0, 1)

        found: tuple[list[Tensor], Tensor] = PASSES.of(("torch", self), sources, make)
        return found

    def _gradient(self, name: str, arrays: Sequence[Array], p: Precision) -> Expected:
        *sources, dy = arrays

        def make() -> dict[str, Array]:
            at, y = self._by_torch(sources)
            values = torch.autograd.grad((y * tensor(dy)).sum(), at, retain_graph=True)
            return {n: a.numpy() for n, a in zip(("input", *self.parameters()), values, strict=True)}

        return self._expected(f"grad_{name}", PASSES.of(("gradients", self), arrays, make)[name], arrays, p)

    def _expected(self, part: str, value: Array, arrays: Sequence[Array], p: Precision) -> Expected:
        """The likely bound where a plain computation stays well within it."""
        likely, by = self._bounds(arrays, p, always=False)
        error = likely[part].error

        def sums_well() -> bool:
            close = (np.abs(plain[part] - value) <= SPEAKS * error for plain in self._plain(arrays, p))
            return all(bool(np.all(each)) for each in close)

        certain = lambda: self._bounds(arrays, p, always=True)[0][part].error  # noqa: E731
        return Expected(value, LikelyFirst.of(error, certain, sums_well, by.reach))

    def _bounds(self, arrays: Sequence[Array], p: Precision, always: bool) -> tuple[dict[str, Bounded], Sums]:
        def make() -> tuple[dict[str, Bounded], Sums]:
            by = Sums(p, always)
            with np.errstate(all="ignore"):
                return self.all_parts(by, arrays), by

        found: tuple[dict[str, Bounded], Sums] = PASSES.of(("bounds", self, p, always), arrays, make)
        return found

    def _plain(self, arrays: Sequence[Array], p: Precision) -> Iterator[dict[str, Any]]:
        for backwards in (False, True):
            by = InTurn(p.dtype, backwards)
            with np.errstate(all="ignore"):
                make = partial(self.all_parts, by, arrays)
                yield PASSES.of(("plain", self, p, backwards), arrays, make)

    # --- once for values, bounds and mistakes ---

    def all_parts(self, by: Any, arrays: Sequence[Any]) -> dict[str, Any]:
        """Every part that these arrays give, in an arithmetic: with dy, the gradients too."""
        x, w_in, b_in, w_out, b_out, *dy = map(by.of, arrays) if self.bias else self._unbiased(by, arrays)
        s = self.passed(by, x, w_in, b_in, w_out, b_out)
        return {"output": s.y} | (self.gradients(by, x, w_in, w_out, s, *dy) if dy else {})

    def _unbiased(self, by: Any, arrays: Sequence[Any]) -> list[Any]:
        x, w_in, w_out, *dy = map(by.of, arrays)
        return [x, w_in, None, w_out, None, *dy]

    def passed(
        self,
        by: Any,
        x: Any,
        w_in: Any,
        b_in: Any,
        w_out: Any,
        b_out: Any,
        *,
        scale: float | None = None,
        seen: Array | None = None,
        after: Array | None = None,
        axis: int = -1,
        split: Callable[[Array], Array] | None = None,
        merged: Callable[[Array], Array] | None = None,
    ) -> Forward:
        """Forward. `seen` says which steps (t, t) are looked at, `after` what the softmax's result is multiplied by;
        these and the others make of it what somebody gets wrong."""
        n, t = self.embed_dim, x.shape[1]
        qkv = by.product(x, _turned(w_in), addend=b_in)
        q, k, v = (
            _arranged(qkv, lambda a, i=i: (split or self.split)(a[..., i * n : (i + 1) * n]))  # type: ignore[misc]
            for i in range(3)
        )
        s = by.product(q, _turned(k), self.scale if scale is None else scale)
        if seen is None and self.causal:
            seen = np.tri(t, dtype=bool)
        if seen is not None:
            s = _masked(s, seen)
        P = by.softmax(s, axis)
        if after is not None:
            P = P * after
        o = _arranged(by.product(P, v), merged or self.merged)
        return Forward(q, k, v, P, o, by.product(o, _turned(w_out), addend=b_out))

    def gradients(
        self,
        by: Any,
        x: Any,
        w_in: Any,
        w_out: Any,
        s: Forward,
        dy: Any,
        *,
        scale: float | None = None,
        axis: int = -1,
        slope: Callable[[Any, Any], Any] | None = None,
        order: Sequence[int | None] = (0, 1, 2),
        turned: tuple[bool, bool] = (True, True),
        o: Any = None,
        only: int | None = None,
    ) -> dict[str, Any]:
        """Back. `slope` gives ds from P and dP, `order` which of dq, dk and dv stands in each place (None: zeros),
        `turned` whether ds and P are transposed for dk and dv, `o` what W_out's gradient is computed from, `only` one
        step of all."""
        do = _arranged(by.product(dy, w_out), self.split)
        ds = slope(s.P, by.product(do, _turned(s.v))) if slope else by.softmax_back(s.P, do, s.v, axis)
        scale = self.scale if scale is None else scale
        own = (
            by.product(ds, s.k, scale),
            by.product(_turned(ds) if turned[0] else ds, s.q, scale),
            by.product(_turned(s.P) if turned[1] else s.P, do),
        )
        merged = [_arranged(a, self.merged) for a in own]
        d = _joined([merged[0] * 0.0 if i is None else merged[i] for i in order])
        dx, o = by.product(d, w_in), s.o if o is None else o
        if only is not None:
            x, d, dy, o = (_arranged(a, lambda b: b[:, [only]]) for a in (x, d, dy, o))
        return {
            "grad_out_proj_weight": _over_time(by, dy, o),
            "grad_out_proj_bias": by.summed(dy),
            "grad_in_proj_weight": _over_time(by, d, x),
            "grad_in_proj_bias": by.summed(d),
            "grad_input": dx,
        }

    @property
    def scale(self) -> float:
        """1 / sqrt(d)."""
        return 1 / float(np.sqrt(self.embed_dim // self.num_heads))

    def split(self, a: Array) -> Array:
        """Heads apart: (m, t, E) -> (m, heads, t, d)."""
        return a.reshape(*a.shape[:2], self.num_heads, -1).swapaxes(1, 2)

    def merged(self, a: Array) -> Array:
        """Heads side by side: (m, heads, t, d) -> (m, t, E)."""
        return a.swapaxes(1, 2).reshape(a.shape[0], a.shape[2], -1)

    def written(self, e: Letters) -> Bounded:
        return output(e)

    def difference(self, part: str, e: Letters, index: tuple[int, ...]) -> tuple[Scalar, Array]:
        """dy . y, as a function of the one tensor."""
        names = ["input", *self.parameters()]
        at = [e.tensor(e.network.tensor_name(e.k, name)).value for name in names]
        k, dy, by = names.index(part.removeprefix("grad_")), e.dy.value, InTurn(np.float64)

        def of(a: Array) -> float:
            return float((dy * self.all_parts(by, [*at[:k], a, *at[k + 1 :]])["output"]).sum())

        return of, at[k]

    # --- on either side ---

    def to_scratch(self, **options: Any) -> scratch.Layer:
        return scratch.SelfAttention(**vars(self), **options)

    def to_torch(self, dtype: torch.dtype) -> nn.Module:
        """Its weights are not initialised."""
        return nn.utils.skip_init(attention.SelfAttention, **vars(self), dtype=dtype)

    def __str__(self) -> str:
        return f"SelfAttention {self.embed_dim}"


def _masked(s: Any, seen: Array) -> Any:
    """-inf where a step is not looked at."""
    if isinstance(s, Bounded):
        return Bounded(np.where(seen, s.value, -np.inf), np.where(seen, s.error, 0.0), s.p)
    return np.where(seen, s, s.dtype.type(-np.inf))


def _over_time(by: Any, d: Any, a: Any) -> Any:
    """Sum of d^T a over batch and time."""
    flat = (_arranged(b, lambda c: c.reshape(-1, c.shape[-1])) for b in (d, a))
    d, a = flat
    return by.product(_turned(d), a)


# --- what people get wrong ---


def forward(e: Letters, weights: Sequence[Any] | None = None, heads: int | None = None, **other: Any) -> Forward:
    """With other weights, another number of heads, or another way through."""
    layer: SelfAttention = e.operation if heads is None else replace(e.operation, num_heads=heads)
    return layer.passed(Sums(e.p), e.x, *(weights or _weights(e)), **other)


def output(e: Letters, weights: Sequence[Any] | None = None, heads: int | None = None, **other: Any) -> Bounded:
    found: Bounded = forward(e, weights, heads, **other).y
    return found


def _weights(e: Any) -> tuple[Any, ...]:
    bias = e.operation.bias
    return e.W_in, e.b_in if bias else None, e.W_out, e.b_out if bias else None


def through(**other: Any) -> Formula:
    """The output by another way through."""
    return lambda e: output(e, **other)


def back(**other: Any) -> Formula:
    """The gradient of this part by another way back."""
    return lambda e: _backward(e, **other)


def _backward(e: Any, **other: Any) -> Bounded:
    found: dict[str, Bounded] = e.operation.gradients(Sums(e.p), e.x, e.W_in, e.W_out, forward(e), e.dy, **other)
    return found[e.name.part]


def _steps(e: Letters) -> Array:
    """Which steps a causal layer looks at. Absent for a layer that looks at all."""
    if not e.operation.causal:
        raise Absent("a causal mask")
    return np.tri(e.x.shape[1], dtype=bool)


def _unmasked(e: Letters) -> Bounded:
    return output(e, seen=np.ones_like(_steps(e)))


def _masked_wrongly(e: Letters) -> Bounded:
    return output(e, seen=_steps(e).T)


def _masked_a_step_off(e: Letters) -> Bounded:
    return output(e, seen=np.tri(len(_steps(e)), k=1, dtype=bool))


def _masked_late(e: Letters) -> Bounded:
    return output(e, seen=np.ones_like(_steps(e)), after=_steps(e).astype(np.float64))


def _masked_unasked(e: Letters) -> Bounded:
    if e.operation.causal:
        raise Absent("a layer without a mask")
    return output(e, seen=np.tri(e.x.shape[1], dtype=bool))


def _of_all_columns(e: Letters) -> Bounded:
    return output(e, scale=1 / float(np.sqrt(e.operation.embed_dim)))


def _not_rooted(e: Letters) -> Bounded:
    return output(e, scale=e.operation.scale**2)


def _one_head(e: Letters) -> Bounded:
    return output(e, heads=1)


def _reshaped(e: Letters, a: Array) -> Array:
    """(m, t, E) -> (m, heads, t, d), without exchanging axes."""
    return a.reshape(a.shape[0], e.operation.num_heads, a.shape[1], -1)


def _split_wrongly(e: Letters) -> Bounded:
    return output(e, split=partial(_reshaped, e))


def _side_by_side(a: Array) -> Array:
    """(m, heads, t, d) -> (m, t, E), without exchanging axes."""
    return a.reshape(a.shape[0], a.shape[2], -1)


def _without(k: int) -> Formula:
    def guess(e: Letters) -> Bounded:
        if not e.operation.bias:
            raise Absent("a bias")
        weights: list[Any] = list(_weights(e))
        weights[k] = None
        return output(e, weights)

    return guess


def _out_transposed(e: Letters) -> Bounded:
    w_in, b_in, w_out, b_out = _weights(e)
    return output(e, (w_in, b_in, w_out.T, b_out))


ORDERS = {", ".join("qkv"[i] for i in order): order for order in permutations(range(3)) if order != (0, 1, 2)}


def _blocks(a: Array, order: Sequence[int]) -> Array:
    parts = np.split(a, 3)
    return np.concatenate([parts[i] for i in order])


def _in_another_order(e: Letters) -> Iterator[Guess]:
    w_in, b_in, *out = _weights(e)
    for said, order in ORDERS.items():
        where = partial(_blocks, order=[order.index(i) for i in range(3)])
        yield output(e, (w_in.arranged(where), b_in and b_in.arranged(where), *out)), said


def _gradients_in_another_order(e: Letters) -> Iterator[Guess]:
    for order in ORDERS.values():
        yield _backward(e, order=order), ", ".join(f"d{'qkv'[i]}" for i in order)


def _left_out(e: Letters) -> Iterator[Guess]:
    for i, name in enumerate("qkv"):
        yield _backward(e, order=[None if j == i else j for j in range(3)]), f"d{name}"


def _from(what: Callable[[Letters], Any]) -> Formula:
    """W_out's gradient, from something else than o."""
    return lambda e: _backward(e, o=what(e))


def _heads(e: Letters) -> Bounded:
    """o with its heads in the wrong order."""
    return forward(e, merged=_side_by_side).o


def _sum_of_do(e: Any) -> Bounded:
    return Sums(e.p).summed(Sums(e.p).product(e.dy, e.W_out))


def _values(e: Letters) -> Bounded:
    return forward(e).v.arranged(e.operation.merged)


def _asleep(e: Any) -> bool:
    return not (e.b_in.value.any() or e.b_out.value.any())


ASLEEP = Unseen("all biases are zero", _asleep)
ONE_STEP = Unseen("there is one time step", lambda e: e.x.shape[1] == 1)
ONE_HEAD = Unseen("there is one head", lambda e: e.operation.num_heads == 1)
ONE_COLUMN = Unseen("a head has one column", lambda e: e.operation.scale == 1)

CALL = "attention(x, W_in, b_in, W_out, b_out"
Y = f"{CALL})['output']"
CAUSAL = {"network": "SelfAttention(6, 2, causal=True), Flatten, Linear(30, 4); CrossEntropyLoss"}
CAUSAL_Y = f"{CALL}, causal=True)['output']"


def _y(option: str) -> str:
    return f"{CALL}, {option})['output']"


# fmt: off
OUTPUT = [
    M("scores-not-scaled", through(scale=1.0), "the scores q k^T are not divided by sqrt(d)", unseen=ONE_COLUMN,
      wrong=_y("scale=1"), right=Y),
    M("scores-scaled-wrongly", _not_rooted, "the scores are divided by d, not by its root", unseen=ONE_COLUMN,
      wrong=_y("scale=1 / 3"), right=_y("scale=3**-0.5")),
    M("scores-scaled-wrongly", _of_all_columns,
      "the scores are divided by the root of embed_dim, not by that of one head's columns", unseen=ONE_HEAD,
      wrong=_y("scale=6**-0.5"), right=_y("scale=3**-0.5")),
    M("causal-mask-missing", _unmasked, "the causal mask is left out: steps look at later ones", unseen=ONE_STEP,
      wrong=Y, right=CAUSAL_Y, case=CAUSAL),
    M("causal-mask-after-softmax", _masked_late,
      "the causal mask comes after the softmax: what is left of a row no longer adds up to 1", unseen=ONE_STEP,
      wrong=_y("after=np.tri(5)"), right=CAUSAL_Y, case=CAUSAL),
    M("causal-mask-transposed", _masked_wrongly, "the causal mask hides earlier steps, not later ones", unseen=ONE_STEP,
      wrong=_y("seen=np.tri(5).T"), right=_y("seen=np.tri(5)"), case=CAUSAL),
    M("causal-mask-shifted", _masked_a_step_off, "the causal mask is a step off: a step looks at the one after it",
      unseen=ONE_STEP,
      wrong=_y("seen=np.tri(5, k=1)"), right=_y("seen=np.tri(5)"), case=CAUSAL),
    M("causal-mask-unasked", _masked_unasked, "a causal mask is there, though the layer is not causal",
      unseen=ONE_STEP,
      wrong=CAUSAL_Y, right=Y),
    M("softmax-wrong-axis", through(axis=-2),
      "the softmax is over the steps that look (axis -2), not over those that are looked at", unseen=ONE_STEP,
      wrong=_y("axis=-2"), right=Y),
    M("heads-split-wrongly", _split_wrongly,
      "q, k and v are reshaped to (m, heads, t, d) at once: a head then has some steps, not some columns",
      unseen=ONE_HEAD,
      wrong=_y("split=lambda a: a.reshape(len(a), 2, 5, 3)"), right=Y),
    M("heads-merged-wrongly", through(merged=_side_by_side),
      "the heads are merged without bringing time to the front: (m, heads, t, d) is reshaped to (m, t, E)",
      unseen=ONE_HEAD,
      wrong=_y("merged=lambda a: a.reshape(len(a), 5, 6)"), right=Y),
    M("heads-ignored", _one_head, "there is one head of all columns, not num_heads of them", unseen=ONE_HEAD,
      wrong=_y("heads=1"), right=Y),
    M("projections-exchanged", _in_another_order, "the rows of W_in are taken in the order {}, not q, k, v",
      listed=True,
      wrong="attention(x, gates(W_in, [1, 0, 2]), gates(b_in, [1, 0, 2]), W_out, b_out)['output']", right=Y),
    M("bias-missing", _without(1), "b_in is not added", unseen=ASLEEP,
      wrong=Y.replace("b_in", "0 * b_in"), right=Y),
    M("bias-missing", _without(3), "b_out is not added", unseen=ASLEEP,
      wrong=Y.replace("b_out", "0 * b_out"), right=Y),
    M("weight-transposed", _out_transposed, "W_out is transposed: o W_out, not o W_out^T",
      wrong=Y.replace("W_out", "W_out.T"), right=Y),
    M("projection-missing", lambda e: forward(e).o, "y is the heads side by side: the projection by W_out is left out",
      wrong="attention(x, W_in, b_in, np.eye(6), 0 * b_out)['output']", right=Y),
]


def _ways_back(part: str) -> list[M]:
    """Of the gradients that go through the softmax."""
    at = lambda option: f"{CALL}, dy{option})['{part}']"  # noqa: E731
    right = at("")
    return [
        M("softmax-diagonal", back(slope=lambda P, d: d * (P * (1.0 - P))),
          "the softmax's derivative is that of a sigmoid: ds = dP P (1 - P)", unseen=ONE_STEP,
          wrong=at(", slope=lambda P, d: d * P * (1 - P)"), right=right),
        M("softmax-diagonal", back(slope=lambda P, d: d * P), "ds = dP P: the sum over the row is missing",
          wrong=at(", slope=lambda P, d: d * P"), right=right),
        M("derivative-missing", back(slope=lambda P, d: d * 1.0), "the softmax's derivative is left out: ds = dP",
          wrong=at(", slope=lambda P, d: d"), right=right),
        M("softmax-wrong-axis", back(axis=-2),
          "on the way back the softmax's sum is over the steps that look (axis -2)", unseen=ONE_STEP,
          wrong=at(", slope=lambda P, d: P * (d - (d * P).sum(axis=-2, keepdims=True))"), right=right),
        M("scores-not-scaled", back(scale=1.0), "the scores' scale 1 / sqrt(d) is forgotten on the way back",
          unseen=ONE_COLUMN,
          wrong=at(", back_scale=1"), right=right),
        M("scores-scaled-wrongly", lambda e: _backward(e, scale=e.operation.scale**2),
          "on the way back the scores are scaled by 1 / d, or twice by its root", unseen=ONE_COLUMN,
          wrong=at(", back_scale=1 / 3"), right=right),
        M("gradients-exchanged", _gradients_in_another_order, "{} stand in the place of dq, dk, dv", listed=True,
          wrong=at(", order=[1, 0, 2]"), right=right),
        M("gradient-of-part-missing", _left_out, "{} is left out", listed=True,
          wrong=at(", order=[0, 1, None]"), right=right),
        M("transpose-missing", back(turned=(False, True)), "dk = ds q takes ds, not its transpose", unseen=ONE_STEP,
          wrong=at(", turned=(False, True)"), right=right),
        M("transpose-missing", back(turned=(True, False)), "dv = P do takes P, not its transpose", unseen=ONE_STEP,
          wrong=at(", turned=(True, False)"), right=right),
    ]


def _sums(part: str) -> list[M]:
    """Of what is summed over time."""
    right = f"{CALL}, dy)['{part}']"
    words = "only the {} time step enters: it is written (=), not added (+=), to the others"
    return [
        *(M("steps-not-added-up", back(only=t), words.format(said), unseen=ONE_STEP,
            wrong=f"{CALL}, dy, only={t})['{part}']", right=right) for t, said in ((-1, "last"), (0, "first"))),
        M("mean-over-time", lambda e: e.ref / e.x.shape[1], "it is the mean over time, where the sum should be",
          unseen=ONE_STEP, wrong=f"{right} / x.shape[1]", right=right),
    ]


DW_OUT = f"{CALL}, dy)['grad_out_proj_weight']"
MISTAKES = {
    "output": OUTPUT,
    "grad_out_proj_weight": [
        M("wrong-input", _from(lambda e: e.x), "dW_out takes x, which enters the layer, not o, which W_out multiplies",
          wrong="np.einsum('mti,mtj->ij', dy, x)", right=DW_OUT),
        M("wrong-input", _from(_values), "dW_out takes v, not o = P v: the values are not yet weighted",
          unseen=ONE_STEP,
          wrong="np.einsum('mti,mtj->ij', dy, (x @ W_in.T + b_in)[:, :, 12:])", right=DW_OUT),
        M("wrong-input", _from(lambda e: forward(e).y), "dW_out takes y, what W_out gives, not o, what it multiplies",
          wrong="np.einsum('mti,mtj->ij', dy, y)", right=DW_OUT),
        M("heads-merged-wrongly", _from(_heads),
          "dW_out takes o with its heads merged without bringing time to the front", unseen=ONE_HEAD,
          wrong=f"{CALL}, dy, o_merged=lambda a: a.reshape(len(a), 5, 6))['grad_out_proj_weight']", right=DW_OUT),
        *_sums("grad_out_proj_weight"),
    ],
    "grad_out_proj_bias": [
        M("gradient-after-the-projection", _sum_of_do,
          "db_out is the sum of dy W_out, the gradient of o, not that of dy",
          wrong="(dy @ W_out).sum(axis=(0, 1))", right="dy.sum(axis=(0, 1))"),
        *_sums("grad_out_proj_bias"),
    ],
    "grad_in_proj_weight": [*_ways_back("grad_in_proj_weight"), *_sums("grad_in_proj_weight")],
    "grad_in_proj_bias": [*_ways_back("grad_in_proj_bias"), *_sums("grad_in_proj_bias")],
    "grad_input": _ways_back("grad_input"),
}
# fmt: on

SelfAttention.mistakes = MISTAKES
