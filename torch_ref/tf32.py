"""TF32: whether a CUDA device may round the operands of float32 products to 10 bits of mantissa. Off unless asked for.

The setting is PyTorch's own and one for the process, so it is an entry point that chooses it, once.
"""

from typing import Any

import torch


def set_tf32(on: bool) -> None:
    """Let products of CUDA's matrix library and of cuDNN use TF32, or forbid it; PyTorch allows it in cuDNN itself."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if not _has_precisions():
        matmul.allow_tf32 = cudnn.allow_tf32 = on
        return
    places: list[Any] = [matmul, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None)]
    for place in places:
        if place is not None:
            place.fp32_precision = "tf32" if on else "ieee"


def tf32_is_on() -> bool:
    """Whether matrix products on a CUDA device may use it."""
    matmul: Any = torch.backends.cuda.matmul
    return matmul.fp32_precision == "tf32" if _has_precisions() else bool(matmul.allow_tf32)


def _has_precisions() -> bool:
    """Since 2.9 there is a precision to each backend, and the older switch must be left alone beside it."""
    try:
        return isinstance(torch.backends.cuda.matmul.fp32_precision, str)
    except (AttributeError, AssertionError):
        return False
