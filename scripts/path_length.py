r"""How many machine instructions a path through a kernel has.

``python scripts/path_length.py SASS KERNEL`` lists the loops of the kernels whose mangled names match KERNEL, a regular
expression, in what ``cuobjdump -sass`` printed; with ``FROM TO [TAKEN …]`` it prints the path from one address to
another and counts it by kind of instruction. Branches with a condition are not taken unless their addresses are named;
those without are. Which path data takes is for the reader to say: this only counts.

    nvcc -std=c++20 -O3 --expt-relaxed-constexpr -arch=sm_90 -Iinclude -Isrc -cubin -o k.cubin \
        src/codecs/escape/kernels.cu
    cuobjdump -sass k.cubin > k.sass
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PREDICATE = re.compile(r"^@!?U?P\w+\s+")
BRANCH = re.compile(r"(BRA\S*)\s(.*)0x([0-9a-f]+)$")


@dataclass(frozen=True)
class Instruction:
    address: int
    text: str

    @property
    def kind(self) -> str:
        return PREDICATE.sub("", self.text).split()[0].split(".")[0]

    def target(self) -> int | None:
        """Return where a branch goes; nothing of other instructions."""
        branch = BRANCH.match(PREDICATE.sub("", self.text))
        return int(branch[3], 16) if branch else None

    def is_conditional(self) -> bool:
        branch = BRANCH.match(PREDICATE.sub("", self.text))
        return branch is not None and (
            PREDICATE.match(self.text) is not None or ".DIV" in branch[1] or branch[2].strip() != ""
        )


def kernels(sass: str, pattern: str) -> dict[str, list[Instruction]]:
    """Return the instructions of the functions whose names match."""
    found = {}
    for function in re.split(r"\n\s*Function : ", sass)[1:]:
        name = function.split("\n", 1)[0]
        if re.search(pattern, name):
            lines = re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(.*?)\s*;", function)
            found[name] = [Instruction(int(address, 16), text) for address, text in lines]
    return found


def print_loops(code: list[Instruction]) -> None:
    places = {instruction.address: i for i, instruction in enumerate(code)}
    for i, instruction in enumerate(code):
        begin = places.get(instruction.target() or -1, i)
        if begin < i:
            kinds = Counter(each.kind for each in code[begin : i + 1])
            print(f"  {code[begin].address:x} to {instruction.address:x}: {i + 1 - begin}, {kinds['SHFL']} shuffles")


def path(code: list[Instruction], begin: int, end: int, taken: set[int]) -> list[Instruction]:
    """Follow the branches from one address to another."""
    places = {instruction.address: i for i, instruction in enumerate(code)}
    steps: list[Instruction] = []
    i = places[begin]
    while len(steps) < len(code):
        steps.append(code[i])
        if code[i].address == end:
            return steps
        target = code[i].target()
        goes = target is not None and (not code[i].is_conditional() or code[i].address in taken)
        i = places[target] if goes and target is not None else i + 1
    sys.exit(f"the path does not come to {end:x}")


def main() -> None:
    if len(sys.argv) not in (3, *range(5, 40)):
        sys.exit("usage: path_length.py SASS KERNEL [FROM TO [TAKEN …]]")
    for name, code in kernels(Path(sys.argv[1]).read_text(), sys.argv[2]).items():
        print(f"{name}: {len(code)} instructions")
        if len(sys.argv) == 3:
            print_loops(code)
            continue
        begin, end, *taken = (int(address, 16) for address in sys.argv[3:])
        steps = path(code, begin, end, set(taken))
        for step in steps:
            print(f"  {step.address:x} {step.text}")
        kinds = Counter(step.kind for step in steps).most_common()
        print(f"{len(steps)}: " + ", ".join(f"{count} {kind}" for kind, count in kinds))


if __name__ == "__main__":
    main()
