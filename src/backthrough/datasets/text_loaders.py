"""Genomes, sequences, messages, texts and plain arrays from the contents of their files."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from backthrough.datasets.arrays import freeze
from backthrough.datasets.contents import Arrays, Messages, Sequences, Text

NamedArrays = Mapping[str, Shaped[np.ndarray, "..."]]


def read_genome(content: bytes, *, licence: str, source: str) -> Sequences:
    """The records of a FASTA file, letters as they stand there."""
    names, sequences, width = [], [], 0
    for record in content.decode("ascii").split(">")[1:]:
        name, *lines = record.splitlines()
        names.append(name)
        sequences.append("".join(lines))
        width = max(width, len(lines[0]))
    return Sequences(tuple(names), tuple(sequences), line_width=width, licence=licence, source=source)


def read_splice_junctions(content: bytes, *, licence: str, source: str) -> Sequences:
    """Rows `class, name, sequence`."""
    rows = [[cell.strip() for cell in line.split(",")] for line in content.decode("ascii").splitlines()]
    classes, names, sequences = zip(*rows, strict=True)
    class_names = tuple(sorted(set(classes)))
    labels = np.array([class_names.index(name) for name in classes], dtype=np.uint8)
    return Sequences(names, sequences, labels=labels, class_names=class_names, licence=licence, source=source)


def read_probe_intensities(content: bytes, *, licence: str, source: str) -> Sequences:
    """Tab-separated rows probe, sequence, intensity under a header line."""
    _, *rows = [line.split("\t") for line in content.decode("ascii").splitlines()]
    names, sequences, intensities = zip(*rows, strict=True)
    values = np.array(intensities, dtype=np.float64)
    return Sequences(names, sequences, values=values, licence=licence, source=source)


def read_messages(content: bytes, *, licence: str, source: str) -> Messages:
    """Lines `class<TAB>message`."""
    rows = [line.split("\t", 1) for line in content.decode("utf-8").removesuffix("\n").split("\n")]
    classes, texts = zip(*rows, strict=True)
    class_names = tuple(sorted(set(classes)))
    labels = np.array([class_names.index(name) for name in classes], dtype=np.uint8)
    return Messages(texts, labels, class_names, licence=licence, source=source)


def read_text(content: bytes, *, licence: str, source: str) -> Text:
    """The whole text."""
    return Text(content.decode("utf-8"), licence=licence, source=source)


def read_named_arrays(arrays: NamedArrays, *, licence: str, source: str) -> Arrays:
    """The arrays as they are."""
    return Arrays(freeze(dict(arrays)), licence=licence, source=source)


def read_arrays_and_numbers(arrays: NamedArrays, numbers: bytes, *, licence: str, source: str) -> Arrays:
    """The arrays, and the numbers of a JSON file under names such as `"n100_h1/valid_mse"`."""
    named = {**arrays, **dict(_numbers(json.loads(numbers)))}
    return Arrays(freeze(named), licence=licence, source=source)


def _numbers(value: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _numbers(inner, f"{prefix}{name}/")
        elif inner is not None:  # null stands for an array of the npz
            yield prefix + name, np.array(inner, dtype=np.float64)
