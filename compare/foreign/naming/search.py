"""Search: the stages that name one step, from an input on; and the choice between several inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.convention import Convention
from compare.foreign.naming import adoption, departures, expected, gradients, scales
from compare.foreign.naming.forward import forward
from compare.foreign.naming.inputs import inputs, readings
from compare.foreign.naming.named import Named, Names
from compare.foreign.naming.observations import Observations
from compare.foreign.naming.state import State
from compare.foreign.naming.target import target_and_loss
from compare.network.architecture import Architecture
from compare.watching.observation import Observation

Array = NDArray[Any]

# Inputs that make a first layer's output, and are followed to the end: training data, a batch, a sample, test data.
ATTEMPTS = 4
SHAPES = 8  # named in a message, which stays one line


class NotFound(ValueError):
    """The network's own data or weights are not among the arrays; says which, and of what shape."""


def find(
    network: Architecture,
    observations: Sequence[Observation],
    x: Array | None = None,
    t: Array | None = None,
    convention: Convention | None = None,
) -> Names:
    """The names of one training step, the first that the observations hold. x (m, in) and t where they are known.

    NotFound, in one line, where input, weights or outputs of the network are not among the arrays. ValueError for a
    penalty, which is not looked for, or a layer that is not.
    """
    network.expect_no_penalty()
    network.expect_known_by_value()
    seen, declared = Observations(observations), convention or Convention()
    attempts = list(_attempts(network, seen, x, t, declared))
    if not attempts:
        attempts = list(_attempts(network, seen, x, t, declared, lenient=True))
    if not attempts:
        raise NotFound(_missing(network, seen, x))
    return max(attempts, key=lambda names: names.score)


class Search:
    """Names for one step that begins with a given input; `lenient` where the first layer's output may be wrong."""

    def __init__(
        self,
        network: Architecture,
        seen: Observations,
        entering: Named,
        t: Array | None,
        convention: Convention,
        lenient: bool = False,
    ) -> None:
        found = Names(network, {"input": entering}, len(entering.view.array))
        self.state = State(seen, found, convention, t, lenient)

    def begin(self) -> bool:
        """Name the forward pass; False where not even the first layer is found."""
        return forward(self.state)

    def complete(self) -> Names:
        """Name what follows from the forward pass."""
        state = self.state
        departures.without_bias(state)
        departures.fuse(state)
        state.tensors.pop("probabilities", None)
        target_and_loss(state)
        _backward(state)
        scales.settle(state)
        return state.found


def _backward(state: State) -> None:
    """All gradients that equal what they should be; then, again and again, the first wrong one and what follows."""
    if "target" not in state.tensors or "0.weight" not in state.tensors:
        return
    gradients.match(state)
    for rule in expected.gradient_rules(state):
        if rule.name not in state.tensors and adoption.adopt(state, rule):
            gradients.match(state)


def _attempts(
    network: Architecture,
    seen: Observations,
    x: Array | None,
    t: Array | None,
    convention: Convention,
    lenient: bool = False,
) -> Iterator[Names]:
    """Names from the first few inputs that lead to any."""
    made = 0
    for entering in inputs(network, seen, x, convention):
        search = Search(network, seen, entering, t, convention, lenient)
        if not search.begin():
            continue
        yield search.complete()
        made += 1
        if made == ATTEMPTS:
            return


def _missing(network: Architecture, seen: Observations, x: Array | None) -> str:
    """What was not found, of what shape it would be, and the shapes that were seen."""
    fan_in, fan_out = network.sizes[:2]
    wanted = f"({fan_out}, {fan_in}) or ({fan_in}, {fan_out}), or with the bias in it, one row or column more"
    shapes = list(dict.fromkeys(str(o.array.shape) for o in seen.all if o.array.ndim == 2))
    held = f"the arrays seen have shapes {', '.join(shapes[:SHAPES])}" if shapes else "no array was seen"
    if not any(True for o in seen.all for _ in layout.weights(o.array, fan_out, fan_in)):
        return f"no weight of the first layer found: expected an array of shape {wanted}; {held}"
    if x is None and not any(True for o in seen.all for _ in readings(o.array, fan_in)):
        return f"no input found: expected an array with {fan_in} columns or rows; {held}"
    sized = [o for o in seen.all for _ in layout.weights(o.array, fan_out, fan_in)]
    first = ", ".join(dict.fromkeys(f"{o.name} {o.array.shape}" for o in sized[:SHAPES]))
    return f"no output of the first layer found: nothing equals input times a weight; of its size are {first}"
