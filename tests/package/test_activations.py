"""`stillbit.torch.save_on_cpu_compressed`: gradients are the same to the last bit, and what is saved is smaller."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import stillbit as sb

torch = pytest.importorskip("torch")

from stillbit.torch import save_on_cpu_compressed  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """Small models compute faster so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def every(**options: Any) -> save_on_cpu_compressed:
    """Compress small tensors as well."""
    return save_on_cpu_compressed(min_nbytes=1, **options)


class Block(nn.Module):
    """Attention and a feed-forward net, with dropout."""

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(size), nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.ffn = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Dropout(0.2), nn.Linear(4 * size, size))

    def forward(self, x: Any) -> Any:
        q, k, v = (each.unflatten(-1, (4, -1)).transpose(1, 2) for each in self.qkv(self.norm(x)).chunk(3, -1))
        seen = nn.functional.softmax(q @ k.transpose(-1, -2) / 3, -1) @ v
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.ffn(x).relu()


def blocks() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(Block() for _ in range(3)))


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3)]
    return nn.Sequential(*body).to(memory_format=torch.channels_last)


def gradients(model: Any, x: Any, saving: Any, run: Any = None, autocast: bool = False) -> list[Any]:
    """Return the loss and all gradients of a forward and a backward pass."""
    torch.manual_seed(1)
    model.zero_grad()
    x = x.clone().requires_grad_()
    with saving, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = (run or model)(x).float().square().mean()
    loss.backward()
    return [loss.detach(), x.grad, *(parameter.grad.clone() for parameter in model.parameters())]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours.view(torch.int32), theirs.view(torch.int32))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("make, shape", [(blocks, (4, 20, 32)), (convolutions, (2, 3, 20, 20))])
def test_gradients_are_the_same(make: Any, shape: tuple[int, ...], autocast: bool) -> None:
    model, x = make(), torch.randn(shape)
    expected = gradients(model, x, contextlib.nullcontext(), autocast=autocast)
    saving = every()
    for _ in range(2):  # the second time by plans that are there
        assert_same(gradients(model, x, saving, autocast=autocast), expected)
    assert 0 < saving.stored_nbytes < saving.raw_nbytes
    assert saving.ratio == saving.raw_nbytes / saving.stored_nbytes


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant: bool) -> None:
    model, x = blocks(), torch.randn(4, 20, 32)

    def run(x: Any) -> Any:
        for block in model:
            x = checkpoint(block, x, use_reentrant=reentrant)
        return x

    expected = gradients(model, x, contextlib.nullcontext(), run)
    assert_same(gradients(model, x, every(), run), expected)


def test_inside_of_what_is_checkpointed() -> None:
    model, x, saving = blocks(), torch.randn(4, 20, 32), every()

    def saved(block: Any, x: Any) -> Any:
        with saving:
            return block(x)

    def run(block_of: Any) -> Any:
        def whole(x: Any) -> Any:
            for block in model:
                x = checkpoint(block_of, block, x, use_reentrant=False)
            return x

        return whole

    expected = gradients(model, x, contextlib.nullcontext(), run(lambda block, x: block(x)))
    assert_same(gradients(model, x, contextlib.nullcontext(), run(saved)), expected)


def test_gradient_accumulation() -> None:
    model, saving = blocks(), every()
    totals = []
    for context in [contextlib.nullcontext(), saving]:
        torch.manual_seed(4)
        model.zero_grad()
        for _ in range(3):
            with context:
                loss = model(torch.randn(2, 10, 32)).square().mean() / 3
            loss.backward()
        totals.append([parameter.grad.clone() for parameter in model.parameters()])
    assert_same(totals[1], totals[0])
    assert saving.stored_nbytes < saving.raw_nbytes


def test_backward_twice() -> None:
    x = torch.randn(50, 40, requires_grad=True)
    with every():
        loss = (x * 2).exp().sum()
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    (second,) = torch.autograd.grad(loss, x)
    assert torch.equal(first, second) and torch.equal(first, (x * 2).exp().detach() * 2)


def test_gradients_of_gradients() -> None:
    results = []
    for context in [contextlib.nullcontext(), every()]:
        x = torch.linspace(0.1, 2, 2000, requires_grad=True)
        with context:
            (first,) = torch.autograd.grad((x * 1.5).sin().square().sum(), x, create_graph=True)
            first.sum().backward()
        results.append([x.grad])
    assert_same(results[1], results[0])


def test_what_is_saved_twice_is_stored_once() -> None:
    x = torch.randn(100, 64, requires_grad=True)
    weights = [nn.Parameter(torch.randn(64, 64)) for _ in range(3)]
    with every() as saving:
        y = x * 1.5
        sum(y @ weight for weight in weights).sum().backward()
    assert saving.raw_nbytes == y.nbytes


def test_what_changed_in_between_is_not_taken_for_the_same() -> None:
    results = []
    for context in [contextlib.nullcontext(), every()]:
        x = torch.linspace(-1, 1, 5000, requires_grad=True)
        with context:
            y = x * 1.0
            z = y.exp_().clone()  # saves its output …
            y = y.detach().requires_grad_()
            w = torch.sigmoid(y)
            u = w.detach()
            u[1] = 0.5  # … and other numbers in the memory of what was saved
            v = u * 1.0 * x
        (z.sum() + v.sum()).backward()
        results.append([x.grad])
    assert_same(results[1], results[0])


def restored(tensor: Any, **options: Any) -> Any:
    """Save a tensor and get it back, as autograd would."""
    saving = save_on_cpu_compressed(**{"min_nbytes": 1, **options})
    packed = saving.pack_hook(tensor)
    assert packed is not tensor, "it was left as it is"
    again, found = saving.unpack_hook(packed), saving.unpack_hook(packed)
    assert torch.equal(again, found)
    return found


BASE = torch.arange(24_000, dtype=torch.float32).view(20, 30, 40)
VIEWS = {
    "contiguous": BASE,
    "transposed": BASE.transpose(0, 2),
    "permuted": BASE.permute(1, 2, 0),
    "part": BASE[:, :, 10:30],
    "steps": BASE[::2, :, ::2],
    "expanded": BASE[:, 0].clone()[:, None].expand(20, 7, 40),
    "all expanded": torch.tensor(3.0).expand(10, 10),
    "one dimension of one": BASE[3:4, :, 5:],
    "no dimension": torch.tensor(3.0),
    "channels last": torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_come_back_with_their_strides(name: str) -> None:
    view = VIEWS[name]
    found = restored(view)
    assert torch.equal(found, view) and found.shape == view.shape and found.stride() == view.stride()


NUMBERS = torch.arange(4096)
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64"]


@pytest.mark.parametrize("dtype", [*DTYPES, "float8_e4m3fn", "float8_e5m2"])
def test_all_dtypes(dtype: str) -> None:
    tensor = (NUMBERS % 90).float().to(getattr(torch, dtype))
    found = restored(tensor)
    assert found.dtype == tensor.dtype and torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))


def test_all_bits_of_floats() -> None:
    tensor = torch.arange(65_536, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)  # NaNs, −0, denormals
    saving = every()
    found = saving.unpack_hook(saving.pack_hook(tensor))
    assert torch.equal(found.view(torch.int16), tensor.view(torch.int16))


PARAMETER = nn.Parameter(torch.zeros(64, 64))


@pytest.mark.parametrize(
    "tensor",
    [
        PARAMETER,
        PARAMETER.t(),
        torch.zeros(64, 64, requires_grad=True),
        torch.zeros(0, 64),
        torch.zeros(10),
        torch.zeros(64, 64).to_sparse(),
        torch.zeros(64, 64, dtype=torch.complex128),
        torch.zeros(64, 64, dtype=torch.complex64).conj(),
        torch.zeros(64, 64, device="meta"),
        torch.zeros(1000, 1000)[:, 0],
        torch.zeros(1000).unfold(0, 100, 1),
    ],
)
def test_what_is_left_as_it_is(tensor: Any) -> None:
    saving = save_on_cpu_compressed(min_nbytes=1000)
    assert saving.pack_hook(tensor) is tensor and saving.unpack_hook(tensor) is tensor
    assert saving.stored_nbytes == 0


def test_what_is_reported_is_of_the_last_time() -> None:
    saving, x = save_on_cpu_compressed(), torch.randn(100, 100, requires_grad=True)
    with saving:
        (x * 2).exp()
    once = (saving.raw_nbytes, saving.stored_nbytes, saving.kept_nbytes)
    with saving:
        (x * 2).exp()
    assert (saving.raw_nbytes, saving.stored_nbytes, saving.kept_nbytes) == once
    assert once[0] == x.nbytes


def test_options_are_checked() -> None:
    with pytest.raises(sb.InvalidArgumentError, match="min_nbytes"):
        save_on_cpu_compressed(-1)
    with pytest.raises(sb.InvalidArgumentError, match="codec"):
        every(codec="zip").pack_hook(torch.zeros(100, 100))


def test_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    model, x = blocks().cuda(), torch.randn(4, 20, 32, device="cuda")
    expected = gradients(model, x, contextlib.nullcontext())
    assert_same(gradients(model, x, every()), expected)
