"""Show a generated program: `python -m compare.measuring.programs.show right|wrong SEED`."""

from __future__ import annotations

import sys

from compare.measuring.programs.program import Program
from compare.measuring.programs.wrong import planted


def shown(part: str, seed: int) -> str:
    """The program, and above it what is known of it."""
    if part == "right":
        program = Program.drawn(seed)
        return f'# --network "{program.network}"\n{program.text}'
    wrong = planted(seed)
    known = f"{wrong.mistake.name}, lines {', '.join(str(n + 2) for n in wrong.lines)} here, from step {wrong.step} on"
    return f'# --network "{wrong.right.network}"\n# {known}; {", ".join(sorted(wrong.mistake.causes))}\n{wrong.text}'


if __name__ == "__main__":
    print(shown(sys.argv[1], int(sys.argv[2])), end="")
