"""Mistakes in SelfAttention, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ZERO_BIAS, Edit, Fault, at

NETWORK = "SelfAttention(6, 2), Flatten, Linear(30, 4); CrossEntropyLoss"
CAUSAL = "SelfAttention(6, 2, causal=True), Flatten, Linear(30, 4); CrossEntropyLoss"
AT_ONCE = "a.reshape(len(a), self.num_heads, a.shape[1], -1)"

_forward = partial(Edit, "scratch.self_attention", "SelfAttention.forward")
_backward = partial(Edit, "scratch.self_attention", "SelfAttention.backward")
_split = partial(Edit, "scratch.self_attention", "SelfAttention._split")
_merged = partial(Edit, "scratch.self_attention", "SelfAttention._merged")
_into = partial(Edit, "scratch.self_attention", "SelfAttention._into")
_fault = partial(Fault, family="attention", network=NETWORK)
OUTPUT, DW_OUT, DB_OUT, DW_IN, DX = map(
    at,
    (
        "0.output",
        "0.grad_out_proj_weight",
        "0.grad_out_proj_bias",
        "0.grad_in_proj_weight",
        "0.grad_input",
    ),
)

FORWARD = (
    _fault(
        "attention-not-scaled",
        "q k^T is not divided by sqrt(d)",
        edits=(_forward(" * self._scale", ""),),
        where=OUTPUT,
    ),
    _fault(
        "attention-scaled-by-d",
        "q k^T is divided by d, not by its root",
        edits=(_forward(" * self._scale", " * self._scale * self._scale"),),
        where=OUTPUT,
    ),
    _fault(
        "attention-scaled-by-embed-dim",
        "q k^T is divided by the root of all columns, not of one head's",
        edits=(_forward(" * self._scale", " * self.dtype.type(self.embed_dim**-0.5)"),),
        where=OUTPUT,
    ),
    _fault(
        "attention-not-causal",
        "the mask is forgotten",
        edits=(_forward("if self.causal:", "if False:"),),
        where=OUTPUT,
        network=CAUSAL,
    ),
    _fault(
        "attention-mask-of-the-past",
        "the mask hides what was, not what will be",
        edits=(_forward("np.tri(x.shape[1], dtype=bool)", "np.tri(x.shape[1], dtype=bool).T"),),
        where=OUTPUT,
        network=CAUSAL,
    ),
    _fault(
        "attention-mask-off-by-one",
        "the mask begins one step too late",
        edits=(_forward("np.tri(x.shape[1], dtype=bool)", "np.tri(x.shape[1], k=1, dtype=bool)"),),
        where=OUTPUT,
        network=CAUSAL,
    ),
    _fault(
        "attention-masked-after-the-softmax",
        "later steps get the weight 0 after the softmax, whose rows then add up to less than 1",
        edits=(
            _forward("if self.causal:", "if False:"),
            _forward("_softmax(scores)", "_softmax(scores) * np.tri(x.shape[1], dtype=self.dtype)"),
        ),
        where=OUTPUT,
        network=CAUSAL,
    ),
    _fault(
        "attention-softmax-over-queries",
        "the softmax is over axis -2",
        edits=(_forward("_softmax(scores)", "_softmax(scores.swapaxes(-1, -2)).swapaxes(-1, -2)"),),
        where=OUTPUT,
    ),
    _fault(
        "attention-heads-split-at-once",
        "reshaped to (m, heads, t, d) without exchanging axes",
        edits=(_split("a.reshape(*a.shape[:2], self.num_heads, -1).swapaxes(1, 2)", AT_ONCE),),
        where=OUTPUT,
    ),
    _fault(
        "attention-heads-merged-at-once",
        "reshaped to (m, t, E) without exchanging axes",
        edits=(_merged("a.swapaxes(1, 2).reshape", "a.reshape"),),
        where=OUTPUT,
    ),
    _fault(
        "attention-keys-for-queries",
        "the first rows of W_in are taken for k, the next for q",
        edits=(_forward("q, k, v = self._qkv", "k, q, v = self._qkv"),),
        where=OUTPUT,
    ),
    _fault(
        "attention-input-bias-missing",
        "b_in is not added",
        edits=(
            _forward(
                'self._with_bias(x @ self.params["in_proj_weight"].T, "in_proj_bias")',
                'x @ self.params["in_proj_weight"].T',
            ),
        ),
        where=OUTPUT,
        hidden=ZERO_BIAS,
    ),
    _fault(
        "attention-output-bias-missing",
        "b_out is not added",
        edits=(_forward('"out_proj_bias"', '""'),),
        where=OUTPUT,
        hidden=ZERO_BIAS,
    ),
    _fault(
        "attention-output-weight-transposed",
        "o W_out in the place of o W_out^T",
        edits=(_forward('self.params["out_proj_weight"].T', 'self.params["out_proj_weight"]'),),
        where=OUTPUT,
    ),
)

BACKWARD = (
    _fault(
        "attention-out-gradient-from-x",
        "dW_out takes what enters the layer",
        edits=(_backward("dy, self._o)", "dy, x)"),),
        where=DW_OUT,
    ),
    _fault(
        "attention-out-gradient-from-values",
        "dW_out takes v, before P weights it",
        edits=(_backward("dy, self._o)", "dy, self._merged(v))"),),
        where=DW_OUT,
    ),
    _fault(
        "attention-bias-of-the-last-step",
        "the gradient of both biases is that of the last step",
        edits=(_into("d.sum(axis=(0, 1))", "d[:, -1].sum(axis=0)"),),
        where=DB_OUT,
    ),
    _fault(
        "attention-bias-averaged-over-time",
        "summed over the batch, and averaged over time",
        edits=(_into("d.sum(axis=(0, 1))", "d.sum(axis=0).mean(axis=0)"),),
        where=DB_OUT,
    ),
    _fault(
        "attention-weights-of-the-first-step",
        "the gradient of both weights is that of the first step",
        edits=(
            _into(
                "rows(d).T @ rows(a)",
                "d[:, 0].T @ a[:, 0]",
            ),
        ),
        where=DW_OUT,
    ),
    _fault(
        "attention-derivative-of-a-sigmoid",
        "P (1 - P), the diagonal of the softmax's Jacobian",
        edits=(_backward("p * (dp - (dp * p).sum(axis=-1, keepdims=True))", "dp * p * (1 - p)"),),
        where=DW_IN,
    ),
    _fault(
        "attention-row-sum-missing",
        "P dP, without the sum over the row",
        edits=(_backward("p * (dp - (dp * p).sum(axis=-1, keepdims=True))", "dp * p"),),
        where=DW_IN,
    ),
    _fault(
        "attention-derivative-over-queries",
        "the softmax's sum on the way back is over axis -2",
        edits=(_backward("sum(axis=-1", "sum(axis=-2"),),
        where=DW_IN,
    ),
    _fault(
        "attention-scale-forgotten-on-the-way-back",
        "ds is not divided by sqrt(d)",
        edits=(_backward(" * self._scale", ""),),
        where=DW_IN,
    ),
    _fault(
        "attention-scaled-twice-on-the-way-back",
        "dq and dk are divided by sqrt(d), and so is ds",
        edits=(_backward(" * self._scale", " * self._scale * self._scale"),),
        where=DW_IN,
    ),
    _fault(
        "attention-gradients-exchanged",
        "dk stands in the place of dq, and dq in that of dk",
        edits=(_backward("(dq, dk, dv)]", "(dk, dq, dv)]"),),
        where=DW_IN,
    ),
    _fault(
        "attention-keys-without-transpose",
        "dk = ds q",
        edits=(_backward("ds.swapaxes(-1, -2) @ q", "ds @ q"),),
        where=DW_IN,
    ),
    _fault(
        "attention-values-without-transpose",
        "dv = P do",
        edits=(_backward("p.swapaxes(-1, -2) @ do", "p @ do"),),
        where=DW_IN,
    ),
    _fault(
        "attention-values-left-out-of-dx",
        "dx is what comes through q and k",
        edits=(
            _backward(
                'dqkv @ self.params["in_proj_weight"]',
                'dqkv[..., :-len(x[0, 0])] @ self.params["in_proj_weight"][:-len(x[0, 0])]',
            ),
        ),
        where=DX,
    ),
    _fault(
        "attention-queries-left-out-of-dx",
        "dx is what comes through k and v",
        edits=(
            _backward(
                'dqkv @ self.params["in_proj_weight"]',
                'dqkv[..., len(x[0, 0]):] @ self.params["in_proj_weight"][len(x[0, 0]):]',
            ),
        ),
        where=DX,
    ),
)

FAULTS = FORWARD + BACKWARD
CAUSES = {
    "attention-not-scaled": "scores-not-scaled",
    "attention-scaled-by-d": "scores-scaled-wrongly",
    "attention-scaled-by-embed-dim": "scores-scaled-wrongly",
    "attention-not-causal": "causal-mask-missing",
    "attention-mask-of-the-past": "causal-mask-transposed",
    "attention-mask-off-by-one": "causal-mask-shifted",
    "attention-masked-after-the-softmax": "causal-mask-after-softmax",
    "attention-softmax-over-queries": "softmax-wrong-axis",
    "attention-heads-split-at-once": "heads-split-wrongly",
    "attention-heads-merged-at-once": "heads-merged-wrongly",
    "attention-keys-for-queries": "projections-exchanged",
    "attention-input-bias-missing": "bias-missing",
    "attention-output-bias-missing": "bias-missing",
    "attention-output-weight-transposed": "weight-transposed",
    "attention-out-gradient-from-x": "wrong-input",
    "attention-out-gradient-from-values": "wrong-input",
    "attention-bias-of-the-last-step": "steps-not-added-up",
    "attention-bias-averaged-over-time": "mean-over-time",
    "attention-weights-of-the-first-step": "steps-not-added-up",
    "attention-derivative-of-a-sigmoid": "softmax-diagonal",
    "attention-row-sum-missing": "softmax-diagonal",
    "attention-derivative-over-queries": "softmax-wrong-axis",
    "attention-scale-forgotten-on-the-way-back": "scores-not-scaled",
    "attention-scaled-twice-on-the-way-back": "scores-scaled-wrongly",
    "attention-gradients-exchanged": "gradients-exchanged",
    "attention-keys-without-transpose": "transpose-missing",
    "attention-values-without-transpose": "transpose-missing",
    "attention-values-left-out-of-dx": "gradient-of-part-missing",
    "attention-queries-left-out-of-dx": "gradient-of-part-missing",
}
