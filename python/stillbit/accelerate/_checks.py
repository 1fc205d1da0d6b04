"""What makes no sense to offload, or to do with what is offloaded, is said before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .._kinds import torch_kind
from ..errors import InvalidArgumentError
from ..files import load_file
from ..tensor import CompressedTensor
from ._layout import Unit, Weight
from ._weights import Placeholder

ATTRIBUTE = "_stillbit_offload"  # of a model that is offloaded


def check_not_offloaded(model: nn.Module) -> None:
    """Raise where a module, or one in it, is offloaded already, by us or by accelerate."""
    for name, module in model.named_modules():
        if ATTRIBUTE in module.__dict__ or any(isinstance(p, Placeholder) for p in module._parameters.values()):
            raise InvalidArgumentError(f"{name or 'the model'!r} is offloaded already: call remove() first")
        hook = getattr(module, "_hf_hook", None)
        if any(getattr(one, "offload", False) for one in getattr(hook, "hooks", [hook])):
            raise InvalidArgumentError(
                f"{name or 'the model'!r} is offloaded by accelerate already: call "
                "accelerate.hooks.remove_hook_from_submodules first"
            )


def device_of(device: Any, weights: list[Weight]) -> torch.device:
    """Return where the model shall run."""
    if device is None:
        device = weights[0].parameter.device
        if device.type == "meta":
            raise InvalidArgumentError("the model is on the device meta: say by device= where it shall run")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidArgumentError(f"device {device!r} is none: {error}") from None
    if found.type not in ("cpu", "cuda"):
        raise InvalidArgumentError(f"a model runs on a CPU or a CUDA GPU, not on {found}")
    if found.type == "cuda" and found.index is None and torch.cuda.is_available():
        found = torch.device("cuda", torch.cuda.current_device())
    return found


def check_values(model: nn.Module, are_given: bool) -> None:
    """Raise where a weight that is not given, or a buffer, has no values."""
    for name, parameter in model.named_parameters():
        if parameter.device.type == "meta" and not are_given:
            raise InvalidArgumentError(f"the weight {name!r} is on the device meta: it has no values; give weights=")
    for name, buffer in model.named_buffers():
        if buffer.device.type == "meta":
            raise InvalidArgumentError(f"the buffer {name!r} is on the device meta: it has no values")


def given(weights: Any, wanted: list[Weight]) -> dict[Weight, CompressedTensor]:
    """Return the compressed weights that the caller has, each checked."""
    tensors = weights if isinstance(weights, Mapping) else load_file(weights)
    where = "the weights" if isinstance(weights, Mapping) else str(weights)
    found = {}
    for weight in wanted:
        tensor = next((tensors[name] for name in weight.names if name in tensors), None)
        if not isinstance(tensor, CompressedTensor):
            what = "has no compressed tensor" if tensor is None else f"has a {type(tensor).__name__}"
            raise InvalidArgumentError(f"{where}: {what} for the weight {weight.name!r}")
        if tensor.shape != tuple(weight.shape) or tensor._dtype_of(torch_kind()) != weight.dtype:
            raise InvalidArgumentError(
                f"{where}: {weight.name!r} is {tensor.dtype_name} of shape {tensor.shape}, the model's is "
                f"{weight.dtype} of shape {tuple(weight.shape)}"
            )
        weight.order = ()  # as it is compressed
        found[weight] = tensor
    return found


def check_no_gradients(unit: Unit, module: nn.Module, arguments: Any) -> None:
    """Raise where a call, which records gradients, would need them: buffers are overwritten before a backward."""
    reason = None
    if module.training:
        reason = "the model is in training mode: call model.eval()"
    elif any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in torch.utils._pytree.tree_leaves(arguments)):
        reason = "its input requires a gradient"
    if reason is not None:
        raise InvalidArgumentError(
            f"{unit.name!r} is offloaded, for inference only, and {reason}, or use torch.no_grad() or inference_mode()"
        )
