"""Captions for plumage pictures. Like a birder's notes, they mention the family and the mark, in varying words.

Shape suffixes: N captions, L words.
"""

from collections.abc import Sequence

import numpy as np

from bench.datasets.plumage.species import FAMILIES, SPECIES

# Probability that a caption names the mark. People do not mention everything they see; a caption that did would be a label.
MARK_NAMED = 0.4
_FRAMES = ('a photo of a {bird} {mark}', 'a {bird} {mark}', 'a picture of a {bird} {mark} among leaves', 'one {bird} {mark}')
_BIRDS = {
    'finch': ('small brown finch', 'finch', 'stout short-billed bird'),
    'heron': ('grey heron', 'heron', 'long-necked wader'),
    'parrot': ('green parrot', 'parrot', 'long-tailed upright bird'),
    'duck': ('brown duck', 'duck', 'broad-billed waterfowl'),
    'swallow': ('blue swallow', 'swallow', 'slender fork-tailed bird'),
}
_MARKS = {
    'crest': ('with a dark crest', 'with raised feathers on the head'),
    'bar': ('with a pale wing bar', 'with a stripe across the wing'),
    'cap': ('with a dark cap', 'with a crown of another colour'),
    'bill': ('with a bright bill', 'with a coloured bill'),
    'belly': ('with a pale belly', 'with light underparts'),
}
# Word k has number k + 1; 0 is padding.
VOCABULARY = tuple(
    sorted({word for text in (*_FRAMES, *sum(_BIRDS.values(), ()), *sum(_MARKS.values(), ())) for word in text.split()
            if not word.startswith('{')})
)  # fmt: skip
_NUMBER = {word: number for number, word in enumerate(VOCABULARY, start=1)}
MAX_WORDS = 16


def caption(species: int, rng: np.random.Generator) -> str:
    """Return one caption of a species. It always names the family and sometimes the mark; `rng` picks the words."""
    family, mark = FAMILIES[SPECIES[species].family].name, SPECIES[species].mark
    frame = _FRAMES[rng.integers(len(_FRAMES))]
    bird, said = _BIRDS[family][rng.integers(len(_BIRDS[family]))], _MARKS[mark][rng.integers(len(_MARKS[mark]))]
    named = rng.random() < MARK_NAMED
    return ' '.join(frame.format(bird=bird, mark=said if named else '').split())


def encode_words(captions: Sequence[str]) -> np.ndarray:
    """Return words_NL, int64: the number of each word, 0 after the last."""
    words_NL = np.zeros((len(captions), MAX_WORDS), np.int64)
    for row, text in zip(words_NL, captions, strict=True):
        numbers = [_NUMBER[word] for word in text.split()]
        row[: len(numbers)] = numbers
    return words_NL
