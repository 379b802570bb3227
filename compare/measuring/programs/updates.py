"""Updates: the lines that change a layer's weights, by each optimiser."""

from __future__ import annotations

from collections.abc import Sequence

from compare.measuring.programs.losses import denominator
from compare.measuring.programs.marks import mark
from compare.measuring.programs.notation import Notation
from compare.measuring.programs.penalties import penalty_gradient

ONE = {kind: ("v",) for kind in ("torch momentum", "velocity", "average", "nesterov", "rmsprop", "adagrad")}
STATE = {"sgd": (), "adam": ("m", "v"), **ONE}


def update(c: Notation, k: int, gradients: Sequence[str]) -> list[str]:
    """Of the weight and the bias of layer k."""
    lines = []
    for p, g in zip(c.parameters(k), gradients, strict=True):
        clipping, g = _clipped(c, k, _complete(c, k, p, g))
        lines += _decayed(c, k, p) + clipping + _MOVES[c.style.optimizer](c, k, p, g)
    return lines


def _clipped(c: Notation, k: int, g: str) -> tuple[list[str], str]:
    """The lines that clip one gradient, and the gradient after them."""
    at = c.style.clip_at
    if c.style.clip == "value":
        return [], f"np.clip({g}, -{at}, {at})"
    if c.style.clip == "norm":
        return [f"norm = np.linalg.norm({g})", "if norm > 0:", f"    {g} = {g} * min(1.0, {at} / norm)"], g
    return [], g


def clipped_together(c: Notation) -> list[str]:
    """The lines before all updates that clip the gradients by the norm of all."""
    if c.style.clip != "norm of all":
        return []
    gradients = [g for k in range(1, c.style.layers + 1) for g in c.gradients(k)]
    squares = " + ".join(f"np.sum({g} ** 2)" for g in gradients)
    scaled = [f"    {g} *= {c.style.clip_at} / norm" for g in gradients]
    return [f"norm = np.sqrt({squares})", f"if norm > {c.style.clip_at}:", *scaled]


def _complete(c: Notation, k: int, p: str, g: str) -> str:
    """The gradient of a sum over samples, with its mean and its penalty where these are taken after the loop."""
    s = c.style
    if s.loop != "accumulated":
        return g
    if s.reduction == "mean" and s.mean_at == "gradient":
        g = mark("mean", k, f"{g} / {denominator(c)}")
    if s.penalty != "none" and p == c.weight(k):
        g = f"({g}) {'-' if s.flipped else '+'} {penalty_gradient(c, k, p)}"
    return g


def _decayed(c: Notation, k: int, p: str) -> list[str]:
    if not c.style.decay or p != c.weight(k):
        return []
    return [f"{p} = {p} * {mark('decay', k, f'1 - {c.rate} * {c.style.decay}')}"]


def _rate(c: Notation, k: int) -> str:
    rate = mark("rate", k, c.rate)
    if c.style.mean_at == "rate" and c.style.reduction == "mean":
        rate = mark("mean", k, f"{rate} / {denominator(c)}")
    return rate


def _moved(c: Notation, k: int, p: str, step: str, sign: str) -> list[str]:
    """p minus (or plus) the step."""
    step = mark("step", k, step)
    lines = []
    if c.style.bind_step:
        name = "step_" + "".join(ch for ch in p.removeprefix("self.") if ch.isalnum() or ch == "_")
        lines, step = [f"{name} = {step}"], mark("bound_step", k, name)
    return [*lines, f"{p} {sign}= {step}" if c.style.in_place else f"{p} = {p} {sign} ({step})"]


def _sgd(c: Notation, k: int, p: str, g: str) -> list[str]:
    return _moved(c, k, p, f"{_rate(c, k)} * ({mark('used', k, g)})", "+" if c.style.flipped else "-")


def _torch_momentum(c: Notation, k: int, p: str, g: str) -> list[str]:
    v = c.state("v", p)
    lines = [f"{v} = {mark('kept', k, f'0.9 * {v}')} + {mark('used', k, g)}"]
    return [*lines, *_moved(c, k, p, f"{_rate(c, k)} * {v}", "-")]


def _velocity(c: Notation, k: int, p: str, g: str) -> list[str]:
    v = c.state("v", p)
    fresh = mark("fresh", k, f"{_rate(c, k)} * ({mark('used', k, g)})")
    return [f"{v} = {mark('kept', k, f'0.9 * {v}')} - {fresh}", *_moved(c, k, p, v, "+")]


def _average(c: Notation, k: int, p: str, g: str) -> list[str]:
    v = c.state("v", p)
    fresh = mark("fresh", k, f"(1 - 0.9) * ({mark('used', k, g)})")
    return [f"{v} = {mark('kept', k, f'0.9 * {v}')} + {fresh}", *_moved(c, k, p, f"{_rate(c, k)} * {v}", "-")]


def _nesterov(c: Notation, k: int, p: str, g: str) -> list[str]:
    v = c.state("v", p)
    lines = [f"{v} = {mark('kept', k, f'0.9 * {v}')} + {mark('used', k, g)}"]
    return [*lines, *_moved(c, k, p, f"{_rate(c, k)} * ({g} + 0.9 * {v})", "-")]


def _rmsprop(c: Notation, k: int, p: str, g: str) -> list[str]:
    v = c.state("v", p)
    fresh = mark("fresh_square", k, f"(1 - 0.9) * ({g}) ** 2")
    return [f"{v} = {mark('kept_square', k, f'0.9 * {v}')} + {fresh}", *_over_root(c, k, p, g, v)]


def _adagrad(c: Notation, k: int, p: str, g: str) -> list[str]:
    v = c.state("v", p)
    return [f"{v} += {mark('fresh_square', k, f'({g}) ** 2')}", *_over_root(c, k, p, g, v)]


def _over_root(c: Notation, k: int, p: str, g: str, v: str) -> list[str]:
    return _moved(c, k, p, f"{_rate(c, k)} * ({mark('used', k, g)}) / (np.sqrt({v}) + 1e-8)", "-")


def _adam(c: Notation, k: int, p: str, g: str) -> list[str]:
    m, v = c.state("m", p), c.state("v", p)
    count = step_count(c)
    m_hat, v_hat = (_corrected(k, held, beta, count) for held, beta in ((m, "0.9"), (v, "0.999")))
    lines = [
        f"{m} = {mark('kept', k, f'0.9 * {m}')} + {mark('fresh', k, f'(1 - 0.9) * ({g})')}",
        f"{v} = {mark('kept_square', k, f'0.999 * {v}')} + {mark('fresh_square', k, f'(1 - 0.999) * ({g}) ** 2')}",
    ]
    step = f"{_rate(c, k)} * ({m_hat}) / (np.sqrt({v_hat}) + 1e-8)"
    if c.style.names % 3 == 0:
        lines += [f"m_hat = {m_hat}", f"v_hat = {v_hat}"]
        step = f"{_rate(c, k)} * m_hat / (np.sqrt(v_hat) + 1e-8)"
    return [*lines, *_moved(c, k, p, step, "-")]


def _corrected(k: int, held: str, beta: str, count: str) -> str:
    return mark("corrected", k, f"{held} / (1 - {mark('beta', k, beta)} ** {count})")


_MOVES = {
    "sgd": _sgd,
    "torch momentum": _torch_momentum,
    "velocity": _velocity,
    "average": _average,
    "nesterov": _nesterov,
    "adam": _adam,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
}


def step_count(c: Notation) -> str:
    """The name of Adam's step number."""
    return "self.steps" if c.style.form in ("class", "layers") else "step"


def counted(c: Notation) -> list[str]:
    """The line that counts a step, before the updates."""
    return [f"{step_count(c)} += {mark('counted', 0, '1')}"] if c.style.optimizer == "adam" else []


def state_lines(c: Notation) -> list[str]:
    """What an optimiser begins with."""
    lines = []
    for k in range(1, c.style.layers + 1):
        for p in c.parameters(k):
            lines += [f"{c.state(prefix, p)} = np.zeros_like({p})" for prefix in STATE[c.style.optimizer]]
    return [*lines, *([f"{step_count(c)} = 0"] if c.style.optimizer == "adam" else [])]
