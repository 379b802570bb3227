"""Naming: what a program calls its values. {k} counts layers from 1, {j} from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Naming:
    """One scheme; a format for each kind of value."""

    weight: str = "W{k}"
    bias: str = "b{k}"
    pre: str = "Z{k}"
    out: str = "A{k}"
    delta: str = "dZ{k}"
    grad_out: str = "dA{k}"
    grad_weight: str = "dW{k}"
    grad_bias: str = "db{k}"
    inputs: str = "X"  # the data set
    targets: str = "Y"
    x: str = "x"  # a batch, or a sample
    t: str = "y"
    prediction: str = ""  # the last output, where it has a name of its own
    rate: str = "lr"
    count: str = "m"
    loss: str = "loss"
    total: str = "total"
    losses: str = "losses"
    epoch: str = "epoch"
    epochs: str = "epochs"
    penalty: str = "lam"
    index: str = "i"
    net: str = "net"
    sigmoid: str = "sigmoid"
    relu: str = "relu"
    softmax: str = "softmax"
    derivative: str = "{f}_derivative"


SCHEMES = (
    Naming(),
    Naming(),
    Naming(weight="w{k}", bias="b{k}", pre="z{k}", out="a{k}", delta="delta{k}", grad_out="da{k}", grad_weight="dw{k}",
           grad_bias="db{k}", rate="alpha", loss="cost", losses="costs", targets="y", t="yb", x="xb",
           derivative="d{f}"),
    Naming(pre="s{k}", out="h{k}", delta="d{k}", grad_out="e{k}", grad_weight="gW{k}", grad_bias="gb{k}", targets="T",
           t="t", prediction="o", rate="eta", count="n", loss="E", total="err", epoch="ep", sigmoid="sig"),
    Naming(weight="weights{k}", bias="bias{k}", pre="net{k}", out="layer{k}", delta="layer{k}_delta",
           grad_out="layer{k}_error", grad_weight="weights{k}_grad", grad_bias="bias{k}_grad", targets="labels",
           t="target", prediction="output", rate="learning_rate", epoch="iteration", epochs="iterations",
           sigmoid="nonlin"),
    Naming(weight="theta{k}", bias="bias{k}", pre="z{k}", out="a{k}", delta="delta{k}", grad_weight="grad{k}",
           grad_bias="grad_b{k}", prediction="h", rate="alpha", count="m", loss="J", epoch="it", index="n"),
    Naming(weight="W_{k}", bias="b_{k}", pre="in_{k}", out="out_{k}", delta="d_in_{k}", grad_out="d_out_{k}",
           grad_weight="d_W_{k}", grad_bias="d_b_{k}", prediction="y_hat", inputs="data", targets="target", t="true",
           rate="step_size", sigmoid="logistic"),
    Naming(weight="w{j}", bias="b{j}", pre="u{j}", out="v{j}", delta="g{j}", grad_out="p{j}", grad_weight="grad_w{j}",
           grad_bias="grad_b{j}", prediction="pred", inputs="inputs", targets="outputs", x="inp", t="out", rate="rate"),
    Naming(weight="params['W{k}']", bias="params['b{k}']", pre="cache['z{k}']", out="cache['a{k}']", delta="dz{k}",
           grad_out="da{k}", grad_weight="grads['W{k}']", grad_bias="grads['b{k}']", inputs="X_train",
           targets="y_train", x="X_batch", t="y_batch", rate="learning_rate"),
    Naming(weight="W[{j}]", bias="b[{j}]", pre="z[{j}]", out="a[{j}]", delta="delta[{j}]", grad_out="back[{j}]",
           grad_weight="dW[{j}]", grad_bias="db[{j}]", prediction="", rate="eta", derivative="{f}_prime"),
)  # fmt: skip


def naming(number: int) -> Naming:
    """One of the schemes."""
    return SCHEMES[number % len(SCHEMES)]


def without_containers(names: Naming) -> Naming:
    """The same, or plain names where these are parts of lists and dictionaries."""
    if "[" not in names.weight:
        return names
    return Naming(inputs=names.inputs, targets=names.targets, x=names.x, t=names.t)


def of_a_class(names: Naming) -> Naming:
    """The same, as attributes of a class; deltas and what is behind them stay local."""
    plain = without_containers(names)
    attributes = ("weight", "bias", "pre", "out", "grad_weight", "grad_bias")
    return replace(plain, **{a: f"self.{getattr(plain, a)}" for a in attributes}, prediction="")


def of_layer_objects(names: Naming) -> Naming:
    """As the training loop sees a list of layers."""
    plain = without_containers(names)
    return replace(plain, weight="layers[{j}].W", bias="layers[{j}].b", delta="grad", out="output")


def containers(names: Naming, layers: int, states: Sequence[str]) -> list[str]:
    """Lines that make the dictionaries and lists that the names live in."""
    values = (names.weight, names.bias, names.pre, names.out, names.delta, names.grad_out)
    made = {}
    for each in (*values, names.grad_weight, names.grad_bias, *states):
        holder, bracket, key = each.partition("[")
        if bracket:
            made[holder] = f"{holder} = {{}}" if key.startswith("'") else f"{holder} = [None] * {layers}"
    return list(made.values())
