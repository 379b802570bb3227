from pathlib import Path

import compare

NET = "3-5-1 tanh, sigmoid output, binary cross-entropy"
HERE = Path(__file__).parent
right, wrong = (compare.check(HERE / f"script_{which}.py", network=NET) for which in ("right", "wrong"))
print(right, wrong, sep="\n\n")
