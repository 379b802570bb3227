"""The second set: faults written from code reviews, forum questions and homework by somebody who had not seen how
causes are found: what the diagnosis says of them is a measurement. One mistake each, with its true cause in a sentence.
"""

from __future__ import annotations

from compare.measuring.faults.fault import FIRST_STEP, ONE_ROW, Edit, Fault, at
from compare.network.optimizer import OptimizerSpec

LAYERS, LOSSES, NETWORK, OPTIM, LEARNER = (
    f"scratch.{name}" for name in ("layers", "losses", "network", "optim", "learner")
)

SIGMOID = "5-7-4 sigmoid, softmax cross-entropy"
TANH = "5-7-4 tanh, softmax cross-entropy"
SOFTMAX = "5-7-4 tanh, softmax output, cross-entropy on probabilities"  # layers 2 Linear, 3 Softmax
BINARY = "5-7-3 relu, sigmoid output, binary cross-entropy"  # layers 2 Linear, 3 Sigmoid
REGRESSION = "5-7-3 tanh, mse"

ADAM = OptimizerSpec("Adam", {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0})
MOMENTUM = OptimizerSpec("SGD", {"lr": 0.1, "momentum": 0.9})

_WEIGHT_GRADIENT = 'self.grads["weight"] = dy.T @ x'
_BIAS_GRADIENT = 'self.grads["bias"] = dy.sum(axis=0)'
_INPUT_GRADIENT = 'dx: Array = dy @ self.params["weight"]'
_BACKWARD = "self.network.backward(self.loss.backward())"

_LINEAR = (
    Fault(
        "second-one-over-m-again",
        "dW = dZ A^T / m and db = mean of dZ, as a course writes them, under a loss that already divides by m",
        "linear",
        (
            Edit(LAYERS, "Linear.backward", _WEIGHT_GRADIENT, f"{_WEIGHT_GRADIENT} / len(x)"),
            Edit(LAYERS, "Linear.backward", _BIAS_GRADIENT, 'self.grads["bias"] = dy.mean(axis=0)'),
        ),
        at("2.grad_weight"),
        hidden=ONE_ROW,
    ),
    Fault(
        "second-wrong-column-dropped",
        "weights kept as [W | b]; going back, the first column is dropped instead of the last, the bias's",
        "linear",
        (
            Edit(
                LAYERS,
                "Linear.backward",
                _INPUT_GRADIENT,
                'dx: Array = dy @ np.column_stack([self.params["weight"], self.params["bias"]])[:, 1:]',
            ),
        ),
        at("2.grad_input"),
    ),
    Fault(
        "second-buffer-not-cleared",
        "the output buffer is reused and the matrix product adds to what it holds, as gemm with beta = 1",
        "linear",
        (
            Edit(
                LAYERS,
                "Linear.forward",
                "return y",
                'self.buffer = y = y + self.__dict__.get("buffer", 0)\n    return y.copy()',
            ),
        ),
        at("0.output"),
        step=2,
        rows=(6, 6),
        hidden=FIRST_STEP,
    ),
    Fault(
        "second-float-buffer",
        "the product goes through a buffer of float in a program that is otherwise double",
        "linear",
        (
            Edit(
                LAYERS,
                "Linear.forward",
                'y: Array = x @ self.params["weight"].T',
                'y: Array = (x @ self.params["weight"].T).astype(np.float32).astype(x.dtype)',
            ),
        ),
        at("0.output"),
        dtypes=("float64",),
    ),
    Fault(
        "second-integer-division",
        "1 / m of two integers is 0 in the language ported to, and every gradient is multiplied by it",
        "linear",
        (
            Edit(
                LAYERS,
                "Linear.backward",
                'self.grads["weight"] = dy.T @ x',
                'self.grads["weight"] = dy.T @ x * (1 // len(x))',
            ),
            Edit(
                LAYERS,
                "Linear.backward",
                'self.grads["bias"] = dy.sum(axis=0)',
                'self.grads["bias"] = dy.sum(axis=0) * (1 // len(x))',
            ),
        ),
        at("2.grad_weight"),
        hidden=ONE_ROW,
    ),
    Fault(
        "second-loop-ends-early",
        "the loop over the samples that adds up the gradients ends one short",
        "linear",
        (
            Edit(
                LAYERS,
                "Linear.backward",
                'self.grads["weight"] = dy.T @ x',
                'self.grads["weight"] = dy[:-1].T @ x[:-1]',
            ),
            Edit(
                LAYERS,
                "Linear.backward",
                'self.grads["bias"] = dy.sum(axis=0)',
                'self.grads["bias"] = dy[:-1].sum(axis=0)',
            ),
        ),
        at("2.grad_weight"),
    ),
    Fault(
        "second-last-feature-ignored",
        "the inner loop of the product ends at in - 1",
        "linear",
        (
            Edit(
                LAYERS,
                "Linear.forward",
                'y: Array = x @ self.params["weight"].T',
                'y: Array = x[:, :-1] @ self.params["weight"][:, :-1].T',
            ),
        ),
        at("0.output"),
    ),
    Fault(
        "second-bias-of-row",
        "y[i][j] += b[i] for b[j] in a port to loops: with no more samples than units nothing complains",
        "linear",
        (Edit(LAYERS, "Linear.forward", 'y += self.params["bias"]', 'y += self.params["bias"][: len(y), None]'),),
        at("0.output"),
        rows=(4, 3),
    ),
)

_ACTIVATIONS = (
    Fault(
        "second-relu6",
        "a mobile library's relu is capped at 6, forward and backward",
        "activations",
        (
            Edit(LAYERS, "ReLU.forward", "np.maximum(x, 0)", "np.clip(x, 0, 6)"),
            Edit(LAYERS, "ReLU.backward", "np.where(x > 0", "np.where((x > 0) & (x < 6)"),
        ),
        at("1.output"),
        scale=10.0,
        hidden="no difference where no input of a ReLU is above 6",
    ),
    Fault(
        "second-softmax-parenthesis",
        "y dy - sum(y dy) in softmax's backward: the parenthesis that y multiplies was lost on paper",
        "activations",
        (
            Edit(
                LAYERS,
                "Softmax.backward",
                "y * (dy - (dy * y).sum(axis=1, keepdims=True))",
                "y * dy - (dy * y).sum(axis=1, keepdims=True)",
            ),
        ),
        at("3.grad_input"),
        network=SOFTMAX,
    ),
    Fault(
        "second-pade-tanh",
        "tanh by the rational approximation x (27 + x^2) / (27 + 9 x^2) of audio code",
        "activations",
        (Edit(LAYERS, "Tanh.forward", "np.tanh(x)", "x * (27 + x * x) / (27 + 9 * x * x)"),),
        at("1.output"),
        network=TANH,
    ),
    Fault(
        "second-fast-sigmoid",
        "the fast sigmoid (1 + x / (1 + |x|)) / 2 of embedded code, without exp",
        "activations",
        (
            Edit(
                LAYERS,
                "Sigmoid.forward",
                "np.where(x >= 0, x.dtype.type(1), e) / (1 + e)",
                "(1 + x / (1 + np.abs(x))) / 2",
            ),
        ),
        at("1.output"),
        network=SIGMOID,
    ),
    Fault(
        "second-maximum-in-numerator",
        "the maximum is subtracted in the numerator of softmax and not in the denominator",
        "activations",
        (
            Edit(
                LAYERS,
                "Softmax.forward",
                "e / e.sum(axis=1, keepdims=True)",
                "e / np.exp(x).sum(axis=1, keepdims=True)",
            ),
        ),
        at("3.output"),
        network=SOFTMAX,
    ),
    Fault(
        "second-sum-of-gradient",
        "y (dy - sum dy): the y in the sum was forgotten",
        "activations",
        (Edit(LAYERS, "Softmax.backward", "(dy * y).sum(axis=1", "dy.sum(axis=1"),),
        at("3.grad_input"),
        network=SOFTMAX,
    ),
    Fault(
        "second-guided-relu",
        "guided backpropagation, from a repository that draws saliency maps: only positive gradients pass",
        "activations",
        (Edit(LAYERS, "ReLU.backward", "np.where(x > 0", "np.where((x > 0) & (dy > 0)"),),
        at("1.grad_input"),
    ),
    Fault(
        "second-sigmoid-parenthesis",
        "dy * y * 1 - y: the parentheses of (1 - y) were lost",
        "activations",
        (Edit(LAYERS, "Sigmoid.backward", "dy * y * (1 - y)", "dy * y * 1 - y"),),
        at("1.grad_input"),
        network=SIGMOID,
    ),
    Fault(
        "second-softmax-of-two",
        "softmax with powers of 2, exp2 being the fast one on the chip, without the factor log2 e",
        "activations",
        (Edit(LAYERS, "Softmax.forward", "np.exp(", "np.exp2("),),
        at("3.output"),
        network=SOFTMAX,
    ),
)

_LOSSES = (
    Fault(
        "second-log10",
        "log, in the language ported to, is the decimal one",
        "losses",
        (Edit(LOSSES, "_times_log", "np.log(p)", "np.log10(p)"),),
        at("loss"),
        network=SOFTMAX,
    ),
    Fault(
        "second-keras-clip",
        "probabilities are clipped to [1e-7, 1 - 1e-7] before the logarithm, as Keras does",
        "losses",
        (
            Edit(
                LOSSES,
                "BCELoss.forward",
                "self._kept = p, t",
                "p = np.clip(p, 1e-7, 1 - 1e-7)\n    self._kept = p, t",
            ),
        ),
        at("loss"),
        network=BINARY,
        rows=(16, 8),
        scale=40.0,
        dtypes=("float64",),
        hidden="no difference where all probabilities are within 1e-7 and 1 - 1e-7",
    ),
    Fault(
        "second-mean-of-matrix",
        "-np.mean(t * log_p): the mean over samples and classes, where the gradient divides by samples alone",
        "losses",
        (
            Edit(
                LOSSES,
                "CrossEntropyLoss.forward",
                "return -(t * log_p).sum() / self._per(len(s))",
                "return -(t * log_p).mean()",
            ),
        ),
        at("loss"),
    ),
    Fault(
        "second-inner-derivative",
        "log(1 - p) is differentiated to 1 / (1 - p), without the inner minus",
        "losses",
        (
            Edit(
                LOSSES,
                "BCELoss.backward",
                "(_over(1 - t, 1 - p) - _over(t, p))",
                "(-_over(1 - t, 1 - p) - _over(t, p))",
            ),
        ),
        at("3.grad_output", "loss"),
        network=BINARY,
    ),
    Fault(
        "second-all-labelled-columns",
        "p[:, labels] -= 1 for p[arange(m), labels] -= 1",
        "losses",
        (Edit(LOSSES, "CrossEntropyLoss.backward", "keepdims=True) - t)", "keepdims=True) - (t.sum(axis=0) > 0))"),),
        at("2.grad_output", "loss"),
        hidden=ONE_ROW,
    ),
    Fault(
        "second-padding-is-class-0",
        "a loss of a text model leaves out class 0, its padding; here it is a class like any other",
        "losses",
        (Edit(LOSSES, "one_hot", "labels] = 1", "labels] = labels != 0"),),
        at("loss"),
        hidden="no difference where no label is 0",
    ),
    Fault(
        "second-class-weights-left",
        "samples are weighted by 1 / the size of their class, left from an unbalanced problem",
        "losses",
        (Edit(LOSSES, "one_hot", "labels] = 1", "labels] = 1 / np.bincount(labels)[labels]"),),
        at("loss"),
        hidden="no difference where no label comes twice",
    ),
    Fault(
        "second-sign-gradient",
        "the gradient of the absolute error under the loss of the squared error",
        "losses",
        (Edit(LOSSES, "MSELoss.backward", "2 * (y - t)", "np.sign(y - t)"),),
        at("2.grad_output", "loss"),
        network=REGRESSION,
    ),
    Fault(
        "second-square-of-mean",
        "np.mean(y - t) ** 2 for np.mean((y - t) ** 2)",
        "losses",
        (Edit(LOSSES, "MSELoss.forward", "return (d * d).sum() / self._per(y.size)", "return d.mean() ** 2"),),
        at("loss"),
        network=REGRESSION,
    ),
)

_TRAINING = (
    Fault(
        "second-loss-scale-left",
        "the gradient is scaled by 1024 for half precision and never scaled back",
        "training",
        (Edit(LEARNER, "ScratchLearner.train_step", _BACKWARD, "self.network.backward(1024 * self.loss.backward())"),),
        at("2.grad_output", "loss"),
    ),
    Fault(
        "second-only-x-shuffled",
        "the samples are shuffled and their labels are not",
        "training",
        (
            Edit(
                LEARNER,
                "ScratchLearner.train_step",
                "x, t = data[0][rows], data[1][rows]",
                "x, t = data[0][np.random.default_rng(0).permutation(rows)], data[1][rows]",
            ),
        ),
        at("input", "0"),
        hidden=ONE_ROW,
    ),
    Fault(
        "second-clipping-left-in",
        "every entry of every gradient is clipped to [-1, 1], left in since a night of exploding gradients",
        "training",
        (
            Edit(
                LEARNER,
                "ScratchLearner.train_step",
                _BACKWARD,
                f"{_BACKWARD}\n"
                "            for g in self.network.grads.values():\n"
                "                np.clip(g, -1, 1, out=g)",
            ),
        ),
        at("2.grad_weight"),
        scale=20.0,
        hidden="no difference where no entry of a gradient is beyond 1",
    ),
    Fault(
        "second-keep-probability-left",
        "the keep probability 0.5 of a dropout that is gone still multiplies what enters each later layer",
        "training",
        (
            Edit(
                NETWORK,
                "Sequential.forward",
                "x = self._at(i, layer.forward, x)",
                "x = self._at(i, layer.forward, x / 2 if i else x)",
            ),
        ),
        at("1.input"),
    ),
    Fault(
        "second-gradient-of-length-one",
        "every gradient is divided by its norm, left in since learning had stalled",
        "training",
        (
            Edit(
                LEARNER,
                "ScratchLearner.train_step",
                _BACKWARD,
                f"{_BACKWARD}\n"
                "            for g in self.network.grads.values():\n"
                "                g /= np.linalg.norm(g)",
            ),
        ),
        at("2.grad_weight"),
    ),
)

_OPTIMIZERS = (
    Fault(
        "second-adam-correction-kept",
        "m /= 1 - b1^t in place: the corrected moment is what the next step starts from",
        "optimizers",
        (
            Edit(
                OPTIM,
                "Adam._adaptive",
                "p -= (self.lr / (1 - b1**self.steps)) * m / root",
                "m /= 1 - b1**self.steps\n    p -= self.lr * m / root",
            ),
        ),
        at("0.new_weight.exp_avg"),
        optimizer=ADAM,
    ),
    Fault(
        "second-momentum-average",
        "v = 0.9 v + 0.1 g from v = 0, the moving average of a course, for SGD's 0.9 v + g",
        "optimizers",
        (
            Edit(OPTIM, "SGD._velocity", "= g.copy()", "= (1 - self.momentum) * g"),
            Edit(OPTIM, "SGD._velocity", "(1 - self.dampening) * g", "(1 - self.momentum) * g.copy()"),
        ),
        at("0.new_weight.momentum_buffer"),
        optimizer=MOMENTUM,
    ),
    Fault(
        "second-second-moment-from-one",
        "the second moment starts at 1, as another library's RMSprop has it",
        "optimizers",
        (
            Edit(
                OPTIM,
                "Adam._adaptive",
                'setdefault("exp_avg_sq", np.zeros_like(p))',
                'setdefault("exp_avg_sq", np.ones_like(p))',
            ),
        ),
        at("0.new_weight.exp_avg_sq"),
        optimizer=ADAM,
    ),
    Fault(
        "second-rate-decays",
        "lr / sqrt(t), the schedule of a convergence proof, inside Adam",
        "optimizers",
        (Edit(OPTIM, "Adam._adaptive", "p -= (self.lr /", "p -= (self.lr / math.sqrt(self.steps) /"),),
        at("0.new_weight"),
        optimizer=ADAM,
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "second-rate-in-velocity",
        "v = mu v + lr g, p -= v, as an older framework keeps its velocity",
        "optimizers",
        (
            Edit(OPTIM, "SGD._velocity", "= g.copy()", "= self.lr * g"),
            Edit(OPTIM, "SGD._velocity", "(1 - self.dampening) * g", "self.lr * g.copy()"),
            Edit(OPTIM, "SGD.update", "p -= self.lr * g", "p -= g"),
        ),
        at("0.new_weight.momentum_buffer"),
        optimizer=MOMENTUM,
    ),
)

SECOND: tuple[Fault, ...] = _LINEAR + _ACTIVATIONS + _LOSSES + _TRAINING + _OPTIMIZERS

SECOND_CAUSE: dict[str, str] = {
    "second-one-over-m-again": "The linear layer divides its gradients by the batch size, which the loss already did",
    "second-wrong-column-dropped": "The gradient of the input is taken through [W | b] without its first column",
    "second-buffer-not-cleared": "The layer adds its outputs of the step before: its output buffer is not cleared",
    "second-float-buffer": "The matrix product is rounded to single precision in a double-precision computation",
    "second-integer-division": "The layer's gradients are all zero, because they are multiplied by an integer 1 / m",
    "second-loop-ends-early": "The last sample of the batch is left out of the gradients",
    "second-last-feature-ignored": "The product leaves out the last input feature",
    "second-bias-of-row": "The bias is indexed by the sample instead of by the unit",
    "second-relu6": "The activation is ReLU6, capped at 6, instead of ReLU",
    "second-softmax-parenthesis": "In softmax's backward the sum over classes is not multiplied by y",
    "second-pade-tanh": "Tanh is replaced by a rational approximation",
    "second-fast-sigmoid": "The sigmoid is replaced by an approximation, (1 + x / (1 + |x|)) / 2",
    "second-maximum-in-numerator": "Softmax's denominator lacks the shift by the maximum, so rows do not sum to 1",
    "second-sum-of-gradient": "Softmax's backward subtracts the sum of dy instead of the sum of dy y",
    "second-guided-relu": "ReLU's backward also drops the negative gradients, as guided backpropagation does",
    "second-sigmoid-parenthesis": "The sigmoid's backward computes dy y - y, for lack of parentheses around 1 - y",
    "second-softmax-of-two": "Softmax takes powers of 2 instead of powers of e",
    "second-log10": "The cross-entropy uses the decimal logarithm instead of the natural one",
    "second-keras-clip": "The loss clips the probabilities to [1e-7, 1 - 1e-7] before it takes logarithms",
    "second-mean-of-matrix": "The loss is averaged over samples and classes instead of over samples only",
    "second-inner-derivative": "The (1 - t) / (1 - p) term of the binary cross-entropy's gradient has the wrong sign",
    "second-all-labelled-columns": "Each row has 1 subtracted at all labels of the batch instead of at its own",
    "second-padding-is-class-0": "Samples of class 0 are left out of the loss, as if 0 meant padding",
    "second-class-weights-left": "Each sample is weighted by one over the count of its class",
    "second-sign-gradient": "The gradient is that of the absolute error, while the loss is the squared error",
    "second-square-of-mean": "The loss is the square of the mean error instead of the mean of the squared errors",
    "second-loss-scale-left": "The gradient of the loss is 1024 times too large, a loss scale that was never undone",
    "second-only-x-shuffled": "The rows of the input were shuffled without those of the labels",
    "second-clipping-left-in": "The parameters' gradients are clipped to [-1, 1] entry by entry",
    "second-keep-probability-left": "What one layer passes to the next is halved on the way",
    "second-gradient-of-length-one": "Each parameter's gradient is normalised to length one",
    "second-adam-correction-kept": "Adam's bias-corrected first moment is stored in place of the uncorrected one",
    "second-momentum-average": "Momentum is a moving average, with the gradient multiplied by 1 - momentum",
    "second-second-moment-from-one": "Adam's second moment starts at 1 instead of 0",
    "second-rate-decays": "Adam's learning rate is divided by the square root of the step count",
    "second-rate-in-velocity": "The learning rate is inside the momentum buffer instead of being applied to it",
}
