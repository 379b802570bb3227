"""Mistakes that people make in training programs, by family."""

from compare.measuring.programs.mistakes import derivatives, factors, steps, tensors
from compare.measuring.programs.mistakes.mistake import MISTAKES, Mistake

__all__ = ["MISTAKES", "Mistake", "derivatives", "factors", "steps", "tensors"]
