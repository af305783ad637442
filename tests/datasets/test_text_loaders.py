import numpy as np

from backthrough.datasets import load
from backthrough.datasets.text_loaders import (
    read_arrays_and_numbers,
    read_genome,
    read_messages,
    read_splice_junctions,
)


def test_small_genome_has_lines_of_fifty_and_no_gap():
    genome = load("hg38-chr1-100kb")
    assert genome.names == ("hg38 chr1:800001-900000",)
    assert len(genome.sequences[0]) == 100_000
    assert set(genome.sequences[0]) == set("ACGT")
    assert genome.line_width == 50


def test_fasta_of_two_records():
    genome = read_genome(b">one x\nACGT\nAC\n>two\nGG", licence="", source="")
    assert genome.names == ("one x", "two")
    assert genome.sequences == ("ACGTAC", "GG")
    assert genome.line_width == 4


def test_splice_junctions_are_stripped_and_numbered():
    data = read_splice_junctions(b"N,  a,   ACGT\nEI, b, GGTA\n", licence="", source="")
    assert data.class_names == ("EI", "N")
    assert data.labels.tolist() == [1, 0]
    assert data.sequences == ("ACGT", "GGTA")
    assert data.names == ("a", "b")


def test_messages_keep_tabs_and_unusual_line_separators():
    data = read_messages("ham\ta\tb\x85c\nspam\td\n".encode(), licence="", source="")
    assert data.texts == ("a\tb\x85c", "d")
    assert data.labels.tolist() == [0, 1]


def test_numbers_get_path_names_and_null_is_left_to_the_arrays():
    numbers = b'{"a": {"b": 1.5, "c": [1, 2]}, "d": null}'
    data = read_arrays_and_numbers({"d": np.zeros(2)}, numbers, licence="", source="")
    assert set(data) == {"d", "a/b", "a/c"}
    assert data["a/b"] == 1.5
    assert data["a/c"].tolist() == [1, 2]
