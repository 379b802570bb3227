"""The table of known mistakes: for each place in a training step, what a candidate would have computed instead.

A hypothesis is a cause, a place, a formula in the letters of evidence.py, and the words for it. A formula returns what
the candidate would have computed, with its own error bound (bounded.py); several guesses if it has a free parameter.
"""

from compare.diagnosis.hypotheses.anywhere import ANYWHERE
from compare.diagnosis.hypotheses.backward import DERIVATIVES, GRADIENTS
from compare.diagnosis.hypotheses.forward import ACTIVATIONS, LINEAR
from compare.diagnosis.hypotheses.handed_on import HANDED_ON
from compare.diagnosis.hypotheses.hypothesis import Hypothesis
from compare.diagnosis.hypotheses.losses import LOSS, LOSS_GRADIENT
from compare.diagnosis.hypotheses.updates import UPDATES

HYPOTHESES = (*LINEAR, *ACTIVATIONS, *GRADIENTS, *DERIVATIVES, *LOSS, *LOSS_GRADIENT, *UPDATES, *HANDED_ON, *ANYWHERE)
CAUSES = tuple(dict.fromkeys(h.cause for h in HYPOTHESES))

__all__ = ["CAUSES", "HYPOTHESES", "Hypothesis"]
