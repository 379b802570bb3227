"""Hints: what somebody's own name for an array suggests, asked only where values cannot tell.

A wrong loss equals nothing; a zero bias changes no product; of two numbers that both explain a step, one is the rate.
"""

from __future__ import annotations

import re
from functools import lru_cache

LOSS = re.compile(r"(^|[^a-z])(loss|cost|err|error|mse|bce|ce|nll|xent|j|l|e)([^a-z]|$)", re.IGNORECASE)
BIAS = re.compile(r"(^|[^a-z])(b|bias)", re.IGNORECASE)
GRADIENT = re.compile(r"(^|[^a-z])(d|g|grad|delta|nabla|gradient)", re.IGNORECASE)
RATE = re.compile(r"(lr|rate|eta|alpha|step|learning|epsilon|gamma)", re.IGNORECASE)


def is_loss(name: str) -> bool:
    """Of an attribute, its last part: self.net.cost."""
    return bool(LOSS.search(name.rpartition(".")[2]))


def is_bias(name: str) -> bool:
    return bool(BIAS.search(name))


def is_gradient(name: str) -> bool:
    return bool(GRADIENT.search(name))


def is_rate(name: str) -> bool:
    return bool(RATE.search(name))


def same_numbers(a: str, b: str) -> bool:
    """Names that hold the same numbers, such as W1 and b1; or none, both."""
    return _numbers(a) == _numbers(b)


@lru_cache(maxsize=10_000)
def _numbers(name: str) -> list[str]:
    return re.findall(r"\d+", name)
