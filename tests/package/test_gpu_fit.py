"""What is compressed on a GPU as it leaves it: activations, and the tokens of a cache. The GPU is played."""

from __future__ import annotations

from typing import Any

import pytest
import stillbit as sb
import stillbit.cuda

torch = pytest.importorskip("torch")

from stillbit import _gpu_fit  # noqa: E402
from stillbit.torch import save_on_cpu_compressed  # noqa: E402

from bags import assert_same_bits, random_table  # noqa: E402
from played_gpu import PlayedTable, played_tables  # noqa: E402

tables = played_tables
needs_gpu = pytest.mark.skipif(not stillbit.cuda.is_available(), reason=stillbit.cuda.why_not_available())


def test_rows_are_compressed_by_one_plan(tables: type[PlayedTable]) -> None:
    fit = _gpu_fit.GpuFit(None, "storage")
    for seed in range(3):
        rows = random_table(seed, 3000, 64, torch.bfloat16)
        found = fit.compress(rows, (30, 100, 64))
        assert found is not None and found.shape == (30, 100, 64) and found.nbytes < rows.nbytes
        assert_same_bits(found.decompress(), rows.view(30, 100, 64))
        host = found.host()
        assert (host.shape, host.packing) == ((30, 100, 64), "packed")
        assert_same_bits(host.decompress(like="torch"), rows.view(30, 100, 64))
    assert len({id(table.template) for table in tables.made}) == 1


def test_what_a_gpu_does_not_encode_is_left_to_the_cpu(tables: type[PlayedTable]) -> None:
    sparse = (torch.rand(2000, 64) < 0.01).float()
    noise = torch.randint(-(2**31), 2**31 - 1, (2000, 64), dtype=torch.int32)
    for codec, rows in (("sparse", sparse), (None, noise)):
        fit = _gpu_fit.GpuFit(codec, "storage")
        assert fit.compress(rows) is None and fit.compress(rows) is None
    assert fit.compress(random_table(0, 2000, 64, torch.bfloat16)) is None  # it does not try again
    assert not tables.made


def test_rows_without_room_are_planned_anew_and_then_left_to_the_cpu(tables: type[PlayedTable]) -> None:
    fit = _gpu_fit.GpuFit(None, "storage")
    rows = random_table(0, 2000, 64, torch.bfloat16)
    assert fit.compress(rows) is not None
    tables.has_room = False
    assert fit.compress(rows) is None
    assert len(tables.made) == 3 and tables.made[1].template is not tables.made[2].template
    tables.has_room = True
    assert fit.compress(rows) is not None


def test_gradients_of_activations_from_a_gpu_are_the_same(tables: type[PlayedTable]) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Tanh(), torch.nn.Linear(256, 8))
    batch = torch.randn(128, 64)
    model(batch).square().sum().backward()
    wanted = [each.grad.clone() for each in model.parameters()]
    saving = save_on_cpu_compressed()
    for _ in range(2):
        model.zero_grad()
        with saving:
            loss = model(batch).square().sum()
        loss.backward()
        for parameter, gradient in zip(model.parameters(), wanted, strict=True):
            assert_same_bits(parameter.grad, gradient)
    assert tables.made and saving.stored_nbytes < saving.raw_nbytes


def caches(tables: type[PlayedTable], **options: Any) -> tuple[Any, Any]:
    """Return a store on the GPU that is played, and what shall be in it."""
    transformers = pytest.importorskip("stillbit.transformers")
    from stillbit.transformers._kv_store import Options, Store
    from stillbit.transformers._kv_workers import Workers

    assert transformers
    states = random_table(1, 2 * 3 * 200, 64, torch.bfloat16).view(2, 3, 200, 64)
    store = Store(states, Options(50, 10, None, "storage", options.get("device")))
    for part in states.split([90, 1, 109], dim=2):
        store.append(part, Workers(0))
    return store, states


def in_store(store: Any) -> Any:
    from stillbit.transformers._kv_layers import expanded

    return expanded(store)


@pytest.mark.parametrize("device", [None, "cuda"])
def test_tokens_are_compressed_where_they_are(tables: type[PlayedTable], device: Any) -> None:
    store, states = caches(tables, device=device)
    assert_same_bits(in_store(store), states)
    assert [chunk.length for chunk in store.chunks] == [50, 50, 50]
    assert all(isinstance(table, _gpu_fit.GpuRows) for table in store.tables())
    assert {table.placement for table in tables.made} == {"pinned" if device is None else "device"}
    assert store.compressed_nbytes < 150 * store.token_nbytes
    store.select([1, 1, 0])
    store.drop_first(60)
    store.drop_last(70)
    assert_same_bits(in_store(store), states[[1, 1, 0], :, 60:130])


def test_tokens_that_find_no_room_are_compressed_by_the_cpu(tables: type[PlayedTable]) -> None:
    tables.has_room = False
    store, states = caches(tables)
    assert_same_bits(in_store(store), states)
    assert all(isinstance(table, sb.CompressedTensor) for table in store.tables())


def test_a_cache_from_a_gpu_is_saved_as_any_other(tables: type[PlayedTable], tmp_path: Any) -> None:
    pytest.importorskip("stillbit.transformers")
    from stillbit.transformers import KVCache
    from transformers import LlamaConfig

    sizes = {"hidden_size": 128, "intermediate_size": 128, "vocab_size": 50}
    config = LlamaConfig(**sizes, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
    cache = KVCache(config, chunk_length=50, tail_length=10)
    states = [random_table(seed, 2 * 150, 64, torch.bfloat16).view(1, 2, 150, 64) for seed in range(4)]
    for layer in range(2):
        cache.update(states[2 * layer], states[2 * layer + 1], layer)
    assert tables.made
    cache.save(tmp_path / "cache.safetensors")
    again = KVCache.load(tmp_path / "cache.safetensors", config)
    for layer in range(2):
        assert_same_bits(again.layers[layer].keys, states[2 * layer])
        assert_same_bits(again.layers[layer].values, states[2 * layer + 1])


@needs_gpu
def test_on_a_gpu() -> None:
    rows = random_table(0, 4000, 128, torch.bfloat16)
    found = _gpu_fit.GpuFit(None, "storage").compress(rows.cuda())
    assert found is not None and found.nbytes < rows.nbytes
    assert_same_bits(found.decompress().cpu(), rows)
    assert_same_bits(found.host().decompress(like="torch"), rows)
    model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.Tanh(), torch.nn.Linear(1024, 8)).cuda()
    batch = torch.randn(256, 256, device="cuda")
    model(batch).square().sum().backward()
    wanted = [each.grad.clone() for each in model.parameters()]
    model.zero_grad()
    with save_on_cpu_compressed() as saving:
        loss = model(batch).square().sum()
    loss.backward()
    assert saving.stored_nbytes < saving.raw_nbytes
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        assert_same_bits(parameter.grad.cpu(), gradient.cpu())
