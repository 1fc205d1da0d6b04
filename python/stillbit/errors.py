"""What calls raise: `Error`, and a class for each reason, which is also what Python raises for it."""

from __future__ import annotations

__all__ = [
    "CorruptError",
    "DeviceError",
    "Error",
    "InvalidArgumentError",
    "IoError",
    "MismatchError",
    "MissingPackageError",
    "OutOfRangeError",
    "UnsupportedError",
]


class Error(RuntimeError):
    """Any failure. The message names the thing that is wrong: file, tensor, argument, index."""


class InvalidArgumentError(Error, ValueError):
    """A wrong shape, dtype, size, codec or option, or an array that cannot be written to."""


class OutOfRangeError(Error, IndexError):
    """A row number that is negative or not below the number of rows."""


class CorruptError(Error):
    """Bytes that break the format, or do not have their checksum."""


class UnsupportedError(Error, NotImplementedError):
    """Well-formed, but not something that this build handles: a dtype, a device, a version of the format."""


class MismatchError(Error):
    """Two tensors that should be equal are not."""


class IoError(Error, OSError):
    """The operating system refused to read, write or map a file."""


class DeviceError(Error):
    """There is no GPU that can be used, or a call to it failed."""


class MissingPackageError(Error, ImportError):
    """A package that the call needs, torch for example, is not installed."""
