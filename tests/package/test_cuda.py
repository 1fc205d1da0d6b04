"""`stillbit.cuda`: with a GPU the same rows as on the CPU, without one a clear error."""

from __future__ import annotations

import numpy as np
import pytest
import stillbit as sb
import stillbit.cuda

torch = pytest.importorskip("torch")

needs_gpu = pytest.mark.skipif(not stillbit.cuda.is_available(), reason=stillbit.cuda.why_not_available())
without_gpu = pytest.mark.skipif(stillbit.cuda.is_available(), reason="there is a GPU")


@pytest.fixture(scope="module")
def raw() -> object:
    return torch.randn(5000, 96, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)


@without_gpu
def test_says_why_there_is_no_gpu() -> None:
    assert stillbit.cuda.device_count() == 0
    assert "GPU" in stillbit.cuda.why_not_available()


@without_gpu
def test_a_table_without_a_gpu_is_a_device_error(raw: object) -> None:
    table = sb.compress(raw)
    with pytest.raises(sb.DeviceError, match="GPU"):
        table.cuda()
    assert torch.equal(table.decompress(), raw)


@pytest.mark.parametrize("device", ["cpu", "nowhere", object()])
def test_a_device_that_is_no_gpu_is_refused(raw: object, device: object) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="device"):
        sb.compress(raw).cuda(device)


def test_a_placement_that_is_none_is_refused(raw: object) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="placement is one of pinned, in_place, device"):
        sb.compress(raw).cuda(placement="somewhere")


def test_in_place_is_for_tensors_that_cannot_change(raw: object) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="cannot change"):
        sb.compress(raw).cuda(placement="in_place")


@needs_gpu
@pytest.mark.parametrize("packing", ["slotted", "packed"])
@pytest.mark.parametrize("placement", ["pinned", "device"])
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_gathers_the_rows(raw: object, packing: str, placement: str, index_dtype: object) -> None:
    table = sb.compress(raw, packing=packing).cuda(placement=placement)
    index = torch.randint(len(raw), (30, 70), dtype=index_dtype, device="cuda")
    rows = table.gather(index)
    table.check()
    assert rows.is_cuda
    assert torch.equal(rows.cpu(), raw[index.cpu().long()])
    out = torch.empty_like(rows)
    assert table.gather(index, out) is out
    table.check()
    assert torch.equal(out, rows)


@needs_gpu
def test_a_tensor_gathers_where_the_index_is(raw: object) -> None:
    table = sb.compress(raw)
    index = torch.randint(len(raw), (300,), device="cuda")
    assert torch.equal(table.gather(index).cpu(), raw[index.cpu()])
    table.update([int(index[0])], torch.zeros(1, 96, dtype=torch.bfloat16))
    assert not table.gather(index)[0].any()


@needs_gpu
def test_expands_the_tensor(raw: object) -> None:
    table = sb.compress(raw.cuda(), packing="packed").cuda()
    expanded = table.decompress()
    table.check()
    assert torch.equal(expanded.cpu(), raw)


@needs_gpu
def test_a_mapped_file_is_used_in_place(raw: object, tmp_path: object) -> None:
    path = tmp_path / "table.safetensors"
    sb.save_file({"x": sb.compress(raw)}, path)
    table = sb.load_file(path)["x"].cuda(placement="in_place")
    index = torch.arange(len(raw) - 1, -1, -1, device="cuda")
    assert torch.equal(table.gather(index).cpu(), raw.flip(0))
    table.check()
    assert table.placement == "in_place" or table.note


@needs_gpu
def test_an_index_out_of_range_is_found_by_check(raw: object) -> None:
    table = sb.compress(raw).cuda()
    index = torch.tensor([0, 1, len(raw), 2], device="cuda")
    table.gather(index)
    with pytest.raises(sb.OutOfRangeError, match="position 2"):
        table.check()
    table.check()


@needs_gpu
def test_positions_permute(raw: object) -> None:
    table = sb.compress(raw).cuda()
    index = torch.randint(len(raw), (1000,), device="cuda")
    positions = torch.randperm(1000, device="cuda")
    rows = table.gather(index, positions=positions)
    table.check()
    assert torch.equal(rows[positions].cpu(), raw[index.cpu()])


@needs_gpu
def test_a_graph_replays_a_gather(raw: object) -> None:
    table = sb.compress(raw).cuda()
    index = torch.randint(len(raw), (256,), device="cuda")
    out = torch.empty(256, 96, dtype=torch.bfloat16, device="cuda")
    table.gather(index, out)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        table.gather(index, out)
    index.copy_(torch.randint(len(raw), (256,)))
    graph.replay()
    table.check()
    assert torch.equal(out.cpu(), raw[index.cpu()])


@needs_gpu
def test_the_current_stream_is_used(raw: object) -> None:
    table = sb.compress(raw).cuda()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        index = torch.randint(len(raw), (5000,), device="cuda")
        rows = table.gather(index)
        table.check()
    assert torch.equal(rows.cpu(), raw[index.cpu()])


@needs_gpu
@pytest.mark.parametrize("codec", ["raw", "ibp", "window", "escape"])
def test_rows_are_compressed_on_the_gpu(raw: object, codec: str) -> None:
    sample = sb.compress(raw[::10], codec=codec)
    table = stillbit.cuda.Table(sample, capacity_rows=len(raw), overflow_nbytes=raw.nbytes, empty=True)
    assert table.shape == (0, 96)
    table.append(raw[:1000].cuda())
    table.append(raw[1000:].cuda())
    table.check()
    assert torch.equal(table.decompress().cpu(), raw)
    back = table.tensor()
    assert torch.equal(back.decompress(), raw)
    index = torch.tensor([7, 0, 7], device="cuda")
    table.update(index, raw[:3].cuda())
    table.check()
    expected = sb.compress(raw, codec=codec)
    expected.update([7, 0, 7], raw[:3])
    assert torch.equal(table.tensor().decompress(), expected.decompress())


@needs_gpu
def test_bits_are_counted_where_the_rows_are(raw: object) -> None:
    on_gpu = sb.BitStatistics().add(raw[:2000].cuda()).add(raw[2000:].cuda())
    assert on_gpu == sb.BitStatistics().add(raw)


@needs_gpu
def test_a_table_without_room_refuses_rows(raw: object) -> None:
    with pytest.raises(sb.InvalidArgumentError, match="room for"):
        sb.compress(raw).cuda().append(raw[:1].cuda())


@needs_gpu
def test_wrong_arguments_are_named(raw: object) -> None:
    table = sb.compress(raw).cuda()
    index = torch.zeros(3, dtype=torch.int64, device="cuda")
    for call in [
        lambda: table.gather([1, 2]),
        lambda: table.gather(np.zeros(3, np.int64)),
        lambda: table.gather(index.float()),
        lambda: table.gather(index.cpu()),
        lambda: table.gather(index, torch.empty(3, 96, dtype=torch.bfloat16)),
        lambda: table.gather(index, torch.empty(3, 96, device="cuda")),
        lambda: table.gather(index, torch.empty(2, 96, dtype=torch.bfloat16, device="cuda")),
        lambda: table.gather(index, positions=index[:2]),
    ]:
        with pytest.raises(sb.InvalidArgumentError):
            call()
