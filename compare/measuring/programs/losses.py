"""Losses: the number that a program reports, and the gradient at the last layer that belongs to it."""

from __future__ import annotations

from compare.measuring.programs.activations import derivative
from compare.measuring.programs.marks import mark
from compare.measuring.programs.notation import Notation


def loss(c: Notation, y: str, t: str, m: str) -> str:
    """The loss of outputs y and targets t, without a penalty."""
    if c.style.squared:
        return _squared(c, y, t, m)
    if c.style.loss == "binary cross-entropy":
        terms = f"({t}) * np.log({y}) + (1 - ({t})) * np.log(1 - ({y}))"
    elif c.style.target == "integers":
        terms = f"np.log({_of_its_class(c, y, t)})"
    else:
        terms = f"({t}) * np.log({y})"
    if not _is_mean(c):
        return f"-np.sum({terms})"
    if c.style.target == "one-hot" or c.style.names % 2:
        return f"-np.sum({terms}) / {m}"
    return f"-np.mean({terms})"


def _squared(c: Notation, y: str, t: str, m: str) -> str:
    difference = f"({t}) - ({y})" if c.style.flipped else f"({y}) - ({t})"
    square = f"({difference}) ** 2" if c.style.names % 4 else f"np.square({difference})"
    if c.style.loss == "mse":
        return f"np.mean({square})" if _is_mean(c) or c.style.loop == "one" else f"np.sum({square})"
    if _is_mean(c):
        return f"np.sum({square}) / (2 * {m})"
    return f"0.5 * np.sum({square})" if c.style.names % 3 else f"np.sum({square}) / 2"


def _is_mean(c: Notation) -> bool:
    return c.style.reduction == "mean" and not c.style.one_by_one


def _of_its_class(c: Notation, y: str, t: str) -> str:
    """The probabilities of the right classes, where targets are integers."""
    if c.style.one_by_one:
        return {"rows": f"{y}[0, {t}]", "columns": f"{y}[{t}, 0]", "vectors": f"{y}[{t}]"}[c.style.samples]
    return f"{y}[np.arange(len({t})), {t}]" if c.style.samples == "rows" else f"{y}[{t}, np.arange(len({t}))]"


def last_delta(c: Notation) -> list[str]:
    """The lines of the gradient at what enters the last activation."""
    k, y, t = c.style.layers, c.out(c.style.layers), c.t
    if c.style.target == "integers":
        return _from_integers(c, k, y, t)
    error = f"({t}) - ({y})" if c.style.flipped else f"({y}) - ({t})"
    error = mark("error", k, error)
    if c.style.loss == "mse":
        error = mark("two", k, f"2 * ({error})")
    error = over_samples(c, k, error, "error")
    slope = derivative(c, k) if c.style.squared else ""
    if slope and c.style.bind_back:
        return [f"{c.grad_out(k)} = {error}", f"{c.delta(k)} = {c.grad_out(k)} * ({slope})"]
    return [f"{c.delta(k)} = " + (f"({error}) * ({slope})" if slope else error)]


def _from_integers(c: Notation, k: int, y: str, t: str) -> list[str]:
    d = c.delta(k)
    place = _of_its_class(c, d, t)
    lines = [f"{d} = {y}.copy()", f"{place} -= {mark('one', k, '1')}"]
    if _divides(c, "error"):
        divided = f"{d} = {over_samples(c, k, d, 'error')}"
        lines.append(divided if c.style.names % 2 else f"{d} /= {mark('count', k, c.m)}")
    return lines


def over_samples(c: Notation, k: int, text: str, place: str) -> str:
    """The text, divided by the number of samples if this is the place where the program does it."""
    if not _divides(c, place):
        return text
    return mark("mean", k, f"({text}) / {denominator(c)}")


def denominator(c: Notation) -> str:
    """What a mean divides by: an mse is over the elements."""
    if c.style.loss != "mse":
        return mark("count", 0, c.m)
    if c.style.loop == "accumulated":
        return f"({mark('count', 0, c.m)} * {c.style.sizes[-1]})" if c.style.sizes[-1] > 1 else mark("count", 0, c.m)
    return mark("count", 0, f"{c.out(c.style.layers)}.size" if _sees_output(c) else f"{c.t}.size")


def plain_denominator(c: Notation) -> str:
    """The same without marks: what a loss that was added up is divided by."""
    return f"({c.m} * {c.style.sizes[-1]})" if c.style.loss == "mse" and c.style.sizes[-1] > 1 else c.m


def _sees_output(c: Notation) -> bool:
    return c.style.form != "class" or c.style.mean_at == "error"


def _divides(c: Notation, place: str) -> bool:
    s = c.style
    if s.loop == "one":
        return place == "error" and s.loss == "mse" and s.sizes[-1] > 1
    return s.reduction == "mean" and s.mean_at == place
