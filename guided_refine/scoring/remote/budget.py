"""The token budget: what a request may cost is set aside before it is sent, so that the limit holds whatever happens.

The account outlives the process. The file always names at least what was spent: tokens are claimed there in blocks
before they are used, and the exact sum is written at the end. After a kill the claimed block counts as spent.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from guided_refine.errors import InputError
from guided_refine.files import read_json, write_json

_BLOCKS = 50
"""A budget is claimed in about this many blocks: few writes, and a kill costs at most one of them."""
_BLOCK_WITHOUT_LIMIT = 200_000


class Budget:
    """At most `limit` tokens (None: any number), over all runs that share the `ledger` file; a context manager.

    Threads call `reserve` before a request and `settle` after it. Raises `InputError` when the ledger is damaged.

    >>> with Budget(100) as budget:
    ...     set_aside = budget.reserve(80)
    ...     budget.settle(set_aside, used=30)
    ...     budget.spent, budget.reserve(71), budget.reserve(70)
    (30, None, 70)
    """

    def __init__(self, limit: int | None, ledger: Path | None = None) -> None:
        self.limit = limit
        self._ledger = ledger
        self._block = _BLOCK_WITHOUT_LIMIT if limit is None else max(1, limit // _BLOCKS)
        self._spent = self._claimed = spent_before(ledger)
        self._reserved = 0
        self._excess = 0
        self._closed = False
        self._changed = threading.Condition()

    def __enter__(self) -> Budget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def spent(self) -> int:
        """Tokens spent so far, by earlier runs too."""
        with self._changed:
            return self._spent

    @property
    def left(self) -> int | None:
        """Tokens that may still be spent; None: any number."""
        with self._changed:
            return None if self.limit is None else max(0, self.limit - self._spent - self._reserved)

    def reserve(self, tokens: int) -> int | None:
        """Set `tokens` aside and say how many they are; None when they do not fit.

        Waits while requests in flight may give some back. Where a server once counted more than was set aside, that
        much more is set aside from then on.
        """
        with self._changed:
            while not self._closed:
                wanted = tokens + self._excess
                needed = self._spent + self._reserved + wanted
                if self.limit is None or needed <= self.limit:
                    self._claim(needed)
                    self._reserved += wanted
                    return wanted
                if self._reserved == 0:
                    break
                self._changed.wait()
            return None

    def settle(self, reserved: int, used: int | None) -> None:
        """A request is over: `reserved` as `reserve` said, `used` what it cost; None: nobody knows, so all of it."""
        with self._changed:
            cost = reserved if used is None else used
            self._reserved -= reserved
            self._spent += cost
            self._excess += max(0, cost - reserved)
            self._changed.notify_all()

    def close(self) -> None:
        """Write the exact account; what is still in flight counts as spent. Nothing can be reserved any more."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._write(self._spent + self._reserved)
                self._changed.notify_all()

    def _claim(self, needed: int) -> None:
        if needed > self._claimed:
            claimed = needed + self._block
            self._write(claimed if self.limit is None else min(self.limit, claimed))

    def _write(self, tokens: int) -> None:
        self._claimed = tokens
        if self._ledger is not None:
            write_json(self._ledger, {"tokens": tokens})


def spent_before(ledger: Path | None) -> int:
    """Tokens that a ledger says were spent, 0 where there is none. Raises `InputError` when it is damaged."""
    if ledger is None or not ledger.exists():
        return 0
    found = read_json(ledger)
    tokens = found.get("tokens") if isinstance(found, dict) else None
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        raise InputError(
            f"{ledger} is not an account of tokens; delete it, and what was spent before is forgotten"
        )
    return tokens
