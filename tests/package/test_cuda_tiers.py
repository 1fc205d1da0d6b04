"""`stillbit.cuda.TieredTable`: which rows go where, on a GPU that is played, and the same rows where there is one."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import stillbit as sb
import stillbit.cuda
from stillbit._tier_policy import TierPolicy

torch = pytest.importorskip("torch")

from stillbit import _cuda_tiers  # noqa: E402

from bags import assert_same_bits, random_table  # noqa: E402
from played_gpu import PlayedCore, played_core, played_table  # noqa: E402

core = played_core
needs_gpu = pytest.mark.skipif(not stillbit.cuda.is_available(), reason=stillbit.cuda.why_not_available())
ROWS = 400


def policy(num_slots: int = 3, max_moves: int = 100) -> TierPolicy:
    return TierPolicy(50, num_slots, max_moves)


def indices(**times: int) -> Any:
    """Return rows so many times: ``indices(r7=3)``."""
    return np.repeat([int(name[1:]) for name in times], list(times.values()))


def test_free_slots_go_to_the_most_counted() -> None:
    found = policy().moves(indices(r1=1, r2=5, r3=2, r4=4))
    assert found.rows.tolist() == [2, 4, 3] and found.slots.tolist() == [0, 1, 2] and not len(found.evicted)


def test_a_newcomer_leads_by_two() -> None:
    tier = TierPolicy(50, 2, 100)
    tier.moves(indices(r1=4, r2=8))
    assert not len(tier.moves(indices(r3=5)).rows)
    found = tier.moves(indices(r3=1))
    assert found.rows.tolist() == [3] and found.evicted.tolist() == [1]
    assert sorted(tier.row_in.tolist()) == [2, 3]


def test_counts_are_halved() -> None:
    tier = TierPolicy(50, 1, 100)
    tier.moves(indices(r1=9))
    tier.moves(indices(r1=2))  # 11, which become 5
    assert tier.moves(indices(r2=7)).rows.tolist() == [2]


def test_a_batch_moves_so_many_at_most_and_other_numbers_are_left_out() -> None:
    tier = policy(30, max_moves=4)
    assert tier.moves(np.array([-1, 50, 10**12, *range(20)])).rows.tolist() == [0, 1, 2, 3]
    assert tier.num_lookups == 20 and tier.num_hits == 0
    tier.moves(np.arange(5))
    assert tier.num_hits == 4


def test_rows_that_are_placed_begin_anew() -> None:
    tier = policy()
    tier.moves(indices(r1=9, r2=9))
    found = tier.place(np.bincount([5, 5, 6], minlength=50).astype(np.uint64))
    assert found.rows.tolist() == [5, 6] and sorted(found.evicted.tolist()) == [1, 2]
    assert sorted(tier.row_in.tolist()) == [-1, 5, 6]


@pytest.mark.parametrize("seed", range(3))
def test_a_policy_holds_what_it_says(seed: int) -> None:
    draw = np.random.default_rng(seed)
    tier = TierPolicy(300, 40, 16)
    held: dict[int, int] = {}
    for _ in range(60):
        found = tier.moves(np.minimum(draw.zipf(1.3, 200), 300) - 1)
        assert len(found.rows) == len(found.slots) == len(set(found.slots.tolist())) <= 16
        for row in found.evicted.tolist():
            del held[row]
        for row, slot in zip(found.rows.tolist(), found.slots.tolist(), strict=True):
            assert row not in held
            held[row] = slot
        assert {row: slot for slot, row in enumerate(tier.row_in.tolist()) if row >= 0} == held
    assert tier.num_hits > tier.num_lookups / 2


class PlayedTiers:
    """What `_core.CudaTable` does of lookups, by the CPU; rows that were read raw are counted."""

    def __init__(self, tensor: sb.CompressedTensor) -> None:
        self.tensor, self.num_rows = tensor, tensor.num_rows
        self.row_nbytes = tensor.raw_nbytes // tensor.num_rows
        self.num_raw = 0

    def set_fast_rows(self, slots: int, rows: int, num_rows: int) -> None:
        self.slots = np.frombuffer((ctypes.c_int32 * self.num_rows).from_address(slots), np.int32)
        self.fast = np.frombuffer((ctypes.c_uint8 * (num_rows * self.row_nbytes)).from_address(rows), np.uint8)

    def gather(self, index: int, size: int, width: int, out: int, _: int, positions: int, max_sms: int) -> None:
        kind = ctypes.c_int64 if width == 8 else ctypes.c_int32
        rows = np.frombuffer((kind * size).from_address(index), f"i{width}")
        places = np.arange(size)
        if positions:
            places = np.frombuffer((ctypes.c_int64 * size).from_address(positions), np.int64)
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            slot = int(self.slots[row])
            found = self.tensor.gather([row], like="torch").view(torch.uint8).numpy().tobytes()
            if slot:
                found = self.fast[(slot - 1) * self.row_nbytes : slot * self.row_nbytes].tobytes()
                self.num_raw += 1
            ctypes.memmove(out + place * self.row_nbytes, found, self.row_nbytes)


class PlayedCopy:
    """Numbers that are there when they are asked for the second time."""

    def __init__(self, index: Any) -> None:
        self.index, self.asked = index.clone(), 0

    def is_done(self) -> bool:
        self.asked += 1
        return self.asked > 1

    def numbers(self) -> Any:
        return self.index.numpy().astype(np.int64)


def tiers_of(monkeypatch: pytest.MonkeyPatch, tensor: sb.CompressedTensor, **options: Any) -> Any:
    def table_of(*_: Any) -> Any:
        table = played_table(tensor)
        table._handle = PlayedTiers(tensor)
        return table

    monkeypatch.setattr(_cuda_tiers, "new_table", table_of)
    monkeypatch.setattr(_cuda_tiers, "start_copy", PlayedCopy)
    return stillbit.cuda.TieredTable(tensor, **options)


def test_rows_move_behind_lookups_and_results_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = random_table(1, ROWS, 24, torch.bfloat16)
    tiers = tiers_of(monkeypatch, sb.compress(raw), fast_nbytes=4 * ROWS + 16 + 40 * 48)
    assert tiers.fast_nbytes == 4 * ROWS + 16 + 40 * 48 and tiers.num_fast == 0
    draw = np.random.default_rng(1)
    for step in range(20):
        index = torch.from_numpy(np.minimum(draw.zipf(1.5, 100), ROWS) - 1)
        index = index.to(torch.int32) if step % 2 else index.view(4, 25)
        assert_same_bits(tiers.gather(index), raw[index.long()])
    assert tiers.num_fast == 40 and tiers.hit_rate > 0.5
    handle = tiers.table._handle
    assert handle.num_raw > 800
    # What is raw there is what the table has.
    for row in np.flatnonzero(handle.slots):
        slot = int(handle.slots[row]) - 1
        assert handle.fast[slot * 48 : (slot + 1) * 48].tobytes() == raw[row].view(torch.uint8).numpy().tobytes()


def test_bags_are_counted_too(monkeypatch: pytest.MonkeyPatch, core: PlayedCore) -> None:
    tensor = sb.compress(random_table(1, ROWS, 24, torch.bfloat16))
    tiers = tiers_of(monkeypatch, tensor, fast_nbytes=10_000)
    index, offsets = torch.arange(40), torch.arange(0, 40, 4)
    for _ in range(3):
        assert_same_bits(tiers.pool(index, offsets), tensor.pool(index, offsets, like="torch"))
    assert tiers.num_fast == 40 and core.launches == [1, 1, 1]


def test_rows_that_are_placed_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = random_table(1, ROWS, 24, torch.bfloat16)
    tiers = tiers_of(monkeypatch, sb.compress(raw), fast_nbytes=10_000, policy="static")
    tiers.place(np.bincount([3, 3, 9], minlength=ROWS))
    for _ in range(4):
        assert_same_bits(tiers.gather(torch.arange(ROWS)), raw)
    assert tiers.num_fast == 2 and np.flatnonzero(tiers.table._handle.slots).tolist() == [3, 9]
    with pytest.raises(sb.InvalidArgumentError, match="400 integers"):
        tiers.place([1, 2])


def test_wrong_arguments_are_named() -> None:
    raw = random_table(1, ROWS, 24, torch.bfloat16)
    for message, tensor, options in [
        ("the policy is", sb.compress(raw), {"fast_nbytes": 10_000, "policy": "lru"}),
        ("of a slotted tensor", sb.compress(raw, packing="packed"), {"fast_nbytes": 10_000}),
        ("a map and one row take 1664 bytes", sb.compress(raw), {"fast_nbytes": 1663}),
    ]:
        with pytest.raises(sb.InvalidArgumentError, match=message):
            stillbit.cuda.TieredTable(tensor, **options)


@needs_gpu
def test_on_a_gpu() -> None:
    raw = random_table(1, 20_000, 64, torch.bfloat16)
    tensor = sb.compress(raw)
    tiers = stillbit.cuda.TieredTable(tensor, fast_nbytes=300_000)
    draw = np.random.default_rng(1)
    for _ in range(50):
        index = torch.from_numpy(np.minimum(draw.zipf(1.3, 5000), 20_000) - 1)
        found = tiers.gather(index.cuda())
        tiers.check()
        assert_same_bits(found.cpu(), raw[index])
        bags = tiers.pool(index.cuda(), torch.arange(0, 5000, 10, device="cuda"))
        assert_same_bits(bags.cpu(), tensor.pool(index, torch.arange(0, 5000, 10), like="torch"))
    assert tiers.num_fast > 0 and tiers.hit_rate > 0.2
