"""Architecture: what is to be computed, layer after layer, and the loss, independent of who computes it.

Read from a scratch network, from a torch module, or from a text (text.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor, nn

import scratch
from compare.network import text
from compare.network.passing import astray, entering, misfit, sources
from compare.network.penalty import Penalty
from compare.network.tensor_name import TensorName, of_torch
from compare.network.text import sizes
from compare.network.traced import as_sequence
from compare.operations import LAYERS, LOSSES, layer_type, loss_type
from compare.operations.linear import Linear
from compare.operations.operation import Activation, Layer, Loss, Reduction, Shape


@dataclass(frozen=True)
class Architecture:
    """Layers in order, the loss with its reduction, and the penalty that a text adds to it."""

    layers: tuple[Layer, ...]
    loss: Loss
    penalty: Penalty | None = None

    @property
    def reduction(self) -> Reduction:
        """The loss's: mean or sum."""
        return self.loss.reduction

    @property
    def sizes(self) -> tuple[int, ...]:
        """Columns of the input, then of the output of every layer that has sizes of its own."""
        return sizes(self.layers)

    @property
    def entering(self) -> Shape | None:
        """The shape of the input; None where no layer says it."""
        return entering(self.layers)

    def parameters(self) -> dict[TensorName, Shape]:
        """Record names and shapes of all parameters."""
        return {
            TensorName.of(k, n): shape for k, layer in enumerate(self.layers) for n, shape in layer.parameters().items()
        }

    def buffers(self) -> dict[TensorName, Shape]:
        """Record names and shapes of what forward passes change beside the parameters, as it was before the step."""
        return {
            TensorName.of(k, n): shape for k, layer in enumerate(self.layers) for n, shape in layer.buffers().items()
        }

    def drawn(self) -> tuple[TensorName, ...]:
        """Record names of what its layers draw at random."""
        return tuple(TensorName.of(k, part) for k, layer in enumerate(self.layers) for part in layer.drawn)

    def sources(self, k: int) -> dict[str, int]:
        """The layers whose outputs layer k takes, by the part that they enter as; -1 is the input."""
        return sources(self.layers, k)

    def takes(self, k: int) -> dict[str, TensorName]:
        """What enters layer k, by its part: the outputs of layers, or the network's input."""
        return {part: self.leaving(j) for part, j in self.sources(k).items()}

    @staticmethod
    def leaving(k: int) -> TensorName:
        """The output of layer k; of -1, the input."""
        return TensorName.of(k, "output") if k >= 0 else TensorName("input")

    def followed_by(self, k: int) -> list[tuple[int, str]]:
        """The layers that the output of layer k enters, and as which part."""
        later = range(k + 1, len(self.layers))
        return [(j, part) for j in later for part, source in self.sources(j).items() if source == k]

    def returned(self, k: int) -> list[TensorName]:
        """The gradients whose sum is that of layer k's output."""
        return [TensorName.of(j, f"grad_{part}") for j, part in self.followed_by(k)]

    @staticmethod
    def tensor_name(k: int, part: str) -> TensorName:
        """Of a part of layer k; what enters layer 0 is the input."""
        return TensorName.of(k, part)

    def expect_no_penalty(self) -> None:
        """ValueError in one line where a penalty is declared: only code that is watched is judged with one."""
        if self.penalty is not None:
            raise ValueError(
                f"network '{self}': got the penalty {self.penalty}, which only a script is judged with; leave it out"
            )

    def expect_known_by_value(self) -> None:
        """ValueError in one line for a layer that is neither linear nor an activation: what is computed under names of
        somebody's own is found by its values, and only theirs are known.
        """
        for k, layer in enumerate(self.layers):
            if not isinstance(layer, Linear | Activation):
                raise ValueError(
                    f"network '{self}': layer {k} ({layer}) is not found by its values, expected linear layers and "
                    "activations, or a network of scratch, a torch.nn.Sequential, or arrays under a record's names"
                )

    def __str__(self) -> str:
        """As a text that can be typed."""
        return text.written(self.layers, self.loss, self.penalty)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a file: layers, loss and reduction."""
        layers = [layer.to_dict() for layer in self.layers]
        return {"layers": layers} | self.loss.to_dict()

    @classmethod
    def from_dict(cls, found: Any) -> Architecture:
        """From what `to_dict` gave and a file may hold. ValueError in one line for anything else."""
        match found:
            case {"layers": [_, *_] as layers, "loss": str(loss), "reduction": str(reduction)} if (
                loss in LOSSES and reduction in LOSSES[loss].reductions
            ):
                made = cls(tuple(_from_dict(layer) for layer in layers), LOSSES[loss].from_dict(found))
                if made.sizes and astray(made.layers) is None and misfit(made.layers) is None:
                    return made
        raise ValueError("found an architecture that is none, expected layers that fit, a loss and its reduction")

    @classmethod
    def of(cls, network: Any, loss: Any = None) -> Architecture:
        """From an Architecture, a text, a scratch network or a torch module, the latter two with their loss.

        TypeError or ValueError in one line for a layer, loss or text that is not known.
        """
        if isinstance(network, Architecture):
            return network
        if isinstance(network, str):
            return cls(*text.parsed(network))
        if isinstance(network, nn.Module):
            network = as_sequence(network)
        if loss is None:
            raise ValueError(f"the loss is missing: pass loss=..., or the network as a text: {text.GRAMMAR}")
        kind = loss_type(loss)
        if kind is None:
            known = dict.fromkeys(t.__name__ for k in LOSSES.values() for t in (k.scratch_type, k.torch_type))
            raise TypeError(f"got loss {type(loss).__name__}, expected one of {', '.join(known)}")
        _expect_plain(loss, kind)
        layers = [_layer(k, layer) for k, layer in enumerate(flatten(network))]
        made = tuple(_at(layer, number) for layer, number in zip(layers, _numbers(network, -1), strict=True))
        if (why := astray(made)) is not None:
            raise ValueError(why)
        return cls(made, kind.of(loss))


def _from_dict(found: Any) -> Layer:
    if not isinstance(found, Mapping) or found.get("kind") not in LAYERS:
        raise ValueError(f"found the layer {str(found)[:80]}, expected linear with in, out and bias, or an activation")
    return LAYERS[found["kind"]].from_dict(found)


def flatten(network: Any) -> list[Any]:
    """The layers of a scratch.Sequential or torch module, nested ones in line; their record names count from 0."""
    if isinstance(network, scratch.Sequential):
        return [leaf for layer in network.layers for leaf in flatten(layer)]
    if isinstance(network, nn.Sequential):
        return [leaf for layer in network for leaf in flatten(layer)]
    return [network]


def _numbers(network: Any, before: int) -> list[int | None]:
    """Of each layer in line, the number of the earlier one that it names. before: the layer that they follow."""
    if not isinstance(network, scratch.Sequential | nn.Sequential):
        return [None]
    found: list[int | None] = []
    ends = [before]  # of each layer of this Sequential, and before them the input: the last one in line that is of it
    for layer in network:
        source = getattr(layer, "source", None)
        is_named = isinstance(source, int) and -1 <= source < len(ends) - 1
        found += [ends[source + 1]] if is_named and source is not None else _numbers(layer, ends[-1])
        ends.append(before + len(found))
    return found


def _at(layer: Layer, source: int | None) -> Layer:
    """An Add or a Take with the number in line of what it takes."""
    return layer if source is None else replace(layer, source=source)  # type: ignore[call-arg]


def named_parameters(network: Any) -> dict[str, Any]:
    """By record name, the parameters of a scratch network (its own arrays) or a torch module, nested ones in line."""
    leaves = enumerate(flatten(network))
    return {TensorName.of(k, name): p for k, layer in leaves for name, p in own_parameters(layer).items()}


def named_buffers(network: Any) -> dict[str, Any]:
    """By record name, what forward passes change beside the parameters; torch's counts of batches are none of it."""
    leaves = enumerate(flatten(network))
    return {TensorName.of(k, name): b for k, layer in leaves for name, b in _own_buffers(layer).items()}


def named_gradients(network: scratch.Sequential) -> dict[str, Any]:
    """What the layers hold as gradients of their parameters, by the parameters' record names."""
    return {TensorName.of(k, name): g for k, layer in enumerate(flatten(network)) for name, g in layer.grads.items()}


def own_parameters(layer: Any) -> Mapping[str, Any]:
    """Of one layer, by the names of its operation."""
    if isinstance(layer, nn.Module):
        return {of_torch(name): p for name, p in layer.named_parameters()}
    own: Mapping[str, Any] = layer.params
    return own


def _own_buffers(layer: Any) -> Mapping[str, Any]:
    if isinstance(layer, nn.Module):
        return {name: b for name, b in layer.named_buffers() if b.is_floating_point()}
    return layer.buffers if isinstance(layer, scratch.Layer) else {}


def _layer(k: int, layer: Any) -> Layer:
    place, known = f"layer {k} ({type(layer).__name__})", layer_type(layer)
    if known is None:
        shown = layer if isinstance(layer, nn.Module) else type(layer).__name__
        *first, last = sorted({of.scratch_type.__name__ for of in LAYERS.values()})
        raise TypeError(f"got layer {shown}, expected {', '.join(first)} or {last}")
    if isinstance(layer, scratch.Layer):
        _expect_attributes(place, layer, (*known.attributes, "params", "grads"))
    return known.of(layer, place)


def _expect_attributes(place: str, layer: scratch.Layer, names: tuple[str, ...]) -> None:
    """TypeError unless it has what a scratch layer of its kind has (a forgotten super().__init__())."""
    for name in names:
        if not hasattr(layer, name):
            raise TypeError(f"{place} has no {name}, expected {', '.join(names)}")
        if name in ("params", "grads") and not isinstance(getattr(layer, name), Mapping):
            found = type(getattr(layer, name)).__name__
            raise TypeError(f"{place}: {name} is a {found}, expected a dictionary")


def _expect_plain(loss: Any, kind: type[Loss]) -> None:
    """ValueError for an option of a torch loss that makes another loss of it, which is not checked."""
    if not isinstance(loss, nn.Module):
        return
    plain, modelled = kind.torch_type(), {f.name for f in fields(kind)}
    for name, usual in (plain._buffers | vars(plain)).items():
        found = getattr(loss, name, usual)
        if name[0] != "_" and name not in {"training", *modelled} and found is not usual and found != usual:
            shown = "..." if isinstance(found, Tensor) else found
            raise ValueError(f"got {type(loss).__name__}({name}={shown}), which is not checked")
