"""The first stage: load the distilled set from disk, or make and save it. Its pictures are drawn once."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.config.gin_files import Choice
from bench.core import leases
from bench.core.disk import set_aside
from bench.core.errors import InputError, unwritable
from bench.core.hashing import short_hash
from bench.core.types import Split
from bench.distillation.distilled_set import DistilledSet, folder_of
from bench.distillation.gallery import diversity_of, draw
from bench.distillation.pictures import Timelapse
from bench.distillation.task import Task
from bench.machine.checkpoints import Checkpoint
from bench.machine.cost import measured
from bench.machine.processes import ALONE
from bench.pipeline.grid import Cell
from bench.pipeline.session import Session
from bench.pipeline.tensorboard import CellLogs

_COSTS = ('seconds', 'peak_memory_mb')


@dataclass(frozen=True)
class Plan:
    """The inputs of a cell's distilled set and its folder; `made_from` describes the inputs in plain values."""

    train: Split
    folder: Path
    made_from: dict[str, Any]

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint next to the folder, for a method that starts now."""
        return Checkpoint(self.folder.with_name(f'{self.folder.name}.checkpoint'), self.made_from)


def plan_of(session: Session, cell: Cell) -> Plan:
    """Return the plan of a cell's distilled set. The folder depends on data, weights and settings."""
    train = session.dataset(cell.dataset).train
    weights = session.weights(cell.source) if cell.source else None
    folder = folder_of(
        session.results_dir, dataset=cell.dataset.label, source=cell.config['source_backbone'], method=cell.method.label,
        ipc=cell.ipc, seed=cell.seed, made_from=short_hash([cell.distilled_config, train.fingerprint, weights]),
    )  # fmt: skip
    return Plan(train, folder, {**cell.distilled_config, 'train': train.fingerprint, 'weights': weights})


def distil(session: Session, cell: Cell, *, force: bool, logs: CellLogs) -> tuple[DistilledSet, dict[str, Any]]:
    """Return the cell's distilled set and its cost: seconds, peak_memory_mb, images_encoded.

    Args:
      session: the state shared by all stages.
      cell: the cell; cells with the same `distilled_key` share one set.
      force: make the set again, unless this process has already made it.
      logs: receives the curves and pictures.

    Raises:
      Exception: any exception of the method.
    """
    plan, store, world = plan_of(session, cell), session.store, session.world
    found = _found(plan, session) if world.leads and (not force or plan.folder in session.made) else None
    kept = world.agree(found is not None)
    film, checkpoint = Timelapse(), plan.checkpoint()

    def show(step: int, x_NCHW: Any) -> None:
        logs.show(step, x_NCHW)
        film.add(step, x_NCHW)

    backbone = session.backbone(cell.source, session.dataset(cell.dataset)) if cell.source else None
    task = Task(
        train=plan.train, ipc=cell.ipc or 0, seed=cell.seed, backbone=backbone, store=store if backbone else None,
        log=logs.log, show=show, title=f'{cell.method.label} on {cell.dataset.label}' if world.leads else '',
        source_set=None if kept else _source_set(session, cell, force=force), checkpoint=checkpoint, world=world,
    )
    # for steps that only the leading process takes
    own = replace(task, store=replace(store, world=ALONE) if task.store else None, world=ALONE)

    if kept:
        distilled, cost = found or _load(plan.folder)
        if world.leads:
            checkpoint.delete()  # of a run that ended just after it had saved the set
        logs.log_curves(distilled.curves)
    else:
        if force and world.leads:
            checkpoint.delete()
        encoded = store.images_encoded
        distilled, cost = _made(cell.method, task, checkpoint=checkpoint, device=session.device)
        cost['images_encoded'] = store.images_encoded - encoded
        if world.leads:
            if (spread := diversity_of(distilled, task=own)) is not None:
                distilled = replace(distilled, facts={**distilled.facts, 'diversity': spread})
            distilled = distilled.save(plan.folder, cost=cost, replace=force)
            checkpoint.delete()
        session.made.add(plan.folder)

    if world.leads:
        try:
            for title, path in draw(distilled, plan.folder, task=own, film=None if kept else film).items():
                if path.suffix == '.png':
                    logs.show_picture(path)
                session.say(f'    {title} of {cell.method.label}: {path}')
        except Exception as error:  # a picture is no result: the cell goes on without it
            if unwritable(error):
                raise
            session.say(f'    pictures of {cell.method.label} were not drawn: {type(error).__name__}: {error}')
    world.wait()
    return distilled, cost


def _found(plan: Plan, session: Session) -> tuple[DistilledSet, dict[str, Any]] | None:
    """Return the set on disk and its cost, or None if there is none. A damaged one is moved aside, to be made again."""
    if not plan.folder.exists():
        return None
    try:
        return _load(plan.folder)
    except InputError as error:
        session.say(f'    {error}: made again; it is kept as {set_aside(plan.folder, "damaged").name}')
        return None


def _load(folder: Path) -> tuple[DistilledSet, dict[str, Any]]:
    """Return a saved set and its cost.

    Raises:
      InputError: if one of them is damaged.
    """
    distilled = DistilledSet.load(folder)
    try:
        cost = json.loads((folder / 'cost.json').read_text())
        return distilled, {name: float(cost[name]) for name in _COSTS} | {'images_encoded': int(cost['images_encoded'])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'the cost of distilled set {folder} is damaged ({type(error).__name__})') from error


def _turn_to_make(session: Session, cell: Cell, *, force: bool) -> AbstractContextManager[Any]:
    """Wait while another run makes a cell's set; return the lease, or nothing if the set exists."""
    folder = plan_of(session, cell).folder
    if not session.world.leads or (folder.exists() and not force):
        return nullcontext()
    return leases.hold(
        leases.path_for(folder), waiting=lambda holder: session.say(f'waiting for {holder}, which works on {cell}')
    )


def _made(
    method: Choice, task: Task, *, checkpoint: Checkpoint, device: Any
) -> tuple[DistilledSet, dict[str, Any]]:
    """Return the set that a method makes, with its seconds (including those before an interruption) and peak_memory_mb."""
    with measured(device) as cost:
        distilled = method.call(task)
    if not isinstance(distilled, DistilledSet):
        raise TypeError(f'method {method.name} returned {type(distilled).__name__}, expected a DistilledSet')
    return distilled, {'seconds': checkpoint.earlier + cost.seconds, 'peak_memory_mb': cost.peak_memory_mb}


def _source_set(session: Session, cell: Cell, *, force: bool) -> DistilledSet | None:
    """Make or load the distilled set that the cell's method starts from, without logs."""
    source = cell.source_cell
    if source is None:
        return None
    try:
        with _turn_to_make(session, source, force=force):
            return distil(session, source, force=force, logs=CellLogs(session.results_dir, []))[0]
    except Exception as error:
        raise RuntimeError(f'{source.method.label}, whose images it starts from, failed: {error}') from error
