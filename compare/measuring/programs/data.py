"""Data: the lines that make a program's samples, targets and first weights."""

from __future__ import annotations

from itertools import pairwise

from compare.measuring.programs.notation import Notation


def generator(c: Notation) -> list[str]:
    """The line that seeds the random numbers."""
    if c.style.random == "seed":
        return [f"np.random.seed({c.style.seed})"]
    return [f"rng = np.random.default_rng({c.style.seed})"]


def samples(c: Notation) -> list[str]:
    """The data set: rows, or columns where a batch has columns."""
    n, s = c.style.count, c.style
    columns = are_columns(c)
    if s.data == "xor":
        x, t = "np.array([[0, 0], [0, 1], [1, 0], [1, 1]])", "np.array([[0], [1], [1], [0]])"
        t = f"2 * {t} - 1" if s.target == "signs" else t
        lines = [f"{c.names.inputs} = {x}", f"{c.names.targets} = {t}"]
        return [line.replace(" = ", " = (", 1) + ").T" for line in lines] if columns else lines
    shape = (s.sizes[0], n) if columns else (n, s.sizes[0])
    return [f"{c.names.inputs} = {normal(c, shape)}", f"{c.names.targets} = {_targets(c, columns)}"]


def are_columns(c: Notation) -> bool:
    """Whether the data set has its samples as columns."""
    return c.style.samples == "columns" and not c.style.one_by_one


def _targets(c: Notation, columns: bool) -> str:
    s, n, k = c.style, c.style.count, c.style.sizes[-1]
    shape = (k, n) if columns else (n, k)
    if s.target == "integers":
        return integers(c, k, f"{n}")
    if s.target == "one-hot":
        return f"np.eye({k})[{integers(c, k, f'{n}')}]" + (".T" if columns else "")
    if s.target == "binary":
        return integers(c, 2, f"{shape}") + (".astype(float)" if s.names % 2 else "")
    return f"np.sign({normal(c, shape)})" if s.target == "signs" else normal(c, shape)


def normal(c: Notation, shape: tuple[int | str, ...]) -> str:
    if c.style.random == "seed":
        return f"np.random.randn({', '.join(map(str, shape))})"
    return f"rng.normal(size=({', '.join(map(str, shape))}))"


def integers(c: Notation, below: int, size: str) -> str:
    if c.style.random == "seed":
        return f"np.random.randint(0, {below}, {size})"
    return f"rng.integers(0, {below}, {size})"


def weights(c: Notation) -> list[str]:
    """The first weights and biases."""
    lines = []
    for k, (n_in, n_out) in enumerate(pairwise(c.style.sizes), start=1):
        more = c.style.bias == "last column"
        shape = c.write.shape(n_in + more, n_out)
        scale = "" if c.style.names % 3 == 0 else " * 0.5" if c.style.names % 3 == 1 else f" / np.sqrt({n_in})"
        lines.append(f"{c.weight(k)} = {normal(c, shape)}{scale}")
        if c.style.bias == "apart":
            lines.append(f"{c.bias(k)} = {first_bias(c, n_out)}")
    return lines


def first_bias(c: Notation, n: int | str) -> str:
    shape = c.bias_shape(n)
    if c.style.zero_bias:
        return f"np.zeros({shape})"
    if c.style.random == "seed":
        return f"np.random.randn({shape.strip('()')})"
    return f"rng.normal(size={shape})"
