"""Embeddings in state dicts, pickles, copies, on devices, and in compiled programs."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import stillbit as sb

torch = pytest.importorskip("torch")
import stillbit.torch as sbt  # noqa: E402
from torch import nn  # noqa: E402

from bags import assert_same_bits, random_bags, random_table  # noqa: E402

ROWS = 200
TABLE = random_table(0, ROWS, 16, torch.bfloat16)
INPUT = torch.tensor([[1, 2, 3], [199, 0, 0]])
WANTED = nn.functional.embedding_bag(INPUT, TABLE, mode="sum")


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    """One function compiled for the modules of many tests would reach torch's limit."""
    torch.compiler.reset()


def bag(**arguments: Any) -> Any:
    return sbt.EmbeddingBag(TABLE, mode="sum", **arguments)


@pytest.mark.parametrize("options", [{}, {"packing": "packed"}, {"trainable": True}, {"codec": "raw"}])
def test_state_dict(options: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Linear(2, 2), bag(**options))
    state = model.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.payload"]
    assert state["1.payload"].dtype == torch.uint8
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    other = nn.Sequential(nn.Linear(2, 2), sbt.EmbeddingBag(torch.zeros_like(TABLE), mode="sum", **options))
    weight = getattr(other[1], "weight", None)
    assert not other.load_state_dict(torch.load(file)).missing_keys
    assert_same_bits(other[1].decompress(), TABLE)
    assert_same_bits(other[1](INPUT), WANTED)
    assert (other[1].table.codec, other[1].table.packing) == (model[1].table.codec, model[1].table.packing)
    assert weight is getattr(other[1], "weight", None)  # an optimiser may hold it


def test_state_dict_of_torch_s_module() -> None:
    ours = sbt.EmbeddingBag(torch.zeros_like(TABLE), mode="sum", packing="packed")
    ours.load_state_dict(nn.EmbeddingBag(ROWS, 16, _weight=TABLE).state_dict())
    assert_same_bits(ours.decompress(), TABLE)
    assert ours.table.packing == "packed"


def test_state_of_a_mapped_table(tmp_path: Path) -> None:
    sb.save_file({"w": sb.compress(TABLE)}, tmp_path / "t.safetensors")
    ours = sbt.EmbeddingBag.from_file(tmp_path / "t.safetensors", "w", mode="sum")
    for again in [pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)]:
        assert_same_bits(again(INPUT), WANTED)
    other = bag()
    other.load_state_dict(ours.state_dict())
    assert_same_bits(other.decompress(), TABLE)


def test_states_that_do_not_fit() -> None:
    state = bag().state_dict()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, 'Missing key.*"payload"'),
        ({**state, "other": torch.zeros(1)}, 'Unexpected key.*"other"'),
        (sbt.EmbeddingBag(TABLE.float()).state_dict(), "payload: the table has shape .* and torch.float32"),
        ({"weight": TABLE[:5]}, r"weight: the table has shape \(5, 16\)"),
        ({"payload": state["payload"][:-1]}, "payload: "),
        ({"payload": torch.zeros(100, dtype=torch.uint8)}, "payload: "),
    ]
    broken = state["payload"].clone()
    broken[-20] ^= 1
    wrong.append(({"payload": broken}, "payload: .*checksum"))
    for each, message in wrong:
        ours = bag()
        with pytest.raises(RuntimeError, match=message):
            ours.load_state_dict(each)
        assert_same_bits(ours(INPUT), WANTED)
    assert bag().load_state_dict({}, strict=False).missing_keys == ["payload"]
    packed = sbt.EmbeddingBag(TABLE, packing="packed").state_dict()
    with pytest.raises(RuntimeError, match="payload: the table is packed"):
        bag(trainable=True).load_state_dict(packed)


class Zeros:
    """A table that is none of ours."""

    dtype_name, shape, nbytes = "F32", (ROWS, 4), 0

    def gather(self, index: Any, out: Any) -> None:
        out.zero_()


def test_tables_that_have_no_payload() -> None:
    for table in [Zeros(), sb.ShardedTensor([sb.compress(TABLE)])]:
        with pytest.raises(sb.UnsupportedError, match=f"payload: a {type(table).__name__}"):
            sbt.EmbeddingBag(table).state_dict()
    assert pickle.loads(pickle.dumps(sbt.EmbeddingBag(Zeros())))(INPUT).sum() == 0


@pytest.mark.parametrize("trainable", [False, True])
def test_copies(trainable: bool) -> None:
    model = nn.ModuleDict({"a": bag(trainable=trainable, padding_idx=0), "b": nn.Linear(2, 2)}).eval()
    model["same"] = sbt.EmbeddingBag(model["a"].table, mode="sum", trainable=trainable)
    for other in [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]:
        assert_same_bits(other["a"](INPUT), model["a"](INPUT))
        assert not other["a"].training and other["a"].padding_idx == 0
        assert other["a"].table is not model["a"].table and other["a"].table is other["same"].table
        assert other["a"]._number != model["a"]._number
        if trainable:
            assert other["a"].weight is other["same"].weight is not model["a"].weight
            assert other["a"].weight.table is other["a"].table


def test_train_and_eval() -> None:
    ours = bag()
    assert ours.training and not ours.eval().training and ours.train().training
    assert_same_bits(ours.eval()(INPUT), WANTED)


@pytest.mark.parametrize("change", [lambda m: m.float(), lambda m: m.half(), lambda m: m.to(torch.float64)])
def test_dtypes_stay(change: Any) -> None:
    with pytest.raises(sb.UnsupportedError, match="keeps its dtype, torch.bfloat16, not torch.float"):
        change(nn.Sequential(bag()))


def test_devices() -> None:
    ours = bag()
    assert nn.Sequential(ours).to("cpu").bfloat16()[0] is ours.share_memory()
    assert_same_bits(ours(INPUT), WANTED)
    with pytest.raises(sb.UnsupportedError, match="cannot go to meta"):
        ours.to("meta")
    if not torch.cuda.is_available():
        with pytest.raises(AssertionError):
            ours.cuda()  # torch's own
    assert_same_bits(ours(INPUT), WANTED)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_lookups_on_a_gpu() -> None:
    model = nn.Sequential(bag()).cuda()
    assert model[0].device.type == "cuda"
    assert_same_bits(model(INPUT.cuda()).cpu(), WANTED)  # as on the CPU
    assert_same_bits(model[0].decompress().cpu(), TABLE)
    assert_same_bits(copy.deepcopy(model)(INPUT.cuda()), model(INPUT.cuda()))
    with pytest.raises(sb.InvalidArgumentError, match="input is on cpu, the module on cuda:0"):
        model(INPUT)
    model(torch.tensor([[ROWS]]).cuda())
    with pytest.raises(sb.OutOfRangeError):
        model[0].check()
    assert_same_bits(model.cpu()(INPUT), WANTED)
    with pytest.raises(sb.UnsupportedError, match="trained stays on the CPU"):
        bag(trainable=True).cuda()


def test_device_of_arguments_follows_the_module() -> None:
    """As on a GPU: a module elsewhere says where it is."""
    ours = bag()
    ours.device = torch.device("cuda:0")
    with pytest.raises(sb.InvalidArgumentError, match="input is on cpu, the module on cuda:0"):
        ours(INPUT)


# The backend inductor would compile C++, which takes long; what it is given is what aot_eager is given.
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("last", [False, True])
def test_compiled_without_a_graph_break(backend: str, last: bool) -> None:
    reference = nn.EmbeddingBag(ROWS, 16, mode="sum", _weight=TABLE.float(), include_last_offset=last, padding_idx=4)
    ours = sbt.EmbeddingBag.from_module(reference)
    rows = sbt.Embedding(ours.table)

    @torch.compile(fullgraph=True, backend=backend)
    def compiled(input: Any, offsets: Any, weights: Any) -> Any:
        return ours(input, offsets, weights) * 2, ours(input, offsets), rows(input)

    for seed in range(5):
        bags = random_bags(seed, ROWS, last=last)
        bags.weights.requires_grad_()
        found = compiled(*bags)
        assert_same_bits(found[0], reference(*bags) * 2)
        assert_same_bits(found[1], reference(bags.input, bags.offsets))
        assert_same_bits(found[2], TABLE.float()[bags.input])
        found[0].sum().backward()
        weighted = bags.weights.detach().requires_grad_()
        (reference(bags.input, bags.offsets, weighted) * 2).sum().backward()
        assert torch.equal(bags.weights.grad, weighted.grad)


def test_compiled_with_two_dimensions() -> None:
    ours = bag()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    for input in [INPUT, INPUT[:1], INPUT.T.contiguous()]:
        assert_same_bits(compiled(input), nn.functional.embedding_bag(input, TABLE, mode="sum"))


def test_compiled_training_breaks_the_graph() -> None:
    ours = bag(trainable=True)
    compiled = torch.compile(lambda input: ours(input) * 2, backend="aot_eager")
    compiled(INPUT).sum().backward()
    assert ours.weight.grad.is_sparse and ours.weight.grad._values().eq(2).all()


def test_operators_keep_the_rules() -> None:
    ours = sbt.EmbeddingBag(TABLE.float(), mode="sum", padding_idx=0)
    input, offsets = INPUT.reshape(-1), torch.tensor([0, 2, 2, 6])
    weights = torch.rand(6, requires_grad=True)
    for arguments in [(offsets, None, True), (offsets, weights, True), (offsets[:3], None, False)]:
        torch.library.opcheck(torch.ops.stillbit.embedding_bag.default, (ours._number, input, *arguments))
    torch.library.opcheck(torch.ops.stillbit.embedding.default, (ours._number, INPUT))
    gradient = torch.rand(3, 16)
    arguments = (gradient, ours._number, input, offsets, weights.detach(), True)
    torch.library.opcheck(torch.ops.stillbit.embedding_bag_weights_backward.default, arguments)


def test_modules_that_are_gone() -> None:
    with pytest.raises(sb.InvalidArgumentError, match="keep it alive"):
        torch.ops.stillbit.embedding(2**40, INPUT)
