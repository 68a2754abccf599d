"""Torch's side of the ground: devices, processes, checkpoints, cost."""
