"""Where the project lies: the folder with bench/, methods/, gin/ and results/."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
