"""docs/mistakes.md: every known mistake with its example, place by place.

python -m compare.measuring.mistakes_page writes it.
"""

from __future__ import annotations

from pathlib import Path

from compare.measuring.labs_page import table
from compare.operations import all_mistakes, causes
from compare.operations.codes import code_of
from compare.operations.mistake import Mistake
from compare.report.causes import in_words, title

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mistakes.md"

HEAD = """# Which mistakes are known?

When a tensor is wrong, the check asks {count} known mistakes whether they explain its numbers. Each has a formula for
what code with this mistake computes. If the formula gives what your code computed, in every step in which the tensor is
wrong, the report names the cause. There are {causes} causes. A cause is named for what is wrong, as `bias-missing`. One
cause can be in several places, and one place can have several forms of it.

Each row below is one mistake: its cause, the words of the report, and an example. The wrong code gets this name, the
right code does not. The tests run all examples, in float32 and in float64. In the words, `…` is a number or a name that
the report fills in.

Samples are rows, and `right` is what the tensor should be. The letters of a layer are `x`, `W`, `b`, `y` and `dy`. Of a
loss they are the output `y` and the target `t`, with `m` rows and `n` columns. Of an update they are the parameter `p`
and its gradient `g`, the learning rate `lr`, momentum `mu`, dampening `damp`, weight decay `wd`, Adam's `b1`, `b2` and
`eps`, RMSprop's `alpha`, Adagrad's `fall` (`lr_decay`), NAdam's `fade` (`momentum_decay`); the state before the step
`mom`, `m`, `v`, `sq`, `avg` and `acc` (`momentum_buffer`, `exp_avg`, `exp_avg_sq`, `square_avg`, `grad_avg` and `sum`),
and the state after it `new_mom` and so on.
The letter `mask` is what a dropout has drawn.
Of images, `windows(x, k, s, p)` are the windows (m, channels, down, across, k, k) of size k, stride s and padding p;
`added_up` is the way back to images of a shape, and `at_maxima` is 1 at the maxima of each window, else 0.
Of a BatchNorm, `rm` and `rv` are the running mean and variance before the step.
Of sequences, `rnn`, `lstm` and `gru` give the parts of a layer by name, as torch computes them; their options say what
is done in another way, and `gates` puts blocks of rows in another order. Letters are those of torch's parameters:
`W_ih`, `W_hh`, `b_ih` and `b_hh`.
Of self-attention, `attention` gives the parts in the same way, from `W_in`, `b_in`, `W_out` and `b_out`.
`tensor('0.output')` is another tensor of the same step, `before.x` is `x` one step earlier, and `after('0.output')` is
what an array had become when something wrote into it.

*This page is made by `python -m compare.measuring.mistakes_page`. The mistakes are in
[compare/operations/](../compare/operations).*
"""

def page() -> str:
    """All of it; several operations have mistakes in the same place."""
    by_place: dict[str, list[Mistake]] = {}
    for m in all_mistakes():
        by_place.setdefault(m.place, []).append(m)
    head = HEAD.format(count=len(all_mistakes()), causes=len(causes()))
    return "\n".join([head, *(_section(place, mistakes) for place, mistakes in by_place.items())])


def _section(place: str, mistakes: list[Mistake]) -> str:
    rows = [(_linked(m.cause), in_words(m), f"`{m.wrong}`", f"`{m.right or 'right'}`") for m in mistakes]
    return f"## {title(place)}\n\n{table(('cause', 'in words', 'wrong', 'right'), rows)}\n"


def _linked(cause: str) -> str:
    code = code_of(cause)
    return f"`{cause}` [{code}](causes/{code}.md)"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
