"""What every operation must say of itself, and what each says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import scratch
import torch_ref.attention
import torch_ref.graph
import torch_ref.losses
import torch_ref.recurrent
from compare.checking import Judged
from compare.diagnosis.evidence import Evidence
from compare.network.architecture import Architecture, own_parameters
from compare.network.weights import to_torch_loss
from compare.numbers.allowance import Precision
from compare.numbers.bounded import Bounded
from compare.operations import LAYERS, LOSSES, OPTIMIZERS, mistakes_of
from compare.operations.avg_pool2d import AvgPool2d
from compare.operations.batch_norm1d import BatchNorm1d
from compare.operations.batch_norm2d import BatchNorm2d
from compare.operations.conv2d import Conv2d
from compare.operations.dropout import Dropout
from compare.operations.embedding import Embedding
from compare.operations.flatten import Flatten
from compare.operations.gru import GRU
from compare.operations.last_step import LastStep
from compare.operations.layer_norm import LayerNorm
from compare.operations.linear import Linear
from compare.operations.lstm import LSTM
from compare.operations.max_pool2d import MaxPool2d
from compare.operations.operation import Activation, Operation, Part
from compare.operations.rnn import RNN
from compare.operations.self_attention import SelfAttention
from tests.compare.operations.examples import Case, correct

OPERATIONS = {**LAYERS, **LOSSES, **OPTIMIZERS}
each_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
each_loss = pytest.mark.parametrize("loss", [of(how) for of in LOSSES.values() for how in ("mean", "sum")], ids=str)

# --- a part that is missing ---


@each_operation
def test_a_part_that_is_missing_is_named(operation: type[Operation]) -> None:
    operation.expect_complete()
    for name in operation.REQUIRED:
        with pytest.raises(TypeError, match=f"Lame lacks {name}: see"):
            type("Lame", (operation,), {name: None}).expect_complete()


@each_operation
def test_a_method_that_is_missing_is_named(operation: type[Operation]) -> None:
    required = {name for base in operation.__mro__ for name in getattr(base, "__abstractmethods__", ())}
    for name in required:
        lame = type("Lame", (operation,), {})
        lame.__abstractmethods__ = frozenset({name})
        with pytest.raises(TypeError, match=f"Lame lacks {name}: see"):
            lame.expect_complete()


@each_operation
def test_a_mistake_in_a_place_that_is_none_is_named(operation: type[Operation]) -> None:
    table = {**operation.mistakes, "paramter": []}
    lame = type("Lame", (operation,), {"mistakes": table})
    with pytest.raises(TypeError, match="Lame has mistakes at paramter, expected "):
        lame.expect_complete()


def test_a_table_that_is_made_anew_is_not_taken_for_another() -> None:
    """A cache by the id of a table that is gone would give the next operation its rows."""
    for operation in LAYERS.values():
        made = type("Made", (operation,), {"mistakes": dict(operation.mistakes)})
        assert [m.cause for m in mistakes_of(made)] == [m.cause for m in mistakes_of(operation)]


@pytest.mark.parametrize(("text", "slope"), [("leaky_relu(0.2)", 0.2), ("leaky_relu(1e-05)", 1e-5)])
def test_the_number_of_an_activation_is_read_and_written(text: str, slope: float) -> None:
    read = Architecture.of(f"3-4-2 {text}, mse")
    assert read.layers[1].negative_slope == slope
    assert str(read) == f"3-4-2 {text}, mse"


def test_a_number_that_is_none_is_refused() -> None:
    for text in ("leaky_relu(1.2.3)", "leaky_relu(x)", "relu(1)"):
        with pytest.raises(ValueError, match=r"got activation '(leaky_)?relu\(.*\)', expected one of"):
            Architecture.of(f"3-4-2 {text}, mse")
    with pytest.raises(TypeError, match=r"layer 1 \(LeakyReLU\): negative_slope is 'steep', expected a number"):
        Architecture.of(scratch.Sequential(scratch.LeakyReLU(), scratch.LeakyReLU("steep")), scratch.MSELoss())


@pytest.mark.parametrize("operation", LAYERS.values(), ids=LAYERS)
def test_a_part_of_a_layer_needs_a_method_and_mistakes(operation: Any) -> None:
    lame = type("Lame", (operation,), {"parts": {**operation.parts, "grad_slope": Part.of("ds = 1", "x")}})
    with pytest.raises(TypeError, match="Lame lacks method grad_slope, known mistakes of grad_slope"):
        lame.expect_complete()


# --- what each says ---


def of_attention() -> dict[str, tuple[str, str]]:
    back = "do = dy W_out, dv = P^T do, ds = P (dP - sum of dP P) / sqrt(d), dP = do v^T, dq = ds k, dk = ds^T q"
    letters = "x W_in b_in W_out b_out"
    forward = "y = concat(P_i v_i) W_out^T + b_out, P_i = softmax(q_i k_i^T / sqrt(d)), [q, k, v] = x W_in^T + b_in"
    return {"output": (forward, letters)} | {
        part: (formula, f"{letters} dy")
        for part, formula in {
            "grad_out_proj_weight": "dW_out = dy^T o over batch and time, o = concat(P_i v_i)",
            "grad_out_proj_bias": "db_out = sum of dy over batch and time",
            "grad_in_proj_weight": f"dW_in = [dq, dk, dv]^T x over batch and time, {back}",
            "grad_in_proj_bias": f"db_in = sum of [dq, dk, dv] over batch and time, {back}",
            "grad_input": f"dx = [dq, dk, dv] W_in, {back}",
        }.items()
    }


BATCH_NORM = {
    "output": ("y = W (x - mean) / sqrt(var + eps) + b, mean and var of each channel over the batch", "x W b"),
    "new_running_mean": ("running_mean = (1 - momentum) running_mean + momentum mean", "x rm"),
    "new_running_var": ("running_var = (1 - momentum) running_var + momentum var N / (N - 1)", "x rv"),
    "grad_weight": ("dW = sum of dy (x - mean) / sqrt(var + eps) over each channel", "x dy"),
    "grad_bias": ("db = sum of dy over each channel", "dy"),
    "grad_input": (
        "dx = (t - mean(t) - h mean(t h)) / sqrt(var + eps), where t = W dy, h = (x - mean) / sqrt(var + eps)",
        "x W dy",
    ),
}
FORMULAS = {
    "log_softmax": {
        "output": ("y_k = x_k - log sum_j e^x_j, over each row", "x"),
        "grad_input": ("dx_k = dy_k - e^y_k sum_j dy_j", "x dy"),
    },
    "hinge": {
        "loss": ("L = sum max(0, 1 - t y), over all elements", "y t"),
        "loss.gradient": ("dy = -t / (m n) where t y < 1, else 0", "y t"),
    },
    "kl_div": {
        "loss": ("L = sum t (log t - y), 0 where t is 0, over all elements", "y t"),
        "loss.gradient": ("dy = -t / (m n)", "y t"),
    },
    "nll": {
        "loss": ("L = -sum y_t, y_t the log-probability of the right class, over the samples", "y t"),
        "loss.gradient": ("dy = -1 / m for the right class, else 0", "y t"),
    },
    "dropout": {
        "mask": ("mask = 0 with probability p, else 1 / (1 - p), or 1", "mask"),
        "output": ("y = x / (1 - p) where it is kept, else 0", "x mask"),
        "grad_input": ("dx = dy / (1 - p) where it is kept, else 0", "mask dy"),
    },
    "linear": {
        "output": ("y = x W^T + b", "x W b"),
        "grad_weight": ("dW = dy^T x", "x dy"),
        "grad_bias": ("db = sum of dy over the batch", "dy"),
        "grad_input": ("dx = dy W", "W dy"),
    },
    "relu": {"output": ("y = max(x, 0)", "x"), "grad_input": ("dx = dy where x > 0, else 0", "x dy")},
    "leaky_relu": {
        "output": ("y = x where x > 0, else s x", "x"),
        "grad_input": ("dx = dy where x > 0, else s dy", "x dy"),
    },
    "elu": {
        "output": ("y = x where x > 0, else alpha (e^x - 1)", "x"),
        "grad_input": ("dx = dy where x > 0, else dy alpha e^x", "x dy"),
    },
    "silu": {
        "output": ("y = x s, where s = 1 / (1 + e^-x)", "x"),
        "grad_input": ("dx = dy s (1 + x (1 - s)), where s = 1 / (1 + e^-x)", "x dy"),
    },
    "gelu": {
        "output": ("y = x F, where F = 1/2 (1 + erf(x / sqrt 2))", "x"),
        "grad_input": (
            "dx = dy (F + x e^(-x^2 / 2) / sqrt(2 pi)), where F = 1/2 (1 + erf(x / sqrt 2))",
            "x dy",
        ),
    },
    "gelu_tanh": {
        "output": ("y = 1/2 x (1 + tanh g), where g = sqrt(2 / pi) (x + 0.044715 x^3)", "x"),
        "grad_input": (
            "dx = 1/2 dy (1 + t + x (1 - t^2) g'), where t = tanh g, g = sqrt(2 / pi) (x + 0.044715 x^3)",
            "x dy",
        ),
    },
    "softplus": {
        "output": ("y = log(1 + e^(beta x)) / beta", "x"),
        "grad_input": ("dx = dy / (1 + e^(-beta x))", "x dy"),
    },
    "sigmoid": {"output": ("y = 1 / (1 + e^-x)", "x"), "grad_input": ("dx = dy y (1 - y)", "x dy")},
    "softmax": {
        "output": ("y_k = e^x_k / sum_j e^x_j, over each row", "x"),
        "grad_input": ("dx_k = y_k (dy_k - sum_j dy_j y_j)", "x dy"),
    },
    "tanh": {"output": ("y = tanh x", "x"), "grad_input": ("dx = dy (1 - y^2)", "x dy")},
    "conv2d": {
        "output": ("y[n,o,i,j] = b[o] + sum over c,u,v of W[o,c,u,v] x[n,c,si+du-p,sj+dv-p]", "x W b"),
        "grad_weight": ("dW[o,c,u,v] = sum over n,i,j of dy[n,o,i,j] x[n,c,si+du-p,sj+dv-p]", "x dy"),
        "grad_bias": ("db[o] = sum over n,i,j of dy[n,o,i,j]", "dy"),
        "grad_input": ("dx[n,c,si+du-p,sj+dv-p] = sum over o,u,v of W[o,c,u,v] dy[n,o,i,j]", "x W dy"),
    },
    **dict.fromkeys(("batch_norm1d", "batch_norm2d"), BATCH_NORM),
    "layer_norm": {
        "output": ("y = W (x - mean) / sqrt(var + eps) + b, mean and var of each sample", "x W b"),
        "grad_weight": ("dW = sum of dy (x - mean) / sqrt(var + eps) over the samples", "x dy"),
        "grad_bias": ("db = sum of dy over the samples", "dy"),
        "grad_input": (
            "dx = (t - mean(t) - h mean(t h)) / sqrt(var + eps), where t = W dy, h = (x - mean) / sqrt(var + eps)",
            "x W dy",
        ),
    },
    "max_pool2d": {
        "output": ("y[n,c,i,j] = max over u,v of x[n,c,si+u-p,sj+v-p]", "x"),
        "grad_input": ("dx = sum of dy over the windows of which it is the first maximum", "x dy"),
    },
    "avg_pool2d": {
        "output": ("y[n,c,i,j] = sum over u,v of x[n,c,si+u-p,sj+v-p] / k, k the elements of the window", "x"),
        "grad_input": ("dx = sum of dy / k over the windows that hold it", "x dy"),
    },
    "flatten": {
        "output": ("y = x, each sample as one row", "x"),
        "grad_input": ("dx = dy, in the shape of x", "x dy"),
    },
    "self_attention": of_attention(),
    "add": {"output": ("y = x + z", "x z"), "grad_input": ("dx = dy", "dy"), "grad_other": ("dz = dy", "dy")},
    "take": {"output": ("y = x", "x"), "grad_input": ("dx = dy", "dy")},
    "last_step": {
        "output": ("y = x_t, t the last time step", "x"),
        "grad_input": ("dx = dy at the last time step, else 0", "x dy"),
    },
    "embedding": {"output": ("y = W[x]", "x W"), "grad_weight": ("dW[j] = sum of dy where x = j", "x dy")},
    "cross_entropy": {
        "loss": ("L = -sum t log softmax(s), over the samples", "y t"),
        "loss.gradient": ("ds = (softmax(s) - t) / m", "y t"),
    },
    "probability_cross_entropy": {
        "loss": ("L = -sum t log p, over the samples", "y t"),
        "loss.gradient": ("dp = -t / (m p)", "y t"),
    },
    "mse": {
        "loss": ("L = sum (y - t)^2, over all elements", "y t"),
        "loss.gradient": ("dy = 2 (y - t) / (m n)", "y t"),
    },
    "multi_margin": {
        "loss": ("L = 1/n sum max(0, 1 - s_t + s_j) over the other classes j, over the samples", "y t"),
        "loss.gradient": ("ds_j = 1 / (m n) where 1 - s_t + s_j > 0, and ds_t = -sum of ds_j, else 0", "y t"),
    },
    "huber": {
        "loss": (
            "L = sum d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = y - t, over all elements",
            "y t",
        ),
        "loss.gradient": ("dy = (y - t, at least -delta, at most delta) / (m n)", "y t"),
    },
    "l1": {
        "loss": ("L = sum |y - t|, over all elements", "y t"),
        "loss.gradient": ("dy = sign(y - t) / (m n)", "y t"),
    },
    "half_squared_error": {
        "loss": ("L = 1/2 sum (y - t)^2, over the samples", "y t"),
        "loss.gradient": ("dy = (y - t) / m", "y t"),
    },
    "binary_cross_entropy": {
        "loss": ("L = -sum (t log p + (1 - t) log(1 - p)), over all elements", "y t"),
        "loss.gradient": ("dp = ((1 - t) / (1 - p) - t / p) / (m n)", "y t"),
    },
    "logits_binary_cross_entropy": {
        "loss": ("L = sum (max(z, 0) - z t + log(1 + e^-|z|)), over all elements", "y t"),
        "loss.gradient": ("dz = (sigmoid(z) - t) / (m n)", "y t"),
    },
}
CELLS = {
    "rnn": (
        "h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), f tanh or ReLU",
        "da_t = (dy_t + da_{t+1} W_hh) f'",
        "da_t",
    ),
    "lstm": (
        "h_t = o tanh(c_t), c_t = f c_{t-1} + i g, i f g o of a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh",
        "da_t from dh_t = dy_t + da_{t+1} W_hh and dc_t = dh_t o (1 - tanh^2 c_t) + f_{t+1} dc_{t+1}",
        "da_t",
    ),
    "gru": (
        "h_t = (1 - z) n + z h_{t-1}, n = tanh(a_t + r q_t), r z of a_t + q_t, a_t = W_ih x_t + b_ih, "
        "q_t = W_hh h_{t-1} + b_hh",
        "da_t from dh_t = dy_t + z dh_{t+1} + dq_{t+1} W_hh, dq_t = da_t, but r da_t in n",
        "dq_t",
    ),
}


def of_cell(forward: str, da: str, dq: str) -> dict[str, tuple[str, str]]:
    letters = "x W_ih W_hh b_ih b_hh"
    return {"output": (forward, letters)} | {
        part: (f"{formula}, {da}", f"{letters} dy")
        for part, formula in {
            "grad_weight_ih_l0": "dW_ih = sum of da_t^T x_t over t",
            "grad_weight_hh_l0": f"dW_hh = sum of {dq}^T h_{{t-1}} over t",
            "grad_bias_ih_l0": "db_ih = sum of da_t over t and the batch",
            "grad_bias_hh_l0": f"db_hh = sum of {dq} over t and the batch",
            "grad_input": "dx_t = da_t W_ih",
        }.items()
    }


UPDATES = {
    "SGD": {"": "p <- p - lr v", "momentum_buffer": "v <- mu v + g (v = g at the first step)"},
    "Adam": {
        "": "p <- p - lr m^ / (sqrt(v^) + eps)",
        "exp_avg": "m <- b1 m + (1 - b1) g",
        "exp_avg_sq": "v <- b2 v + (1 - b2) g^2",
    },
    "AdamW": {
        "": "p <- p (1 - lr wd) - lr m^ / (sqrt(v^) + eps)",
        "exp_avg": "m <- b1 m + (1 - b1) g",
        "exp_avg_sq": "v <- b2 v + (1 - b2) g^2",
    },
    "NAdam": {
        "": "p <- p - lr (mu' m / (1 - M mu') + (1 - mu) g / (1 - M)) / (sqrt(v^) + eps), mu = b1 (1 - 0.96^(t d) / 2)",
        "exp_avg": "m <- b1 m + (1 - b1) g",
        "exp_avg_sq": "v <- b2 v + (1 - b2) g^2",
    },
    "Adagrad": {"": "p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)", "sum": "s <- s + g^2"},
    "RMSprop": {
        "": "p <- p - lr g / (sqrt(v) + eps), or p - lr b with momentum; v - a^2 for v if centered",
        "square_avg": "v <- alpha v + (1 - alpha) g^2",
        "grad_avg": "a <- alpha a + (1 - alpha) g",
        "momentum_buffer": "b <- mu b + g / (sqrt(v) + eps)",
    },
}
TYPES = {
    "linear": (scratch.Linear, torch.nn.Linear),
    "relu": (scratch.ReLU, torch.nn.ReLU),
    "leaky_relu": (scratch.LeakyReLU, torch.nn.LeakyReLU),
    "elu": (scratch.ELU, torch.nn.ELU),
    "silu": (scratch.SiLU, torch.nn.SiLU),
    "gelu": (scratch.GELU, torch.nn.GELU),
    "gelu_tanh": (scratch.GELU, torch.nn.GELU),
    "softplus": (scratch.Softplus, torch.nn.Softplus),
    "sigmoid": (scratch.Sigmoid, torch.nn.Sigmoid),
    "softmax": (scratch.Softmax, torch.nn.Softmax),
    "log_softmax": (scratch.LogSoftmax, torch.nn.LogSoftmax),
    "nll": (scratch.NLLLoss, torch.nn.NLLLoss),
    "hinge": (scratch.HingeLoss, torch_ref.losses.HingeLoss),
    "kl_div": (scratch.KLDivLoss, torch.nn.KLDivLoss),
    "tanh": (scratch.Tanh, torch.nn.Tanh),
    "conv2d": (scratch.Conv2d, torch.nn.Conv2d),
    "layer_norm": (scratch.LayerNorm, torch.nn.LayerNorm),
    "batch_norm1d": (scratch.BatchNorm1d, torch.nn.BatchNorm1d),
    "batch_norm2d": (scratch.BatchNorm2d, torch.nn.BatchNorm2d),
    "max_pool2d": (scratch.MaxPool2d, torch.nn.MaxPool2d),
    "avg_pool2d": (scratch.AvgPool2d, torch.nn.AvgPool2d),
    "flatten": (scratch.Flatten, torch.nn.Flatten),
    "dropout": (scratch.Dropout, torch.nn.Dropout),
    "rnn": (scratch.RNN, torch_ref.recurrent.RNN),
    "lstm": (scratch.LSTM, torch_ref.recurrent.LSTM),
    "gru": (scratch.GRU, torch_ref.recurrent.GRU),
    "self_attention": (scratch.SelfAttention, torch_ref.attention.SelfAttention),
    "last_step": (scratch.LastStep, torch_ref.recurrent.LastStep),
    "add": (scratch.Add, torch_ref.graph.Add),
    "take": (scratch.Take, torch_ref.graph.Take),
    "embedding": (scratch.Embedding, torch.nn.Embedding),
    "cross_entropy": (scratch.CrossEntropyLoss, torch.nn.CrossEntropyLoss),
    "probability_cross_entropy": (scratch.ProbabilityCrossEntropyLoss, torch_ref.losses.ProbabilityCrossEntropyLoss),
    "mse": (scratch.MSELoss, torch.nn.MSELoss),
    "l1": (scratch.L1Loss, torch.nn.L1Loss),
    "multi_margin": (scratch.MultiMarginLoss, torch.nn.MultiMarginLoss),
    "huber": (scratch.HuberLoss, torch.nn.HuberLoss),
    "half_squared_error": (scratch.HalfSquaredErrorLoss, torch_ref.losses.HalfSquaredErrorLoss),
    "binary_cross_entropy": (scratch.BCELoss, torch_ref.losses.BCELoss),
    "logits_binary_cross_entropy": (scratch.BCEWithLogitsLoss, torch.nn.BCEWithLogitsLoss),
    "SGD": (scratch.SGD, torch.optim.SGD),
    "Adam": (scratch.Adam, torch.optim.Adam),
    "AdamW": (scratch.AdamW, torch.optim.AdamW),
    "NAdam": (scratch.NAdam, torch.optim.NAdam),
    "Adagrad": (scratch.Adagrad, torch.optim.Adagrad),
    "RMSprop": (scratch.RMSprop, torch.optim.RMSprop),
}
WORDS = {
    "nll": ("nll", "negative log-likelihood"),
    "hinge": ("binary hinge",),
    "kl_div": ("kl divergence", "kullback-leibler divergence"),
    "cross_entropy": ("softmax cross-entropy", "cross-entropy", "cross-entropy on logits"),
    "probability_cross_entropy": ("cross-entropy on probabilities",),
    "mse": ("mse", "mean squared error"),
    "l1": ("l1", "mae", "mean absolute error"),
    "huber": ("huber",),
    "multi_margin": ("multi-class hinge", "hinge"),
    "half_squared_error": ("half squared error",),
    "binary_cross_entropy": ("binary cross-entropy", "binary cross-entropy on probabilities"),
    "logits_binary_cross_entropy": ("sigmoid binary cross-entropy", "binary cross-entropy on logits"),
}
LETTERS = {"x": "input", "y": "output", "dy": "grad_output"}


def test_every_operation_is_of_its_types() -> None:
    assert {kind: (of.scratch_type, of.torch_type) for kind, of in OPERATIONS.items()} == TYPES


def test_the_formulas_are_printed_so() -> None:
    said = {kind: {n: (p.formula, " ".join(p.letters)) for n, p in of.parts.items()} for kind, of in LAYERS.items()}
    said |= {kind: {n: (formula, "y t") for n, formula in of.parts.items()} for kind, of in LOSSES.items()}
    assert said == FORMULAS | {kind: of_cell(*formulas) for kind, formulas in CELLS.items()}
    assert {kind: dict(of.parts) for kind, of in OPTIMIZERS.items()} == UPDATES


def test_the_formula_of_a_loss_says_how_it_is_reduced() -> None:
    assert LOSSES["mse"]("sum").formula("loss") == "L = sum (y - t)^2, over all elements (summed)"
    assert LOSSES["mse"]().formula("loss") == "L = sum (y - t)^2, over all elements (mean)"
    assert LOSSES["mse"]("sum").formula("loss.gradient") == "dy = 2 (y - t)"
    assert LOSSES["mse"]().formula("loss.gradient") == "dy = 2 (y - t) / (m n)"


def test_the_letters_are_parts_of_the_record() -> None:
    own = {"x": "input", "W": "weight", "b": "bias", "y": "output", "dy": "grad_output"}
    with_weights = dict.fromkeys(("conv2d", "layer_norm", "linear"), own)
    running = own | {"rm": "running_mean", "rv": "running_var"}
    with_weights |= dict.fromkeys(("batch_norm1d", "batch_norm2d"), running)
    with_weights["add"] = LETTERS | {"z": "other", "dz": "grad_other"}
    with_weights["dropout"] = LETTERS | {"mask": "mask"}
    with_weights["embedding"] = {letter: part for letter, part in own.items() if letter != "b"}
    weights = {f"{a}_{of}": f"{name}_{of}_l0" for a, name in (("W", "weight"), ("b", "bias")) for of in ("ih", "hh")}
    with_weights |= dict.fromkeys(("rnn", "lstm", "gru"), LETTERS | weights)
    projections = {
        f"{a}_{of}": f"{of}_proj_{name}" for a, name in (("W", "weight"), ("b", "bias")) for of in ("in", "out")
    }
    with_weights["self_attention"] = LETTERS | projections
    assert {kind: dict(of.letters) for kind, of in LAYERS.items()} == dict.fromkeys(LAYERS, LETTERS) | with_weights


def test_which_layers_have_a_kink() -> None:
    kinked = [kind for kind in ACTIVATIONS if LAYERS[kind]().kinked]
    assert kinked == ["leaky_relu", "relu"]
    assert LAYERS["elu"](0.5).kinked
    assert {layer.kind for layer in LAYERS_WITH_FIELDS if layer.jumps} == {"leaky_relu", "relu", "max_pool2d"}


def test_which_losses_are_what() -> None:
    crosses = ["cross_entropy", "probability_cross_entropy"]
    bits = ["binary_cross_entropy", "logits_binary_cross_entropy"]
    assert [kind for kind, loss in LOSSES.items() if loss.takes_labels] == [*crosses, "multi_margin", "nll"]
    assert [kind for kind, loss in LOSSES.items() if loss.binary] == bits
    assert [kind for kind, loss in LOSSES.items() if loss.signed] == ["hinge"]
    assert sorted(kind for kind, loss in LOSSES.items() if loss.logarithmic) == sorted(bits + crosses)


def test_which_losses_have_probabilities_and_which_are_solved_for_the_target() -> None:
    y, t = (Bounded.of(a, Precision.of("float64")) for a in (np.full((2, 2), 0.5), np.eye(2)))
    bare = {kind: of() for kind, of in LOSSES.items()}
    assert {kind for kind, loss in bare.items() if loss.probabilities(y) is None} == {
        "mse",
        "half_squared_error",
        "l1",
        "huber",
        "multi_margin",
        "nll",
        "kl_div",
        "hinge",
    }
    unsolved = {"hinge", "l1", "huber", "multi_margin", "binary_cross_entropy", "probability_cross_entropy"}
    assert {kind for kind, loss in bare.items() if loss.affine(y, t) is None} == unsolved


@each_loss
def test_what_a_loss_divides_by(loss: Any) -> None:
    over_samples = ("cross_entropy", "probability_cross_entropy", "half_squared_error", "multi_margin", "nll")
    assert loss.count(3, 12) == (1 if loss.reduction == "sum" else 3 if loss.kind in over_samples else 12)


def test_what_an_optimiser_keeps() -> None:
    methods = {kind: of() for kind, of in OPTIMIZERS.items()}
    kept = {k: (of.states, of.kept({"momentum": 0.0}), of.kept({"momentum": 0.9})) for k, of in methods.items()}
    moments, velocity = ("exp_avg", "exp_avg_sq"), ("momentum_buffer",)
    averages = ("square_avg",)
    assert kept == {
        "SGD": (velocity, (), velocity),
        "Adagrad": (("sum",),) * 3,
        "RMSprop": (("square_avg", "grad_avg", *velocity), averages, averages + velocity),
    } | dict.fromkeys(("Adam", "AdamW", "NAdam"), (moments,) * 3)
    assert methods["RMSprop"].kept({"centered": True}) == ("square_avg", "grad_avg")


# --- text, file, and the other side ---


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, loss in LOSSES.items() for word in loss.words])
def test_the_words_of_a_loss_are_read(kind: str, word: str) -> None:
    assert LOSSES[kind].words == WORDS[kind]
    for reduction in ("mean", "sum"):
        read = Architecture.of(f"3-2, {word} {reduction}")
        assert read.loss == LOSSES[kind](reduction)
        assert Architecture.of(str(read)) == read


ACTIVATIONS = [kind for kind, layer in LAYERS.items() if issubclass(layer, Activation)]


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_the_word_of_an_activation_is_read(kind: str) -> None:
    read = Architecture.of(f"3-4-2 {kind}, {kind} output, mse")
    assert [layer.kind for layer in read.layers] == ["linear", kind, "linear", kind]
    assert Architecture.of(str(read)) == read
    assert str(read.layers[1]) == TYPES[kind][0].__name__


OF_IMAGES = [
    Conv2d(3, 2, 3),
    Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(0, 1), dilation=2, groups=3, bias=False),
    MaxPool2d(2),
    MaxPool2d((3, 2), stride=(2, 1), padding=1),
    AvgPool2d(2, 1),
    AvgPool2d(3, padding=(1, 0), count_include_pad=False),
    Flatten(),
    BatchNorm2d(3),
    BatchNorm2d(3, 1e-3, 0.2, False),
    BatchNorm2d(3, bias=False),
]
NORMALISATIONS = [
    LayerNorm(3),
    LayerNorm((3,), 1e-3, False),
    LayerNorm(3, bias=False),
    BatchNorm1d(3),
    BatchNorm1d(3, 1e-3, 0.2, False),
    BatchNorm1d(3, bias=False),
]
OF_ROWS = [Linear(3, 2), Linear(3, 2, bias=False), Dropout(), Dropout(0.3), *NORMALISATIONS]
OF_SEQUENCES = [
    RNN(3, 2, batch_first=True),
    RNN(3, 2, bias=False, batch_first=True, nonlinearity="relu"),
    LSTM(3, 2, batch_first=True),
    GRU(3, 2, bias=False, batch_first=True),
    SelfAttention(3),
    SelfAttention(3, 3, bias=False, causal=True),
    LastStep(),
]
LAYERS_WITH_FIELDS = [
    *OF_ROWS, *(LAYERS[kind]() for kind in ACTIVATIONS), *OF_IMAGES, Embedding(4, 2), *OF_SEQUENCES
]  # fmt: skip
each_layer = pytest.mark.parametrize("layer", LAYERS_WITH_FIELDS, ids=repr)


@each_layer
def test_a_layer_is_written_into_a_file_and_read(layer: Any) -> None:
    assert layer.to_dict()["kind"] == layer.kind
    assert type(layer).from_dict(layer.to_dict()) == layer
    with pytest.raises(ValueError, match="found the layer"):
        type(layer).from_dict(layer.to_dict() | {"in": "three", "colour": 1})


@each_layer
def test_a_layer_is_made_on_either_side_and_recognised(layer: Any) -> None:
    ours, theirs = layer.to_scratch(rng=np.random.default_rng(0)), layer.to_torch(torch.float64)
    assert type(layer).accepts(ours)
    assert type(layer).accepts(theirs)
    assert type(layer).of(ours, "layer 0") == layer == type(layer).of(theirs, "layer 0")
    assert {name: p.shape for name, p in ours.params.items()} == layer.parameters()
    assert {name: tuple(p.shape) for name, p in own_parameters(theirs).items()} == layer.parameters()
    assert {name: b.shape for name, b in ours.buffers.items()} == layer.buffers()
    assert {n: tuple(b.shape) for n, b in theirs.named_buffers() if b.is_floating_point()} == layer.buffers()
    entering = (5, 3, 9, 7) if layer in OF_IMAGES else (5, 4, 3) if layer in OF_SEQUENCES else (5, 3)
    x = np.ones(entering, np.float32 if layer.classes is None else np.int64)
    assert ours.forward(x).shape == layer.leaving(entering)
    assert all(p.dtype == torch.float64 for p in theirs.parameters())


def test_a_linear_layer_says_its_sizes() -> None:
    assert str(Linear(3, 2)) == "Linear 3 -> 2"
    assert Linear(3, 2).entering == (-1, 3)
    assert list(Linear(3, 2, bias=False).computed) == ["output", "grad_weight", "grad_input"]
    assert Linear(3, 2, bias=False).computed["output"] == Part.of("y = x W^T + b", "x W")


@pytest.mark.parametrize("name", ["in_features", "out_features", "params", "grads"])
def test_a_linear_layer_without_an_attribute_is_refused(name: str) -> None:
    layer = scratch.Linear(3, 2, rng=np.random.default_rng(0))
    delattr(layer, name)
    with pytest.raises(TypeError, match=f"has no {name}, expected in_features, out_features, params, grads"):
        Architecture.of(scratch.Sequential(layer), scratch.MSELoss())


@each_loss
def test_a_loss_is_made_on_either_side(loss: Any) -> None:
    assert (type(loss.to_scratch()), type(loss.to_torch())) == TYPES[loss.kind]
    assert loss.to_scratch().reduction == loss.to_torch().reduction == loss.reduction


def test_the_number_of_a_loss_is_read_written_and_handed_on() -> None:
    read = Architecture.of("3-2, huber(0.4) sum")
    assert read.loss == LOSSES["huber"]("sum", 0.4)
    assert str(read) == "3-2, huber(0.4) sum"
    assert Architecture.from_dict(read.to_dict()) == read
    assert Architecture.of(str(replace(read, layers=(*read.layers, LAYERS["relu"]())))).loss == read.loss
    for loss in (read.loss.to_scratch(), read.loss.to_torch(), to_torch_loss(read.loss.to_scratch())):
        assert (
            Architecture.of(scratch.ReLU() if isinstance(loss, scratch.Loss) else torch.nn.ReLU(), loss).loss
            == read.loss
        )


@pytest.mark.parametrize("delta", ["wide", None, [1.0], True, 0, float("nan")])
def test_a_number_of_a_loss_that_is_none_is_refused(delta: Any) -> None:
    written = Architecture.of("3-2, huber(0.4)").to_dict()
    with pytest.raises(
        ValueError, match=r"found the loss huber with {'delta': .*}, expected numbers|expected a number"
    ):
        Architecture.from_dict(written | {"delta": delta})


def test_a_loss_without_its_number_is_refused() -> None:
    loss = scratch.HuberLoss()
    loss.delta = "wide"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="expected a number for delta"):
        Architecture.of(scratch.ReLU(), loss)
    with pytest.raises(ValueError, match=r"got loss 'mse\(2\)', but mse has no number"):
        Architecture.of("3-2, mse(2)")


def test_a_mean_over_the_batch_is_read_written_and_handed_on() -> None:
    read = Architecture.of("3-2, kl divergence batchmean")
    assert (read.loss.reduction, read.loss.count(3, 12)) == ("batchmean", 3)
    assert read.loss.formula("loss") == "L = sum t (log t - y), 0 where t is 0, over the samples (mean)"
    assert read.loss.formula("loss.gradient") == "dy = -t / m"
    assert str(read) == "3-2, kl divergence batchmean"
    assert Architecture.from_dict(read.to_dict()) == read
    assert Architecture.of("Linear(3, 2); KLDivLoss(reduction='batchmean')") == read
    assert to_torch_loss(read.loss.to_scratch()).reduction == "batchmean"


@pytest.mark.parametrize(
    "text",
    [
        "3-2, softmax cross-entropy(0.1)",
        "3-2, softmax cross-entropy(0.1) sum",
        "3-2, CrossEntropyLoss(weight=(1.0, 0.5), label_smoothing=0.1, reduction='sum')",
        "3-2, CrossEntropyLoss(weight=(1.0, 0.5), label_smoothing=0.0, reduction='mean')",
    ],
)
def test_smoothing_and_class_weights_are_read_written_and_handed_on(text: str) -> None:
    read = Architecture.of(text)
    assert str(read) == text
    assert Architecture.from_dict(json.loads(json.dumps(read.to_dict()))) == read
    in_torchs_names = str(replace(read, layers=(*read.layers, LAYERS["relu"](), LAYERS["relu"]())))
    assert Architecture.of(in_torchs_names).loss == read.loss
    for dtype in (torch.float32, torch.float64):
        theirs = to_torch_loss(read.loss.to_scratch(), dtype)
        assert Architecture.of(torch.nn.Linear(3, 2), theirs).loss == read.loss
        assert theirs.weight is None or theirs.weight.dtype == dtype
    assert Architecture.of(scratch.ReLU(), read.loss.to_scratch()).loss == read.loss


def test_a_mean_is_weighted_by_the_classes_of_labels_alone() -> None:
    loss = LOSSES["cross_entropy"]("mean", 0.0, (1.0, 0.5))
    labels, rows = np.array([0, 1, 1]), np.eye(2)[[0, 1, 1]]
    assert (loss.divisor(labels, 3, 6), loss.divisor(rows, 3, 6)) == (2.0, 3)
    assert replace(loss, reduction="sum").divisor(labels, 3, 6) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3-2, softmax cross-entropy(1.5)", r"got label_smoothing=1\.5, expected 0 to 1"),
        ("Linear(3, 2); CrossEntropyLoss(weight=(1, -1))", "expected numbers of at least 0 in a tuple"),
        ("Linear(3, 2); CrossEntropyLoss(weight=3)", "expected numbers of at least 0 in a tuple"),
        ("Linear(3, 2); CrossEntropyLoss(ignore_index=1)", "got ignore_index=1, which is not checked"),
    ],
)
def test_a_smoothing_or_a_weight_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.of(text)
    with pytest.raises(ValueError, match=r"found the loss cross_entropy with .*, expected numbers"):
        Architecture.from_dict(Architecture.of("3-2, cross-entropy").to_dict() | {"weight": ["one", 2.0]})


def test_a_mean_over_the_batch_is_refused_where_torch_has_none() -> None:
    with pytest.raises(ValueError, match="got loss 'mse batchmean', expected mse with mean or sum"):
        Architecture.of("3-2, mse batchmean")
    with pytest.raises(ValueError, match="got reduction='batchmean', expected 'mean' or 'sum'"):
        Architecture.of("Linear(3, 2); MSELoss(reduction='batchmean')")
    with pytest.raises(ValueError, match="found an architecture that is none"):
        Architecture.from_dict(Architecture.of("3-2, mse").to_dict() | {"reduction": "batchmean"})
    with pytest.raises(ValueError, match=r"got KLDivLoss\(log_target=True\), which is not checked"):
        Architecture.of(torch.nn.Linear(3, 2), torch.nn.KLDivLoss(log_target=True))


# --- the same by another formula ---


def of_images(*layers: str, columns: int) -> str:
    return f"{', '.join(layers)}, Flatten, Linear({columns}, 4); CrossEntropyLoss"


CASES = {
    "relu": Case(),
    "sigmoid": Case(network="5-7-4 sigmoid, sigmoid output, binary cross-entropy"),
    "l1": Case(network="5-7-4 tanh, l1"),
    "huber": Case(network="5-7-4 tanh, huber(0.4)", scale=3),
    "hinge": Case(network="5-7-4 tanh, multi-class hinge", scale=3),
    "binary hinge": Case(network="5-7-4 relu, binary hinge", target="signs", scale=3),
    "kl": Case(network="5-7-4 tanh, log_softmax output, kl divergence", target="soft"),
    "smoothed": Case(network="5-7-4 tanh, CrossEntropyLoss(label_smoothing=0.2)"),
    "smoothed rows": Case(network="5-7-4 tanh, softmax cross-entropy(0.2) sum", target="soft"),
    "weighted": Case(
        network="5-7-4 tanh, CrossEntropyLoss(weight=(1.0, 2.0, 0.5, 3.0), label_smoothing=0.1)", target="labels"
    ),
    "weighted rows": Case(network="5-7-4 tanh, CrossEntropyLoss(weight=(1.0, 2.0, 0.5, 3.0))", target="soft"),
    "kl over samples": Case(network="5-7-4 tanh, log_softmax output, kl divergence batchmean", target="soft"),
    "nll": Case(network="5-7-4 log_softmax, log_softmax output, nll"),
    "tanh": Case(network="5-7-4 tanh, sigmoid binary cross-entropy", optimizer={"kind": "Adam", "lr": 0.01}),
    "softmax": Case(
        network="5-7-4 relu, softmax output, cross-entropy on probabilities", optimizer={"kind": "AdamW", "lr": 0.01}
    ),
    "mse": Case(network="5-7-4 tanh, mse", optimizer={"kind": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "elu": Case(network="5-7-4 elu(0.5), mse", optimizer={"kind": "NAdam", "lr": 0.01, "weight_decay": 0.1}),
    "silu": Case(network="5-7-4 silu, mse"),
    "gelu": Case(network="5-7-4 gelu, mse"),
    "gelu_tanh": Case(network="5-7-4 gelu_tanh, mse"),
    "softplus": Case(network="5-7-4 softplus(2), mse"),
    "leaky": Case(
        network="5-7-4 leaky_relu(0.2), mse",
        optimizer={"kind": "RMSprop", "lr": 0.01, "momentum": 0.9, "centered": True, "weight_decay": 0.1},
    ),
    "half": Case(
        network="5-7-4 relu, half squared error sum",
        optimizer={"kind": "Adagrad", "lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.1},
    ),
    "layer_norm": Case(
        network="Linear(5, 7), LayerNorm(7), LayerNorm(7, bias=False), Linear(7, 4), LayerNorm(4, 1e-3, False); MSELoss"
    ),
    "batch_norm1d": Case(
        network="Linear(5, 7), BatchNorm1d(7, momentum=0.3), Linear(7, 4), BatchNorm1d(4, 1e-3, affine=False); MSELoss"
    ),
    "batch_norm2d": Case(
        network=of_images("Conv2d(2, 3, 3)", "BatchNorm2d(3)", "ReLU", "BatchNorm2d(3, bias=False)", columns=45)
    ),
    "images": Case(network=of_images("Conv2d(2, 4, 3, stride=2, padding=1)", "MaxPool2d(2)", columns=8)),
    "poolings that overlap": Case(
        network=of_images("Conv2d(2, 3, 2, bias=False)", "AvgPool2d(3, 2, 1)", "MaxPool2d(2, 1)", columns=6)
    ),
    "dilation and groups": Case(
        network=of_images("Conv2d(2, 4, (3, 2), dilation=(2, 1), groups=2)", "Conv2d(4, 6, 2, groups=2)", columns=36)
    ),
    "dropout": Case(network="Linear(5, 7), ReLU, Dropout(0.3), Linear(7, 4); CrossEntropyLoss"),
    "padding left out": Case(
        network=of_images("Conv2d(2, 3, 3, (1, 2), (0, 2))", "AvgPool2d((3, 2), 2, 1, False)", columns=27)
    ),
    "residual": Case(network="Linear(5, 6), ReLU, Linear(6, 6), Add(0), Linear(6, 4); CrossEntropyLoss"),
    "shortcut": Case(network="Linear(5, 6), ReLU, Linear(6, 4), Take(0), Linear(6, 4), Add(2); CrossEntropyLoss"),
    "rnn": Case(network="RNN(3, 4, batch_first=True), Flatten, Linear(20, 4); CrossEntropyLoss"),
    "rnn of relu": Case(
        network="RNN(3, 4, nonlinearity='relu', batch_first=True), LastStep, Linear(4, 4); CrossEntropyLoss"
    ),
    "lstm": Case(network="LSTM(3, 4, batch_first=True), LSTM(4, 2, batch_first=True), LastStep, Linear(2, 4); MSELoss"),
    "gru": Case(network="Embedding(6, 3), GRU(3, 4, bias=False, batch_first=True), Flatten, Linear(20, 4); MSELoss"),
    "attention": Case(network="SelfAttention(4, 2), Flatten, Linear(20, 4); CrossEntropyLoss"),
    "causal attention": Case(
        network="SelfAttention(4, causal=True), SelfAttention(4, 2, bias=False), LastStep, Linear(4, 4); MSELoss"
    ),
    "class numbers": Case(network="Embedding(4, 3), Tanh, Linear(3, 4); CrossEntropyLoss"),
    "sequences of class numbers": Case(network="Embedding(4, 3), Flatten, Linear(15, 4); CrossEntropyLoss"),
}


def evidence(case: Case) -> list[Evidence]:
    """The letters of every tensor of three correct steps."""
    judged = Judged.of(*correct(case, "float64"))
    assert judged.first is None
    return [Evidence(row, judged.steps) for row in judged.rows if row.check in ("isolated", "update")]


each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def near(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a.value if isinstance(a, Bounded) else a, b, rtol=1e-9, atol=1e-12)


@each_case
def test_the_formula_written_once_more_gives_the_same(case: Case) -> None:
    for e in evidence(case):
        if e.name.part == "output" or e.name.is_new:  # of a parameter, or of a running statistic
            near(e.operation.written(e), e.ref.value)


@each_case
def test_a_loss_written_once_more_gives_the_same(case: Case) -> None:
    for e in evidence(case):
        loss = e.operation
        if e.name == "loss":
            near(loss.terms(e.y, e.t).sum() / e.count, e.ref.value)
        if e.place == "loss.gradient":
            near(loss.slope(e.y, e.t) / e.count, e.ref.value)
            if (q := loss.probabilities(e.y)) is not None:
                near(loss.slope_from(q, e.t) / e.count, e.ref.value)
            if found := loss.affine(e.y, e.t):
                near((found[0] + found[1] * e.t.value) / e.count, e.ref.value)


@each_case
def test_a_gradient_is_the_difference_quotient_of_its_function(case: Case) -> None:
    for e in evidence(case):
        if not e.name.is_gradient or e.place == "returned":  # a sum, which no layer computes
            continue
        index = tuple(n // 2 for n in e.ref.shape)
        own = () if e.place == "loss.gradient" else (e.name.part,)
        function, at = e.operation.difference(*own, e, index)
        step = np.zeros_like(at)
        step[index] = 1e-6
        quotient = (function(at + step) - function(at - step)) / 2e-6
        np.testing.assert_allclose(quotient, e.ref.value[index], rtol=1e-5, atol=1e-9)


ROWS = [case for case in CASES.values() if case.network[0].isdigit()]


@pytest.mark.parametrize("case", ROWS)
def test_the_products_are_those_of_the_linear_layer(case: Case) -> None:
    found = []
    for e in evidence(case):
        if e.row.layer != "loss" and not e.name.is_new and (operands := e.operation.products(e.name.part, e)):
            a, b, addend = operands
            near(a.value @ b.value + (addend.value if addend is not None else 0.0), e.ref.value)
            found.append(e.place)
    assert set(found) == {"linear.output", "linear.grad_weight", "linear.grad_input"}


@each_case
def test_an_operation_alone_is_what_the_sweep_computes(case: Case) -> None:
    """`apply` and `bounded` of an activation, with the bound of its reference."""
    for e in evidence(case):
        if isinstance(e.operation, Activation) and e.name.part == "output":
            near(e.operation.apply(e.x.value), e.ref.value)
            near(e.operation.bounded(e.x), e.ref.value)


def test_relu_takes_its_mask_of_y_where_only_that_is_there() -> None:
    relu = LAYERS["relu"]()
    assert relu.needs("grad_input", lambda letter: letter == "y") == ("y", "dy")
    assert relu.needs("grad_input", lambda letter: True) == ("x", "dy")
    assert relu.needs("output", lambda letter: True) == ("x",)
