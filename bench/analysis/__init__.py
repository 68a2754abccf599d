"""Analyses of the results, one file per analysis, registered below.

    python -m bench.analyze --gin_file=gin/analysis/transfer.gin

An analysis is a function `analysis(evidence, *, settings...) -> bench.analysis.report.Report`. It reads records, distilled
sets and features (`bench.analysis.evidence.Evidence`) but never makes records or sets. If some are missing, its error names
them.
"""

from bench.config.registry import Row

ROWS = (
    Row('transfer', 'bench.analysis.transfer:transfer', 'source x eval backbone matrix of every method'),
    Row('alignment', 'bench.analysis.alignment:alignment', 'similarity of backbones, and whether it predicts transfer'),
    Row('ablation', 'bench.analysis.ablation:ablation', 'contribution of each part of a method, same-model and cross-model'),
    Row('spurious', 'bench.analysis.spurious:spurious', 'how much each encoder relies on the background'),
    Row('embedding', 'bench.analysis.embedding:embedding', 'position of distilled images among real images of their class'),
    Row('pattern', 'bench.analysis.pattern:pattern', 'relative scores, and their distance from the published ones'),
    Row('nearest', 'bench.analysis.nearest:nearest', 'distilled images next to their nearest real images, per encoder'),
)
