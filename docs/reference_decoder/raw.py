"""Codec ``raw``: every row is stored as it is."""

from __future__ import annotations

from bits import require


def parse_plan(plan: bytes, row_bytes: int) -> None:
    """Check the plan, which is empty."""
    require(not plan, "plan_bytes", "must be 0 with codec raw")


def decode_row(row: bytes, plan: None) -> bytes:
    """Reject the row: there are none that are encoded."""
    raise ValueError("row: must be raw with codec raw")
