"""network_text: what is said of a program's network to the checker, in the grammar that the checker has today."""

from __future__ import annotations

from dataclasses import replace

from compare.measuring.programs.style import Style

# What the grammar can say. Where one is off, programs that need it are not drawn, or it is left out of the text.
ACTIVATION_PER_LAYER = True  # "2-8-4-1 tanh, sigmoid, sigmoid output, mse"
WITHOUT_BIAS = False  # "4-8-3 relu, no bias, softmax cross-entropy"; left out, as that is seen too
PENALTY = False  # "... + 0.001 L2"; left out, so that it is found by value


def network_text(style: Style) -> str:
    """The network and its loss: "4-8-3 relu, softmax cross-entropy"."""
    hidden = style.hidden if len(set(style.hidden)) > 1 else style.hidden[:1]
    words = ["-".join(map(str, style.sizes)) + (f" {hidden[0]}" if hidden else ""), *hidden[1:]]
    if style.output not in ("linear", "softmax"):
        words.append(f"{style.output} output")
    words += ["no bias"] if WITHOUT_BIAS and style.bias == "none" else []
    return ", ".join([*words, style.loss]) + _reduction(style) + _penalty(style)


def sayable(style: Style) -> Style:
    """The nearest style that the grammar has words for."""
    if not ACTIVATION_PER_LAYER:
        style = replace(style, hidden=style.hidden[:1] * len(style.hidden))
    return style


def _reduction(style: Style) -> str:
    return " sum" if style.reduction == "sum" and style.loop != "one" else ""


def _penalty(style: Style) -> str:
    """L2 is said as what it adds to the gradient: 0.01 is 0.01 W."""
    if not PENALTY or style.penalty == "none":
        return ""
    if style.penalty == "l1":
        return f" + {style.penalty_factor:g} L1"
    return f" + {style.penalty_factor * (2 if style.penalty == 'l2' else 1):g} L2"
