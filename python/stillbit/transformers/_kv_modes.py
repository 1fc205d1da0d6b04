"""Modes of torch in which tensors are made and written."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

Method = TypeVar("Method", bound=Callable[..., Any])


def on_plain_tensors(method: Method) -> Method:
    """Run a function so that tensors it makes can be written to later, whatever mode the model runs in."""

    @wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return method(*args, **kwargs)

    return cast(Method, run)
