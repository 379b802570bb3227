import numpy as np
import samples_right
import samples_wrong

import compare

rng = np.random.default_rng(0)
x, t = rng.standard_normal((6, 4)), np.eye(3)[rng.integers(0, 3, 6)]
steps = [lambda x, t, code=code: code.batch_gradients(code.Network(), x, t) for code in (samples_right, samples_wrong)]
right, wrong = (compare.check(s, x, t, network="4-6-3 sigmoid, sigmoid output, half squared error sum") for s in steps)
print(right, wrong, sep="\n\n")
