"""What the package needs to have, and what it does without."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import stillbit as sb

from tables import run_python

WITHOUT = "import sys; sys.modules.update(dict.fromkeys(['torch', 'ml_dtypes', 'tqdm']))\n"


def test_import_brings_no_framework() -> None:
    assert (
        run_python("import sys, stillbit; print('torch' in sys.modules, 'ml_dtypes' in sys.modules)") == "False False\n"
    )


def test_without_torch_ml_dtypes_and_tqdm() -> None:
    program = """
import warnings, numpy as np, stillbit as sb
bits = np.arange(512, dtype=np.uint16).reshape(32, 16)
tensor = sb.compress(bits, as_dtype="bf16")
assert tensor.dtype == np.uint16 and (tensor.numpy() == bits).all()
for call in [tensor.torch, lambda: tensor.gather([0], like="torch")]:
    try:
        call()
    except ImportError as error:
        assert isinstance(error, sb.MissingPackageError)
        print(error)
with warnings.catch_warnings(record=True) as caught:
    sb.compress(bits, progress=True)
print(caught[0].message)
"""
    shown = run_python(WITHOUT + program)
    assert shown.count("torch is not installed") == 2 and "tqdm is not installed" in shown


def test_modules_of_torch_say_that_it_is_missing() -> None:
    program = """
try:
    import stillbit.ibp
except ImportError as error:
    print(type(error).__name__, error)
"""
    assert run_python(WITHOUT + program) == (
        "MissingPackageError torch is not installed: pip install torch, or stillbit[torch]\n"
    )


def test_version_and_command() -> None:
    assert importlib.metadata.version("stillbit") == sb.__version__
    command = shutil.which("stillbit", path=str(Path(sys.executable).parent))
    assert command is not None
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == sb.__version__


def test_errors_are_also_python_s_own() -> None:
    for error, builtin in [
        (sb.InvalidArgumentError, ValueError),
        (sb.OutOfRangeError, IndexError),
        (sb.IoError, OSError),
        (sb.UnsupportedError, NotImplementedError),
        (sb.MissingPackageError, ImportError),
        (sb.CorruptError, RuntimeError),
        (sb.MismatchError, RuntimeError),
    ]:
        assert issubclass(error, sb.Error) and issubclass(error, builtin)
        assert str(error("what")) == "what"
