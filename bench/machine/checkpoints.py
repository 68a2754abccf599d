"""Checkpoints of long computations, so that a killed run can resume."""

import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.disk import new_file
from bench.core.errors import InputError
from bench.core.hashing import differences


@dataclass
class Checkpoint:
    """A checkpoint file, written atomically. `made_for` identifies the computation by plain values.

    `earlier` is the time in seconds that earlier runs spent up to the loaded state.
    """

    path: Path
    made_for: dict[str, Any]
    earlier: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    def load(self) -> dict[str, Any] | None:
        """Return the last saved state (tensors on the CPU), or None if there is none.

        Raises:
          InputError: if the file is damaged, or belongs to another computation; the message lists the differences.
        """
        import torch

        if not self.path.exists():
            return None
        try:
            # torch writes a zip archive with a CRC-32 of each entry, and does not check them when it reads
            with zipfile.ZipFile(self.path) as archive:
                if wrong := archive.testzip():
                    raise ValueError(f'the checksum of {wrong} differs')
            saved = torch.load(self.path, map_location='cpu', weights_only=True)
            made_for, state, self.earlier = saved['made_for'], saved['state'], saved['seconds']
        except Exception as error:
            raise InputError(
                f'checkpoint {self.path} is damaged ({type(error).__name__}); delete it to start over'
            ) from error
        if changed := differences(made_for, self.made_for):
            theirs, ours = (', '.join(f'{name} = {pair[i]!r}' for name, pair in changed.items()) for i in (0, 1))
            raise InputError(
                f'checkpoint {self.path} was made with {theirs}; this run has {ours}: delete the file to start over, '
                'or use another --results_dir'
            )
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state atomically: the old or the new state is on disk at any time."""
        import torch

        seconds = self.earlier + time.perf_counter() - self._started
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(self.path) as file:
            torch.save({'made_for': self.made_for, 'seconds': seconds, 'state': state}, file)

    def delete(self) -> None:
        """Remove the file, once the result of the computation is saved."""
        self.path.unlink(missing_ok=True)
