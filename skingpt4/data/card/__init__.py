"""The data card: one page that says what a data set holds, where it comes from and what is wrong with it."""

from __future__ import annotations

from skingpt4.data.card.write import write_card

__all__ = ["write_card"]
