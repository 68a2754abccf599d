"""Shared code of the methods that synthesise images: everything except the loss."""

from methods._synthesis.distil import Loss, Synthetic, synthesis
from methods._synthesis.real import RealFeatures

__all__ = ['Loss', 'RealFeatures', 'Synthetic', 'synthesis']
