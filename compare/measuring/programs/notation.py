"""Notation: the names and the orientation of one program, and which of its values have names."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compare.measuring.programs.naming import Naming, naming, of_a_class, of_layer_objects, without_containers
from compare.measuring.programs.orientation import Orientation
from compare.measuring.programs.style import Style


@dataclass(frozen=True)
class Notation:
    """What the pieces of a program are written with. Layers count from 1."""

    style: Style
    names: Naming

    @classmethod
    def of(cls, style: Style) -> Notation:
        names = naming(style.names)
        if style.form == "class":
            names = of_a_class(names)
        elif style.form == "layers":
            names = of_layer_objects(names)
        elif style.form == "functions":
            names = without_containers(names)
        return cls(style, names)

    @property
    def outside(self) -> Notation:
        """As seen from outside of the class: net.W1 for self.W1."""
        names = self.names
        if self.style.form == "class":
            own = {a: getattr(names, a).replace("self.", f"{names.net}.") for a in ("weight", "bias")}
            names = replace(names, **own)
        return replace(self, names=names)

    @property
    def write(self) -> Orientation:
        return Orientation(self.style.samples, self.style.out_in, self.style.dot)

    @property
    def x(self) -> str:
        return self.names.inputs if self.style.loop == "batch" and self.style.form != "class" else self.names.x

    @property
    def t(self) -> str:
        return self.names.targets if self.style.loop == "batch" and self.style.form != "class" else self.names.t

    def weight(self, k: int) -> str:
        return self._named(self.names.weight, k)

    def bias(self, k: int) -> str:
        return self._named(self.names.bias, k)

    def pre(self, k: int) -> str:
        return self._named(self.names.pre, k)

    def out(self, k: int) -> str:
        if k == 0:
            return self.x
        if k == self.style.layers and self.names.prediction:
            return self.names.prediction
        return self._named(self.names.out, k)

    def entering(self, k: int) -> str:
        """What the product of layer k takes: what left the layer before, with ones where they carry the bias."""
        a = self.out(k - 1)
        return self.write.with_ones(a) if self.style.bias == "last column" else a

    def delta(self, k: int) -> str:
        return self._named(self.names.delta, k)

    def grad_out(self, k: int) -> str:
        return self._named(self.names.grad_out, k)

    def grad_weight(self, k: int) -> str:
        return self._named(self.names.grad_weight, k)

    def grad_bias(self, k: int) -> str:
        return self._named(self.names.grad_bias, k)

    def parameters(self, k: int) -> list[str]:
        """Of layer k: the weight, and the bias where it is apart."""
        return [self.weight(k), *([self.bias(k)] if self.style.bias == "apart" else [])]

    def gradients(self, k: int) -> list[str]:
        return [self.grad_weight(k), *([self.grad_bias(k)] if self.style.bias == "apart" else [])]

    def bias_shape(self, n: int | str) -> str:
        """Of the bias: (n,), (1, n) or (n, 1)."""
        if self.style.samples == "columns":
            return f"({n}, 1)"
        return f"{n}" if self.style.samples == "vectors" or self.style.flat_bias else f"(1, {n})"

    @property
    def rate(self) -> str:
        return f"self.{self.names.rate}" if self.style.form in ("class", "layers") else self.names.rate

    @property
    def m(self) -> str:
        """How many samples the mean is over."""
        whole = self.style.loop in ("batch", "accumulated") and self.style.form in ("top", "main", "function")
        return self.names.count if whole else self.samples_in(self.x)

    def state(self, prefix: str, parameter: str) -> str:
        """What the optimiser keeps of a parameter: v_W1, self.v_W1, v_params['W1']."""
        if parameter.startswith("self."):
            return f"self.{prefix}_{parameter.removeprefix('self.')}"
        return f"{prefix}_{parameter}"

    def samples_in(self, a: str) -> str:
        """How many samples an array has."""
        return f"({a}).shape[1]" if self.style.samples == "columns" else f"len({a})"

    @staticmethod
    def _named(form: str, k: int) -> str:
        return form.format(k=k, j=k - 1)
