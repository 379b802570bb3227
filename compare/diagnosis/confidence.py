"""Confidence: how sure a named cause is."""

from __future__ import annotations

FORMULA = 0.95  # a formula of its own gives the candidate's numbers
FITTED = 0.8  # and so it does with one number in it that was fitted
DESCRIPTION = 0.5  # it is only described so
BY_RANK = (FORMULA, FITTED, DESCRIPTION)  # a mistake's rank
ODD = 0.9  # its shape or its dtype is wrong, whatever its values
SEEN = FORMULA  # it was seen to happen, not inferred from a tensor


def confidence(rank: int, steps: float, alike: int) -> float:
    """By rank, shared among the causes that fit equally well, less where some `steps` do not fit."""
    return round(BY_RANK[max(rank, 0)] * steps / alike, 3)
