"""Causes: the page of each cause: what it is, what should be computed, and the wrong and right code of its mistakes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compare.operations import LAYERS, LOSSES, OPTIMIZERS, all_mistakes, mistakes_of
from compare.operations.codes import codes
from compare.operations.mistake import ANYWHERE, Mistake
from compare.operations.operation import Layer, Loss, Optimizer, Part

FILLED_IN = re.compile(r"\{0?\}")

PLACES = {
    "loss": "The loss",
    "loss.gradient": "The gradient of the loss",
    "update.parameter": "The update of a parameter",
    "input": "The input",
    "target": "The target",
    "given": "The weights at the start",
    "passed": "What one layer hands to the next",
    "returned": "What comes back to an output that several layers took",
    "side_effects": "What is written into",
    ANYWHERE: "Any tensor",
}
# What is found without a row in the tables of mistakes: it is read off the code, the arrays' types or several ranks.
SEEN = {
    "dtype": "An array has another type of numbers than all that it is computed from. An array or a NumPy number of a "
    "finer type promotes it, or a cast makes it coarser. It then carries the rounding of the coarser one.",
    "gradients-averaged-over-ranks": "The gradients of several ranks are divided by the number of ranks once too "
    "often: of a loss that is a sum they must be added, and a mean that is divided already needs no second division.",
    "gradients-not-exchanged": "Each rank updates its weights with the gradient of its own rows. Nothing is exchanged, "
    "so each trains a network of its own.",
    "gradients-summed-over-ranks": "The gradients of several ranks are added where the loss is a mean over the whole "
    "batch: they must be averaged, each with the weight of its rows.",
    "ranks-with-different-weights": "The ranks do not begin with the same weights: they must be sent from one rank to "
    "all others before the first step.",
    "reference-wrong": "The candidate is right. A difference quotient of the loss, or the formula written out once "
    "more, gives the candidate's value and not the reference's.",
    "same-data-on-every-rank": "Every rank was given the same rows: the gradient is that of one rank's rows alone.",
    "shards-averaged-with-equal-weights": "The shards have different numbers of rows, and their mean gradients are "
    "averaged as if they had not: each row of a small shard counts more.",
    "tf32": "The operands of the matrix product were rounded to TF32, which keeps 10 bits of mantissa; float32 has 23.",
    "wrong-shape": "An array has another shape than the mathematics gives it.",
}


def explained(code: str) -> str:
    """The page of a code, for a terminal and as Markdown. ValueError for a code that is not known."""
    causes = {known: cause for cause, known in codes().items()}
    if code.upper() not in causes:
        raise ValueError(f"{code!r} is no code of a cause: expected one of {min(causes)} to {max(causes)}, as B017")
    return page(causes[code.upper()])


def page(cause: str) -> str:
    """What a cause is, tensor by tensor: its words, what should be there, and its examples."""
    by_tensor: dict[str, dict[Sequence[str], None]] = {}
    for m in (m for m in all_mistakes() if m.cause == cause):
        by_tensor.setdefault(of(m), {})[_lines(m)] = None
    parts = [f"# {codes()[cause]}: {cause}", *([SEEN[cause]] if cause in SEEN else [])]
    for tensor, shown in by_tensor.items():
        parts += [f"## {tensor}", *("\n\n".join(lines) for lines in shown)]
    return "\n\n".join(parts) + "\n"


def _lines(m: Mistake) -> Sequence[str]:
    """What is wrong, the two examples, and why it may be unseen."""
    right = m.right or "right"
    shown = [f"What is wrong: {in_words(m)}.", f"```python\n{m.wrong}  # wrong\n{right}  # right\n```"]
    return (*shown, f"It makes no difference where {m.unseen.words}.") if m.unseen else tuple(shown)


def of(m: Mistake) -> str:
    """The tensor in which a mistake is made, with its formula in each operation that has this mistake."""
    known: list[type[Layer | Loss | Optimizer]] = [*LAYERS.values(), *LOSSES.values(), *OPTIMIZERS.values()]
    owners = [operation for operation in known if any(m is own for own in mistakes_of(operation))]
    if not owners or len(owners) == len(LOSSES):
        return title(m.place)
    part = m.place if issubclass(owners[0], Loss) else m.place.rpartition(".")[2]
    formulas: dict[str, list[str]] = {}
    for operation in owners:
        found = operation.parts.get(part, operation.parts.get(""))
        formula = found.formula if isinstance(found, Part) else str(found)
        formulas.setdefault(formula, []).append(operation.__name__)
    return "; ".join(f"{', '.join(names)}: {formula}" for formula, names in formulas.items())


def in_words(m: Mistake) -> str:
    """The words of a report; what it would fill in is left out."""
    return FILLED_IN.sub("…", m.words)


def title(place: str) -> str:
    """A place in words, with the formula of what should be there."""
    if place in PLACES:
        return PLACES[place]
    kind, part = place.split(".")
    if kind == "update":
        formulas = {method.parts[part]: name for name, method in reversed(OPTIMIZERS.items()) if part in method.parts}
        return "; ".join(f"{name}: {formula}" for formula, name in reversed(formulas.items()))
    return f"{LAYERS[kind].scratch_type.__name__}: {LAYERS[kind].parts[part].formula}"
