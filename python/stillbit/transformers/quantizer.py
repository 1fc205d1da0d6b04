"""How ``from_pretrained`` reads a compressed checkpoint: a quantizer that loses nothing, and leaves an ordinary model.

transformers looks at the names of payloads only: a converter of our own takes them all, and says for each which
parameter it belongs to, as transformers itself would for the tensor's own name. What that parameter is made of then
comes expanded from the mapped files, by the names of their manifests, through the model's own conversions: a payload
may stand for several tensors that are equal, and experts of a layer become one parameter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers.core_model_loading import (
    ConversionOps,
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    get_device,
    rename_source_key,
)
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from .._whole_file import WholeFile
from ..errors import InvalidArgumentError, UnsupportedError
from ._lookahead import Lookahead
from .loading import METHOD, checkpoint_path, opened

__all__ = ["StillbitConfig", "StillbitQuantizer"]

SUFFIX = ".stillbit"  # of a payload's name


@register_quantization_config(METHOD)
class StillbitConfig(QuantizationConfigMixin):
    """What ``stillbit compress`` writes into config.json, as ``quantization_config``.

    Parameters
    ----------
    version : int
        Of the entry: 1.
    dtype : str, optional
        Of the weights, where the config itself does not say: ``"bfloat16"``.
    quantization_config : dict, optional
        The entry of a model whose weights were quantized before they were compressed.
    """

    def __init__(self, version: int = 1, dtype: str | None = None, quantization_config: Any = None, **_: Any) -> None:
        self.quant_method = METHOD
        self.version = version
        self.dtype = dtype
        self.quantization_config = quantization_config
        self.dequantize = True  # the model that was loaded is an ordinary one: transformers drops the entry


@register_quantizer(METHOD)
class StillbitQuantizer(HfQuantizer):
    """Expands a compressed checkpoint while transformers loads it."""

    requires_calibration = False

    def __init__(self, quantization_config: StillbitConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        self._files: list[Path] = []
        self._device_map: Any = None
        self._conversions: list[Any] = []  # of the model

    def validate_environment(self, *args: Any, device_map: Any = None, **kwargs: Any) -> None:
        """Refuse what cannot be."""
        if not self.pre_quantized:
            raise InvalidArgumentError(
                "the checkpoint is not compressed: compress it with the stillbit command, and load the folder it makes"
            )
        if self.quantization_config.version != 1:
            raise UnsupportedError(f"config.json: stillbit version {self.quantization_config.version!r} is not known")
        if self.quantization_config.quantization_config is not None:
            raise UnsupportedError(
                "the weights were quantized before they were compressed, which transformers does not load in one: "
                "expand them with stillbit decompress, or use stillbit.transformers.load"
            )
        places = device_map.values() if isinstance(device_map, Mapping) else [device_map]
        if any(str(place) == "disk" for place in places):
            raise UnsupportedError("a compressed checkpoint is not offloaded to a disk: it is on one, and smaller")

    def update_dtype(self, dtype: Any) -> Any:
        """Say the weights' dtype where transformers looked at payloads for it."""
        if dtype == torch.uint8 and self.quantization_config.dtype is not None:
            return getattr(torch, self.quantization_config.dtype)
        return dtype

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        self._files = [Path(file) for file in kwargs.get("checkpoint_files") or []]
        self._device_map = kwargs.get("device_map")
        if not self._files:
            raise InvalidArgumentError("a compressed checkpoint is loaded from its files, not from a state dict")
        return model

    def update_weight_conversions(self, weight_conversions: list[Any], model: Any) -> list[Any]:
        """Put one converter in the place of all: it applies them to what payloads expand to."""
        self._conversions = weight_conversions
        return [PayloadConverter(Checkpoint(self._files, weight_conversions, model, self._device_map))]

    def get_new_dtype(self, converter: Any, param: Any, dtype: Any) -> Any:
        """Leave payloads as they are, and let what they expand to be cast."""
        converter.dtype = dtype
        return None

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        # The model saves itself as one that was loaded from raw files.
        model._weight_conversions = [conversion for conversion in self._conversions if conversion.was_used()]
        return model

    @property
    def is_trainable(self) -> bool:
        """The model is an ordinary one."""
        return True

    def is_serializable(self, *args: Any, **kwargs: Any) -> bool:
        """The model is an ordinary one."""
        return True


class Checkpoint:
    """The tensors of compressed files, and which parameter each belongs to, and where that is going to be."""

    def __init__(self, files: list[Path], conversions: list[Any], model: Any, device_map: Any = None) -> None:
        self._device_map = device_map
        self._tensors = Lookahead(files)
        self._payload_of: dict[str, str] = {}
        for file in files:
            self._payload_of |= _payloads(file)
        if len(files) > 1:  # raises where shards hold other tensors than the index says
            opened(checkpoint_path(files[0].parent), WholeFile)
        # A payload has its name from the first of its tensors.
        self._first_of = {payload: name for name, payload in reversed(self._payload_of.items())}
        self._prefix = model.base_model_prefix
        self._parameters = model.state_dict()  # on the device meta
        self._renamings = [entry for entry in conversions if isinstance(entry, WeightRenaming)]
        self._converters = [entry for entry in conversions if isinstance(entry, WeightConverter)]
        self._converter_of = {pattern: entry for entry in self._converters for pattern in entry.source_patterns}
        # Of each parameter, the names that it is made of, by what they are to its converter; None: it is the tensor.
        self._sources: dict[str, dict[str | None, list[str]]] = {}
        self._parameter_of: dict[str, str] = {}
        names = sorted(self._tensors.names, key=dot_natural_key)
        for name in names:
            parameter, pattern = self._resolve(name)
            self._parameter_of[name] = parameter
            self._sources.setdefault(parameter, {}).setdefault(pattern, []).append(name)
        self._extras = self._find_extras()
        self._tensors.expect(self._order())

    def parameter_of(self, payload: str) -> str:
        """Return the parameter that a payload's first tensor belongs to."""
        return self._parameter_of[self._first_of[payload]]

    def realize(self, parameter: str, dtype: Any, **context: Any) -> dict[str, Any]:
        """Return a parameter's value, and of those that have no payload of their own but the same tensors."""
        values = self._value(parameter, dtype, context)
        for other in self._extras.get(parameter, []):
            values |= self._value(other, self._parameters[other].dtype, context)
        return values

    def _resolve(self, name: str) -> tuple[str, str | None]:
        """Return the parameter that a tensor belongs to, and by which pattern: as transformers has it."""
        conversions = (self._renamings, self._converters)
        parameter, pattern = rename_source_key(name, *conversions, self._prefix, self._parameters)
        if parameter not in self._parameters and name in self._parameters:
            parameter, pattern = rename_source_key(name, [], [], self._prefix, self._parameters)
        return parameter, pattern

    def _find_extras(self) -> dict[str, list[str]]:
        extras: dict[str, list[str]] = {}
        for parameter, sources in self._sources.items():
            firsts = [self._first_of[self._payload_of[name]] for some in sources.values() for name in some]
            owners = {self._parameter_of[name] for name in firsts}
            if parameter in self._parameters and parameter not in owners:
                extras.setdefault(min(owners), []).append(parameter)
        return extras

    def _value(self, parameter: str, dtype: Any, context: dict[str, Any]) -> dict[str, Any]:
        sources = self._sources[parameter]
        place = self._place(parameter)
        if None in sources:
            return {parameter: self._expanded(sources[None][-1], dtype, place)}
        converter = deepcopy(self._converter_of[next(iter(sources))])
        for pattern, names in sources.items():
            for name in names:
                converter.add_tensor(parameter, name, pattern, self._expanded(name, dtype, place))
        values: dict[str, Any] = converter.convert(parameter, **context)
        return values

    def _order(self) -> list[str]:
        """Return the tensors that the CPU is going to expand, as transformers asks for them: by payload."""
        parameters = {self.parameter_of(payload): None for payload in sorted(self._first_of, key=dot_natural_key)}
        order = []
        for parameter in parameters:
            for each in (parameter, *self._extras.get(parameter, [])):
                if each in self._parameters and self._place(each).type == "cpu":
                    order += self._names(each)
        return order

    def _names(self, parameter: str) -> list[str]:
        """Return the tensors that a parameter is made of, in the order in which they are expanded."""
        sources = self._sources[parameter]
        return sources[None][-1:] if None in sources else [name for names in sources.values() for name in names]

    def _place(self, parameter: str) -> torch.device:
        return place_of(parameter, self._device_map)

    def _expanded(self, name: str, dtype: Any, place: torch.device) -> Tensor:
        value = self._tensors.take(name, place)
        return value.to(dtype) if dtype is not None and value.is_floating_point() else value


def place_of(parameter: str, device_map: Any) -> torch.device:
    """Return where a parameter is expanded: on the GPU that it is going to be on, else on the CPU.

    transformers moves values to where they belong, which is nothing to do for those that are there.
    """
    if not isinstance(device_map, Mapping) or not device_map:
        return torch.device("cpu")
    place = get_device(dict(device_map), parameter)
    if isinstance(place, int):
        return torch.device("cuda", place)
    found = torch.device("cpu" if place == "disk" else place)
    return found if found.type == "cuda" else torch.device("cpu")


def _payloads(file: Path) -> dict[str, str]:
    """Return the payload of each tensor of a file, which was opened before and is well-formed."""
    with safe_open(file, "pt") as opened:
        manifest = json.loads(opened.metadata()[METHOD])
    return {entry["name"]: entry["payload"] for entry in manifest["tensors"]}


class PayloadConverter(WeightConverter):
    """Takes every payload; one copy of it makes one parameter."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        # Payloads stay where they are mapped; transformers moves what they expand to.
        super().__init__([re.escape(SUFFIX) + "$"], [""], [Unused()], force_cpu=True)
        self._checkpoint = checkpoint
        self.dtype: Any = None

    def __deepcopy__(self, memo: Any) -> PayloadConverter:
        return PayloadConverter(self._checkpoint)

    def rename_source_key(self, source_key: str) -> tuple[str, str | None]:
        """Return the parameter that a payload belongs to."""
        return self._checkpoint.parameter_of(source_key), self.source_patterns[0]

    def convert(self, layer_name: str, model: Any = None, config: Any = None, **context: Any) -> dict[str, Any]:
        """Return the value of a parameter."""
        self.collected_tensors.clear()
        loading_info = context.get("loading_info")
        return self._checkpoint.realize(layer_name, self.dtype, model=model, config=config, loading_info=loading_info)


class Unused(ConversionOps):
    """A converter has to have an operation."""

    def convert(self, input_dict: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return what came."""
        return input_dict
