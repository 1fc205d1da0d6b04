"""What kernels take of a multiprocessor: registers, stack, shared memory, for each architecture.

``python scripts/kernel_resources.py --check`` compiles all .cu files of src/cuda.cmake and of bench/gpu for the
architectures of cmake/cuda.cmake, which proves that they compile without warnings, and holds what the compiler reports
against src/cuda/resources.txt. A kernel that spills registers fails; so does one that takes more than the table says,
one that is not in it, and one that is no longer there. ``--update`` writes the table anew. Without a CUDA compiler both
say so. What each file takes of a processor's time is printed, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "src/cuda/resources.txt"

# Registers are given out eight at a time; between two runs of one compiler nothing moves.
TOLERATED_REGISTERS = 4
TOLERATED_STACK = 0

TYPES = {"unsigned char": "u8", "unsigned short": "u16", "unsigned int": "u32", "unsigned long": "u64"}
STAGINGS = {"(Staging)0": "shared", "(Staging)1": "global"}

# One kernel on one architecture.
Key = tuple[str, str]


@dataclass
class Resources:
    registers: int = 0
    stack: int = 0
    spills: int = 0
    shared: int = 0


def sources() -> list[Path]:
    text = (ROOT / "src/cuda.cmake").read_text()
    found = [ROOT / "src" / name for name in re.findall(r"\S+\.cu\b", text)]
    found += sorted((ROOT / "bench/gpu").glob("*.cu"))
    # Those that take longest begin: the last ones to end are short.
    return sorted(found, key=lambda source: (source.name != "kernels.cu", "escape" not in source.parts))


def architectures() -> list[str]:
    text = (ROOT / "cmake/cuda.cmake").read_text()
    found = re.search(r"set\(CMAKE_CUDA_ARCHITECTURES ([^)]*)\)", text)
    assert found, "cmake/cuda.cmake names no architectures"
    return re.findall(r"\d+", found[1])


def compiler() -> str | None:
    return os.environ.get("CUDACXX") or shutil.which("nvcc")


def version(nvcc: str) -> str:
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"release ([\d.]+)", text)
    return found[1] if found else "unknown"


def compile_one(nvcc: str, source: Path) -> tuple[str, float]:
    """Compile one file for all architectures; return the compiler's report, and seconds of a processor's time.

    Exit where there are warnings.
    """
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in architectures()]
    flags = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Xptxas", "-v", "-Werror", "all-warnings"]
    with tempfile.TemporaryDirectory() as folder:
        folders = ["-I", "src", "-I", "include", "-I", "."]
        command = [nvcc, *flags, *targets, *folders, "-c", str(source), "-o", f"{folder}/out.o"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
        assert process.stdout
        report = process.stdout.read()
        _, status, taken = os.wait4(process.pid, 0)  # the compiler's processes are in it
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{source.relative_to(ROOT)} does not compile without warnings:\n{report}")
    return report, taken.ru_utime + taken.ru_stime


def demangle(names: list[str]) -> list[str]:
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def short(name: str) -> str:
    """'expand_kernel<window::WarpCodec<u16>, shared>' of a demangled name."""
    name = re.sub(r"\((?!Staging\)|anonymous)[^()<>]*\)$", "", name.removeprefix("void ")).replace("stillbit::", "")
    name = name.replace("cuda::", "").replace("(anonymous namespace)::", "")
    for long_name, short_name in (TYPES | STAGINGS).items():
        name = name.replace(long_name, short_name)
    return name


def number_in(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def parse(report: str) -> dict[Key, Resources]:
    """Read what ptxas says of each kernel."""
    parts = re.split(r"Compiling entry function '(\w+)' for 'sm_(\d+)\w*'", report)[1:]
    mangled = parts[0::3]
    names = demangle(mangled) if mangled else []
    found: dict[Key, Resources] = {}
    for name, architecture, text in zip(names, parts[1::3], parts[2::3], strict=True):
        found[short(name), f"sm_{architecture}"] = Resources(
            registers=number_in(r"Used (\d+) registers", text),
            stack=number_in(r"(\d+) bytes stack frame", text),
            spills=number_in(r"(\d+) bytes spill stores", text) + number_in(r"(\d+) bytes spill loads", text),
            shared=number_in(r"(\d+) bytes smem", text),
        )
    return found


def measure(nvcc: str) -> dict[Key, Resources]:
    files = sources()
    found: dict[Key, Resources] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, (report, seconds) in zip(files, pool.map(lambda each: compile_one(nvcc, each), files), strict=True):
            print(f"{seconds:5.0f} s  {source.relative_to(ROOT)}", flush=True)
            found |= parse(report)
    return found


def write(measured: dict[Key, Resources], release: str) -> None:
    width = max(len(name) for name, _ in measured)
    lines = [
        f"# CUDA {release}. Written by scripts/kernel_resources.py --update. Stack, spills and shared memory in bytes,",
        "# without the shared memory that a launch asks for.",
        f"{'# kernel':{width}}  architecture  registers  stack  spills  shared",
    ]
    for (name, architecture), taken in sorted(measured.items()):
        numbers = f"{taken.registers:9}  {taken.stack:5}  {taken.spills:6}  {taken.shared:6}"
        lines.append(f"{name:{width}}  {architecture:12}  {numbers}")
    TABLE.write_text("\n".join(lines) + "\n")


def read() -> tuple[str, dict[Key, Resources]]:
    """Return the release that the table was made with, and the table."""
    text = TABLE.read_text()
    found = re.search(r"^# CUDA ([\d.]+\d)", text)
    rows: dict[Key, Resources] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, architecture, *numbers = re.split(r"\s{2,}", line)
        rows[name, architecture] = Resources(*map(int, numbers))
    return found[1] if found else "unknown", rows


def growth(was: Resources, taken: Resources) -> list[str]:
    found = []
    if taken.registers > was.registers + TOLERATED_REGISTERS:
        found.append(f"{taken.registers} registers, were {was.registers}")
    if taken.stack > was.stack + TOLERATED_STACK:
        found.append(f"{taken.stack} bytes of stack, were {was.stack}")
    if taken.spills > was.spills:
        found.append(f"{taken.spills} bytes of spills, were {was.spills}")
    return found


def problems(measured: dict[Key, Resources], release: str) -> list[str]:
    table_release, table = read()
    found = [f"{name}, {target}: not in the table" for name, target in sorted(measured.keys() - table.keys())]
    found += [f"{name}, {target}: in the table only" for name, target in sorted(table.keys() - measured.keys())]
    for (name, target), taken in sorted(measured.items()):
        if taken.spills:
            found.append(f"{name}, {target}: spills {taken.spills} bytes")
        # Another compiler gives registers out in another way: that is no fault of the code.
        if table_release == release and (name, target) in table:
            found += [f"{name}, {target}: {more}" for more in growth(table[name, target], taken)]
    return found


def main() -> None:
    """Check or update; exit with 1 when something is wrong."""
    if sys.argv[1:] not in (["--check"], ["--update"]):
        sys.exit("usage: kernel_resources.py --check | --update")
    nvcc = compiler()
    if nvcc is None:
        print("SKIPPED: there is no CUDA compiler (nvcc): kernels were not compiled, nor their resources checked")
        return
    release = version(nvcc)
    measured = measure(nvcc)
    if sys.argv[1] == "--update":
        write(measured, release)
        print(f"{TABLE.relative_to(ROOT)}: {len(measured)} lines")
        return
    found = problems(measured, release)
    print("\n".join(found) or f"{len(sources())} files, {len(measured)} kernels: none spills, none has grown")
    if found:
        sys.exit("if that is meant to be: python scripts/kernel_resources.py --update")


if __name__ == "__main__":
    main()
