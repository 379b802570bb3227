"""Backpropagation from scratch, in NumPy only: layers, losses, optimisers, and the loop that trains them."""

from scratch.adagrad import Adagrad
from scratch.avg_pool2d import AvgPool2d
from scratch.conv2d import Conv2d
from scratch.elu import ELU
from scratch.embedding import Embedding
from scratch.flatten import Flatten
from scratch.gelu import GELU
from scratch.gru import GRU
from scratch.huber_loss import HuberLoss
from scratch.l1_loss import L1Loss
from scratch.last_step import LastStep
from scratch.layers import Layer, LayerError, Linear, ReLU, Sigmoid, Softmax, Tanh
from scratch.leaky_relu import LeakyReLU
from scratch.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HalfSquaredErrorLoss,
    Loss,
    MSELoss,
    ProbabilityCrossEntropyLoss,
)
from scratch.lstm import LSTM
from scratch.max_pool2d import MaxPool2d
from scratch.multi_margin_loss import MultiMarginLoss
from scratch.network import Sequential
from scratch.optim import SGD, Adam, AdamW, Optimizer
from scratch.rmsprop import RMSprop
from scratch.rnn import RNN
from scratch.silu import SiLU
from scratch.softplus import Softplus
from scratch.training import History, fit

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Conv2d",
    "CrossEntropyLoss",
    "Embedding",
    "Flatten",
    "HalfSquaredErrorLoss",
    "History",
    "HuberLoss",
    "L1Loss",
    "LastStep",
    "Layer",
    "LayerError",
    "LeakyReLU",
    "Linear",
    "Loss",
    "MSELoss",
    "MaxPool2d",
    "MultiMarginLoss",
    "Optimizer",
    "ProbabilityCrossEntropyLoss",
    "RMSprop",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "fit",
]
