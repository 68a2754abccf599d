"""Devices, processes, checkpoints and cost: the common ground that needs torch."""
