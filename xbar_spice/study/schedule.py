"""Which cases go together, and when: longest first, in chunks of about a second, few of them ahead."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import final

from xbar_spice.study.axes import Point
from xbar_spice.study.cases import Case

__all__ = ["Schedule"]

SECONDS = 1.0  # of a chunk: much longer than what it costs to send one, and little to lose with a worker


@final
class Schedule:
    """The cases that are still to be sent to somebody.

    What a case takes is measured with the first ones of its point; before that, it is guessed from what others took.

    Args:
        cases: to be run.
        guess: of the seconds that a case of a point takes; only its ratios count once something has been measured.
    """

    def __init__(self, cases: Sequence[Case], guess: Callable[[Point], float]) -> None:
        self._guess = guess
        self._measured: dict[int, tuple[int, float]] = {}
        self._ratio, self._known = 1.0, False
        by_point: dict[int, deque[Case]] = defaultdict(deque)
        for case in cases:
            by_point[id(case.point)].append(case)
        longest = sorted(by_point.values(), key=lambda group: -guess(group[0].point))
        self._groups = deque(longest)
        self.left = len(cases)

    @property
    def known(self) -> bool:
        """Whether anything has been measured."""
        return self._known

    def seconds(self, case: Case) -> float:
        """What a case will take."""
        count, total = self._measured.get(id(case.point), (0, 0.0))
        return total / count if count else self._ratio * self._guess(case.point)

    @property
    def next_seconds(self) -> float:
        """What the next case will take, which is the longest one; 0 if there is none."""
        return self.seconds(self._groups[0][0]) if self._groups else 0.0

    @property
    def seconds_left(self) -> float:
        """What all that are left will take, one after the other."""
        return sum(len(group) * self.seconds(group[0]) for group in self._groups)

    def measured(self, case: Case, seconds: float) -> None:
        """Take note of what a case took."""
        count, total = self._measured.get(id(case.point), (0, 0.0))
        self._measured[id(case.point)] = count + 1, total + seconds
        ratio = seconds / max(self._guess(case.point), 1e-9)
        self._ratio = 0.8 * self._ratio + 0.2 * ratio if self._known else ratio
        self._known = True

    def put_back(self, cases: Sequence[Case]) -> None:
        """Take cases back that were sent to somebody who did not begin with them."""
        self._groups.extendleft(deque([case]) for case in reversed(cases))
        self.left += len(cases)

    def take(self, sharers: int, most: float = SECONDS) -> list[Case]:
        """The next chunk, of one case at least; empty when all have been sent.

        Args:
            sharers: how many take chunks: towards the end these get smaller, so that all end together.
            most: seconds that it may take.
        """
        share = most if self.left > 64 * sharers else min(most, self.seconds_left / (2 * sharers))
        chunk: list[Case] = []
        spent = 0.0
        while self._groups:
            seconds = self.seconds(self._groups[0][0])
            if chunk and (spent + seconds > share or not self._known):
                break
            chunk.append(self._groups[0].popleft())
            spent += seconds
            if not self._groups[0]:
                self._groups.popleft()
        self.left -= len(chunk)
        return chunk
