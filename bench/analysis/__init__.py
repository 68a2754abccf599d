"""Analyses of what the suite found: one file each, the table below names them.

    python -m bench.analyze --gin_file=gin/analysis/transfer.gin

An analysis is `analysis(evidence, *, settings...) -> bench.analysis.report.Report`: it reads records, distilled sets and
features (`bench.analysis.evidence.Evidence`), makes none of them, and says which ones are missing.
"""

from bench.config.registry import Row

ROWS = (
    Row('transfer', 'bench.analysis.transfer:transfer', 'source x eval backbone matrix of every method'),
    Row('alignment', 'bench.analysis.alignment:alignment', 'similarity of backbones, and whether it predicts transfer'),
    Row('ablation', 'bench.analysis.ablation:ablation', 'what each part of a method is worth, same-model and cross-model'),
    Row('spurious', 'bench.analysis.spurious:spurious', 'which encoder looks at the background'),
    Row('embedding', 'bench.analysis.embedding:embedding', 'where distilled images lie among the real ones of their class'),
    Row('nearest', 'bench.analysis.nearest:nearest', 'distilled images beside their nearest real ones, for every encoder'),
)
