"""TF32 is a setting of PyTorch's, which is set and read back, in the words of the version that is installed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from torch_ref.tf32 import set_tf32, tf32_is_on


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = tf32_is_on()
    yield
    set_tf32(before)


@pytest.mark.parametrize("on", [True, False])
def test_what_is_set_is_what_is_read(on: bool) -> None:
    set_tf32(on)
    assert tf32_is_on() is on


def test_it_is_off_unless_it_is_asked_for() -> None:
    code = "from torch_ref.tf32 import tf32_is_on; print(tf32_is_on())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("on", [True, False])
def test_versions_without_precisions_have_a_switch_each(monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    old: Any = SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=not on)), cudnn=SimpleNamespace())
    monkeypatch.setattr(torch.backends, "cuda", old.cuda)
    monkeypatch.setattr(torch.backends, "cudnn", old.cudnn)
    set_tf32(on)
    assert (old.cuda.matmul.allow_tf32, old.cudnn.allow_tf32, tf32_is_on()) == (on, on, on)


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="needs torch 2.9 or newer")
def test_versions_with_precisions_have_them_set_for_cudnn_too() -> None:
    cudnn: Any = torch.backends.cudnn
    for on, word in ((True, "tf32"), (False, "ieee")):
        set_tf32(on)
        assert [torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision] == [word, word]
