"""Backpropagation from scratch, in NumPy only: layers, losses, optimisers, and the loop that trains them."""

from scratch.adagrad import Adagrad
from scratch.add import Add
from scratch.avg_pool2d import AvgPool2d
from scratch.batch_norm1d import BatchNorm1d
from scratch.batch_norm2d import BatchNorm2d
from scratch.conv2d import Conv2d
from scratch.dropout import Dropout
from scratch.elu import ELU
from scratch.embedding import Embedding
from scratch.flatten import Flatten
from scratch.gelu import GELU
from scratch.graph import Graph
from scratch.gru import GRU
from scratch.hinge_loss import HingeLoss
from scratch.huber_loss import HuberLoss
from scratch.kl_div_loss import KLDivLoss
from scratch.l1_loss import L1Loss
from scratch.last_step import LastStep
from scratch.layer_norm import LayerNorm
from scratch.layers import Layer, LayerError, Linear, ReLU, Sigmoid, Softmax, Tanh
from scratch.leaky_relu import LeakyReLU
from scratch.log_softmax import LogSoftmax
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
from scratch.nadam import NAdam
from scratch.network import Sequential
from scratch.nll_loss import NLLLoss
from scratch.optim import SGD, Adam, AdamW, Optimizer
from scratch.rmsprop import RMSprop
from scratch.rnn import RNN
from scratch.self_attention import SelfAttention
from scratch.silu import SiLU
from scratch.softplus import Softplus
from scratch.take import Take
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
    "Add",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "Graph",
    "HalfSquaredErrorLoss",
    "HingeLoss",
    "History",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LastStep",
    "Layer",
    "LayerError",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "MaxPool2d",
    "MultiMarginLoss",
    "NAdam",
    "NLLLoss",
    "Optimizer",
    "ProbabilityCrossEntropyLoss",
    "RMSprop",
    "ReLU",
    "SelfAttention",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Take",
    "Tanh",
    "fit",
]
