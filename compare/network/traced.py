"""Traced: any torch module whose forward pass is made of known operations, as a Graph of the same modules.

What it calls is read by torch.fx (Reed et al. 2022), which runs the forward pass on symbols.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from compare.operations import layer_type
from torch_ref.graph import Add, Graph, Take

SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
# Functions and methods by the module that is the same: its arguments are theirs after the first, in this order.
SAME: Mapping[Any, Callable[..., nn.Module | None]] = {
    **dict.fromkeys((torch.relu, torch.relu_, functional.relu, functional.relu_, "relu", "relu_"), nn.ReLU),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, "sigmoid"), nn.Sigmoid),
    **dict.fromkeys((torch.tanh, functional.tanh, "tanh"), nn.Tanh),
    **dict.fromkeys((torch.softmax, functional.softmax, "softmax"), nn.Softmax),
    **dict.fromkeys((torch.log_softmax, functional.log_softmax, "log_softmax"), nn.LogSoftmax),
    **dict.fromkeys((torch.flatten, "flatten"), lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim)),
    **dict.fromkeys((torch.max_pool2d, functional.max_pool2d), nn.MaxPool2d),
    functional.avg_pool2d: nn.AvgPool2d,
    functional.silu: nn.SiLU,
    functional.softplus: nn.Softplus,
    functional.elu: nn.ELU,
    functional.gelu: nn.GELU,
    functional.leaky_relu: nn.LeakyReLU,
    functional.dropout: lambda p=0.5, training=True, inplace=False: nn.Dropout(p, inplace) if training else None,
}
SHAPES = ("size", "shape", operator.getitem, getattr)  # of what is reshaped
RESHAPED = ("view", "reshape", torch.reshape)


def as_sequence(module: nn.Module) -> nn.Module:
    """The module itself where it is a known layer or an nn.Sequential of such, else its Graph.

    ValueError in one line that names what its forward pass calls and is not known.
    """
    return module if _is_plain(module) else _Reader(module).read()


def expect_same(module: nn.Module, graph: nn.Module, x: torch.Tensor) -> None:
    """ValueError in one line unless both give the same bits for x, in evaluation.

    A trace is one way through the code, and does not see what is written over.
    """
    if graph is module:
        return
    with _mode(module, training=False), _mode(graph, training=False), torch.no_grad():
        try:
            y, of_graph = module(x), graph(x)
        except Exception as error:  # whatever a forward pass does with a batch that does not fit
            why = " ".join(str(error).split())[:160]
            raise ValueError(f"{type(module).__name__}: its forward pass failed: {why}") from error
    if not torch.equal(y, of_graph):
        raise ValueError(
            f"{type(module).__name__}: in evaluation its forward pass gives something else than the layers it calls; "
            "expected none that is taken for some inputs only, and functional.dropout with training=self.training"
        )


def _is_plain(module: nn.Module) -> bool:
    if isinstance(module, Graph) or type(module).forward is nn.Sequential.forward:
        return all(map(_is_plain, module.children()))
    return layer_type(module) is not None or type(module).__module__.startswith("torch.nn.")


@contextmanager
def _mode(module: nn.Module, training: bool) -> Iterator[None]:
    """All of it in training, or in evaluation; afterwards each part as it was."""
    modes = {part: part.training for part in module.modules()}
    module.train(training)
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


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
            elif node.args[0] not in self.given:
                raise self._unknown(node, "returns something else than one array")
        return Graph(*self.made)

    def _nodes(self) -> list[fx.Node]:
        """In training, as it is checked; without what the output is not computed from."""
        try:
            with _mode(self.module, training=True):
                graph = _Tracer().trace(self.module)
            graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
            return list(graph.nodes)
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
        if target in SUMS and len(node.args) == 2 and all(a in self.given for a in node.args):
            self._sum(node, *node.args)
        elif target in SAME:
            self._add(node, self._same(node), node.args[0])
        elif target in RESHAPED and self._is_row(node):
            self._add(node, nn.Flatten(), node.args[0])
        else:
            raise self._unknown(node, f"calls {getattr(target, '__name__', target)}")

    def _same(self, node: fx.Node) -> nn.Module:
        """The module of a function, with those options that are given."""
        options = {k: v for k, v in node.kwargs.items() if v is not None and not k.startswith("_")}
        try:
            made = SAME[node.target](*node.args[1:], **options)
        except TypeError:
            made = None
        if made is None:
            raise self._unknown(node, f"calls {node.name} with options that no layer has")
        return made

    def _is_row(self, node: fx.Node) -> bool:
        """x.view(x.size(0), -1), or x.view(-1, 400), where the next layer says whether 400 is all of a sample."""
        sizes: Any = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], tuple) else node.args[1:]
        if len(sizes) != 2:
            return False
        rows, columns = sizes
        if isinstance(rows, fx.Node):
            return [columns] == [-1] and self._is_length(rows)
        return [rows] == [-1] and isinstance(columns, int)

    def _is_length(self, rows: fx.Node) -> bool:
        """x.size(0), x.size()[0] or x.shape[0], of anything that has samples as rows."""
        if rows.target not in ("size", operator.getitem) or rows.args[1:] != (0,):
            return False
        sized: Any = rows if rows.target == "size" else rows.args[0]
        return sized.target in ("size", getattr) and sized.args[0] in self.given

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
