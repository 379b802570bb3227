"""Traced: any torch module whose forward pass is made of known operations, as a Graph of the same modules.

What it calls is read by torch.fx (Reed et al. 2022), which runs the forward pass on symbols.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from compare.operations import layer_type
from torch_ref.graph import Add, Graph, Take

SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
# Functions and methods of one argument, by the module that is the same.
SAME: Mapping[Any, Callable[[], nn.Module]] = {
    **dict.fromkeys((torch.relu, functional.relu, "relu", "relu_"), nn.ReLU),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, "sigmoid"), nn.Sigmoid),
    **dict.fromkeys((torch.tanh, functional.tanh, "tanh"), nn.Tanh),
    functional.silu: nn.SiLU,
    functional.softplus: nn.Softplus,
    functional.elu: nn.ELU,
    functional.gelu: nn.GELU,
    functional.leaky_relu: nn.LeakyReLU,
}
SHAPES = ("size", "shape", operator.getitem, getattr)  # of what is reshaped
RESHAPED = ("view", "reshape", torch.reshape)


def as_sequence(module: nn.Module) -> nn.Module:
    """The module itself where it is a known layer or an nn.Sequential of such, else its Graph.

    ValueError in one line that names what its forward pass calls and is not known.
    """
    return module if _is_plain(module) else _Reader(module).read()


def _is_plain(module: nn.Module) -> bool:
    if isinstance(module, nn.Sequential):
        return all(map(_is_plain, module))
    return layer_type(module) is not None or not any(True for _ in module.children())


class _Tracer(fx.Tracer):
    """Known layers are leaves, whatever they are made of."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Graph):
            return False
        return layer_type(m) is not None or super().is_leaf_module(m, module_qualified_name)


class _Reader:
    """One module; `made` are the Graph's modules so far, `given` the number of the one that gave what a node is."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.made: list[nn.Module] = []
        self.given: dict[fx.Node, int] = {}

    def read(self) -> Graph:
        for node in self._nodes():
            if node.op == "placeholder":
                self._enter(node)
            elif node.op == "call_module":
                self._add(node, self.module.get_submodule(str(node.target)), *node.args)
            elif node.op in ("call_function", "call_method"):
                self._call(node)
            elif node.op != "output":
                raise self._unknown(node, f"uses {node.target}, which is no layer")
        return Graph(*self.made)

    def _nodes(self) -> list[fx.Node]:
        try:
            return list(_Tracer().trace(self.module).nodes)
        except Exception as error:  # whatever a forward pass does with symbols
            why = " ".join(str(error).split())[:160]
            raise ValueError(f"{self._name}: its forward pass cannot be traced: {why}") from error

    @property
    def _name(self) -> str:
        return type(self.module).__name__

    def _unknown(self, node: fx.Node, why: str) -> ValueError:
        known = "layers that are known, +, flatten, and activations as functions"
        return ValueError(f"{self._name}: its forward pass {why} ({node.name}), expected {known}")

    def _enter(self, node: fx.Node) -> None:
        if self.given:
            raise ValueError(f"{self._name}: its forward pass takes several inputs, expected one")
        self.given[node] = -1

    def _call(self, node: fx.Node) -> None:
        target: Any = node.target
        if target in SHAPES:
            return
        options = [*node.args[1:], *node.kwargs.values()]
        if target in SUMS and len(node.args) == 2 and all(a in self.given for a in node.args):
            self._sum(node, *node.args)
        elif target in SAME and not [o for o in options if o is not False]:
            self._add(node, SAME[target](), node.args[0])
        elif self._is_flatten(node):
            self._add(node, nn.Flatten(), node.args[0])
        else:
            raise self._unknown(node, f"calls {getattr(target, '__name__', target)}")

    def _is_flatten(self, node: fx.Node) -> bool:
        """flatten(x, 1), or x.view(len(x), -1)."""
        if node.target in (torch.flatten, "flatten"):
            return [*node.args[1:], *node.kwargs.values()] == [1]
        sizes: Any = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], tuple) else node.args[1:]
        is_row = len(sizes) == 2 and not isinstance(sizes[1], fx.Node) and bool(sizes[1] == -1)
        return node.target in RESHAPED and is_row

    def _sum(self, node: fx.Node, x: Any, z: Any) -> None:
        first, other = (z, x) if self.given[z] == len(self.made) - 1 else (x, z)
        self._add(node, Add(self.given[other]), first)

    def _add(self, node: fx.Node, module: nn.Module, x: Any, *others: Any) -> None:
        """After what gave x: where that is not the last one, by a Take."""
        if others or x not in self.given:
            raise self._unknown(node, f"calls {type(module).__name__} of something else than one array")
        if self.given[x] != len(self.made) - 1:
            self.made.append(Take(self.given[x]))
        self.made.append(module)
        self.given[node] = len(self.made) - 1
