"""One TensorBoard run per cell. All runs use the same tags, so that methods are overlaid in one chart."""

from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree
from typing import Any

from bench.core.disk import safe_name
from bench.core.ranges import shown_type
from bench.pipeline.grid import Cell
from bench.results.record import Record

# TensorBoard's writer checks every byte in Python: larger pictures would take seconds each.
_SHOWN_IMAGES, _SHOWN_SIDE, _SHEET_SIDE = 32, 96, 1024


def run_dir(results_dir: Path, cell: Cell) -> Path:
    """Return the folder of a cell's run. Its path is the run's name in TensorBoard."""
    source = f'-from_{safe_name(cell.source.label)}' if cell.source and cell.source.label != cell.eval.label else ''
    size = f'ipc{cell.ipc}-' if cell.ipc else ''
    leaf = f'{size}seed{cell.seed}{source}-{safe_name(cell.protocol_label)}-{cell.key[:6]}'
    parts = (safe_name(choice.label) for choice in (cell.dataset, cell.eval, cell.method))
    return Path(results_dir, 'tensorboard', *parts, leaf)


def hyper_parameters(cell: Cell) -> dict[str, bool | float | str]:
    """Return a cell's coordinates in the grid and its method's settings as `method.setting` -> value.

    A setting has the same type in all runs (`bench.core.ranges.shown_type`). Values that are None are left out.
    """
    method = cell.method
    values = {
        'dataset': cell.dataset.label, 'method': method.label, 'ipc': cell.ipc, 'seed': cell.seed,
        'source_backbone': cell.config['source_backbone'], 'eval_backbone': cell.eval.label, 'protocol': cell.protocol_label,
    }  # fmt: skip
    for key, value in method.settings.items():
        shown = None if value is None else shown_type(method.row.load(), key)(value)
        values[f'{method.row.identifier}.{key}'] = shown
    return {name: value for name, value in values.items() if value is not None}


class CellLogs:
    """Writers of the cells that share a distilled set. The logs of making the set go to all of them."""

    def __init__(self, results_dir: Path, cells: Iterable[Cell]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writers = {}
        for cell in cells:
            folder = run_dir(results_dir, cell)
            rmtree(folder, ignore_errors=True)
            self.writers[cell.key] = SummaryWriter(str(folder))

    def log(self, tag: str, step: int, value: float) -> None:
        """Log a number to every run."""
        for writer in self.writers.values():
            writer.add_scalar(tag, value, step)

    def show(self, step: int, x_NCHW: Any) -> None:
        """Log a grid of the first images (values in [0, 1]), scaled down, to every run."""
        import torch.nn.functional as F
        from torchvision.utils import make_grid

        x_NCHW = x_NCHW[:_SHOWN_IMAGES].detach().float().cpu()
        if x_NCHW.shape[-1] > _SHOWN_SIDE:
            x_NCHW = F.interpolate(x_NCHW, (_SHOWN_SIDE, _SHOWN_SIDE), mode='bilinear', antialias=True)
        grid = make_grid(x_NCHW.clamp(0, 1), nrow=8)
        for writer in self.writers.values():
            writer.add_image('distill/images', grid, step)

    def show_picture(self, path: Path) -> None:
        """Log a finished picture, such as the contact sheet, scaled down, to every run."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as sheet:
            sheet.thumbnail((_SHEET_SIDE, _SHEET_SIDE))
            pixels_HWC = np.asarray(sheet)
        for writer in self.writers.values():
            writer.add_image(f'distilled/{path.stem}', pixels_HWC, dataformats='HWC')

    def log_curves(self, curves: dict[str, list[tuple[int, float]]], *, key: str | None = None) -> None:
        """Log finished curves to every run, or to the run of one cell."""
        for writer in self.writers.values() if key is None else [self.writers[key]]:
            for tag, points in curves.items():
                for step, value in points:
                    writer.add_scalar(tag, value, step)

    def finish(self, cell: Cell, record: Record) -> None:
        """Log a cell's hyper-parameters and final accuracy (percent), and close its run."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        writer: Any = self.writers.pop(cell.key)  # torch's types say that its `file_writer` is None
        if record.status == 'ok':
            # No experiment summary is written: TensorBoard would use the first one that it finds for all runs. Without
            # one it collects the columns from all runs. The empty trial id gives a trial the name of its run.
            writer.file_writer.add_summary(hparams_pb(hyper_parameters(cell), trial_id=''))
            for repeat, value in enumerate(record.top1 or ()):
                writer.add_scalar('final/top1_by_probe_seed', 100 * value, repeat)
            writer.add_scalar('final/top1', 100 * record.accuracy, 0)
        writer.close()

    def close(self) -> None:
        """Close the runs of cells that did not finish."""
        while self.writers:
            self.writers.popitem()[1].close()
