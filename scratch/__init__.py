"""Backpropagation from scratch, in NumPy only: layers, losses, optimisers, and the loop that trains them."""

from scratch.avg_pool2d import AvgPool2d
from scratch.conv2d import Conv2d
from scratch.flatten import Flatten
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
from scratch.max_pool2d import MaxPool2d
from scratch.network import Sequential
from scratch.optim import SGD, Adam, AdamW, Optimizer
from scratch.training import History, fit

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Conv2d",
    "CrossEntropyLoss",
    "Flatten",
    "HalfSquaredErrorLoss",
    "History",
    "Layer",
    "LayerError",
    "LeakyReLU",
    "Linear",
    "Loss",
    "MSELoss",
    "MaxPool2d",
    "Optimizer",
    "ProbabilityCrossEntropyLoss",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "fit",
]
