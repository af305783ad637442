"""Splice junctions as fractional letters, each sequence once, split by class."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from backthrough.core import DataError
from backthrough.datasets.contents import Sequences

LETTERS = "ACGT"
LENGTH = 60
DINUCLEOTIDES = {"EI": (30, 31), "IE": (28, 29)}  # GT begins an intron, AG ends one; counted from 0
AMBIGUOUS = {"N": "ACGT", "D": "AGT", "R": "AG", "S": "CG"}  # IUPAC: which letters it may be


class Junctions(NamedTuple):
    """Sequences around what may be the end or the beginning of an intron.

    Attributes:
        letters: Of each position the part of each letter: one of them, or equal parts of those that an
            ambiguous letter may be.
        labels: EI (exon to intron, the donor), IE (intron to exon, the acceptor) or N (neither), as numbers.
        class_names: Their names.
    """

    letters: Float[np.ndarray, "sequence 60 4"]
    labels: Int[np.ndarray, "sequence"]
    class_names: tuple[str, ...]

    def of(self, rows: np.ndarray) -> "Junctions":
        """Some of them."""
        return Junctions(self.letters[rows], self.labels[rows], self.class_names)

    @property
    def certain(self) -> Bool[np.ndarray, "sequence"]:
        """Which have no ambiguous letter."""
        return (self.letters.max(axis=2) == 1).all(axis=1)


def encode(sequences: tuple[str, ...]) -> Float[np.ndarray, "sequence 60 4"]:
    """Letters as fractions.

    Raises:
        DataError: for a sequence of another length, or a letter that is none.

    Examples:
        >>> encode(("R" * 60,))[0, 0].tolist()
        [0.5, 0.0, 0.5, 0.0]
    """
    known = {letter: letter for letter in LETTERS} | AMBIGUOUS
    codes = {letter: np.array([own in may for own in LETTERS]) / len(may) for letter, may in known.items()}
    for row, sequence in enumerate(sequences):
        if len(sequence) != LENGTH or not codes.keys() >= set(sequence):
            raise DataError(f"sequence {row} must have {LENGTH} letters of {''.join(codes)}, got {sequence}")
    return np.array([[codes[letter] for letter in own] for own in sequences], np.float32)


def split_junctions(data: Sequences, *, seed: int, test_part: float = 0.2) -> tuple[Junctions, Junctions]:
    """Training and test sequences, the same part of each class; no sequence is in both.

    Each distinct sequence counts once, and one that stands under two classes not at all. Sequences that are
    merely alike, as those of one family of genes, may be in both.

    Args:
        data: `load("uci-splice")`.
        seed: Determines who is in which.
        test_part: Of each class.

    Raises:
        DataError: for sequences without classes, or whatever `encode` refuses.
    """
    if data.labels is None or set(data.class_names) != {*DINUCLEOTIDES, "N"}:
        raise DataError("splice junctions have the classes EI, IE and N")
    classes: dict[str, set[int]] = {}
    for sequence, label in zip(data.sequences, data.labels.tolist(), strict=True):
        classes.setdefault(sequence, set()).add(label)
    known = {sequence: min(own) for sequence, own in sorted(classes.items()) if len(own) == 1}
    labels = np.array(list(known.values()), np.int32)
    every = Junctions(encode(tuple(known)), labels, data.class_names)
    generator = np.random.default_rng(seed)
    is_test = np.zeros(len(labels), bool)
    for label in range(len(data.class_names)):
        rows = generator.permutation(np.flatnonzero(labels == label))
        is_test[rows[: round(test_part * len(rows))]] = True
    return every.of(~is_test), every.of(is_test)
