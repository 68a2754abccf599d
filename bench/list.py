"""Print every registered name with its one-line summary; for backbones also where their weights are on this machine.

    python -m bench.list [--methods] [--datasets] [--backbones] [--protocols] [--recipes] [--analyses] [--plugin=...]
    python -m bench.list --backbones --weights_root=WEIGHTS
    python -m bench.list --into=docs/backbones.md    # the table of published backbones, between its markers

Names are read from registry rows and files; no heavy library is imported.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from bench.backbones.catalogue import catalogue_table, whereabouts
from bench.config import plugins, registry
from bench.core import cli
from bench.core.tables import replace_block


def listing(kinds: Sequence[str] = registry.KINDS, *, weights_root: Path | None = None) -> str:
    """Return the names of these kinds in aligned columns, one block per kind; open names appear as `timm:<model name>`.

    Backbones have an additional column that says where their weights are.
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


def _shown(row: registry.Row) -> str:
    return f'{row.name}:<{row.argument}>' if row.argument else row.name


def _sorted(kind: str) -> list[registry.Row]:
    return [row for _, row in sorted(registry.rows(kind).items())]


def main() -> int:
    values = flags.FLAGS
    chosen = [kind for kind in registry.KINDS if values[registry.plural(kind)].value]
    plugins.load(values.plugin)
    for document in values.into:
        replace_block(Path(document), 'backbones', catalogue_table())
    print(listing(chosen or registry.KINDS, weights_root=cli.given_root('weights_root')), end='')
    return 0


if __name__ == '__main__':
    for kind in registry.KINDS:
        name = registry.plural(kind)
        flags.DEFINE_bool(name, False, f'list the {name}; all kinds where no such flag is given')
    cli.define('plugin', 'weights_root')
    flags.DEFINE_multi_string('into', [], 'document with the published backbones between its markers: docs/backbones.md')
    cli.start(main)
