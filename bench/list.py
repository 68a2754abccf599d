"""Print every registered name with its one-line summary; for backbones also where their weights are on this machine.

    python -m bench.list [--methods] [--datasets] [--backbones] [--protocols] [--recipes] [--analyses] [--plugin=...]
    python -m bench.list --backbones --weights_root=WEIGHTS
    python -m bench.list --into=docs/backbones.md    # write the table of published backbones between its markers

Names are read from registry rows and files; no heavy library is imported.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from bench.backbones.catalogue import catalogue_table, whereabouts
from bench.config import plugins, registry
from bench.core import cli
from bench.core.tables import aligned, replace_block


def listing(kinds: Sequence[str] = registry.KINDS, *, weights_root: Path | None = None) -> str:
    """Return the names of these kinds in aligned columns, one block per kind; open names appear as `timm:<model name>`.

    Backbones have an additional column that says where their weights are, methods one with their tuning budget.
    """
    blocks = []
    for kind in kinds:
        rows = _sorted(kind)
        columns = [[_shown(row) for row in rows], [row.summary for row in rows]]
        if kind == 'backbone':
            columns.insert(1, [whereabouts(row.name, weights_root) for row in rows])
        if kind == 'method':
            columns.append([f'tuned: {row.tuned or "not stated"}' for row in rows])
        blocks.append(f'{registry.plural(kind)}\n{aligned(zip(*columns, strict=True), indent="  ")}\n')
    return '\n'.join(blocks)


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
        flags.DEFINE_bool(name, False, f'list the {name}; default: all kinds')
    cli.define('plugin', 'weights_root')
    flags.DEFINE_multi_string('into', [], 'document to update between its backbones markers: docs/backbones.md')
    cli.start(main)
