"""Progress lines with the remaining time (on terminals only), and a measure of the time that a loop spends waiting."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# exit status when nobody reads the output any more: the shell's status for SIGPIPE
UNREAD = 128 + 13


@contextmanager
def progress(*, total: int | None, title: str, unit: str, start: int = 0) -> Iterator[Callable[..., None]]:
    """Show a progress line while the block runs; yields `advance(count=1, **numbers)`.

    Shows nothing if stderr is not a terminal or `title` is ''. `numbers` (name -> value) appear after the bar.

    Args:
      total: number of items, None if unknown.
      title: name of the work.
      unit: unit of the items, such as 'image'; 'B' counts bytes and shows kB, MB or GB.
      start: number of items that were finished before.
    """
    from tqdm import tqdm

    with tqdm(
        total=total, initial=start, desc=title, unit=unit, unit_scale=unit == 'B', leave=False,
        disable=None if title else True, dynamic_ncols=True,
    ) as bar:  # fmt: skip

        def advance(count: int = 1, **numbers: float) -> None:
            if numbers:
                bar.set_postfix({key: f'{value:.4f}' for key, value in numbers.items()}, refresh=False)
            bar.update(count)

        yield advance


def remark(line: str) -> None:
    """Print a line without disturbing a progress line.

    If nobody reads the output any more (`| head`), the command ends as if interrupted, so that the work in progress does not
    count as failed.
    """
    from tqdm import tqdm

    try:
        with tqdm.external_write_mode():
            print(line, flush=True)
    except BrokenPipeError:
        sys.exit(UNREAD)


@dataclass
class Waiting:
    """The duration of a loop and the time it waited for its items, in seconds."""

    total: float = 0.0
    waited: float = 0.0

    @property
    def share(self) -> float:
        """The share of the time, in [0, 1], that was spent waiting."""
        return self.waited / self.total if self.total else 0.0

    def over(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items; the time until an item arrives counts as waiting, for the first item including the start-up."""
        begun = asked = time.perf_counter()
        for item in items:
            self.waited += time.perf_counter() - asked
            yield item
            asked = time.perf_counter()
        self.total = time.perf_counter() - begun
