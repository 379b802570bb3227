"""Automatic differentiation: a graph of array-valued nodes, swept forward for tangents or in reverse for adjoints.

Computing with nodes records the graph; the value of a node, its primal, is there at once. Both sweeps visit every node
once, in the order of computation or against it, without recursion. NumPy only.

    w, x = Node([1.0, 2.0], "w"), Node([3.0, 4.0], "x")
    y = sigmoid(w @ x)
    tangents([y], {w: [1.0, 0.0]})[y]      # forward mode: J v, here dy/dw0
    adjoints({y: 1.0})[w]                  # reverse mode: J^T u, here dy/dw
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]
Axes = int | tuple[int, ...] | None
DEPTH = 3  # an expression is written out this far into nodes that have no name


class DomainError(FloatingPointError):
    """A value or a derivative that does not exist: log of a negative number, division by zero, overflow."""


class Rule(NamedTuple):
    """One operation.

    primal(*a) = y; tangent(y, a, da) = dy, for parents' values a and tangents da (None: 0);
    adjoint(k, u, y, a) = what the k-th parent gets of the adjoint u of y; text: how the expression is written.
    """

    primal: Callable[..., Array]
    tangent: Callable[[Array, Sequence[Array], Sequence[Array | None]], Array]
    adjoint: Callable[[int, Array, Array, Sequence[Array]], Array]
    text: str


class Node:
    """A value (its primal) and how it was computed: `rule` applied to `parents`; neither for an input.

    Inputs are float arrays (a sequence or number becomes one). A `constant` has no derivative: sweeps leave it out.
    DomainError for an input that is not finite, TypeError for one that is not of floats.
    """

    __slots__ = ("__weakref__", "constant", "name", "parents", "rule", "value")
    __array_ufunc__ = None  # array * node is the node's affair, not elementwise NumPy's

    def __init__(self, value: ArrayLike, name: str = "", *, constant: bool = False) -> None:
        given = np.asarray(value)
        self.value: Array = given if isinstance(value, np.ndarray | np.generic) else given.astype(np.float64)
        if self.value.dtype.kind != "f":
            raise TypeError(f"{name or 'an input'}: got {self.value.dtype}, expected floating-point numbers")
        self.name, self.constant = name, constant
        self.parents: tuple[Node, ...] = ()
        self.rule: Rule | None = None
        if not _is_finite(self.value):
            raise DomainError(f"{name or 'an input'}: got {_at(~np.isfinite(self.value), self.value)}, expected finite")

    def named(self, name: str) -> Node:
        """The same node under this name."""
        self.name = name
        return self

    @property
    def expression(self) -> str:
        """How it was computed, in the names of what it was computed from: "w0 * x + b"."""
        return _expression(self, DEPTH)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def T(self) -> Node:
        return transpose(self)

    def sum(self, axis: Axes = None, *, keepdims: bool = False) -> Node:
        return sum_over(self, axis, keepdims=keepdims)

    def __repr__(self) -> str:
        return f"<Node {self.name or self.expression}, {self.value.dtype} {self.shape}>"

    def __add__(self, other: NodeLike) -> Node:
        return _apply(ADD, self, other)

    def __radd__(self, other: NodeLike) -> Node:
        return _apply(ADD, other, self)

    def __sub__(self, other: NodeLike) -> Node:
        return _apply(SUBTRACT, self, other)

    def __rsub__(self, other: NodeLike) -> Node:
        return _apply(SUBTRACT, other, self)

    def __mul__(self, other: NodeLike) -> Node:
        return _apply(MULTIPLY, self, other)

    def __rmul__(self, other: NodeLike) -> Node:
        return _apply(MULTIPLY, other, self)

    def __truediv__(self, other: NodeLike) -> Node:
        return _apply(DIVIDE, self, other)

    def __rtruediv__(self, other: NodeLike) -> Node:
        return _apply(DIVIDE, other, self)

    def __pow__(self, other: NodeLike) -> Node:
        return _apply(POWER, self, other)

    def __rpow__(self, other: NodeLike) -> Node:
        return _apply(POWER, other, self)

    def __matmul__(self, other: NodeLike) -> Node:
        return _apply(MATMUL, self, other)

    def __rmatmul__(self, other: NodeLike) -> Node:
        return _apply(MATMUL, other, self)

    def __neg__(self) -> Node:
        return _apply(NEGATE, self)

    def __getitem__(self, index: Any) -> Node:
        return _apply(_indexed(index), self)

    def __iter__(self) -> Any:
        raise TypeError(f"{self!r} is not iterable; index it")


NodeLike = Node | ArrayLike


def exp(a: NodeLike) -> Node:
    """e^a, elementwise. DomainError where it overflows."""
    return _apply(EXP, a)


def log(a: NodeLike) -> Node:
    """The natural logarithm, elementwise. DomainError unless a > 0."""
    return _apply(LOG, a)


def tanh(a: NodeLike) -> Node:
    """tanh a, elementwise."""
    return _apply(TANH, a)


def sigmoid(a: NodeLike) -> Node:
    """1 / (1 + e^-a), elementwise."""
    return _apply(SIGMOID, a)


def relu(a: NodeLike) -> Node:
    """max(a, 0), elementwise; its derivative at 0 is 0."""
    return _apply(RELU, a)


def transpose(a: NodeLike) -> Node:
    """The axes in reverse order."""
    return _apply(TRANSPOSE, a)


def reshape(a: NodeLike, shape: tuple[int, ...]) -> Node:
    """The same numbers in another shape."""
    return _apply(_reshaped(shape), a)


def sum_over(a: NodeLike, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """The sum over an axis, several, or (None) all."""
    return _apply(_summed(axis, keepdims), a)


# The sweeps


def tangents(outputs: Iterable[Node], seeds: Mapping[Node, ArrayLike]) -> dict[Node, Array]:
    """Forward mode: the tangent of every node that the outputs depend on, from those of the seeded inputs.

    dy = sum over the parents a of (dy/da) da, in the order of computation; an output's is its row of J v. What does
    not depend on a seed has tangent 0. ValueError for a seed that is no input or of another shape.
    """
    found = _seeded(seeds, inputs_only=True)
    order = ancestors(outputs)
    with np.errstate(all="ignore"):  # what is not finite is found and named
        for node in order:
            das = [found.get(parent) for parent in node.parents]
            if node.rule is not None and any(da is not None for da in das):
                dy = node.rule.tangent(node.value, [parent.value for parent in node.parents], das)
                found[node] = _finite(dy, node, "its tangent")
    return {node: _own(found, node) for node in order}


def adjoints(seeds: Mapping[Node, ArrayLike]) -> dict[Node, Array]:
    """Reverse mode: the adjoint of every node that the seeded outputs depend on.

    u_a = sum over the nodes y computed from a of (dy/da)^T u_y, against the order of computation; an input's is its
    part of J^T u. Constants have none. ValueError for a seed of another shape.
    """
    found = _seeded(seeds, inputs_only=False)
    order = ancestors(seeds)
    with np.errstate(all="ignore"):  # what is not finite is found and named
        for node in reversed(order):
            if node.rule is not None and node in found:
                _hand_on(node, node.rule, found)
    return {node: _own(found, node) for node in order if not node.constant}


def _hand_on(node: Node, rule: Rule, found: dict[Node, Array]) -> None:
    """Add to every parent's adjoint what it gets of the node's."""
    a = [parent.value for parent in node.parents]
    for k, parent in enumerate(node.parents):
        if not parent.constant:
            part = _unbroadcast(rule.adjoint(k, found[node], node.value, a), parent.shape)
            total = found[parent] + part if parent in found else part
            found[parent] = _finite(total, node, f"the adjoint that it hands to {_name(parent)}")


def gradients(y: Node, inputs: Sequence[Node]) -> list[Array]:
    """dy/d(input) of a scalar y by one reverse sweep; 0 where y does not depend on it. ValueError if y is no scalar."""
    if y.value.size != 1:
        raise ValueError(f"{_name(y)}: got shape {y.shape}, expected a scalar; adjoints takes a seed for any shape")
    found = adjoints({y: np.ones_like(y.value)})
    return [_own(found, node) for node in inputs]


def ancestors(outputs: Iterable[Node]) -> list[Node]:
    """Every node that the outputs depend on, they included, once: parents before what is computed from them.

    Depth first with a stack of its own: linear in the size of the graph, and as deep as memory allows.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in reversed(node.parents))
    return order


# The rules. An elementwise one is its value and its partial derivatives, one a parent; both modes follow from these.


def _elementwise(primal: Callable[..., Array], *partials: Callable[..., Any], text: str) -> Rule:
    """dy = sum_k partial_k da_k; the k-th parent gets partial_k u. partial_k is called with (y, *a)."""

    def tangent(y: Array, a: Sequence[Array], das: Sequence[Array | None]) -> Array:
        parts = [d(y, *a) * da for d, da in zip(partials, das, strict=True) if da is not None]
        return np.broadcast_to(sum(parts[1:], parts[0]), y.shape)

    def adjoint(k: int, u: Array, y: Array, a: Sequence[Array]) -> Array:
        return np.asarray(partials[k](y, *a) * u)

    return Rule(primal, tangent, adjoint, text)


def _linear(primal: Callable[[Array], Array], transposed: Callable[[Array, Array], Array], text: str) -> Rule:
    """y = A a: dy = A da, and the parent gets A^T u = transposed(u, a); a gives only the shape."""
    return Rule(primal, lambda y, a, das: primal(_only(das)), lambda k, u, y, a: transposed(u, a[0]), text)


def _sigmoid(a: Array) -> Array:
    e = np.exp(-np.abs(a))  # cannot overflow
    return np.asarray(np.where(a >= 0, a.dtype.type(1), e) / (1 + e))


def _power_by_base(y: Array, a: Array, b: Array) -> Array:
    """b a^(b-1), and 0 where b = 0, whatever a is."""
    return np.asarray(np.where(b == 0, y.dtype.type(0), b * a ** (b - 1)))


def _power_by_exponent(y: Array, a: Array, b: Array) -> Array:
    """y log a, and 0 where a = 0 < b: the limit. NaN where a < 0."""
    return np.asarray(np.where((a == 0) & (b > 0), y.dtype.type(0), y * np.log(a)))


ADD = _elementwise(np.add, lambda y, a, b: 1, lambda y, a, b: 1, text="{} + {}")
SUBTRACT = _elementwise(np.subtract, lambda y, a, b: 1, lambda y, a, b: -1, text="{} - {}")
MULTIPLY = _elementwise(np.multiply, lambda y, a, b: b, lambda y, a, b: a, text="{} * {}")
DIVIDE = _elementwise(np.divide, lambda y, a, b: 1 / b, lambda y, a, b: -y / b, text="{} / {}")
POWER = _elementwise(np.power, _power_by_base, _power_by_exponent, text="{} ** {}")
NEGATE = _elementwise(np.negative, lambda y, a: -1, text="-{}")
EXP = _elementwise(np.exp, lambda y, a: y, text="exp({})")
LOG = _elementwise(np.log, lambda y, a: 1 / a, text="log({})")
TANH = _elementwise(np.tanh, lambda y, a: 1 - y * y, text="tanh({})")
SIGMOID = _elementwise(_sigmoid, lambda y, a: y * (1 - y), text="sigmoid({})")
RELU = _elementwise(lambda a: np.maximum(a, 0), lambda y, a: a > 0, text="relu({})")
TRANSPOSE = _linear(np.transpose, lambda u, a: np.transpose(u), text="{}.T")


def _reshaped(shape: tuple[int, ...]) -> Rule:
    return _linear(lambda a: a.reshape(shape), lambda u, a: u.reshape(a.shape), text=f"reshape({{}}, {shape})")


def _summed(axis: Axes, keepdims: bool) -> Rule:
    """y = sum of a over the axis; every term of the sum gets u."""

    def transposed(u: Array, a: Array) -> Array:
        kept = u if keepdims or axis is None else np.expand_dims(u, axis)
        return np.broadcast_to(kept, a.shape)

    text = "sum({})" if axis is None else f"sum({{}}, axis={axis})"
    return _linear(lambda a: np.asarray(a.sum(axis=axis, keepdims=keepdims)), transposed, text)


def _indexed(index: Any) -> Rule:
    """y = a[index]; u is added at the index, as often as the index takes an element."""

    def transposed(u: Array, a: Array) -> Array:
        da = np.zeros_like(a)
        np.add.at(da, index, u)
        return da

    return _linear(lambda a: np.asarray(a[index]), transposed, text=f"{{}}[{_index_text(index)}]")


def _matmul_tangent(y: Array, a: Sequence[Array], das: Sequence[Array | None]) -> Array:
    """dy = da b + a db."""
    (left, right), (da, db) = a, das
    dy = np.zeros_like(y)
    dy = dy if da is None else dy + da @ right
    return np.asarray(dy if db is None else dy + left @ db)


def _matmul_adjoint(k: int, u: Array, y: Array, a: Sequence[Array]) -> Array:
    """u b^T for a, and a^T u for b; a vector is a row on the left and a column on the right."""
    left = a[0][np.newaxis, :] if a[0].ndim == 1 else a[0]
    right = a[1][:, np.newaxis] if a[1].ndim == 1 else a[1]
    u = u[..., np.newaxis] if a[1].ndim == 1 else u
    u = u[..., np.newaxis, :] if a[0].ndim == 1 else u
    part = u @ np.swapaxes(right, -1, -2) if k == 0 else np.swapaxes(left, -1, -2) @ u
    return _unbroadcast(part, (left, right)[k].shape).reshape(a[k].shape)


MATMUL = Rule(np.matmul, _matmul_tangent, _matmul_adjoint, "{} @ {}")


# What the rules and the sweeps are made of


def _apply(rule: Rule, *operands: NodeLike) -> Node:
    """The node of rule(*operands). Numbers and arrays become constants; DomainError, TypeError name the expression."""
    parents = _as_nodes(rule, operands)
    node = Node.__new__(Node)
    node.name, node.parents, node.rule = "", parents, rule
    node.constant = all(parent.constant for parent in parents)
    try:
        with np.errstate(all="ignore"):  # what is not finite is found and named below
            y = rule.primal(*(parent.value for parent in parents))
    except (ValueError, IndexError) as error:
        shapes = ", ".join(str(parent.shape) for parent in parents)
        raise ValueError(f"{node.expression}: got shapes {shapes}; {error}") from None
    node.value = np.asarray(y, parents[0].value.dtype)
    if not _is_finite(node.value):
        raise DomainError(f"{node.expression}: {_complaint(node)}")
    return node


def _as_nodes(rule: Rule, operands: Sequence[NodeLike]) -> tuple[Node, ...]:
    """Operands in one dtype: numbers and lists take that of the nodes, arrays must have it."""
    dtype = next((each.value.dtype for each in operands if isinstance(each, Node)), np.dtype(np.float64))
    nodes = []
    for each in operands:
        if not isinstance(each, Node):
            each = Node(each if isinstance(each, np.ndarray) else np.asarray(each, dtype), constant=True)
        nodes.append(each)
        if each.value.dtype != dtype:
            text = rule.text.format(*(_name(node) for node in nodes), *"?" * (len(operands) - len(nodes)))
            raise TypeError(f"{text}: got {each.value.dtype} beside {dtype}, expected one dtype")
    return tuple(nodes)


def _complaint(node: Node) -> str:
    """What is wrong with a value that is not finite, of finite operands."""
    at = ~np.isfinite(node.value)
    a = [np.broadcast_to(parent.value, node.shape) for parent in node.parents if parent.value.ndim <= node.value.ndim]
    if node.rule is LOG:
        return f"log of {_at(at, a[0])}, expected a number above 0"
    if node.rule is DIVIDE and (a[1][at] == 0).any():
        return f"division by zero, {_name(node.parents[1])} is {_at(at & (a[1] == 0), a[1])}"
    if node.rule is POWER and (a[0][at] <= 0).any():
        wrong = at & (a[0] <= 0)
        what = "division by zero" if a[0][wrong][0] == 0 else "no real power"
        return f"{what}, base {_at(wrong, a[0])} to the exponent {_at(wrong, a[1])}"
    return f"overflow, the value is {_at(at, node.value)}"


def _at(wrong: NDArray[np.bool_], a: Array) -> str:
    """The first wrong number, and where it is: "-1.0 at [0, 3]"."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{a[index]}" + (f" at {list(index)}" if index else "")


def _finite(d: Array, node: Node, what: str) -> Array:
    """The derivative in its node's dtype. DomainError if it is not finite: the slope of sqrt at 0, or an overflow."""
    if not _is_finite(d):
        raise DomainError(f"{_name(node)}: {what} is {_at(~np.isfinite(d), d)}, expected a finite derivative")
    return np.asarray(d, node.value.dtype)


def _own(found: Mapping[Node, Array], node: Node) -> Array:
    """What was found for the node, as the caller's own array; 0 where nothing was."""
    return np.array(found[node]) if node in found else np.zeros_like(node.value)


def _is_finite(a: Array) -> bool:
    """A finite sum has only finite terms, and is cheaper to ask for; a sum that overflowed proves nothing."""
    if a.ndim == 0:
        return math.isfinite(a)
    with np.errstate(all="ignore"):
        return math.isfinite(a.sum()) or bool(np.isfinite(a).all())


def _seeded(seeds: Mapping[Node, ArrayLike], *, inputs_only: bool) -> dict[Node, Array]:
    """The seeds in their nodes' dtypes. ValueError for another shape, or (with `inputs_only`) a computed node."""
    found = {}
    for node, given in seeds.items():
        seed = np.asarray(given, dtype=node.value.dtype)
        if seed.shape != node.shape:
            raise ValueError(f"{_name(node)}: got a seed of shape {seed.shape}, expected {node.shape}")
        if inputs_only and node.rule is not None:
            raise ValueError(f"{_name(node)}: got a seed for a computed node, expected one of the inputs")
        found[node] = seed
    return found


def _only(das: Sequence[Array | None]) -> Array:
    """The tangent of a single parent, which has one wherever a rule is asked."""
    (da,) = das
    assert da is not None
    return da


def _unbroadcast(u: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of broadcasting from `shape`: the sum over every axis that it repeated."""
    if u.shape == shape:
        return u
    u = u.sum(axis=tuple(range(u.ndim - len(shape))))
    stretched = tuple(axis for axis, n in enumerate(shape) if n == 1 and u.shape[axis] != 1)
    return np.asarray(u.sum(axis=stretched, keepdims=True))


def _name(node: Node) -> str:
    return node.name or node.expression


def _expression(node: Node, depth: int) -> str:
    if node.rule is None:
        value = f"{node.value:g}" if node.value.ndim == 0 else f"array{node.shape}"
        return node.name or value
    if depth == 0:
        return "..."
    return node.rule.text.format(*(_operand(node.rule, parent, depth - 1) for parent in node.parents))


def _operand(rule: Rule, parent: Node, depth: int) -> str:
    """The parent's name, or its expression, in brackets where both are infix."""
    text = parent.name or _expression(parent, depth)
    infix = parent.rule is not None and not parent.name and " " in parent.rule.text.partition("(")[0]
    return f"({text})" if infix and "(" not in rule.text else text


def _index_text(index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(_slice_text(each) if isinstance(each, slice) else str(each) for each in parts)


def _slice_text(s: slice) -> str:
    ends = ["" if end is None else str(end) for end in (s.start, s.stop)]
    return ":".join(ends + ([] if s.step is None else [str(s.step)]))
