"""The estimator: what is added, taken back, saved and explained is what a fit or a full computation says."""

import numpy as np
import pandas as pd
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.recommend import BiasBaseline, BiasedMF, EvidenceChains

RNG = np.random.default_rng(0)
STARS = [0.5 * half for half in range(1, 11)]
SMALL = {"d": 3, "hidden_size": 4, "n_prototypes": 3, "n_steps": 3, "random_state": 0, "scale": STARS}


def truth(n_users=12, n_items=10, *, keep=0.7):
    """Ratings of one hidden taste, in half stars."""
    taste, kind = RNG.standard_normal(n_users), RNG.standard_normal(n_items)
    stars = np.clip(np.round(2 * (3 + np.outer(taste, kind))) / 2, 0.5, 5)
    return [
        (f"u{user}", f"i{item}", float(stars[user, item]))
        for user in range(n_users)
        for item in range(n_items)
        if RNG.random() < keep or user == item
    ]


RATINGS = truth()
PAIRS = [(f"u{user}", f"i{item}") for user in range(12) for item in range(10)]


@pytest.fixture(scope="module")
def fitted():
    return EvidenceChains(**SMALL).fit(RATINGS)


def again(model, ratings):
    """The same parameters with other ratings, from a file."""
    return EvidenceChains.load(model, ratings)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "chains.npz"
    fitted.save(path)
    assert path.stat().st_size < 200_000
    return path


def test_what_is_loaded_predicts_the_same(fitted, saved):
    np.testing.assert_array_equal(again(saved, RATINGS).predict(PAIRS), fitted.predict(PAIRS))


@pytest.mark.parametrize("one_by_one", [True, False])
def test_added_ratings_count_as_if_they_had_always_been_there(saved, one_by_one):
    """Of users and items that are new, too; in any order."""
    model = again(saved, RATINGS[:40])
    model.predict(PAIRS)
    rest = [RATINGS[place] for place in RNG.permutation(np.arange(40, len(RATINGS)))]
    for part in [[row] for row in rest] if one_by_one else [rest]:
        model.add_ratings(part)
    expected = again(saved, RATINGS).predict(PAIRS)
    np.testing.assert_allclose(model.predict(PAIRS), expected, rtol=1e-5)


def test_ratings_taken_back_leave_no_trace(saved):
    model = again(saved, RATINGS)
    model.add_ratings([("new", "i0", 5.0), ("new", "another", 1.0), ("u1", "another", 2.0)])
    assert np.abs(model.predict(PAIRS) - again(saved, RATINGS).predict(PAIRS)).max() > 1e-6
    model.remove_ratings([("new", "i0"), ("new", "another"), ("u1", "another")])
    np.testing.assert_array_equal(model.predict(PAIRS), again(saved, RATINGS).predict(PAIRS))
    assert model.predict([("new", "i0")]) == model.predict([("nobody", "i0")])


def test_nobody_and_nothing_are_as_without_evidence(fitted):
    """Of whom nothing is known, all is 0: no word of the first user's, as a number below 0 would give."""
    fitted = EvidenceChains(**SMALL).fit(RATINGS)
    before = fitted.predict([("gone", "i3"), ("u2", "away"), ("gone", "away")])
    fitted.add_ratings([("gone", "away", 1.0)])
    fitted.remove_ratings([("gone", "away")])
    np.testing.assert_allclose(
        fitted.predict([("gone", "i3"), ("u2", "away"), ("gone", "away")]), before, rtol=1e-6
    )
    known = fitted.is_known([("u2", "i3"), ("gone", "i3"), ("u2", "nothing")])
    assert known.tolist() == [[True, True], [False, True], [True, False]]


def test_somebody_is_a_user_whom_the_items_do_not_know(saved):
    """A new user changes items only by their own rating of them: little, among many."""
    shown = {"i0": 5.0, "i4": 1.0, "i7": 3.5}
    model = again(saved, RATINGS)
    items = [f"i{item}" for item in range(10)]
    as_somebody = model.predict_for(shown, items)
    one = model.predict_for({}, items)
    np.testing.assert_allclose(one, model.predict([("nobody", item) for item in items]), rtol=1e-5)
    model.add_ratings([("me", item, rating) for item, rating in shown.items()])
    mine = model.predict([("me", item) for item in items])
    assert np.abs(as_somebody - mine).max() < 0.3
    assert model.predict_for(shown, ["what"]).shape == (1,)


def test_recommendations_are_the_highest_predictions_of_what_was_not_seen(fitted):
    found = fitted.recommend("u3", top_k=4)
    unseen = [f"i{item}" for item in range(10) if f"i{item}" not in fitted.ratings_.ratings_of("u3")]
    expected = fitted.predict([("u3", item) for item in unseen])
    order = np.argsort(-expected, kind="stable")[:4]
    assert set(found["item"]) <= set(unseen)
    np.testing.assert_allclose(found["rating"], expected[order], rtol=1e-6)
    assert len(fitted.recommend("u3", top_k=99, exclude_seen=False)) == 10
    somebody = fitted.recommend({"i1": 5.0}, top_k=3)
    assert "i1" not in list(somebody["item"])


def test_explanations_add_up_and_effects_are_those_of_taking_back(saved):
    model = again(saved, RATINGS)
    found = model.explain("u3", "i3", n_evidence=4)
    assert sum(found.parts.values()) == pytest.approx(found.rating, abs=1e-5)
    assert model.predict([("u3", "i3")])[0] == pytest.approx(np.clip(found.rating, 0.5, 5), abs=1e-5)
    assert len(found.evidence) == 4
    for row in found.evidence.itertuples():
        pair = ("u3", row.id) if row.of == "user" else (row.id, "i3")
        other = again(saved, RATINGS)
        other.remove_ratings([pair])
        assert found.rating - other.explain("u3", "i3", n_evidence=0).rating == pytest.approx(
            row.effect, abs=1e-5
        )
    assert (found.chains["share"].to_numpy() > 0).all()
    assert (np.diff(found.chains["share"]) <= 0).all()
    assert "u3 and i3" in str(found)
    nobody = model.explain("nobody", "nothing")
    assert len(nobody.evidence) == len(nobody.chains) == 0


def test_shares_of_all_chains_and_of_zero_make_one(fitted):
    chains = fitted.explain("u3", "i3", n_chains=10**6).chains
    assert 0 < chains.loc[chains["of"] == "user", "share"].sum() < 1


def test_several_models_give_wider_intervals_where_they_differ():
    model = EvidenceChains(**SMALL, n_models=2).fit(RATINGS)
    low, high = model.predict_interval(PAIRS, level=0.5)
    middle = model.predict(PAIRS)
    assert ((low <= middle) & (middle <= high)).all()
    wide = model.predict_interval(PAIRS, level=0.9)
    assert (wide[0] <= low).all()
    assert (wide[1] >= high).all()
    alone = EvidenceChains(**SMALL).fit(RATINGS)
    assert np.abs(model.predict(PAIRS) - alone.predict(PAIRS)).max() > 1e-6
    with pytest.raises(ArgumentError, match="explanations are of one model"):
        model.explain("u1", "i1")


def test_rec_needs_two_ratings_and_falls_back_to_the_mean():
    model = EvidenceChains(**SMALL, mode="rec", pair="product").fit(RATINGS)
    assert model.predict([("nobody", "i0")])[0] == pytest.approx(model.mean_)
    model.add_ratings([("once", "i0", 5.0)])
    assert model.predict([("once", "i1")])[0] == pytest.approx(model.mean_)
    model.add_ratings([("once", "i2", 1.0), ("once", "i3", 1.0), ("once", "i4", 1.0)])
    assert model.predict([("once", "i1")])[0] != pytest.approx(model.mean_)


@pytest.mark.parametrize("kind", [BiasBaseline, BiasedMF])
def test_baselines_take_new_ratings_too(kind):
    model = kind(scale=STARS).fit(RATINGS)
    before = model.predict(PAIRS)
    somebody = model.predict_for({"i0": 5.0, "i1": 5.0}, ["i2"])[0]
    assert somebody != model.predict_for({"i0": 0.5, "i1": 0.5}, ["i2"])[0]
    model.add_ratings([("new", "thing", 5.0)])
    assert model.predict([("new", "thing")])[0] > model.mean_
    liked = model.predict_for({"thing": 5.0}, ["i2", "thing"])
    assert (liked > model.predict_for({"thing": 0.5}, ["i2", "thing"])).all()
    model.remove_ratings([("new", "thing")])
    np.testing.assert_allclose(model.predict(PAIRS), before)


def test_factorisation_finds_a_hidden_taste():
    """Rank 1 and no noise but rounding to half stars: far below what biases leave."""
    ratings = truth(80, 60)
    held = ratings[::10]
    rest = [row for place, row in enumerate(ratings) if place % 10]
    bias = BiasBaseline(scale=STARS).fit(rest)
    factors = BiasedMF(n_factors=2, scale=STARS, random_state=0).fit(rest)
    assert -factors.score(held) < 0.5 * -bias.score(held)


@pytest.mark.parametrize(
    ("change", "ratings", "message"),
    [
        ({"d": 0}, RATINGS, "d must be at least 1"),
        ({"depth": 0}, RATINGS, "depth must be at least 1"),
        ({"mode": "rec-"}, RATINGS, "did you mean 'rec"),
        ({"pair": "sum"}, RATINGS, "unknown pair 'sum'"),
        ({"cold_start": 2.0}, RATINGS, "cold_start must lie"),
        ({"mode": "rec", "n_prototypes": 0}, RATINGS, "needs prototypes"),
        ({"scale": [1, 2]}, RATINGS, "and the scale goes from 1 to 2"),
        ({"scale": None}, [("a", "b", 3.0), ("a", "c", 3.0)], "all ratings are 3"),
        ({}, [("a", "b", 3.0)], "there are 1 ratings"),
        ({}, [], "there are 0 ratings"),
        ({}, [("a", "b", 3.0), ("a", "b", 2.0)], "'a' has two ratings here for 'b'"),
    ],
)
def test_wrong_settings_and_ratings_are_named(change, ratings, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        EvidenceChains(**{**SMALL, **change}).fit(ratings)


def test_wrong_use_is_named(fitted, saved, tmp_path):
    with pytest.raises(DataError, match="is among those that are predicted from"):
        fitted.score(RATINGS[:3])
    with pytest.raises(DataError, match="nobody has rated 'what'"):
        fitted.predict_for({"what": 3.0}, ["i0"])
    with pytest.raises(DataError, match="rating 0 is 9"):
        fitted.predict_for({"i0": 9.0}, ["i1"])
    with pytest.raises(DataError, match="and the scale goes from"):
        fitted.add_ratings([("u0", "new", 77.0)])
    with pytest.raises(DataError, match="user ids are words here"):
        fitted.predict([(1, "i0")])
    with pytest.raises(ArgumentError, match="pairs are of user and item"):
        fitted.predict([("u0", "i0", 1.0)])
    with pytest.raises(DataError, match="rating 0 is 50"):
        again(saved, [("a", "b", 50.0), ("a", "c", 1.0)])
    (tmp_path / "other.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="other.npz holds no model"):
        EvidenceChains.load(tmp_path / "other.npz")
    assert fitted.score([("u0", "nothing", 3.0), ("nobody", "i0", 3.0)]) <= 0
    frame = pd.DataFrame(PAIRS, columns=["user", "item"])
    np.testing.assert_array_equal(fitted.predict(frame), fitted.predict(PAIRS))
