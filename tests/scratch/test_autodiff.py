"""The graph against PyTorch: forward mode against torch.func.jvp, reverse mode against torch.autograd.grad, and each
against the other by u . (J v) = (J^T u) . v; long and heavily shared graphs; and what it refuses."""

import cProfile
import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scratch import autodiff
from scratch.autodiff import DomainError, Node, adjoints, ancestors, exp, gradients, log, relu, sigmoid, tangents, tanh

# torch.func.jvp's own first call
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")

Arrays = list[np.ndarray]


def agree(ours: Any, theirs: Any, rtol: float = 1e-12) -> None:
    theirs = np.asarray(theirs)
    assert np.shape(ours) == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-14)


def against_torch(f: Callable[..., Any], g: Callable[..., Any], inputs: Arrays, seed: int = 0) -> None:
    """Primal, J v and J^T u of f on nodes and of g on tensors, for a random v and u; and u . (J v) = (J^T u) . v."""
    rng = np.random.default_rng(seed)
    v = [rng.normal(size=a.shape) for a in inputs]
    nodes, tensors = [Node(a) for a in inputs], [torch.tensor(a, requires_grad=True) for a in inputs]
    y, z = f(*nodes), g(*tensors)
    u = rng.normal(size=y.shape)
    agree(y.value, z.detach())
    jv = tangents([y], dict(zip(nodes, v, strict=True)))[y]
    reverse = adjoints({y: u})
    jtu = [reverse[node] if node in reverse else np.zeros(node.shape) for node in nodes]
    agree(jv, torch.func.jvp(g, tuple(t.detach() for t in tensors), tuple(map(torch.tensor, v)))[1])
    grads = torch.autograd.grad(z, tensors, torch.tensor(u), allow_unused=True, materialize_grads=True)
    for ours, theirs in zip(jtu, grads, strict=True):
        agree(ours, theirs)
    size = sum(np.abs(a * b).sum() for a, b in zip(jtu, v, strict=True))
    assert abs((u * jv).sum() - sum((a * b).sum() for a, b in zip(jtu, v, strict=True))) <= 1e-12 * (1 + size)


BROADCAST = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((), (3, 4)),
    ((2, 1, 4), (3, 1)),
    ((), ()),
]
BINARY = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a * b": lambda a, b: a * b,
    "a / b": lambda a, b: a / b,
    "a ** b": lambda a, b: a**b,
}


@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_two_operands_broadcast(name: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    rng = np.random.default_rng(1)
    against_torch(BINARY[name], BINARY[name], [rng.uniform(0.5, 2, shape) for shape in shapes])


MATMUL = [((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((1, 4), (4, 1)), ((2, 3, 4), (4, 5)),
          ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,))]  # fmt: skip


@pytest.mark.parametrize("shapes", MATMUL, ids=str)
def test_matrix_products_of_any_dimension(shapes: tuple[tuple[int, ...], ...]) -> None:
    rng = np.random.default_rng(2)
    against_torch(lambda a, b: a @ b, lambda a, b: a @ b, [rng.normal(size=shape) for shape in shapes])


UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "exp": (exp, torch.exp),
    "log": (lambda a: log(a * a + 0.1), lambda a: torch.log(a * a + 0.1)),
    "tanh": (tanh, torch.tanh),
    "sigmoid": (sigmoid, torch.sigmoid),
    "relu": (relu, torch.relu),
    "negative": (lambda a: -a, lambda a: -a),
    "square": (lambda a: a**2, lambda a: a**2),
    "cube": (lambda a: a**3, lambda a: a**3),
    "to the power of 0": (lambda a: a**0 + a, lambda a: a**0 + a),
    "two to the power of": (lambda a: 2.0**a, lambda a: 2.0**a),
    "numbers on the left": (lambda a: 1 - 2 * (3 / (4 + a * a)), lambda a: 1 - 2 * (3 / (4 + a * a))),
    "sum": (lambda a: a.sum(), lambda a: a.sum()),
    "sum over rows": (lambda a: a.sum(0), lambda a: a.sum(0)),
    "sum over columns, kept": (lambda a: a.sum(1, keepdims=True) * a, lambda a: a.sum(1, keepdim=True) * a),
    "sum over two axes": (lambda a: a.sum((0, 1)), lambda a: a.sum((0, 1))),
    "sum from the end": (lambda a: a.sum(-1), lambda a: a.sum(-1)),
    "transpose": (lambda a: a.T @ a, lambda a: a.T @ a),
    "reshape": (lambda a: autodiff.reshape(a, (2, 6)) ** 2, lambda a: a.reshape(2, 6) ** 2),
    "slice": (lambda a: a[1:, ::2] * 2, lambda a: a[1:, ::2] * 2),
    "element": (lambda a: a[1, 2] * a[0, 0], lambda a: a[1, 2] * a[0, 0]),
    "rows taken twice": (lambda a: a[[0, 2, 0]] ** 2, lambda a: a[[0, 2, 0]] ** 2),
}


@pytest.mark.parametrize("name", UNARY)
def test_one_operand(name: str) -> None:
    a = np.random.default_rng(3).normal(size=(3, 4))
    against_torch(*UNARY[name], [a])


@pytest.mark.parametrize("value", [-1e3, -40.0, -1.0, 0.0, 1.0, 40.0, 1e3])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
def test_far_out_and_at_the_kink(name: str, value: float) -> None:
    """relu's derivative at 0 is 0, as torch's; sigmoid(-1e3) neither overflows nor is it NaN."""
    against_torch(*UNARY[name], [np.full((1, 2), value)])


@pytest.mark.parametrize("base", [0.0, -2.0, 3.0])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
def test_whole_powers_of_any_base(base: float, exponent: float) -> None:
    against_torch(lambda a: a**exponent, lambda a: a**exponent, [np.array([base])])


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_zero_to_a_power_as_a_function_of_the_exponent(exponent: float) -> None:
    against_torch(
        lambda b: np.zeros(1) ** b, lambda b: torch.zeros(1, dtype=torch.float64) ** b, [np.array([exponent])]
    )


def test_many_inputs_and_outputs_one_sweep_each() -> None:
    """The whole Jacobian, by columns in forward mode and by rows in reverse mode."""
    x = Node(np.array([0.3, -0.7, 1.1]), "x")
    w = Node(np.arange(6.0).reshape(2, 3) / 6, "w")
    outputs = [tanh(w @ x), x * x, (w[0] * x).sum()]

    def f(x: Any, w: Any) -> Any:
        return torch.cat([torch.tanh(w @ x), x * x, (w[0] * x).sum()[None]])

    theirs = torch.autograd.functional.jacobian(f, (torch.tensor(x.value), torch.tensor(w.value)))
    for node, expected in zip((x, w), theirs, strict=True):
        columns = [tangents(outputs, {node: e}) for e in np.eye(node.value.size).reshape(-1, *node.shape)]
        by_columns = np.stack([np.concatenate([np.ravel(t[y]) for y in outputs]) for t in columns], axis=1)
        agree(by_columns, expected.reshape(6, -1))
        rows = []
        for y in outputs:
            for e in np.eye(y.value.size).reshape(-1, *y.shape):
                rows.append(np.ravel(adjoints({y: e}).get(node, np.zeros(node.shape))))
        agree(np.stack(rows), expected.reshape(6, -1))
    together = adjoints({outputs[0]: [1.0, 2.0], outputs[1]: [3.0, 4.0, 5.0], outputs[2]: 6.0})[x]
    agree(together, np.array([1.0, 2, 3, 4, 5, 6]) @ theirs[0].numpy())


# Expressions that nobody wrote

STEPS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=25)


def build(steps: list[tuple[int, int, int]], inputs: list[Any], lib: Any) -> Any:
    """A graph over (3, 3) matrices in which any node may be used by any later one; every value stays moderate."""
    nodes = list(inputs)
    for operation, i, j in steps:
        a, b = nodes[i % len(nodes)], nodes[j % len(nodes)]
        nodes.append([
            lambda a, b: 0.5 * (a + b),
            lambda a, b: a - 0.5 * b,
            lambda a, b: lib.tanh(a) * lib.tanh(b),
            lambda a, b: lib.tanh(a) / (1.5 + lib.sigmoid(b)),
            lambda a, b: lib.sigmoid(a) ** lib.tanh(b),
            lambda a, b: lib.tanh(a @ b),
            lambda a, b: lib.exp(lib.tanh(a)) - b,
            lambda a, b: lib.log(lib.sigmoid(a) + 0.1),
            lambda a, b: lib.relu(a) + 0.1 * b,
            lambda a, b: a.sum(0) * 0.3 + b,
            lambda a, b: a.T * 0.5,
            lambda a, b: a[1] + 0.2 * b,
            lambda a, b: lib.tanh(a) ** 2,
        ][operation](a, b))  # fmt: skip
    return nodes[-1]


@given(steps=STEPS, seed=st.integers(0, 2**16))
def test_generated_expressions(steps: list[tuple[int, int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(3, 3)), rng.normal(size=(3, 3))]
    against_torch(
        lambda *nodes: build(steps, list(nodes), autodiff), lambda *ts: build(steps, list(ts), torch), inputs, seed
    )


# Long and shared graphs


def chain(n: int) -> tuple[Node, Node]:
    x = y = Node(1.0, "x")
    for _ in range(n):
        y = y * 0.99999
    return x, y


def test_a_chain_of_20_000_nodes_needs_no_recursion() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(__import__("inspect").stack()) + 60)
    try:
        x, y = chain(20_000)
        reverse, forward = adjoints({y: 1.0})[x], tangents([y], {x: 1.0})[y]
        repr(y)
        del y
        gc.collect()
    finally:
        sys.setrecursionlimit(before)
    assert reverse == pytest.approx(0.99999**20_000, rel=1e-9)
    assert forward == pytest.approx(0.99999**20_000, rel=1e-9)


def calls(n: int) -> int:
    """How many calls of functions both modes take on a chain of n nodes."""
    x, y = chain(n)
    profile = cProfile.Profile()
    profile.runcall(adjoints, {y: 1.0})
    profile.runcall(tangents, [y], {x: 1.0})
    return sum(entry.callcount for entry in profile.getstats())


def test_work_is_linear_in_the_length_of_the_chain() -> None:
    assert 0 < calls(1_600) <= 8.1 * calls(200)


def test_a_node_used_a_thousand_times() -> None:
    x = Node([2.0, 3.0], "x")
    y = sum((x * k for k in range(1000)), Node([0.0, 0.0]))
    assert adjoints({y: [1.0, 1.0]})[x].tolist() == [499_500.0, 499_500.0]
    assert tangents([y], {x: [1.0, 0.0]})[y].tolist() == [499_500.0, 0.0]


def test_each_node_is_visited_once_although_the_paths_double_sixty_times() -> None:
    x = y = Node(1.0)
    for _ in range(60):
        y = y + y
    assert len(ancestors([y])) == 61
    assert gradients(y, [x]) == [2.0**60]
    assert tangents([y], {x: 1.0})[y] == 2.0**60


# What it hands out, and what it refuses


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_dtype_throughout(dtype: str) -> None:
    x = Node(np.array([[0.5, 2.0]], dtype), "x")
    y = (log(sigmoid(2 * x - 1) / 3 + 1) ** 2 @ x.T).sum() / 2
    everything = [*adjoints({y: 1.0}).values(), *tangents([y], {x: [[1, 0]]}).values(), y.value]
    assert {a.dtype.name for a in everything} == {dtype}


def test_results_are_the_callers_own_and_operands_stay_as_they_are() -> None:
    a, seed = np.array([1.0, 2.0]), np.ones(2)
    x = Node(a, "x")
    y = x + x.sum()
    for found in (adjoints({y: seed}), tangents([y], {x: seed})):
        for result in found.values():
            result += 100
    assert (a.tolist(), seed.tolist(), y.value.tolist()) == ([1.0, 2.0], [1.0, 1.0], [4.0, 5.0])
    assert gradients(y.sum(), [x])[0].tolist() == [3.0, 3.0]


def test_constants_have_no_adjoint_and_what_does_not_matter_has_zero() -> None:
    x, other, c = Node([1.0], "x"), Node([1.0, 2.0], "other"), Node([3.0], constant=True)
    y = (x * exp(c)).sum()
    assert set(adjoints({y: 1.0})) == {x, *(node for node in ancestors([y]) if x in ancestors([node]))}
    assert gradients(y, [other])[0].tolist() == [0.0, 0.0]
    assert tangents([y], {other: [1.0, 1.0]})[y] == 0


def test_expressions_are_written_in_names() -> None:
    w, x = Node([1.0, 2.0], "w"), Node([3.0, 4.0], "x")
    assert (w * x + 1).expression == "(w * x) + 1"
    assert sigmoid((w @ x).named("z")).expression == "sigmoid(z)"
    assert repr((w[0:1] - x) ** 2) == "<Node (w[0:1] - x) ** 2, float64 (2,)>"


w, x = Node([1.0, 2.0], "w"), Node([3.0, 4.0], "x")


@pytest.mark.parametrize(
    ("compute", "error", "message"),
    [
        (lambda: log(w - 1.5), DomainError, r"log(w - 1.5): log of -0.5 at [0], expected a number above 0"),
        (lambda: log(w - 1), DomainError, "log(w - 1): log of 0.0 at [0], expected a number above 0"),
        (lambda: w / (x - 4), DomainError, "w / (x - 4): division by zero, x - 4 is 0.0 at [1]"),
        (lambda: 1 / Node(0.0, "v3"), DomainError, "1 / v3: division by zero, v3 is 0.0"),
        (lambda: (w - 1) ** -1, DomainError, "(w - 1) ** -1: division by zero, base 0.0 at [0]"),
        (lambda: (w - 2) ** 0.5, DomainError, "(w - 2) ** 0.5: no real power, base -1.0 at [0] to the exponent 0.5"),
        (lambda: exp(x * 200), DomainError, "exp(x * 200): overflow, the value is inf at [1]"),
        (lambda: Node([1.0, np.nan], "v0"), DomainError, "v0: got nan at [1], expected finite"),
        (lambda: gradients(((w - 1) ** 0.5).named("root").sum(), [w]), DomainError, "root: the adjoint that it hands"),
        (lambda: tangents([(w - 1) ** 0.5], {w: [1, 1]}), DomainError, "(w - 1) ** 0.5: its tangent is inf at [0]"),
        (lambda: w + np.float32([1, 2]), TypeError, "w + array(2,): got float32 beside float64, expected one dtype"),
        (lambda: Node(np.array([1, 2]), "v0"), TypeError, "v0: got int64, expected floating-point numbers"),
        (lambda: list(w), TypeError, "<Node w, float64 (2,)> is not iterable"),
        (lambda: w @ np.ones((3, 2)), ValueError, "w @ array(3, 2): got shapes (2,), (3, 2)"),
        (lambda: w + np.ones(3), ValueError, "w + array(3,): got shapes (2,), (3,)"),
        (lambda: w[5], ValueError, "w[5]: got shapes (2,)"),
        (lambda: gradients(w * x, [w]), ValueError, "w * x: got shape (2,), expected a scalar"),
        (lambda: adjoints({w * x: 1.0}), ValueError, "w * x: got a seed of shape (), expected (2,)"),
        (lambda: tangents([w * x], {w * x: [1, 1]}), ValueError, "w * x: got a seed for a computed node"),
    ],
)
def test_what_has_no_value_or_derivative_is_one_line_that_names_the_node(
    compute: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        compute()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
