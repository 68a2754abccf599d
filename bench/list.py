"""Print every registered name with its one-line summary.

    python -m bench.list [--methods] [--datasets] [--backbones] [--protocols] [--recipes] [--analyses] [--plugin=...]

Names are read from tables and files; nothing heavy is imported.
"""

from collections.abc import Sequence

from absl import flags

from bench import cli, plugins, registry


def listing(kinds: Sequence[str] = registry.KINDS) -> str:
    """Return the names of these kinds in aligned columns, one block a kind; `timm:<model name>` for open names."""
    blocks = {
        kind: [(f'{row.name}:<{row.argument}>' if row.argument else row.name, row.summary) for row in _sorted(kind)]
        for kind in kinds
    }
    width = max((len(name) for rows in blocks.values() for name, _ in rows), default=0)
    lines = []
    for kind, rows in blocks.items():
        lines += [registry.plural(kind), *(f'  {name.ljust(width)}  {summary}'.rstrip() for name, summary in rows), '']
    return '\n'.join(lines)


def _sorted(kind: str) -> list[registry.Row]:
    return [row for _, row in sorted(registry.rows(kind).items())]


def main() -> int:
    chosen = [kind for kind in registry.KINDS if flags.FLAGS[registry.plural(kind)].value]
    plugins.load(flags.FLAGS.plugin)
    print(listing(chosen or registry.KINDS), end='')
    return 0


if __name__ == '__main__':
    for kind in registry.KINDS:
        name = registry.plural(kind)
        flags.DEFINE_bool(name, False, f'list the {name}; all kinds where no such flag is given')
    flags.DEFINE_multi_string('plugin', [], 'module name or path of a .py file that registers more; repeatable')
    cli.start(main)
