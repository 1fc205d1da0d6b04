"""An output file is the old one or the whole new one, whatever happens while it is written."""

import contextlib
import ctypes
import filecmp
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers import Stillbit, names_in

Refuse = Callable[..., subprocess.CompletedProcess[str]]
Line = list[str | Path]

KILLS = 30
OLD = b"what was there before"
ACTIONS = ["compress", "decompress to .npy", "decompress to .safetensors"]


@dataclass(frozen=True)
class Source:
    """A tensor as it is, compressed, and expanded to .safetensors again."""

    npy: Path
    compressed: Path
    safetensors: Path


def make_source(stillbit: Stillbit, folder: Path, num_rows: int) -> Source:
    """Weights: sign and exponent are alike, the mantissa is random."""
    source = Source(folder / "source.npy", folder / "compressed.safetensors", folder / "expanded.safetensors")
    rng = np.random.default_rng(1)
    np.save(source.npy, 1 + rng.random((num_rows, 512), np.float32))
    stillbit("compress", source.npy, "-o", source.compressed)
    # What the command writes is compared with what it wrote before: a .npy header of numpy's may differ from its own.
    stillbit("decompress", source.compressed, "-o", source.safetensors)
    stillbit("decompress", source.compressed, "-o", folder / "expanded.npy")
    (folder / "expanded.npy").replace(source.npy)
    return source


@pytest.fixture(scope="module")
def large(stillbit: Stillbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """64 MiB."""
    folder = tmp_path_factory.mktemp("large")
    yield make_source(stillbit, folder, 32768)
    # pytest keeps the folders of its last runs.
    for file in folder.iterdir():
        file.unlink()


@pytest.fixture(scope="module")
def middling(stillbit: Stillbit, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """4 MiB, more than the small disks below hold."""
    return make_source(stillbit, tmp_path_factory.mktemp("middling"), 2048)


def plan(action: str, source: Source, folder: Path) -> tuple[Line, Path]:
    """The arguments of an action, and its output."""
    if action == "compress":
        output = folder / "out.safetensors"
        return ["compress", source.npy, "-o", output], output
    output = folder / ("out.npy" if action.endswith(".npy") else "out.safetensors")
    return ["decompress", source.compressed, "-o", output], output


def expected(action: str, source: Source) -> Path:
    """The file that an action makes, byte for byte."""
    if action == "compress":
        return source.compressed
    return source.npy if action.endswith(".npy") else source.safetensors


def is_stray(name: str, output: Path) -> bool:
    return name.startswith(f".{output.name}.") and name.endswith(".tmp")


def leaves_no_names(folder: Path) -> bool:
    """Whether the file system has files without names, so that only a kill between two calls leaves one behind."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600))
    except OSError:
        return False
    return True


# Killed


def seconds_of(args: Line) -> float:
    start = time.perf_counter()
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def kill_after(seconds: float, args: Line) -> int:
    with subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.kill()
        return process.wait()


@pytest.mark.parametrize("action", ["compress", "decompress to .npy"])
def test_killed(stillbit: Stillbit, command: str, large: Source, tmp_path: Path, action: str) -> None:
    """At any moment: the delays are spread over the whole run, and somewhat beyond its end."""
    args, output = plan(action, large, tmp_path)
    line = [command, *args]
    runtime = min(seconds_of(line) for _ in range(5))
    rng = random.Random(1)
    strays: set[str] = set()
    for i in range(KILLS):
        output.write_bytes(OLD)
        status = kill_after(1.1 * runtime * (i + rng.random()) / KILLS, line)
        assert status in (0, -signal.SIGKILL)
        is_old = output.stat().st_size == len(OLD) and output.read_bytes() == OLD
        assert is_old or filecmp.cmp(output, expected(action, large), shallow=False)
        assert not (is_old and status == 0)
        strays |= names_in(tmp_path) - {output.name}
    assert all(is_stray(name, output) for name in strays)
    if leaves_no_names(tmp_path):
        assert len(strays) <= 3
    for name in strays:
        (tmp_path / name).unlink()

    stillbit(*args)
    assert filecmp.cmp(output, expected(action, large), shallow=False)
    assert names_in(tmp_path) == {output.name}
    if action == "compress":
        stillbit("verify", output, "--against", large.npy)
    output.unlink()


@pytest.mark.parametrize(
    "signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_stopped(command: str, large: Source, tmp_path: Path, signal_number: signal.Signals) -> None:
    args, output = plan("compress", large, tmp_path)
    output.write_bytes(OLD)
    with subprocess.Popen([command, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(0.02)
        process.send_signal(signal_number)
        process.wait()
    assert output.read_bytes() == OLD or filecmp.cmp(output, large.compressed, shallow=False)
    assert all(entry == output or is_stray(entry.name, output) for entry in tmp_path.iterdir())
    output.unlink()


def test_killed_without_an_old_file(command: str, large: Source, tmp_path: Path) -> None:
    """There is no output then, or the whole one."""
    args, output = plan("compress", large, tmp_path)
    line = [command, *args]
    runtime = seconds_of(line)
    for share in (0.1, 0.5, 0.9):
        output.unlink(missing_ok=True)
        kill_after(share * runtime, line)
        assert not output.exists() or filecmp.cmp(output, large.compressed, shallow=False)
    output.unlink(missing_ok=True)


# No room, no permission


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[bool]:
    """A tmpfs at the folder; false where mounting is not permitted."""
    folder.mkdir()
    try:
        result = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        is_mounted = result.returncode == 0
    except FileNotFoundError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", folder], check=True)


@pytest.fixture
def refuse(command: str) -> Refuse:
    """Runs an action that cannot write its output, and checks what it leaves."""

    def run(
        action: str,
        source: Source,
        folder: Path,
        reason: str,
        preexec: Callable[[], None] | None = None,
        old: bytes | None = OLD,
    ) -> subprocess.CompletedProcess[str]:
        args, output = plan(action, source, folder)
        before = names_in(folder)
        result = subprocess.run([command, *args], capture_output=True, text=True, check=False, preexec_fn=preexec)
        assert result.returncode == 1, (result.returncode, result.stdout, result.stderr)
        assert result.stdout == ""
        assert str(output) in result.stderr
        assert reason in result.stderr
        assert names_in(folder) == before
        assert (output.read_bytes() if output.exists() else None) == old
        return result

    return run


@pytest.mark.parametrize("action", ACTIONS)
def test_disk_full(stillbit: Stillbit, refuse: Refuse, middling: Source, tmp_path: Path, action: str) -> None:
    with mounted(tmp_path / "disk", "size=1m") as is_mounted:
        if not is_mounted:
            pytest.skip("mounting a tmpfs is not permitted")
        _, output = plan(action, middling, tmp_path / "disk")
        refuse(action, middling, tmp_path / "disk", os.strerror(28), old=None)
        output.write_bytes(OLD)
        refuse(action, middling, tmp_path / "disk", os.strerror(28))

        # The room is free again: nothing without a name holds it.
        (tmp_path / "disk" / "room").write_bytes(bytes(900_000))
        (tmp_path / "disk" / "room").unlink()
        np.save(tmp_path / "small.npy", np.arange(100))
        stillbit("compress", tmp_path / "small.npy", "-o", tmp_path / "disk" / "out.safetensors")


@pytest.mark.parametrize("action", ACTIONS)
def test_no_inode_left(refuse: Refuse, middling: Source, tmp_path: Path, action: str) -> None:
    with mounted(tmp_path / "disk", "nr_inodes=2") as is_mounted:
        if not is_mounted:
            pytest.skip("mounting a tmpfs is not permitted")
        _, output = plan(action, middling, tmp_path / "disk")
        output.write_bytes(OLD)
        refuse(action, middling, tmp_path / "disk", os.strerror(28))


@pytest.mark.parametrize("action", ACTIONS)
def test_file_size_limit(refuse: Refuse, middling: Source, tmp_path: Path, action: str) -> None:
    """As a full disk, where nothing may be mounted."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    plan(action, middling, tmp_path)[1].write_bytes(OLD)
    refuse(action, middling, tmp_path, os.strerror(27), limit)


@pytest.mark.parametrize("action", ACTIONS)
def test_killed_by_the_file_size_limit(command: str, middling: Source, tmp_path: Path, action: str) -> None:
    """What SIGXFSZ does when nobody ignores it. A named temporary file may remain where there are no others."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    args, output = plan(action, middling, tmp_path)
    output.write_bytes(OLD)
    result = subprocess.run([command, *args], capture_output=True, check=False, preexec_fn=limit)
    assert result.returncode in (1, -signal.SIGXFSZ)
    assert output.read_bytes() == OLD
    others = [entry for entry in tmp_path.iterdir() if entry != output]
    assert others == [] or not leaves_no_names(tmp_path)


@pytest.mark.parametrize("action", ACTIONS)
def test_read_only_disk(refuse: Refuse, middling: Source, tmp_path: Path, action: str) -> None:
    with mounted(tmp_path / "disk", "size=1m") as is_mounted:
        if not is_mounted:
            pytest.skip("mounting a tmpfs is not permitted")
        plan(action, middling, tmp_path / "disk")[1].write_bytes(OLD)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / "disk"], check=True)
        refuse(action, middling, tmp_path / "disk", os.strerror(30))


def give_up_override() -> None:
    """Makes permissions count for root, too: takes CAP_DAC_OVERRIDE out of what the command starts with."""
    prctl_capbset_drop, cap_dac_override = 24, 1
    ctypes.CDLL(None).prctl(prctl_capbset_drop, cap_dac_override, 0, 0, 0)


@pytest.fixture
def locked_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "locked"
    folder.mkdir()
    yield folder
    folder.chmod(0o755)


@pytest.mark.parametrize("action", ACTIONS)
def test_folder_without_permission(refuse: Refuse, middling: Source, locked_folder: Path, action: str) -> None:
    plan(action, middling, locked_folder)[1].write_bytes(OLD)
    locked_folder.chmod(0o555)
    probe = subprocess.run(
        ["touch", locked_folder / "probe"], capture_output=True, preexec_fn=give_up_override, check=False
    )
    if probe.returncode == 0:
        pytest.skip("permissions do not count for this user")
    refuse(action, middling, locked_folder, os.strerror(13), give_up_override)


# Standard output


def run_with_output(line: Line, stdout: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.parametrize("action", ["inspect", "inspect --json", "compress", "compress --json", "verify"])
@pytest.mark.parametrize("kind", ["full", "closed"])
def test_standard_output(
    stillbit: Stillbit, command: str, middling: Source, tmp_path: Path, kind: str, action: str
) -> None:
    """What was asked for could not be said. An output file is complete all the same."""
    name, *options = action.split()
    output = tmp_path / "out.safetensors"
    source = middling.compressed if name == "verify" else middling.npy
    line: Line = [command, name, source, *options]
    if name == "compress":
        line += ["-o", output]
    if kind == "full":
        with open("/dev/full", "w") as full:
            result = run_with_output(line, full.fileno())
    else:
        result = run_with_output(["sh", "-c", 'exec "$@" >&-', "sh", *line], subprocess.DEVNULL)
    assert result.returncode == 1
    assert "standard output" in result.stderr
    if name == "compress":
        stillbit("verify", output, "--against", middling.npy)


def test_all_streams_closed(stillbit: Stillbit, command: str, middling: Source, tmp_path: Path) -> None:
    """Files that are opened then get the numbers of the streams: nothing may be printed into them."""
    for action in ACTIONS:
        args, output = plan(action, middling, tmp_path)
        subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", command, *args], check=False)
        assert filecmp.cmp(output, expected(action, middling), shallow=False)


def test_message_without_standard_error(command: str, middling: Source, tmp_path: Path) -> None:
    output = tmp_path / "none" / "out.safetensors"
    line: Line = ["sh", "-c", 'exec "$@" 2>&-', "sh", command, "compress", middling.npy, "-o", output]
    assert run_with_output(line, subprocess.DEVNULL).returncode == 1
