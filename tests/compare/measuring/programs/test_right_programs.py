"""Generated right programs are right: their weights move as PyTorch's autograd says, on data that belongs together."""

import numpy as np
import pytest

from compare.measuring.programs.program import Program
from tests.compare.measuring.programs import autograd

STEPS = 6


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_weights_move_as_autograd_says(first):
    for seed in range(first, first + 50):
        program = Program.drawn(seed)
        seen = program.run(STEPS)
        assert len(seen) >= 3, seed
        expected = autograd.trajectory(program.style, seen)
        for step, (wanted, found) in enumerate(zip(expected, seen, strict=True)):
            for k, (ours, theirs) in enumerate(zip(wanted, found.parameters, strict=True)):
                for a, b in zip(ours, theirs, strict=True):
                    place = f"seed {seed} step {step} layer {k}"
                    np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-10, err_msg=place)
