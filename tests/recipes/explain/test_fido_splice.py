"""The recipe of splice junctions: data by hand, and a moment of it on made-up sequences."""

import json
from dataclasses import replace

import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.datasets.contents import Sequences
from backthrough.recipes.explain.fido_splice import recipe
from backthrough.recipes.explain.fido_splice.config import Config
from backthrough.recipes.explain.fido_splice.junctions import DINUCLEOTIDES, encode, split_junctions
from backthrough.train import Run

TINY = Config(n_rows=3, n_steps=300, n_draws=2)
CLASSES = ("EI", "IE", "N")


def made_up(n: int, seed: int = 0) -> Sequences:
    """Random letters, with GT or AG where biology has them."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    letters = generator.choice(list("ACGT"), size=(n, 60))
    for kind, pair in (("EI", "GT"), ("IE", "AG")):
        for place, letter in zip(DINUCLEOTIDES[kind], pair, strict=True):
            letters[labels == CLASSES.index(kind), place] = letter
    sequences = tuple("".join(row) for row in letters)
    names = tuple(str(i) for i in range(n))
    return Sequences(
        names, sequences, labels=labels.astype(np.uint8), class_names=CLASSES, licence="", source=""
    )


def test_letters_are_fractions():
    sequence = "ACGTNDRS" + "A" * 52
    found = encode((sequence,))[0]
    assert found.shape == (60, 4)
    np.testing.assert_array_equal(found[:4], np.eye(4))
    np.testing.assert_allclose(found[4], 0.25)
    np.testing.assert_allclose(found[5], np.array([1, 0, 1, 1]) / 3, rtol=1e-6)
    np.testing.assert_array_equal(found[6:8], [[0.5, 0, 0.5, 0], [0, 0.5, 0.5, 0]])
    for wrong in ("A" * 59, "A" * 59 + "X"):
        with pytest.raises(DataError, match="sequence 1 must have 60 letters of ACGTNDRS"):
            encode((sequence, wrong))


def test_no_sequence_is_in_both_parts_and_none_counts_twice():
    data = made_up(60)
    assert data.labels is not None
    twice = replace(
        data,
        sequences=(*data.sequences, *data.sequences[:30], data.sequences[0]),
        names=tuple(map(str, range(91))),
        labels=np.concatenate([data.labels, data.labels[:30], [1]]).astype(np.uint8),  # 0 is EI and IE
    )
    train, test = split_junctions(twice, seed=0)
    every = [row.tobytes() for part in (train, test) for row in part.letters]
    assert len(every) == len(set(every)) == 59
    assert np.bincount(test.labels).tolist() == [4, 4, 4]
    again = split_junctions(twice, seed=0)[1]
    np.testing.assert_array_equal(again.letters, test.letters)
    assert train.certain.all()
    with pytest.raises(DataError, match="classes EI, IE and N"):
        split_junctions(replace(data, labels=None), seed=0)


def test_both_letters_must_be_among_the_first():
    shown = split_junctions(made_up(60), seed=0)[1]
    shown = shown.of(np.flatnonzero(shown.labels == 0)[:3])
    maps = np.zeros((3, 60))
    maps[0, [30, 31]] = 1
    maps[1, 30] = 1
    maps[2, 40:46] = 2
    maps[2, [30, 31]] = 1
    assert recipe.is_among_first(maps, shown, 2).tolist() == [True, False, False]
    assert recipe.is_among_first(maps, shown, 8).tolist() == [True, False, True]
    assert recipe.consensus(shown.letters)[30:32] == "GT"


@pytest.mark.slow
def test_it_finds_the_letters_that_were_put_there(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "load", lambda name: made_up(900))
    recipe.run(TINY, Run(tmp_path, config={}))
    result = json.loads((tmp_path / "result.json").read_text())
    found = {number["name"]: number for number in result["numbers"]}
    assert found["accuracy of the classifier"]["value"] > 0.6
    assert found[f"{recipe.KEY} (FIDO, marginal)"]["value"] > 0.6
    assert found[f"{recipe.KEY} (FIDO, marginal)"]["n"] == 3
    assert (tmp_path / "figures" / "maps.svg").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"infills": ()}, "at least one name"),
        ({"infills": ("marginals",)}, "did you mean 'marginal'"),
        ({"top": 61}, "top must be 2 to 60"),
        ({"n_draws": 0}, "n_draws must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(change, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        recipe.run(replace(TINY, **change), Run(tmp_path, config={}))
