"""Makes the golden files: small compressed files whose decoding must never change, and files that must be refused.

Run it by hand when the format gets a new version or codec, look at what it made, and commit that. Its argument is
the command, as in ``python tests/golden/make_golden.py build/release/src/cli/stillbit``. Files that are there are kept:
they pin the decoder, and a better encoder must not replace them.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xxhash

HERE = Path(__file__).parent
Payload = bytearray


def arrays() -> dict[str, np.ndarray]:
    """Return the valid cases: every codec, view, tile and packing that the encoder makes."""
    rng = np.random.default_rng(1)
    normal = (0.02 * rng.standard_normal((40, 48))).astype(np.float32)
    words = (rng.random((30, 200)) < 0.02).astype(np.float32)
    outliers = np.full((24, 64), 0x3F80, np.uint16) + rng.integers(0, 16, (24, 64), dtype=np.uint16)
    outliers[7] = rng.integers(0, 65536, 64, dtype=np.uint16)
    outliers[11, 3] = 0xFFFF
    return {
        "f32_weights": normal,
        "f32_bag_of_words": words,
        "bf16_with_a_random_row": outliers,
        "f32_short_rows": (0.02 * rng.standard_normal((130, 10))).astype(np.float32),
        "u8_one_entry": rng.integers(0, 8, (20, 100), dtype=np.uint8),
        "f64_of_f32": rng.standard_normal((20, 16)).astype(np.float32).astype(np.float64),
        "i64_constant": np.full((10, 8), -7, np.int64),
        "f32_long_row": (0.02 * rng.standard_normal((1, 17001))).astype(np.float32),
        "u32_random": rng.integers(0, 2**32, (8, 8), dtype=np.uint32),
        "bool_scalar": np.array(True),
        "f16_no_rows": np.zeros((0, 5), np.float16),
        "f32_no_columns": np.zeros((5, 0), np.float32),
    }


def checksum(data: bytes) -> int:
    """Return the format's checksum."""
    pieces = (data[start : start + 2**20] for start in range(0, len(data), 2**20))
    return int(xxhash.xxh3_64_intdigest(b"".join(struct.pack("<Q", xxhash.xxh3_64_intdigest(p)) for p in pieces)))


def set_field(layout: str, offset: int, value: int) -> Callable[[Payload], None]:
    """Return a change of one field of a payload."""

    def change(payload: Payload) -> None:
        struct.pack_into("<" + layout, payload, offset, value)

    return change


def last_slot(layout: str, from_end: int, value: int) -> Callable[[Payload], None]:
    """Return a change in the last slot of a slotted payload."""

    def change(payload: Payload) -> None:
        (plan_bytes, _, rows_bytes, _) = struct.unpack_from("<4Q", payload, 32)
        plan_at = -(-(80 + 8 * payload[21]) // 128) * 128
        rows_at = -(-(plan_at + plan_bytes) // 128) * 128
        struct.pack_into("<" + layout, payload, rows_at + rows_bytes - from_end, value)

    return change


# name: (valid file it is made from, change of its payload, words that the message must have)
INVALID: dict[str, tuple[str, Callable[[Payload], None], str]] = {
    "wrong_magic": ("f32_weights_packed", set_field("B", 0, 0), "STILLBIT"),
    "newer_version": ("f32_weights_packed", set_field("H", 16, 2), "version 2"),
    "unknown_dtype": ("f32_weights_packed", set_field("B", 18, 19), "dtype"),
    "unknown_codec": ("f32_weights_packed", set_field("B", 19, 200), "codec number 200"),
    "other_shape": ("f32_weights_packed", set_field("Q", 80, 41), "manifest and payload differ"),
    "huge_shape": ("f32_weights_packed", set_field("Q", 80, 2**62), "too large"),
    "wrong_data_checksum": ("f32_weights_packed", set_field("Q", 24, 1), "does not have its checksum"),
    "huge_plan": ("f32_weights_packed", set_field("Q", 32, 2**63), "plan_bytes"),
    "index_leads_outside": ("f32_weights_packed", set_field("Q", 0, 0), "malformed"),
    "wrong_view": ("f32_weights_packed", set_field("B", 96, 3), "view_bytes"),
    "too_many_entries": ("f32_weights_packed", set_field("I", 100, 65537), "num_entries"),
    "stride_too_small": ("f32_weights_slotted", set_field("Q", 64, 15), "row_unit"),
    "unknown_tag": ("f32_weights_slotted", last_slot("B", 1, 3), "row 39 is malformed"),
    "tail_outside": ("bf16_with_a_random_row_slotted", last_slot("QIB", 13, 0), "malformed"),
}


def rewritten(file: bytes, change: Callable[[Payload], None]) -> bytes:
    """Return a file of one payload with the payload changed, and its checksum made right again."""
    (header_bytes,) = struct.unpack_from("<Q", file)
    payload = bytearray(file[8 + header_bytes :])
    change(payload)
    struct.pack_into("<Q", payload, 8, checksum(bytes(payload[16:])))
    return file[: 8 + header_bytes] + payload


def index_leads_outside(payload: Payload) -> None:
    """Let the first block of rows start behind the section."""
    (plan_bytes,) = struct.unpack_from("<Q", payload, 32)
    struct.pack_into("<Q", payload, -(-(96 + plan_bytes) // 16) * 16, 2**40)


def tail_outside(payload: Payload) -> None:
    """Let a slot name a tail that does not lie within the overflow area."""
    last_slot("B", 1, 2)(payload)
    last_slot("I", 5, 2**31)(payload)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet."""
    if not path.exists():
        path.write_bytes(data)
        print("made", path.name)


def main() -> None:
    """Make what is missing."""
    command = sys.argv[1]
    for name, array in arrays().items():
        source = HERE / f"{name}.npy"
        if not source.exists():
            np.save(source, array)
        for packing in ("packed", "slotted"):
            target = HERE / f"{name}_{packing}.safetensors"
            if not target.exists():
                subprocess.run([command, "compress", source, "-o", target, "--packing", packing], check=True)
    changes = {name: change for name, (_, change, _) in INVALID.items()}
    changes["index_leads_outside"] = index_leads_outside
    changes["tail_outside"] = tail_outside
    expected = {}
    (HERE / "invalid").mkdir(exist_ok=True)
    for name, (base, _, words) in INVALID.items():
        file = (HERE / f"{base}.safetensors").read_bytes()
        write_new(HERE / "invalid" / f"{name}.safetensors", rewritten(file, changes[name]))
        expected[f"{name}.safetensors"] = words
    (HERE / "invalid" / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main()
