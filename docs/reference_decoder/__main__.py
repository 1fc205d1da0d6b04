"""A decoder for the Stillbit format, version 1, written from its specification and for reading beside it.

It favours plainness over speed. ``container.py``, ``payload.py`` and ``rows.py`` follow ``docs/format.md``; each
codec has a module that follows its page, ``src/codecs/<name>/spec.md``. Whatever breaks the format raises a
``ValueError`` that begins with the name of the field.

Usage: ``python docs/reference_decoder FILE`` prints one line per tensor of a compressed file.
"""

from __future__ import annotations

import sys

from container import read_file


def main() -> None:
    """Print one line per tensor of the file named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/reference_decoder FILE")
    for name, (dtype, shape, _) in read_file(sys.argv[1]).items():
        print(name, dtype, "x".join(map(str, shape)) or "scalar", "checksum ok")


if __name__ == "__main__":
    main()
