"""Vectors level by level against plain Python that follows the chains one by one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.recommend.biases import biases
from backthrough.recommend.evidence import bucket, make_evidence
from backthrough.recommend.network import ChainNetwork, ends
from backthrough.recommend.scale import RatingScale
from backthrough.recommend.targets import draw_split
from backthrough.recommend.training import Task, squared_error

RNG = np.random.default_rng(0)
N_USERS, N_ITEMS, DEPTH, D = 5, 6, 2, 3
PAIRS = [(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if (2 * u + 3 * i) % 5 and (u, i) != (4, 5)]
USER, ITEM = (np.array(own) for own in zip(*PAIRS, strict=True))
RATING = RNG.integers(1, 6, len(PAIRS)) / 2
SCALE = RatingScale.of(RATING)
EVIDENCE = make_evidence(USER, ITEM, RATING, n_users=N_USERS + 1, n_items=N_ITEMS + 1, scale=SCALE)
PROTOTYPES = jnp.array([1, 3]), jnp.array([0, 2, 5])
NETWORK = ChainNetwork(
    float(RATING.mean()),
    d=D,
    hidden_size=4,
    depth=DEPTH,
    scale=SCALE,
    n_prototypes=(2, 3),
    pair="both",
    key=jax.random.key(0),
)
TASK = Task(EVIDENCE, *PROTOTYPES)


class Plain:
    """The recursion itself: a vector is asked for, and asks for those that it is made of."""

    def __init__(self, network, ratings):
        self.network, self.ratings = network, ratings
        user, item = np.zeros(N_USERS + 1), np.zeros(N_ITEMS + 1)
        for _ in range(4):
            for i in range(N_ITEMS + 1):
                own = [r - network.mean - user[u] for (u, j), r in ratings.items() if j == i]
                item[i] = sum(own) / (3 + len(own))
            for u in range(N_USERS + 1):
                own = [r - network.mean - item[i] for (v, i), r in ratings.items() if v == u]
                user[u] = sum(own) / (8 + len(own))
        self.bias = {"user": user, "item": item}

    def vector(self, side, number, level):
        net = self.network
        if level == 0:
            places = [int(own) for own in PROTOTYPES[side == "item"]]
            stored = np.asarray(net.user_prototypes if side == "user" else net.item_prototypes)
            start = np.asarray(net.user_start if side == "user" else net.item_start)
            return stored[places.index(number)] if number in places else start
        part = (net.user_levels if side == "user" else net.item_levels)[level - 1]
        other = "item" if side == "user" else "user"
        weights, total = np.exp(float(part.shrinkage)), np.zeros(D)
        for pair, rating in self.ratings.items():
            if pair[side == "item"] != number:
                continue
            residual = rating - net.mean - self.bias["user"][pair[0]] - self.bias["item"][pair[1]]
            v = self.vector(other, pair[side == "user"], level - 1)
            step = SCALE.steps.index(rating)
            hidden = np.asarray(part.from_vector) @ v + np.asarray(part.from_step)[step]
            hidden = np.maximum(hidden + np.asarray(part.hidden_bias), 0)
            said = np.asarray(part.out.weight) @ hidden + np.asarray(part.out.bias)
            gate = np.exp(np.clip(said[-1], -6, 6))
            total = total + gate * (said[:D] + residual * said[D : 2 * D])
            weights += gate
        return total / weights

    def rate(self, user, item):
        u, v = self.vector("user", user, DEPTH), self.vector("item", item, DEPTH)
        n = [sum(pair[side] == own for pair in self.ratings) for side, own in ((0, user), (1, item))]
        features = np.concatenate([u, v, u * v, np.abs(u - v), np.log1p(n) / 5])
        known = self.network.mean + self.bias["user"][user] + self.bias["item"][item]
        return known + u @ v + float(self.network.net(jnp.asarray(features, jnp.result_type(float))))


def predicted(network, evidence, users, items):
    return rated(network, network.vectors(evidence, *PROTOTYPES), users, items)


def rated(network, vectors, users, items):
    pair = ends(vectors, jnp.asarray(users), of="user"), ends(vectors, jnp.asarray(items), of="item")
    return np.asarray(network.rate(*pair))


ALL = [(u, i) for u in range(N_USERS + 1) for i in range(N_ITEMS + 1)]


def test_it_is_the_recursion():
    """For every pair, also of the user and the item without a rating."""
    plain = Plain(NETWORK, dict(zip(PAIRS, RATING, strict=True)))
    found = predicted(NETWORK, EVIDENCE, *zip(*ALL, strict=True))
    np.testing.assert_allclose(found, [plain.rate(*pair) for pair in ALL], rtol=1e-4, atol=1e-5)


def test_ratings_without_weight_are_as_if_they_were_not_there():
    keep = RNG.random(len(PAIRS)) < 0.6
    weight = jnp.zeros(len(EVIDENCE.weight)).at[: len(PAIRS)].set(jnp.asarray(keep, jnp.result_type(float)))
    shown = eqx.tree_at(lambda own: own.weight, EVIDENCE, weight)
    plain = Plain(NETWORK, {pair: r for pair, r, kept in zip(PAIRS, RATING, keep, strict=True) if kept})
    found = predicted(NETWORK, shown, *zip(*ALL, strict=True))
    np.testing.assert_allclose(found, [plain.rate(*pair) for pair in ALL], rtol=1e-4, atol=1e-5)


def test_neither_order_nor_numbers_matter():
    order = RNG.permutation(len(PAIRS))
    users, items = RNG.permutation(N_USERS + 1), RNG.permutation(N_ITEMS + 1)
    turned = make_evidence(
        users[USER[order]],
        items[ITEM[order]],
        RATING[order],
        n_users=N_USERS + 1,
        n_items=N_ITEMS + 1,
        scale=SCALE,
    )
    prototypes = (
        jnp.asarray(users[np.asarray(PROTOTYPES[0])]),
        jnp.asarray(items[np.asarray(PROTOTYPES[1])]),
    )
    vectors = NETWORK.vectors(turned, *prototypes)
    u, i = zip(*ALL, strict=True)
    found = rated(NETWORK, vectors, users[list(u)], items[list(i)])
    np.testing.assert_allclose(found, predicted(NETWORK, EVIDENCE, u, i), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cold_start", [0.0, 0.5])
def test_a_target_is_no_part_of_its_own_prediction(cold_start):
    """Other values of all targets change no prediction of them, not by a bit."""
    split = draw_split(EVIDENCE, cold_start=cold_start, key=jax.random.key(3))
    is_target = np.asarray(EVIDENCE.weight > split.weight)
    assert 0 < is_target.sum() < len(PAIRS)
    shown = eqx.tree_at(lambda own: own.weight, EVIDENCE, split.weight)
    other = np.where(is_target, 77.0, np.asarray(EVIDENCE.rating))
    told = eqx.tree_at(lambda own: own.rating, shown, jnp.asarray(other, jnp.result_type(float)))
    u, i = USER[is_target[: len(PAIRS)]], ITEM[is_target[: len(PAIRS)]]
    np.testing.assert_array_equal(predicted(NETWORK, shown, u, i), predicted(NETWORK, told, u, i))


def test_splits_have_all_targets_or_as_many_as_fit():
    for seed in range(20):
        split = draw_split(EVIDENCE, cold_start=0.3, key=jax.random.key(seed))
        is_target = np.asarray(EVIDENCE.weight - split.weight) > 0
        chosen = np.asarray(split.target)[np.asarray(split.counts) > 0]
        assert len(set(chosen.tolist())) == len(chosen) == min(is_target.sum(), len(split.target))
        assert is_target[chosen].all()
        assert not is_target[len(PAIRS) :].any()


def test_new_ones_keep_few_ratings():
    many = make_evidence(
        np.repeat(np.arange(40), 50),
        np.tile(np.arange(50), 40),
        np.tile([1.0, 2.0], 1000),
        n_users=40,
        n_items=50,
        scale=RatingScale.of([1, 2]),
    )
    split = draw_split(many, cold_start=1.0, key=jax.random.key(0))
    kept = np.asarray(split.weight)[:2000].reshape(40, 50)
    assert kept.sum(1).max() <= 29
    assert kept.sum(0).max() <= 29
    assert kept.sum() > 0


@pytest.mark.slow
def test_the_gradient_is_that_of_differences():
    split = draw_split(EVIDENCE, cold_start=0.2, key=jax.random.key(1))
    with jax.enable_x64(True):
        network, task, split = jax.tree_util.tree_map(
            lambda leaf: leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf,
            (NETWORK, TASK, split),
        )
        arrays, rest = eqx.partition(network, eqx.is_inexact_array)
        flat, restore = jax.flatten_util.ravel_pytree(arrays)

        def loss(flat):
            return squared_error(
                eqx.combine(restore(flat), rest), task, split.weight, split.target, split.counts
            )

        gradient = jax.grad(loss)(flat)
        direction = jnp.asarray(RNG.standard_normal(flat.size))
        step = 1e-6
        difference = (loss(flat + step * direction) - loss(flat - step * direction)) / (2 * step)
        assert float(gradient @ direction) == pytest.approx(float(difference), rel=1e-6)


def test_damped_means_of_one_user_and_no_one():
    own = biases(EVIDENCE, NETWORK.mean)
    plain = Plain(NETWORK, dict(zip(PAIRS, RATING, strict=True)))
    np.testing.assert_allclose(own.user[: N_USERS + 1], plain.bias["user"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(own.item[: N_ITEMS + 1], plain.bias["item"], rtol=1e-4, atol=1e-6)
    assert own.user[N_USERS] == own.item[N_ITEMS] == 0


def test_buckets_waste_at_most_a_quarter():
    sizes = [bucket(n) for n in range(1, 3000)]
    assert all(size >= n for n, size in enumerate(sizes, 1))
    assert all(size <= max(16, 1.25 * n) for n, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 35
