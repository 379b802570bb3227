"""Why a mutant that no case kills is not killed: tables of reasons, by the mutant's key, written by hand.

A key that no longer names a survivor is an error of the command, so that no reason outlives its mutant.
"""

from __future__ import annotations

Reasons = dict[str, str]


def _for(reason: str, *keys: str) -> Reasons:
    return dict.fromkeys(keys, reason)


# No input tells them from the original.
EQUIVALENT: Reasons = {
    **_for(
        "membership in a pair does not depend on its order",
        "layers.py expect: if not fits or any((n not in (None, k) for n, k in zip(sizes, a.shape, strict=False))): ... "
        "-> if not fits or any((n not in (k, None) for n, k in zip(sizes, a.shape, strict=False))): ...",
    ),
    **_for(
        "without a word `zip` is not strict either",
        "layers.py expect: if not fits or any((n not in (None, k) for n, k in zip(sizes, a.shape, strict=False))): ... "
        "-> if not fits or any((n not in (None, k) for n, k in zip(sizes, a.shape))): ...",
    ),
    **_for(
        "the smaller or the larger of two numbers does not depend on their order",
        "layers.py Linear.__init__: if min(in_features, out_features) < 1: ... -> if min(out_features, "
        "in_features) < 1: ...",
        "layers.py ReLU.forward: return np.maximum(x, 0) -> return np.maximum(0, x)",
        "losses.py BCEWithLogitsLoss.forward: return (np.maximum(z, 0) - z * t + "
        "np.log1p(np.exp(-np.abs(z)))).sum() / self._per(z.size) -> return (np.maximum(0, z) - z * t + "
        "np.log1p(np.exp(-np.abs(z)))).sum() / self._per(z.size)",
    ),
    **_for(
        "the array is a new one, which nobody else holds: in place or not is the same",
        "layers.py Linear.forward: y += self.params['bias'] -> y = y + self.params['bias']",
    ),
    **_for(
        "a Python number takes the dtype of the array beside it, as the scalar had it",
        "layers.py ReLU.backward: return np.where(x > 0, dy, dy.dtype.type(0)) -> return np.where(x > 0, dy, 0)",
        "layers.py Sigmoid.forward: self._kept = np.where(x >= 0, x.dtype.type(1), e) / (1 + e) -> self._kept = "
        "np.where(x >= 0, 1, e) / (1 + e)",
        "losses.py _times_log: return np.where(t == 0, t.dtype.type(0), t * np.log(p)) -> return np.where(t == "
        "0, 0, t * np.log(p))",
        "losses.py _over: return np.where(t == 0, t.dtype.type(0), t / p) -> return np.where(t == 0, 0, t / p)",
        "losses.py BCEWithLogitsLoss.backward: return (np.where(z >= 0, z.dtype.type(1), e) / (1 + e) - t) / "
        "self._per(z.size) -> return (np.where(z >= 0, 1, e) / (1 + e) - t) / self._per(z.size)",
    ),
    **_for(
        "both arrays have one dtype: that is asked before",
        "layers.py ReLU.backward: return np.where(x > 0, dy, dy.dtype.type(0)) -> return np.where(x > 0, dy, "
        "x.dtype.type(0))",
        "losses.py _times_log: return np.where(t == 0, t.dtype.type(0), t * np.log(p)) -> return np.where(t == "
        "0, p.dtype.type(0), t * np.log(p))",
        "losses.py _over: return np.where(t == 0, t.dtype.type(0), t / p) -> return np.where(t == 0, "
        "p.dtype.type(0), t / p)",
        "losses.py BCEWithLogitsLoss.backward: return (np.where(z >= 0, z.dtype.type(1), e) / (1 + e) - t) / "
        "self._per(z.size) -> return (np.where(z >= 0, t.dtype.type(1), e) / (1 + e) - t) / self._per(z.size)",
        "optim.py Adam._adaptive: m = state.setdefault('exp_avg', np.zeros_like(p)) -> m = "
        "state.setdefault('exp_avg', np.zeros_like(g))",
        "optim.py Adam._adaptive: v = state.setdefault('exp_avg_sq', np.zeros_like(p)) -> v = "
        "state.setdefault('exp_avg_sq', np.zeros_like(g))",
    ),
    **_for(
        "at 0 both branches are 1: e^-|0|",
        "layers.py Sigmoid.forward: self._kept = np.where(x >= 0, x.dtype.type(1), e) / (1 + e) -> self._kept = "
        "np.where(x > 0, x.dtype.type(1), e) / (1 + e)",
        "losses.py BCEWithLogitsLoss.backward: return (np.where(z >= 0, z.dtype.type(1), e) / (1 + e) - t) / "
        "self._per(z.size) -> return (np.where(z > 0, z.dtype.type(1), e) / (1 + e) - t) / self._per(z.size)",
    ),
    **_for(
        "only the square of it is used, and its sign is lost in that",
        "layers.py Tanh.backward: y = self.kept -> y = -self.kept",
        "losses.py MSELoss.forward: d = y - self._kept[1] -> d = -(y - self._kept[1])",
        "losses.py MSELoss.forward: d = y - self._kept[1] -> d = self._kept[1] - y",
        "losses.py HalfSquaredErrorLoss.forward: d = y - self._kept[1] -> d = -(y - self._kept[1])",
        "losses.py HalfSquaredErrorLoss.forward: d = y - self._kept[1] -> d = self._kept[1] - y",
    ),
    **_for(
        "the sign cancels in e / sum e, to the last bit",
        "layers.py Softmax.forward: e = np.exp(x - x.max(axis=1, keepdims=True)) -> e = -np.exp(x - "
        "x.max(axis=1, keepdims=True))",
    ),
    **_for(
        "-0.0 where it was 0.0: equal numbers, and the loss makes the same of both",
        "losses.py one_hot: t = np.zeros((len(labels), classes), dtype) -> t = -np.zeros((len(labels), classes), "
        "dtype)",
    ),
    **_for(
        "output and target have one shape: that is asked before",
        "losses.py CrossEntropyLoss.forward: return -(t * log_p).sum() / self._per(len(s)) -> return -(t * "
        "log_p).sum() / self._per(len(t))",
        "losses.py ProbabilityCrossEntropyLoss.forward: return -_times_log(self._kept[1], p).sum() / "
        "self._per(len(p)) -> return -_times_log(self._kept[1], p).sum() / self._per(len(t))",
        "losses.py ProbabilityCrossEntropyLoss.backward: return -_over(t, p) / self._per(len(p)) -> return "
        "-_over(t, p) / self._per(len(t))",
        "losses.py MSELoss.backward: return 2 * (y - t) / self._per(y.size) -> return 2 * (y - t) / self._per(t.size)",
        "losses.py HalfSquaredErrorLoss.forward: return (d * d).sum() / (2 * self._per(len(y))) -> return (d * "
        "d).sum() / (2 * self._per(len(t)))",
        "losses.py HalfSquaredErrorLoss.backward: return (y - t) / self._per(len(y)) -> return (y - t) / "
        "self._per(len(t))",
        "losses.py BCELoss.forward: return -(_times_log(t, p) + _times_log(1 - t, 1 - p)).sum() / "
        "self._per(p.size) -> return -(_times_log(t, p) + _times_log(1 - t, 1 - p)).sum() / self._per(t.size)",
        "losses.py BCELoss.backward: return (_over(1 - t, 1 - p) - _over(t, p)) / self._per(p.size) -> return "
        "(_over(1 - t, 1 - p) - _over(t, p)) / self._per(t.size)",
        "losses.py BCEWithLogitsLoss.forward: return (np.maximum(z, 0) - z * t + "
        "np.log1p(np.exp(-np.abs(z)))).sum() / self._per(z.size) -> return (np.maximum(z, 0) - z * t + "
        "np.log1p(np.exp(-np.abs(z)))).sum() / self._per(t.size)",
        "losses.py BCEWithLogitsLoss.backward: return (np.where(z >= 0, z.dtype.type(1), e) / (1 + e) - t) / "
        "self._per(z.size) -> return (np.where(z >= 0, z.dtype.type(1), e) / (1 + e) - t) / self._per(t.size)",
    ),
    **_for(
        "0 times a finite weight is added: the condition only saves the work",
        "optim.py SGD.update: if self.weight_decay: ... -> if True: ...",
        "optim.py Adam.update: self._adaptive(p, g + self.weight_decay * p if self.weight_decay else g, state) "
        "-> self._adaptive(p, g + self.weight_decay * p, state)",
    ),
}

# They change the words of a message in a way that the rule does not know.
WORDS: Reasons = {
    **_for(
        "what it lets pass is refused a few lines later, by the same exception in other words",
        "layers.py expect: if dtype is None and (not np.issubdtype(a.dtype, np.floating)): ... -> if not "
        "np.issubdtype(a.dtype, np.floating): ...",
        "losses.py _distributions: if np.issubdtype(t.dtype, np.integer): ... -> pass",
        "losses.py _distributions: if np.issubdtype(t.dtype, np.integer): ... -> if np.issubdtype(np.integer, "
        "t.dtype): ...",
        "losses.py _distributions: raise LayerError(f'got a target of {t.dtype} {t.shape}, expected class "
        "indices ({len(y)},) or {y.dtype} {y.shape}') -> pass",
        "losses.py _distributions: if np.issubdtype(t.dtype, np.integer): ... -> if np.issubdtype(y.dtype, "
        "np.integer): ...",
    ),
    **_for(
        "the same exception passes, without the number of the layer in its words",
        "network.py Sequential._at: try ... except LayerError -> try ... except KeyError",
    ),
}

# They change behaviour, and the check does not look there.
UNSEEN: Reasons = {}
