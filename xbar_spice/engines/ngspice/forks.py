"""What a copy of the program that `fork` made must not share with the original: worker processes, locks and threads.

A fork copies the ends of a pipe, so that both programs would write requests to one worker and take the other's answers,
and locks as they are, but no thread except one. Whoever holds such things registers here and, in the copy, lets go of
what belongs to the original, before any other line of the program runs there.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "renew_after_fork"]


class Forkable(Protocol):
    """Something that must be put right in a copy of the program."""

    def after_fork(self) -> None:
        """Let go of what belongs to the original, and leave it as it is; called in the copy."""


_registered: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(holder: Forkable) -> None:
    """Have the holder put right in every copy of the program, for as long as it lives."""
    _registered.add(holder)


def _renew_all() -> None:
    for holder in list(_registered):
        holder.after_fork()


if hasattr(os, "register_at_fork"):  # where programs cannot be forked there is nothing to do
    os.register_at_fork(after_in_child=_renew_all)
