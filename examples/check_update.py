import numpy as np
import update_right
import update_wrong

import compare

rng = np.random.default_rng(0)
x, t = rng.standard_normal((6, 4)), rng.standard_normal((6, 2))
networks = update_right.Network(), update_wrong.Network()
right, wrong = (compare.check(network, x, t, network="4-6-2 sigmoid, mse") for network in networks)
print(right, wrong, sep="\n\n")
