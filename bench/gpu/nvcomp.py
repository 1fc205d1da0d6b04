"""GB/s of nvCOMP's ANS and bitcomp on the data of ``stillbit_gpu_bench``: ``python bench/gpu/nvcomp.py [--json FILE]``.

Both work on a whole tensor, not row by row. bf16 values are N(0, 0.02) cut down from f32, 1 GiB of them. Each result is
compared with the original before it is timed; times are CUDA events, the median of nine. Needs a GPU, cupy, and the
package nvidia-nvcomp-cu13; says what is missing and ends well without.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

RAW_BYTES = 1 << 30
REPETITIONS = 9
ALGORITHMS = {"ANS": "|u1", "Bitcomp": "<u2"}


def skipped() -> str | None:
    """Return why nothing can be measured."""
    try:
        import cupy
        from nvidia import nvcomp  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed"
    try:
        return None if cupy.cuda.runtime.getDeviceCount() > 0 else "no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no GPU: {error}"


def seconds_of(cupy: Any, call: Callable[[], object]) -> float:
    """Return how long a call takes on the GPU: the median, after two to warm up."""
    times = []
    for _ in range(REPETITIONS + 2):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e-3)
    return median(times[2:])


def weights(cupy: Any) -> Any:
    """Return bf16 weights as 16-bit patterns."""
    values = cupy.random.default_rng(1).standard_normal(RAW_BYTES // 2, dtype=cupy.float32) * cupy.float32(0.02)
    return (values.view(cupy.uint32) >> 16).astype(cupy.uint16)


def measure() -> list[dict[str, Any]]:
    import cupy
    from nvidia import nvcomp

    raw = weights(cupy)
    results = []
    # One stream for the events and for what they time.
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        for algorithm, data_type in ALGORITHMS.items():
            codec = nvcomp.Codec(algorithm=algorithm, data_type=data_type, cuda_stream=stream.ptr)
            source = nvcomp.as_array(raw.view(cupy.uint8), cuda_stream=stream.ptr)
            encoded = codec.encode(source)
            decoded = cupy.asarray(codec.decode(encoded)).view(cupy.uint16).ravel()
            if not bool((decoded == raw).all()):
                sys.exit(f"{algorithm}: not bit for bit what was compressed")
            del decoded
            results.append(
                {
                    "algorithm": algorithm,
                    "ratio": RAW_BYTES / encoded.buffer_size,
                    "compress_gb_per_s": RAW_BYTES / seconds_of(cupy, lambda c=codec, s=source: c.encode(s)) / 1e9,
                    "decompress_gb_per_s": RAW_BYTES / seconds_of(cupy, lambda c=codec, e=encoded: c.decode(e)) / 1e9,
                }
            )
    return results


def main() -> None:
    """Measure, and print a table."""
    why = skipped()
    document: dict[str, Any] = {"skipped": why} if why else {"raw_bytes": RAW_BYTES, "results": measure()}
    if len(sys.argv) == 3 and sys.argv[1] == "--json":
        Path(sys.argv[2]).write_text(json.dumps(document, indent=1) + "\n")
    if why:
        print(f"nvCOMP was skipped: {why}")
        return
    print("| nvCOMP, bf16 weights, 1 GiB | ratio | compress, GB/s | decompress, GB/s |\n|---|---|---|---|")
    for result in document["results"]:
        print(
            f"| {result['algorithm']} | {result['ratio']:.3f} | {result['compress_gb_per_s']:.0f}"
            f" | {result['decompress_gb_per_s']:.0f} |"
        )


if __name__ == "__main__":
    main()
