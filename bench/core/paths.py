"""The root of the repository: the folder that contains bench/, methods/, gin/ and results/."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
