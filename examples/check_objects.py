import numpy as np
import objects_right
import objects_wrong

import compare

NET = "5-7-4 relu, softmax cross-entropy"
rng = np.random.default_rng(0)
x, t = rng.standard_normal((6, 5)), rng.integers(0, 4, 6)
right, wrong = (compare.check(code.Network(), x, t, network=NET) for code in (objects_right, objects_wrong))
print(right, wrong, sep="\n\n")
