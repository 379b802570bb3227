"""Binary cross-entropy of large logits, written out, is the loss and not infinite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compare.numbers.allowance import Precision
from compare.numbers.bounded import Bounded
from compare.operations import LOSSES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("z", [0.0, 1.0, 36.0, 38.0, 90.0, 710.0, 1e5])
def test_the_terms_are_those_of_torch(z: float, dtype: str) -> None:
    loss, p = LOSSES["logits_binary_cross_entropy"](), Precision.of(dtype)
    y, t = np.array([[z, -z], [z, -z], [z, -z]]), np.array([[0.0, 1], [1, 0], [0.3, 0.3]])
    found = loss.terms(Bounded.of(y, p), Bounded.of(t, p))
    wanted = torch.nn.BCEWithLogitsLoss(reduction="none")(torch.from_numpy(y), torch.from_numpy(t)).numpy()
    assert (np.abs(found.value - wanted) <= found.error).all()
    assert (found.error <= 20 * p.u * (wanted + z + 1)).all()


def test_an_epsilon_is_in_the_logarithms() -> None:
    loss, p = LOSSES["logits_binary_cross_entropy"](), Precision.of("float64")
    found = loss.terms(Bounded.of([[40.0]], p), Bounded.of([[0.0]], p), eps=1e-5)
    np.testing.assert_allclose(found.value, -np.log(1e-5))
