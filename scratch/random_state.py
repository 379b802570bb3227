"""The state of a random stream, so that a checkpoint can hold it and a resumed run draws what came next.

As JSON, of any stream; and as an array, of those that layers draw from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratch.initializers import RandomSource


def random_state(rng: RandomSource) -> dict[str, Any]:
    """What `set_random_state` needs: plain numbers, strings, lists and dicts. TypeError for another kind of rng."""
    if isinstance(rng, np.random.Generator):
        state = dict(rng.bit_generator.state)
    elif isinstance(rng, np.random.RandomState):
        state = dict(rng.get_state(legacy=False))
    else:
        raise TypeError(f"got rng {rng!r}, expected a numpy Generator or RandomState")
    plain: dict[str, Any] = _plain(state)
    return {"kind": _kind(rng), "state": plain}


def set_random_state(rng: RandomSource, saved: dict[str, Any]) -> None:
    """Continue the saved stream in `rng`. ValueError if they are not of the same kind; `rng` is untouched then."""
    if saved.get("kind") != _kind(rng):
        raise ValueError(f"the random stream is a {saved.get('kind')}, expected {_kind(rng)}")
    state = _arrays(saved["state"])
    _expect_positions(state)
    if isinstance(rng, np.random.Generator):
        rng.bit_generator.state = state
    else:
        rng.set_state(state)


def _kind(rng: RandomSource) -> str:
    if isinstance(rng, np.random.Generator):
        return f"Generator({type(rng.bit_generator).__name__})"
    return type(rng).__name__


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.name, "values": value.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def _arrays(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"dtype", "values"}:
        if value["dtype"] not in ("uint32", "uint64"):
            raise ValueError(f"the random stream holds {str(value['dtype'])[:40]}, expected uint32 or uint64")
        return np.array(value["values"], dtype=value["dtype"])
    return {key: _arrays(each) for key, each in value.items()} if isinstance(value, dict) else value


# How many numbers a generator keeps in advance. NumPy believes a saved position, and would read past its own array.
POSITIONS = {"pos": 624, "buffer_pos": 4}


def _expect_positions(state: dict[str, Any]) -> None:
    for name, value in state.items():
        if isinstance(value, dict):
            _expect_positions(value)
        elif name in POSITIONS and not (type(value) is int and 0 <= value <= POSITIONS[name]):
            raise ValueError(f"the random stream is at {name} {str(value)[:40]}, expected 0 to {POSITIONS[name]}")


WORD = 2**64


def stream_words(rng: np.random.Generator) -> NDArray[np.uint64]:
    """The six words of a PCG64: its state and its increment, the high half of each first; then whether half of a draw
    is left, and which. TypeError for another kind of stream.
    """
    state = rng.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise TypeError(f"got a stream of {state['bit_generator']}, expected PCG64, as numpy.random.default_rng gives")
    halves = (half for name in ("state", "inc") for half in divmod(state["state"][name], WORD))
    return np.array([*halves, state["has_uint32"], state["uinteger"]], np.uint64)


def stream_state(words: NDArray[np.uint64]) -> dict[str, Any]:
    """What `rng.bit_generator.state` becomes to continue the stream of these words. ValueError for words of none."""
    high, low, inc_high, inc_low, has_half, half = map(int, words)
    if inc_low % 2 == 0 or has_half > 1 or half >= 2**32:
        raise ValueError(f"the random stream is {[high, low, inc_high, inc_low, has_half, half]}, which is none")
    state = {"state": high * WORD + low, "inc": inc_high * WORD + inc_low}
    return {"bit_generator": "PCG64", "state": state, "has_uint32": has_half, "uinteger": half}
