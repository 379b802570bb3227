"""The third set: faults chosen as those met most often, by somebody who had not seen how causes are found, nor more of
the other sets than their form: what the diagnosis says of them is a measurement. One mistake each, with its true cause.

A comment above a fault names a public question or issue thread that has it, or one that is about it.
"""

from __future__ import annotations

from compare.measuring.faults.fault import FIRST_STEP, ONE_ROW, Edit, Fault, at
from compare.network.optimizer import OptimizerSpec

LAYERS, LOSSES, NETWORK, OPTIM, LEARNER = (
    f"scratch.{name}" for name in ("layers", "losses", "network", "optim", "learner")
)

SIGMOID = "5-7-4 sigmoid, softmax cross-entropy"
TANH = "5-7-4 tanh, softmax cross-entropy"
SOFTMAX = "5-7-4 relu, softmax output, cross-entropy on probabilities"  # layers 2 Linear, 3 Softmax
BINARY = "5-7-3 tanh, sigmoid output, binary cross-entropy"  # layers 2 Linear, 3 Sigmoid
BINARY_LOGITS = "5-7-3 relu, sigmoid binary cross-entropy"
REGRESSION = "5-7-3 relu, mse"
SIGMOID_REGRESSION = "5-7-3 sigmoid, sigmoid output, mse"  # layers 2 Linear, 3 Sigmoid
SQUARE = "6-6-6 relu, softmax cross-entropy"  # every W is square: a transpose raises no error

MOMENTUM = OptimizerSpec("SGD", {"lr": 0.05, "momentum": 0.9})
DECAY = OptimizerSpec("SGD", {"lr": 0.1, "weight_decay": 0.1})
ADAM = OptimizerSpec("Adam", {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0})
ADAMW = OptimizerSpec("AdamW", {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1})

_WEIGHT_GRADIENT = 'self.grads["weight"] = dy.T @ x'
_BIAS_GRADIENT = 'self.grads["bias"] = dy.sum(axis=0)'
_INPUT_GRADIENT = 'dx: Array = dy @ self.params["weight"]'
_SIGMOID_GRADIENT = "return dy * y * (1 - y)"
_CROSS_ENTROPY_GRADIENT = "(np.exp(log_p) * t.sum(axis=1, keepdims=True) - t)"
_BINARY_GRADIENT = "(_over(1 - t, 1 - p) - _over(t, p))"
_SGD_UPDATE = "p -= self.lr * g"
_FIRST_VELOCITY = 'state["momentum_buffer"] = g.copy()'
_ADAM_ROOT = "root = np.sqrt(v) / math.sqrt(1 - b2**self.steps) + self.eps"
_ADAM_UPDATE = "p -= (self.lr / (1 - b1**self.steps)) * m / root"

_LINEAR = (
    Fault(
        "third-bias-gradient-averaged",
        "db = np.mean(dZ): the bias is averaged over the batch, though dZ has been divided by m already",
        "linear",
        (Edit(LAYERS, "Linear.backward", _BIAS_GRADIENT, 'self.grads["bias"] = dy.mean(axis=0)'),),
        at("2.grad_bias"),
        hidden=ONE_ROW,
    ),
    Fault(
        "third-bias-gradient-one-sum",
        "db = np.sum(dZ) without an axis: every bias of the layer gets the sum over the whole matrix",
        "linear",
        (
            Edit(
                LAYERS,
                "Linear.backward",
                _BIAS_GRADIENT,
                'self.grads["bias"] = np.full_like(self.params["bias"], np.sum(dy))',
            ),
        ),
        at("2.grad_bias"),
        network=REGRESSION,  # under softmax cross-entropy this sum is 0
    ),
    Fault(
        "third-bias-gradient-other-axis",
        "db sums along axis 1, as in the lecture where samples are columns; here samples are rows",
        "linear",
        (Edit(LAYERS, "Linear.backward", _BIAS_GRADIENT, 'self.grads["bias"] = dy.sum(axis=1)'),),
        at("2.grad_bias"),
        network="5-4-4 relu, softmax cross-entropy",  # as many rows as outputs, or the shapes show it
        rows=(4, 4),
    ),
    # datascience.stackexchange.com/questions/25394, stackoverflow.com/questions/55858141
    Fault(
        "third-weight-gradient-from-own-output",
        "dW takes the layer's own output where its input belongs: activations[l] for activations[l - 1]",
        "linear",
        (Edit(LAYERS, "Linear.forward", "return y", "self._kept = y.copy()\n    return y"),),
        at("2.grad_weight"),
        network=SQUARE,
    ),
    Fault(
        "third-weight-gradient-assigned-in-loop",
        "the loop over samples writes dW = outer(dy, x) where += belongs, and the last sample's is what remains",
        "linear",
        (Edit(LAYERS, "Linear.backward", _WEIGHT_GRADIENT, 'self.grads["weight"] = np.outer(dy[-1], x[-1])'),),
        at("2.grad_weight"),
        hidden=ONE_ROW,
    ),
    Fault(
        "third-error-through-untransposed-weights",
        "the error goes back through W as it went forward; all layers are as wide, so no shape complains",
        "linear",
        (Edit(LAYERS, "Linear.backward", _INPUT_GRADIENT, 'dx: Array = dy @ self.params["weight"].T'),),
        at("2.grad_input"),
        network=SQUARE,
    ),
    # github.com/joelgrus/data-science-from-scratch/issues/31, CodingTrain/Toy-Neural-Network-JS/issues/72
    Fault(
        "third-weights-updated-on-the-way-back",
        "each layer is updated as soon as its gradient is there, and the error then goes back through the new weights",
        "linear",
        (
            Edit(
                LAYERS,
                "Linear.backward",
                _INPUT_GRADIENT,
                f"for name, g in self.grads.items():\n        self.params[name] -= 0.1 * g\n    {_INPUT_GRADIENT}",
            ),
            Edit(OPTIM, "SGD.update", _SGD_UPDATE, "pass"),
        ),
        at("2.grad_input"),
    ),
)

_ACTIVATIONS = (
    Fault(
        "third-relu-mask-from-the-error",
        "the ReLU lets through where the incoming gradient is positive, not where its input was: dZ[dA <= 0] = 0",
        "activations",
        (Edit(LAYERS, "ReLU.backward", "np.where(x > 0, dy, dy.dtype.type(0))", "np.maximum(dy, 0)"),),
        at("1.grad_input"),
    ),
    # stackoverflow.com/questions/75378819 multiplies by the activation itself
    Fault(
        "third-relu-derivative-is-relu",
        "the error is multiplied by relu(x), the activation, where its derivative, 0 or 1, belongs",
        "activations",
        (Edit(LAYERS, "ReLU.backward", "np.where(x > 0, dy, dy.dtype.type(0))", "dy * np.maximum(x, 0)"),),
        at("1.grad_input"),
    ),
    # the "neglected term" of blog.primen.dk/numerical-gradient-checking
    Fault(
        "third-sigmoid-derivative-forgotten",
        "delta of the hidden layer is W^T delta alone: the factor s'(z) of the chain rule is missing",
        "activations",
        (Edit(LAYERS, "Sigmoid.backward", _SIGMOID_GRADIENT, "return dy.copy()"),),
        at("1.grad_input"),
        network=SIGMOID,
    ),
    # github.com/infostreams/neural-network/issues/1
    Fault(
        "third-sigmoid-derivative-of-z",
        "x (1 - x) is the derivative in terms of the output, and it is called with the pre-activation z",
        "activations",
        (Edit(LAYERS, "Sigmoid.forward", "return self._kept.copy()", "y, self._kept = self._kept, x\n    return y"),),
        at("1.grad_input"),
        network=SIGMOID,
    ),
    Fault(
        "third-sigmoid-of-the-activation",
        "sigmoid_prime takes the sigmoid itself, and it is called with the activation: s(a) (1 - s(a)) with a = s(z)",
        "activations",
        (
            Edit(
                LAYERS,
                "Sigmoid.backward",
                _SIGMOID_GRADIENT,
                "s = 1 / (1 + np.exp(-y))\n    return dy * s * (1 - s)",
            ),
        ),
        at("1.grad_input"),
        network=SIGMOID,
    ),
    Fault(
        "third-tanh-with-sigmoid-derivative",
        "the hidden layer was changed from sigmoid to tanh, its derivative was not: still a (1 - a)",
        "activations",
        (Edit(LAYERS, "Tanh.backward", "return dy * (1 - y * y)", _SIGMOID_GRADIENT),),
        at("1.grad_input"),
        network=TANH,
    ),
    # github.com/deeplearning4j/libnd4j/issues/440, SebLague/Neural-Network-Experiments/pull/5
    Fault(
        "third-softmax-derivative-elementwise",
        "the softmax's derivative is taken as p (1 - p), as if it were a sigmoid: only the Jacobian's diagonal",
        "activations",
        (
            Edit(
                LAYERS,
                "Softmax.backward",
                "dx: Array = y * (dy - (dy * y).sum(axis=1, keepdims=True))",
                "dx: Array = dy * y * (1 - y)",
            ),
        ),
        at("3.grad_input"),
        network=SOFTMAX,
    ),
    # github.com/deeplearning4j/nd4j/issues/44, rickwierenga/MLFundamentals/issues/1
    Fault(
        "third-softmax-over-the-whole-batch",
        "np.exp(z) / np.sum(np.exp(z)): the sum runs over all samples, and no row adds up to 1",
        "activations",
        (Edit(LAYERS, "Softmax.forward", "e.sum(axis=1, keepdims=True)", "e.sum()"),),
        at("3.output"),
        network=SOFTMAX,
        hidden=ONE_ROW,
    ),
)

_LOSSES = (
    # github.com/iamtrask/Grokking-Deep-Learning/issues/37
    Fault(
        "third-target-minus-output",
        "delta = target - output under an update that subtracts: the gradient has the wrong sign, and the loss goes up",
        "losses",
        (
            Edit(
                LOSSES,
                "CrossEntropyLoss.backward",
                _CROSS_ENTROPY_GRADIENT,
                "(t - np.exp(log_p) * t.sum(axis=1, keepdims=True))",
            ),
        ),
        at("2.grad_output", "loss"),
    ),
    Fault(
        "third-batch-size-forgotten-in-gradient",
        "the loss is a mean over the batch, its gradient p - y is not divided by m",
        "losses",
        (Edit(LOSSES, "CrossEntropyLoss.backward", " / self._per(len(t))", ""),),
        at("2.grad_output", "loss"),
        hidden=ONE_ROW,
    ),
    Fault(
        "third-cross-entropy-by-np-mean",
        "np.mean(Y * log P) averages over the classes too; the loss is a sum over classes and a mean over samples",
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
        "third-softmax-derived-twice",
        "the loss hands on p - y, which is the gradient before the softmax, and the softmax layer's Jacobian follows",
        "losses",
        (Edit(LOSSES, "ProbabilityCrossEntropyLoss.backward", "-_over(t, p)", "(p - t)"),),
        at("3.grad_output", "loss"),
        network=SOFTMAX,
    ),
    Fault(
        "third-softmax-before-softmax-loss",
        "the network ends in a softmax, and the loss takes its output for logits and applies another one",
        "losses",
        (
            Edit(
                LOSSES,
                "ProbabilityCrossEntropyLoss.forward",
                "self._kept = p, _distributions(p, t)",
                "t = _distributions(p, t)\n    p = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)\n"
                "    self._kept = p, t",
            ),
            Edit(LOSSES, "ProbabilityCrossEntropyLoss.backward", "-_over(t, p)", "(p - t)"),
        ),
        at("loss"),
        network=SOFTMAX,
    ),
    # github.com/davisking/dlib/issues/1169
    Fault(
        "third-mse-without-the-two",
        "the loss is (y - t)^2 without the half, its gradient is y - t without the 2",
        "losses",
        (Edit(LOSSES, "MSELoss.backward", "2 * (y - t)", "(y - t)"),),
        at("2.grad_output", "loss"),
        network=REGRESSION,
    ),
    Fault(
        "third-mse-gradient-per-row",
        "np.mean in the loss divides by all m n elements, the gradient 2 (y - t) / m only by the rows",
        "losses",
        (Edit(LOSSES, "MSELoss.backward", "self._per(y.size)", "self._per(len(y))"),),
        at("2.grad_output", "loss"),
        network=REGRESSION,
    ),
    # math.stackexchange.com/questions/2503428
    Fault(
        "third-binary-inner-sign",
        "d log(1 - p) / dp is taken as 1 / (1 - p), without the minus of the inner function",
        "losses",
        (Edit(LOSSES, "BCELoss.backward", _BINARY_GRADIENT, "(-_over(1 - t, 1 - p) - _over(t, p))"),),
        at("3.grad_output", "loss"),
        network=BINARY,
    ),
    Fault(
        "third-sigmoid-derived-twice",
        "p - t is the delta before the sigmoid under binary cross-entropy, and it is multiplied by p (1 - p) once more",
        "losses",
        (Edit(LOSSES, "BCELoss.backward", _BINARY_GRADIENT, "(p - t)"),),
        at("3.grad_output", "loss"),
        network=BINARY,
    ),
    Fault(
        "third-logits-minus-target",
        "the gradient is output - target with the logits as output: the sigmoid is left out of it",
        "losses",
        (
            Edit(
                LOSSES,
                "BCEWithLogitsLoss.backward",
                "(np.where(z >= 0, z.dtype.type(1), e) / (1 + e) - t)",
                "(z - t)",
            ),
        ),
        at("2.grad_output", "loss"),
        network=BINARY_LOGITS,
    ),
)

_CHAIN = (
    # github.com/jiexunsee/Neural-Network-with-Python/issues/1
    Fault(
        "third-raw-error-passed-on",
        "hidden error = W^T error: what goes back is the output's error before its factor s'(z), which only dW has",
        "chain",
        (
            Edit(
                NETWORK,
                "Sequential.backward",
                "dy = self._at(i, layer.backward, dy)",
                "error = dy if i == len(self.layers) - 1 else error\n"
                "        dy = self._at(i, layer.backward, dy)\n"
                '        dy = error @ layer.params["weight"] if i == len(self.layers) - 2 else dy',
            ),
        ),
        at("1.grad_output"),
        network=SIGMOID_REGRESSION,
    ),
    # stackoverflow: "Why doesn't error approach zero when it is multiplied by deriv of sigmoid?"
    Fault(
        "third-output-error-in-hidden-delta",
        "delta_hidden = error * s'(z): the output's error itself, where W^T delta, computed one line above, belongs",
        "chain",
        (
            Edit(
                NETWORK,
                "Sequential.backward",
                "dy = self._at(i, layer.backward, dy)",
                "back = self._at(i, layer.backward, dy)\n        dy = dy if layer.params else back",
            ),
        ),
        at("1.grad_output"),
        network="6-6-6 sigmoid, softmax cross-entropy",  # as many hidden units as outputs, or the shapes show it
    ),
    Fault(
        "third-output-layer-activated-too",
        "for W, b in layers: a = relu(W a + b) has no exception for the last: the logits are clipped at 0",
        "chain",
        (
            Edit(NETWORK, "Sequential.forward", "return x", "self.y = x * (x > 0)\n    return self.y"),
            Edit(
                NETWORK,
                "Sequential.backward",
                "for i, layer in reversed(list(enumerate(self.layers))):",
                "dy = dy * (self.y > 0)\n    for i, layer in reversed(list(enumerate(self.layers))):",
            ),
        ),
        at("loss"),
    ),
)

_TRAINING = (
    # github.com/karpathy/micrograd/pull/102
    Fault(
        "third-gradients-never-zeroed",
        "backward adds to the gradients, as an engine does, and nobody sets them to zero between the batches",
        "training",
        (
            Edit(
                LAYERS,
                "Linear.backward",
                _WEIGHT_GRADIENT,
                'self.grads["weight"] = self.grads.get("weight", 0) + dy.T @ x',
            ),
            Edit(
                LAYERS,
                "Linear.backward",
                _BIAS_GRADIENT,
                'self.grads["bias"] = self.grads.get("bias", 0) + dy.sum(axis=0)',
            ),
        ),
        at("2.grad_weight"),
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "third-labels-not-shuffled-along",
        "X is shuffled and Y is not, or each by its own permutation: every sample is trained on another one's label",
        "training",
        (
            Edit(
                LEARNER,
                "ScratchLearner.train_step",
                "x, t = data[0][rows], data[1][rows]",
                "x, t = data[0][np.roll(rows, 1)], data[1][rows]",
            ),
        ),
        at("input", "0"),
        hidden=ONE_ROW,
    ),
    Fault(
        "third-last-layer-not-updated",
        "for l in range(1, L) ends one too early, and the output layer keeps its initial weights",
        "training",
        (
            Edit(
                OPTIM,
                "Optimizer.step",
                "for name, p in params.items():",
                "for name, p in list(params.items())[:-2]:",
            ),
        ),
        at("2.new_weight"),
    ),
    # the "forgotten bias" of blog.primen.dk/numerical-gradient-checking
    Fault(
        "third-biases-not-updated",
        "db is computed and never used: the update runs over the weights only",
        "training",
        (
            Edit(
                OPTIM,
                "Optimizer.step",
                "self.update(p, grads[name], self.state[name])",
                'if name.endswith("weight"):\n            self.update(p, grads[name], self.state[name])',
            ),
        ),
        at("0.new_bias"),
    ),
)

_OPTIMIZERS = (
    Fault(
        "third-update-rebinds-the-name",
        "for p in params: p = p - lr * g gives the local name another array, and the network keeps the old one",
        "optimizers",
        (Edit(OPTIM, "SGD.update", _SGD_UPDATE, "p = p - self.lr * g"),),
        at("0.new_weight"),
    ),
    # github.com/pjreddie/darknet/issues/2203 asks for it; a course teaches momentum like this
    Fault(
        "third-momentum-as-average",
        "v = mu v + (1 - mu) g, the course's moving average, where the rule is v = mu v + g",
        "optimizers",
        (
            Edit(OPTIM, "SGD._velocity", _FIRST_VELOCITY, 'state["momentum_buffer"] = (1 - self.momentum) * g'),
            Edit(OPTIM, "SGD._velocity", "(1 - self.dampening) * g", "(1 - self.momentum) * g"),
        ),
        at("0.new_weight.momentum_buffer"),
        optimizer=MOMENTUM,
    ),
    Fault(
        "third-velocity-made-anew",
        "v = zeros stands inside the training loop, so every step starts without momentum",
        "optimizers",
        (Edit(OPTIM, "SGD._velocity", 'if "momentum_buffer" not in state:', "if True:"),),
        at("0.new_weight.momentum_buffer"),
        step=2,
        optimizer=MOMENTUM,
        hidden=FIRST_STEP,
    ),
    # github.com/andersbll/nnet/issues/4
    Fault(
        "third-weight-decay-grows-weights",
        "dW - wd * W in a gradient that is then subtracted: the decay drives the weights up",
        "optimizers",
        (Edit(OPTIM, "SGD.update", "g = g + self.weight_decay * p", "g = g - self.weight_decay * p"),),
        at("0.new_weight"),
        optimizer=DECAY,
    ),
    Fault(
        "third-adam-without-correction",
        "m and v go into the step as they are: the division by 1 - beta^t is missing",
        "optimizers",
        (
            Edit(OPTIM, "Adam._adaptive", _ADAM_ROOT, "root = np.sqrt(v) + self.eps"),
            Edit(OPTIM, "Adam._adaptive", _ADAM_UPDATE, "p -= self.lr * m / root"),
        ),
        at("0.new_weight"),
        optimizer=ADAM,
    ),
    # seen in review of an Adam whose update() is called once an array
    Fault(
        "third-adam-counts-every-array",
        "t += 1 stands in the update of one array, and is counted up once for every weight and bias of the network",
        "optimizers",
        (
            Edit(OPTIM, "Optimizer.step", "self.steps += 1", "pass"),
            Edit(OPTIM, "Adam._adaptive", "b1, b2 = self.betas", "b1, b2 = self.betas\n    self.steps += 1"),
        ),
        at("0.new_bias"),
        optimizer=ADAM,
    ),
    # github.com/eriklindernoren/ML-From-Scratch/issues/35, ufal/npfl114/pull/79
    Fault(
        "third-adam-correction-without-power",
        "the correction is 1 - beta at every step; beta is not raised to the power t",
        "optimizers",
        (
            Edit(OPTIM, "Adam._adaptive", "1 - b2**self.steps", "1 - b2"),
            Edit(OPTIM, "Adam._adaptive", "1 - b1**self.steps", "1 - b1"),
        ),
        at("0.new_weight"),
        step=2,
        optimizer=ADAM,
        hidden=FIRST_STEP,
    ),
    Fault(
        "third-adamw-as-adam-with-l2",
        "the decay is added to the gradient and goes through both moments: that is Adam with L2, not AdamW",
        "optimizers",
        (Edit(OPTIM, "AdamW.update", "p *= 1 - self.lr * self.weight_decay", "g = g + self.weight_decay * p"),),
        at("0.new_weight.exp_avg"),
        optimizer=ADAMW,
    ),
)

THIRD: tuple[Fault, ...] = _LINEAR + _ACTIVATIONS + _LOSSES + _CHAIN + _TRAINING + _OPTIMIZERS

THIRD_CAUSE: dict[str, str] = {
    "third-bias-gradient-averaged": "The bias gradient, and only it, is divided by the batch size once too often",
    "third-bias-gradient-one-sum": (
        "The bias gradient is summed over the batch and over the outputs, so that all biases of a layer get one number"
    ),
    "third-bias-gradient-other-axis": "The bias gradient is summed over the outputs instead of over the batch",
    "third-weight-gradient-from-own-output": (
        "The weight gradient is computed with the layer's own output in place of its input: dy^T y, not dy^T x"
    ),
    "third-weight-gradient-assigned-in-loop": (
        "The weight gradient is that of the batch's last sample alone, because the loop assigns instead of adding"
    ),
    "third-error-through-untransposed-weights": (
        "The input gradient of a linear layer is dy W^T instead of dy W: the weight is transposed on the way back"
    ),
    "third-weights-updated-on-the-way-back": (
        "The weights are updated during backward, and the input gradient uses the new weights instead of the old"
    ),
    "third-relu-mask-from-the-error": "The ReLU's mask is taken from the sign of dy instead of from the sign of x",
    "third-relu-derivative-is-relu": "The ReLU's backward multiplies by max(x, 0) instead of by 1 where x > 0",
    "third-sigmoid-derivative-forgotten": (
        "The sigmoid's backward passes dy on unchanged: the factor y (1 - y) is missing"
    ),
    "third-sigmoid-derivative-of-z": (
        "The sigmoid's derivative is x (1 - x) of the pre-activation x instead of y (1 - y) of the output y"
    ),
    "third-sigmoid-of-the-activation": (
        "The sigmoid's derivative is taken at the output y instead of at the input x: the sigmoid is applied twice"
    ),
    "third-tanh-with-sigmoid-derivative": "Tanh's backward uses the sigmoid's derivative y (1 - y) instead of 1 - y^2",
    "third-softmax-derivative-elementwise": (
        "The softmax's backward uses the diagonal of the Jacobian only, y (1 - y), and leaves out the terms -y_j y_k"
    ),
    "third-softmax-over-the-whole-batch": (
        "The softmax is normalised by the sum over the whole batch instead of by the sum over each row"
    ),
    "third-target-minus-output": "The loss's gradient has the wrong sign: t - p instead of p - t",
    "third-batch-size-forgotten-in-gradient": (
        "The loss is a mean over the batch and its gradient is that of the sum: the division by m is missing"
    ),
    "third-cross-entropy-by-np-mean": (
        "The reported loss is divided by the number of classes as well as by the batch size; its gradient is right"
    ),
    "third-softmax-derived-twice": (
        "The loss returns the fused gradient (p - t) / m with respect to the logits, and the softmax is derived again"
    ),
    "third-softmax-before-softmax-loss": (
        "The loss applies a softmax to what are probabilities already: softmax is applied twice, in loss and gradient"
    ),
    "third-mse-without-the-two": "The gradient of the mean squared error lacks the factor 2",
    "third-mse-gradient-per-row": (
        "The gradient of the mean squared error is divided by the rows m instead of by all elements m n"
    ),
    "third-binary-inner-sign": "In the gradient of binary cross-entropy the term (1 - t) / (1 - p) has the wrong sign",
    "third-sigmoid-derived-twice": (
        "The loss returns the fused gradient (p - t) / mn with respect to the logits, and the sigmoid is derived again"
    ),
    "third-logits-minus-target": (
        "The gradient on logits is z - t instead of sigmoid(z) - t: the sigmoid is missing in the loss's backward"
    ),
    "third-raw-error-passed-on": (
        "The error handed to the hidden layer lacks the output activation's derivative, which the weight gradient has"
    ),
    "third-output-error-in-hidden-delta": (
        "The error handed to the hidden layer is the linear layer's incoming gradient, not multiplied by the weights"
    ),
    "third-output-layer-activated-too": "A ReLU is applied to the last layer's output before the loss, and derived",
    "third-gradients-never-zeroed": (
        "The parameter gradients of earlier batches are added to the new ones: they are not set to zero between steps"
    ),
    "third-labels-not-shuffled-along": "The inputs are in another order than the targets: rows do not belong together",
    "third-last-layer-not-updated": "The optimiser leaves out the last layer, whose weight and bias stay as they were",
    "third-biases-not-updated": "The optimiser updates the weights and leaves out all biases",
    "third-update-rebinds-the-name": (
        "No parameter changes in the step, because the new value is bound to a local name and not written in place"
    ),
    "third-momentum-as-average": (
        "The velocity is mu v + (1 - mu) g, from zero, instead of mu v + g: the gradient is damped by 1 - mu"
    ),
    "third-velocity-made-anew": "The velocity is not kept from step to step: it is the bare gradient every time",
    "third-weight-decay-grows-weights": "The weight decay is subtracted from the gradient instead of added to it",
    "third-adam-without-correction": "Adam's bias correction is missing for both moments",
    "third-adam-counts-every-array": (
        "Adam's step count t goes up with every parameter array instead of once a step, which the bias correction uses"
    ),
    "third-adam-correction-without-power": (
        "Adam's bias correction divides by 1 - beta at every step instead of by 1 - beta^t"
    ),
    "third-adamw-as-adam-with-l2": (
        "The weight decay of AdamW is coupled: it is added to the gradient instead of taken off the weights directly"
    ),
}
