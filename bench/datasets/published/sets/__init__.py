"""The published datasets: one file each, named like the dataset. A file that appears here is in the catalogue.

A file holds `ENTRY`, what is known of the dataset before any file of it is there, and `read(root)`, which returns its
`bench.datasets.published.official.Contents` from the official files in the folder `root`. Files whose names begin with
`_` are code that several of them share. Every file is imported to list the names: import what takes seconds
(torchvision, scipy) inside functions.
"""
