"""
Stillbit's core, as the package around it uses it. Arguments are not checked here: use stillbit.
"""

from collections.abc import Mapping, Sequence
import os
from typing import overload


version: str = '0.1.0'

def address_of(array: object) -> int:
    """Address of a numpy array's first element."""

class Counter:
    """Bytes done so far, for progress bars."""

    def __init__(self) -> None: ...

    def add(self, num_bytes: int) -> None: ...

    @property
    def num_bytes(self) -> int: ...

class Tensor:
    """A compressed tensor."""

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> list[int]: ...

    @property
    def row_dims(self) -> int: ...

    @property
    def num_rows(self) -> int: ...

    @property
    def row_bytes(self) -> int: ...

    @property
    def codec(self) -> str: ...

    @property
    def packing(self) -> str: ...

    @property
    def raw_bytes(self) -> int: ...

    @property
    def stored_bytes(self) -> int: ...

    @property
    def ratio(self) -> float: ...

    @property
    def transfer_ratio(self) -> float: ...

    @property
    def prices(self) -> list[tuple[str, int]]:
        """Codecs that were considered, and the bytes they would take."""

    def gather(self, index: int, num_index: int, index_bytes: int, out: int, out_bytes: int, num_threads: int) -> None: ...

    def decompress(self, out: int, out_bytes: int, num_threads: int, verify: bool) -> None: ...

    def update(self, index: int, num_index: int, rows: int, rows_bytes: int) -> None: ...

    def append(self, rows: int, rows_bytes: int) -> None: ...

    def compact(self) -> None: ...

    def verify(self, num_threads: int) -> None: ...

    def verify_stored(self, num_threads: int) -> None:
        """Checks what is mapped from a file, and expands nothing."""

class Lookup:
    """Bags of rows of a tensor, and where what they are pooled to goes."""

    def __init__(self, tensor: Tensor, index: int, num_index: int, index_bytes: int, offsets: int, num_offsets: int, offset_bytes: int, has_last_offset: bool, mode: str, weights: int | None, weights_bytes: int, padding_index: int | None, out: int, out_stride: int) -> None: ...

def pool(lookups: Sequence[Lookup], num_threads: int) -> None:
    """Pools bags of several tensors at once."""

def compress(address: int, dtype: str, shape: Sequence[int], codec: str | None, packing: str | None, objective: str, row_dims: int, num_threads: int, counter: Counter | None, plan: Plan | None) -> Tensor: ...

def dtype_width(dtype: str) -> int:
    """
    Bytes of an element of a dtype that is named as in safetensors files, in upper or lower case.
    """

class BitStatistics:
    """Counts of ones."""

    def __init__(self, row_bytes: int) -> None: ...

    @staticmethod
    def from_ones(num_rows: int, ones: int, num_ones: int) -> BitStatistics: ...

    def add(self, address: int, num_bytes: int) -> None: ...

    def merge(self, other: BitStatistics) -> None: ...

    def read_ones(self, out: int) -> None: ...

    @property
    def row_bytes(self) -> int: ...

    @property
    def num_rows(self) -> int: ...

class Plan:
    """How rows are going to be stored."""

    @property
    def dtype(self) -> str: ...

    @property
    def row_shape(self) -> list[int]: ...

    @property
    def row_bytes(self) -> int: ...

    @property
    def codec(self) -> str: ...

    @property
    def packing(self) -> str: ...

    @property
    def objective(self) -> str: ...

    @property
    def num_rows(self) -> int: ...

    @property
    def prices(self) -> list[tuple[str, int]]: ...

    @property
    def tile_bytes(self) -> int: ...

    @property
    def stride(self) -> int: ...

    @property
    def plan_bytes(self) -> int: ...

    @property
    def stores_repeats_once(self) -> bool: ...

    def to_json(self) -> str: ...

    @staticmethod
    def from_json(text: str) -> Plan: ...

def plan(address: int, dtype: str, shape: Sequence[int], codec: str | None, packing: str | None, objective: str, row_dims: int, num_threads: int, num_rows: int | None, statistics: BitStatistics | None) -> Plan: ...

def counted_row_bytes(dtype: str, row_bytes: int) -> int:
    """What statistics count as a row."""

class CudaTable:
    """A compressed tensor for a GPU."""

    def __init__(self, tensor: Tensor, placement: str, device: int, capacity_rows: int, overflow_bytes: int, is_empty: bool) -> None: ...

    def gather(self, index: int, num_index: int, index_bytes: int, out: int, stream: int, positions: int, max_sms: int) -> None: ...

    def decompress(self, out: int, stream: int) -> None: ...

    def append(self, rows: int, num_rows: int, stream: int) -> None: ...

    def update(self, index: int, rows: int, num_rows: int, stream: int) -> None: ...

    def read(self, stream: int) -> Tensor:
        """The table as it is now, in the host's memory."""

    def set_fast_rows(self, slots: int, rows: int, num_fast_rows: int) -> None: ...

    @property
    def num_rows(self) -> int: ...

    def check(self, stream: int) -> None: ...

    @property
    def placement(self) -> str: ...

    @property
    def device(self) -> int: ...

    @property
    def pinned_bytes(self) -> int: ...

    @property
    def device_bytes(self) -> int: ...

    @property
    def note(self) -> str: ...

class CudaLookup:
    """Bags of rows of a table on a GPU, and where their results go."""

    def __init__(self, table: object, index: int, num_index: int, index_bytes: int, offsets: int, num_offsets: int, offset_bytes: int, has_last_offset: bool, mode: str, weights: int, padding_index: int | None, out: int, out_stride: int) -> None: ...

def cuda_pool(lookups: Sequence[CudaLookup], stream: int, max_sms: int) -> None:
    """Pools bags of several tables, on a stream."""

def cuda_count(rows: int, num_rows: int, row_bytes: int, stream: int) -> BitStatistics: ...

def cuda_devices() -> tuple[int, str]:
    """The number of GPUs, and why there is none."""

class TensorInfo:
    """What is known of a tensor in a file without decompressing it."""

    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> str:
        """As in safetensors: "BF16"."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def codec(self) -> str | None:
        """None in an ordinary file."""

    @property
    def packing(self) -> str | None:
        """None in an ordinary file."""

    @property
    def raw_bytes(self) -> int:
        """Of the tensor itself."""

    @property
    def stored_bytes(self) -> int:
        """Of all that is stored for it."""

    @property
    def metadata_bytes(self) -> int:
        """Of these, what is not rows."""

    @property
    def transfer_ratio(self) -> float: ...

    @property
    def prices(self) -> dict[str, int]:
        """Codecs that were considered, and the bytes each would take."""

    @property
    def ratio(self) -> float: ...

    def __repr__(self) -> str: ...

class FileInfo:
    """What is in a file, compressed or not."""

    @property
    def tensors(self) -> list[TensorInfo]: ...

    @property
    def raw_bytes(self) -> int:
        """Of the tensors themselves."""

    @property
    def stored_bytes(self) -> int:
        """Of the tensors; what they share is counted once."""

    @property
    def file_bytes(self) -> int:
        """Of the file or files on disk."""

    @property
    def metadata(self) -> dict[str, str]:
        """What the file's writer noted in it."""

    @property
    def ratio(self) -> float: ...

    def __repr__(self) -> str: ...

class CompressedFile:
    """A compressed file whose tensors are expanded many at once."""

    def __init__(self, path: str | os.PathLike) -> None: ...

    @property
    def entries(self) -> list[tuple[str, str, tuple[int, ...], int, str]]:
        """Name, dtype, shape, bytes and file of each tensor."""

    def decompress(self, outputs: Sequence[tuple[int, int, int]], are_new: bool, verify: bool, num_threads: int) -> None:
        """Outputs: number of an entry, address, bytes."""

def load(path: str | os.PathLike, mmap: bool) -> list[tuple[str, Tensor]]: ...

def save(path: str | os.PathLike, tensors: Sequence[tuple[str, Tensor]], metadata: Mapping[str, str], num_threads: int) -> None: ...

def save_shared(descriptor: int, tensor: Tensor) -> None:
    """Writes a tensor to an empty file that is open."""

def map_shared(descriptor: int) -> Tensor:
    """Maps what save_shared wrote."""

def inspect_file(path: str | os.PathLike) -> FileInfo: ...

def total_bytes(path: str | os.PathLike) -> int: ...

def compress_file(input: str | os.PathLike, output: str | os.PathLike, codec: str | None, packing: str | None, objective: str, row_dims: int, num_threads: int, as_dtype: str | None, counter: Counter | None, plan: Plan | None) -> FileInfo: ...

def compress_to_file(arrays: Sequence[tuple[str, int, str, Sequence[int], bool]], output: str | os.PathLike, metadata: Mapping[str, str], codec: str | None, packing: str | None, objective: str, row_dims: int, num_threads: int, counter: Counter | None, plan: Plan | None) -> FileInfo: ...

def decompress_file(input: str | os.PathLike, output: str | os.PathLike, num_threads: int, counter: Counter | None) -> None: ...

def verify_file(path: str | os.PathLike, against: str | os.PathLike | None, num_threads: int, counter: Counter | None) -> None: ...

class RowScan:
    """A first look at a tensor that comes in chunks."""

    def __init__(self, dtype: str, entry_shape: Sequence[int], row_dims: int, num_threads: int) -> None: ...

    def add(self, address: int, num_bytes: int) -> None: ...

    def plan(self, codec: str | None, packing: str | None, objective: str, num_threads: int) -> Plan: ...

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> list[int]: ...

    @property
    def num_rows(self) -> int: ...

    @property
    def statistics(self) -> BitStatistics: ...

    def sample(self) -> bytes: ...

class StreamWriter:
    """Compresses tensors to a file chunk by chunk."""

    def __init__(self, path: str | os.PathLike, metadata: Mapping[str, str], num_threads: int, counter: Counter | None) -> None: ...

    def declare(self, name: str, scan: RowScan, plan: Plan) -> None: ...

    def begin(self) -> None: ...

    def write(self, address: int, num_bytes: int) -> None: ...

    def end(self) -> bool: ...

    def commit(self) -> None: ...

    def close(self) -> None: ...

class TierStatistics:
    """What a tier did, and what it holds."""

    @property
    def num_lookups(self) -> int: ...

    @property
    def bytes_read(self) -> int: ...

    @property
    def num_filled(self) -> int: ...

    @property
    def num_evicted(self) -> int: ...

    @property
    def num_rows(self) -> int: ...

    @property
    def max_rows(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    @property
    def budget_bytes(self) -> int: ...

class TieredStatistics:
    """What the tiers of a table did, and what they hold."""

    @property
    def fast(self) -> TierStatistics: ...

    @property
    def warm(self) -> TierStatistics: ...

    @property
    def cold(self) -> TierStatistics: ...

    @property
    def num_prefetched(self) -> int: ...

    @property
    def num_prefetch_hits(self) -> int: ...

    @property
    def num_updated(self) -> int: ...

    @property
    def num_updated_held(self) -> int: ...

class TieredTable:
    """A table of rows in tiers."""

    @overload
    def __init__(self, tensor: Tensor, takes: bool, fast_bytes: int, warm_bytes: int | None, is_static: bool, prefetch_share: float) -> None: ...

    @overload
    def __init__(self, path: str | os.PathLike, name: str, fast_bytes: int, warm_bytes: int | None, is_static: bool, prefetch_share: float) -> None: ...

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> list[int]: ...

    @property
    def row_dims(self) -> int: ...

    @property
    def row_bytes(self) -> int: ...

    @property
    def raw_bytes(self) -> int: ...

    def gather(self, index: int, num_index: int, index_bytes: int, out: int, out_bytes: int, num_threads: int) -> None: ...

    def decompress(self, out: int, out_bytes: int, num_threads: int) -> None: ...

    def update(self, index: int, num_index: int, rows: int, rows_bytes: int) -> None: ...

    def prefetch(self, index: int, num_index: int, in_background: bool) -> int: ...

    def wait_for_prefetches(self) -> None: ...

    def place(self, counts: int, num_counts: int) -> None: ...

    def statistics(self) -> TieredStatistics: ...

    def reset_statistics(self) -> None: ...

    def close(self) -> None: ...

class IbpRows:
    """A matrix of words in memory."""

    def __init__(self, address: int, num_rows: int, row_words: int, word_bytes: int) -> None: ...

class IbpMasks:
    """Masks and values, and the cluster of each row; no clusters: one mask."""

    def __init__(self, mask: int, value: int, num_bytes: int, clusters: int, num_clusters: int) -> None: ...

def ibp_find_masks(rows: IbpRows, threshold: float | None, mask: int, value: int) -> list[tuple[float, int]]:
    """Thresholds, and the bytes that the rows take with each."""

def ibp_find_clusters(rows: IbpRows, num_clusters: int, threshold: float | None, seed: int, mask: int, value: int, clusters: int) -> list[int]:
    """The bytes that the rows take after each round."""

def ibp_measure(rows: IbpRows, masks: IbpMasks, index: tuple[int, int] | None, sizes: int) -> None: ...

def ibp_compress_in_place(rows: IbpRows, masks: IbpMasks, index: tuple[int, int] | None, bitmask: int, bitmask_words: int) -> None: ...

def ibp_compress_condensed(rows: IbpRows, masks: IbpMasks, index: tuple[int, int] | None, ends: int, out: int, out_bytes: int) -> None: ...

def ibp_decompress_in_place(rows: IbpRows, masks: IbpMasks, bitmask: int, bitmask_words: int, index: tuple[int, int] | None, out: int) -> None: ...

def ibp_decompress_condensed(condensed: IbpRows, num_rows: int, row_words: int, masks: IbpMasks, ends: int, index: tuple[int, int] | None, out: int) -> None: ...
