"""Plans and statistics: made in one place, followed in others."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import stillbit as sb

from tables import DTYPES, assert_same, normal, table


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_plan_is_followed(dtype: str) -> None:
    first, second = table((700, 33), dtype), table((300, 33), dtype, seed=1)
    for packing in ["packed", "slotted"]:
        plan = sb.plan(first, packing=packing)
        own = sb.compress(first, packing=packing)
        followed = sb.compress(first, plan=plan)
        assert (followed.codec, followed.packing, followed.nbytes) == (own.codec, packing, own.nbytes)
        assert plan.prices == own.prices and plan.ratio == pytest.approx(own.ratio)
        for array in (first, second, first[:1], first[:0]):
            assert_same(sb.compress(array, plan=plan).numpy(), array)


def test_a_plan_says_what_it_is() -> None:
    plan = sb.plan(normal((50_000, 16)), packing="packed", num_threads=1)
    assert (plan.dtype_name, plan.row_shape, plan.num_rows) == ("F32", (16,), 50_000)
    assert (plan.packing, plan.objective, plan.stride) == ("packed", "storage", None)
    text = str(plan)
    assert all(codec in text for codec in plan.prices) and f"* {plan.codec}" in text and "50,000 rows" in text
    assert repr(plan).startswith("Plan(")
    assert plan.tile_nbytes % 64 == 0 and f"{plan.tile_nbytes // 64} rows are encoded together" in text
    assert "stored once" in str(sb.plan(np.repeat(normal((100, 64)), 9, 0), packing="packed"))
    assert sb.plan(normal((500, 64))).stride in range(16, 256)
    long = sb.plan(normal((2, 40_000)), packing="packed", codec="escape")
    assert long.tile_nbytes < 160_000 and "in parts" in str(long)


def test_a_plan_travels() -> None:
    plan = sb.plan(normal())
    for again in (pickle.loads(pickle.dumps(plan)), sb.Plan.from_json(plan.to_json())):
        assert again == plan and hash(again) == hash(plan)
        assert_same(sb.compress(normal(), plan=again).numpy(), normal())
    assert plan != sb.plan(normal((10, 3)))
    with pytest.raises(sb.CorruptError, match="plan"):
        sb.Plan.from_json("{}")
    with pytest.raises(sb.InvalidArgumentError, match="bytes"):
        sb.Plan.from_json(b"{}")  # type: ignore[arg-type]


def test_what_a_plan_is_not_for() -> None:
    plan = sb.plan(normal())
    with pytest.raises(sb.InvalidArgumentError, match="plan"):
        sb.compress(normal((5, 3)), plan=plan)
    with pytest.raises(sb.InvalidArgumentError, match="plan"):
        sb.compress(normal().astype(np.float64), plan=plan)
    with pytest.raises(sb.InvalidArgumentError, match="stillbit.plan"):
        sb.compress(normal(), plan=plan, codec="ibp")
    with pytest.raises(sb.InvalidArgumentError, match="str"):
        sb.compress(normal(), plan="escape")  # type: ignore[arg-type]
    for options in ({"num_rows": 3}, {"num_rows": -1}, {"num_rows": 2.5}, {"statistics": 3}, {"packing": "loose"}):
        with pytest.raises(sb.InvalidArgumentError):
            sb.plan(normal(), **options)  # type: ignore[arg-type]
    with pytest.raises(sb.InvalidArgumentError, match="statistics"):
        sb.plan(normal(), statistics=sb.BitStatistics().add(normal((5, 3))))
    with pytest.raises(sb.InvalidArgumentError, match="num_rows"):
        sb.plan(normal(), statistics=sb.BitStatistics().add(normal((5, 16))))


def plain_counts(array: np.ndarray) -> np.ndarray:
    """Count bit by bit."""
    words = np.ascontiguousarray(array).view(f"u{array.itemsize}")
    bits = words[..., None] >> np.arange(8 * array.itemsize, dtype=words.dtype) & 1
    return bits.reshape(-1, *array.shape[-1:], 8 * array.itemsize).sum(0, dtype=np.uint64)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "c8"])
def test_statistics_count_ones(dtype: str) -> None:
    array = table((3, 50, 7), dtype)
    statistics = sb.BitStatistics().add(array)
    assert (statistics.num_rows, statistics.row_shape) == (150, (7,))
    words = array.view("u8") if dtype == "c8" else array
    assert np.array_equal(statistics.ones, plain_counts(words))
    assert sb.BitStatistics(row_dims=2).add(array).ones.shape == (50, 7, 8 * array.itemsize)


def test_statistics_merge_and_travel() -> None:
    array = table((100, 9))
    whole = sb.BitStatistics().add(array)
    parts = [sb.BitStatistics().add(array[i : i + 7]) for i in range(0, 100, 7)]
    assert sum(parts) == whole and parts[0] + parts[1] == sb.BitStatistics().add(array[:14])
    assert parts[0].num_rows == 7  # as it was
    assert sb.BitStatistics().merge(whole).merge(sb.BitStatistics()) == whole
    again = pickle.loads(pickle.dumps(whole))
    assert again == whole and again.add(array).num_rows == 200 and again != whole
    assert pickle.loads(pickle.dumps(sb.BitStatistics(2))) == sb.BitStatistics(2)
    long = np.arange(30_000, dtype=np.int64).reshape(3, -1)
    assert sb.BitStatistics().add(long).ones.shape == (1, 64) and sb.BitStatistics().add(long).num_rows == 3


def test_what_statistics_refuse() -> None:
    statistics = sb.BitStatistics().add(normal())
    for call in (
        lambda: statistics.add(normal((3, 4))),
        lambda: statistics.add(table((3, 16), "f8")),
        lambda: statistics.add([1.0, 2.0]),
        lambda: statistics.add(np.float32(1)),
        lambda: statistics.merge(sb.BitStatistics().add(normal((3, 4)))),
        lambda: statistics.merge(sb.BitStatistics(2)),
        lambda: statistics.merge(3),
        lambda: sb.BitStatistics(-1),
        lambda: sb.BitStatistics().ones,
    ):
        with pytest.raises(sb.InvalidArgumentError):
            call()
    assert statistics == sb.BitStatistics().add(normal())


def test_statistics_of_all_rows_make_the_better_plan() -> None:
    """Bits that are 0 in the sample, and not in the rest: what trusts the sample stores the rest raw."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 32, (20_000, 32)).astype(np.uint16)
    rows[10_000:] |= (rng.integers(0, 2, (10_000, 32)) << 9).astype(np.uint16)
    statistics = sb.BitStatistics().add(rows[:5000]).add(rows[5000:])
    informed = sb.plan(rows[:2000], codec="ibp", packing="packed", statistics=statistics)
    blind = sb.plan(rows[:2000], codec="ibp", packing="packed", num_rows=20_000)
    small, large = (sb.compress(rows, plan=plan) for plan in (informed, blind))
    assert small.nbytes < 0.8 * large.nbytes
    assert_same(small.numpy(), rows)
    assert_same(large.numpy(), rows)
