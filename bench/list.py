"""Print every registered name with its one-line summary, and of backbones where their weights are on this machine.

    python -m bench.list [--methods] [--datasets] [--backbones] [--protocols] [--recipes] [--analyses] [--plugin=...]
    python -m bench.list --backbones --weights_root=WEIGHTS
    python -m bench.list --into=docs/backbones.md    # the table of published backbones, between its markers

Names are read from tables and files; nothing heavy is imported.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from bench.backbones.catalogue import CATALOGUE, IMAGENET, OPENAI
from bench.backbones.tiny.encoders import NETWORK_OF
from bench.backbones.weights import local_file
from bench.config import plugins, registry
from bench.core import cli
from bench.core.errors import InputError
from bench.core.tables import replace_block

_NORMALISATIONS = {IMAGENET: 'ImageNet', OPENAI: 'CLIP'}


def listing(kinds: Sequence[str] = registry.KINDS, *, weights_root: Path | None = None) -> str:
    """Return the names of these kinds in aligned columns, one block a kind; `timm:<model name>` for open names.

    Backbones have a column in between that says where their weights are.
    """
    blocks = {kind: [(_shown(row), row) for row in _sorted(kind)] for kind in kinds}
    width = max((len(name) for rows in blocks.values() for name, _ in rows), default=0)
    lines = []
    for kind, rows in blocks.items():
        summaries = [row.summary for _, row in rows]
        if kind == 'backbone':
            places = [whereabouts(row.name, weights_root) for _, row in rows]
            longest = max(map(len, places), default=0)
            summaries = [f'{place.ljust(longest)}  {text}' for place, text in zip(places, summaries, strict=True)]
        lines.append(registry.plural(kind))
        lines += [f'  {name.ljust(width)}  {text}'.rstrip() for (name, _), text in zip(rows, summaries, strict=True)]
        lines.append('')
    return '\n'.join(lines)


def whereabouts(name: str, weights_root: Path | None = None) -> str:
    """Return where the weights of a backbone are on this machine, `absent` with the size of the download, '' if unknown."""
    if name in NETWORK_OF:
        return 'in the project'
    if name not in CATALOGUE:
        return ''
    entry = CATALOGUE[name]
    if local_file(name, weights_root):
        return 'in weights_root'
    if entry.origin.cached():
        return "in the hub's cache" if entry.origin.repository else "in torch's cache"
    return f'absent, {entry.megabytes} MB'


def catalogue_table() -> str:
    """Return the published backbones as a markdown table: what docs/backbones.md shows."""
    head = (
        'name', 'source, model and tag', 'feature', 'width', 'side', 'normalisation', 'resize', 'weights', 'licence', 'from'
    )  # fmt: skip
    rules = ('---:' if name in ('width', 'side') else '---' for name in head)
    lines = [f'| {" | ".join(head)} |', f'| {" | ".join(rules)} |']
    for entry in CATALOGUE.values():
        origin = entry.origin
        known = _NORMALISATIONS.get((entry.mean, entry.std), f'{entry.mean[0]:g} / {entry.std[0]:g}')
        weights = f'[{origin.repository or origin.url.rpartition("/")[2]}]({origin.address}), {entry.megabytes} MB'
        cells = (
            f'`{entry.name}`', f'{entry.source} `{entry.argument}`', entry.feature, entry.width, entry.input_side, known,
            entry.interpolation, weights, entry.licence, entry.citation,
        )  # fmt: skip
        lines.append(f'| {" | ".join(map(str, cells))} |')
    return '\n'.join(lines)


def _shown(row: registry.Row) -> str:
    return f'{row.name}:<{row.argument}>' if row.argument else row.name


def given_weights_root() -> Path | None:
    """Return the folder that the flag weights_root names.

    Raises:
      InputError: for one that does not exist.
    """
    root = Path(flags.FLAGS.weights_root) if flags.FLAGS.weights_root else None
    if root and not root.is_dir():
        raise InputError(f'--weights_root={root}: expected an existing folder')
    return root


def _sorted(kind: str) -> list[registry.Row]:
    return [row for _, row in sorted(registry.rows(kind).items())]


def main() -> int:
    values = flags.FLAGS
    chosen = [kind for kind in registry.KINDS if values[registry.plural(kind)].value]
    plugins.load(values.plugin)
    for document in values.into:
        replace_block(Path(document), 'backbones', catalogue_table())
    print(listing(chosen or registry.KINDS, weights_root=given_weights_root()), end='')
    return 0


if __name__ == '__main__':
    for kind in registry.KINDS:
        name = registry.plural(kind)
        flags.DEFINE_bool(name, False, f'list the {name}; all kinds where no such flag is given')
    flags.DEFINE_multi_string('plugin', [], 'module name or path of a .py file that registers more; repeatable')
    flags.DEFINE_string('weights_root', None, 'folder with local checkpoints, where weights are looked for')
    flags.DEFINE_multi_string('into', [], 'document with the published backbones between its markers: docs/backbones.md')
    cli.start(main)
