"""The published datasets: one file each, named after the dataset. Every file in this folder is part of the catalogue.

A file holds `DATASET`, the facts of the dataset, and `read(root)`, which reads the official files in the folder `root` and
returns a `bench.datasets.published.official.Contents`. Files that start with `_` are shared code. Listing the names imports
every file, so import slow libraries (torchvision, scipy) inside functions.
"""
