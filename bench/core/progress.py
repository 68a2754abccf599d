"""Progress lines with the time left, on a terminal only, and how much of a loop was spent waiting."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# the exit status where nobody reads the output: the shell's for SIGPIPE
UNREAD = 128 + 13


@contextmanager
def progress(*, total: int | None, title: str, unit: str, start: int = 0) -> Iterator[Callable[..., None]]:
    """Show a progress line while the block runs; yields `advance(count=1, **numbers)`.

    Quiet when stderr is not a terminal, and when `title` is ''. `numbers` (name -> value) are shown behind the bar.

    Args:
      total: how many there are, None where nobody knows.
      title: what is being done.
      unit: what is counted, such as 'image'; 'B' counts bytes and shows them as kB, MB or GB.
      start: how many were done before.
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
    """Print a line, on a terminal or not, without spoiling a progress line.

    Where nobody reads on (`| head`) the command ends as one that is interrupted: this is no failure of the work under way.
    """
    from tqdm import tqdm

    try:
        with tqdm.external_write_mode():
            print(line, flush=True)
    except BrokenPipeError:
        sys.exit(UNREAD)


@dataclass
class Waiting:
    """How long a loop took and how long it waited for its items, in seconds."""

    total: float = 0.0
    waited: float = 0.0

    @property
    def share(self) -> float:
        """The part of the time, in [0, 1], that was spent waiting."""
        return self.waited / self.total if self.total else 0.0

    def over(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items; the time until each one comes (the first one with all that leads to it) is spent waiting."""
        begun = asked = time.perf_counter()
        for item in items:
            self.waited += time.perf_counter() - asked
            yield item
            asked = time.perf_counter()
        self.total = time.perf_counter() - begun
