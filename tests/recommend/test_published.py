"""The published model against plain Python, and against matrix factorisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.recommend.evidence import make_evidence
from backthrough.recommend.network import ends
from backthrough.recommend.published import PublishedNetwork
from backthrough.recommend.scale import RatingScale

RNG = np.random.default_rng(1)
N_USERS, N_ITEMS, D = 6, 5, 2
PAIRS = [(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if (u * 3 + i) % 4 != 1 and (u, i) != (5, 0)]
USER, ITEM = (np.array(own) for own in zip(*PAIRS, strict=True))
RATING = RNG.integers(1, 6, len(PAIRS)).astype(float)
SCALE = RatingScale.of([1, 2, 3, 4, 5])
EVIDENCE = make_evidence(USER, ITEM, RATING, n_users=N_USERS, n_items=N_ITEMS, scale=SCALE)
PLACES = [0, 2], [1]
ALL = [(u, i) for u in range(N_USERS) for i in range(N_ITEMS)]


def network(depth, *, pair="product", n_prototypes=(2, 1)):
    return PublishedNetwork(
        3.2,
        d=D,
        hidden_size=3,
        depth=depth,
        scale=SCALE,
        n_prototypes=n_prototypes,
        pair=pair,
        key=jax.random.key(2),
    )


def rate(net, places):
    vectors = net.vectors(EVIDENCE, *(jnp.array(own) for own in places))
    u, i = (jnp.array(own) for own in zip(*ALL, strict=True))
    return np.asarray(net.rate(ends(vectors, u, of="user"), ends(vectors, i, of="item")))


def plain(network, values):
    """A network's output, by NumPy."""
    values = np.asarray(values)
    for place, layer in enumerate(network.layers):
        values = np.asarray(layer.weight) @ values + np.asarray(layer.bias)
        values = values if place == len(network.layers) - 1 else np.maximum(values, 0)
    return values.squeeze() if network.out_size == "scalar" else values


def recursion(net, side, number, depth):
    """The authors' recursion without limits: None where there is no vector."""
    own, others = (net.user_prototypes, net.to_user) if side == 0 else (net.item_prototypes, net.to_item)
    if number in PLACES[side]:
        return np.asarray(own[PLACES[side].index(number)])
    if depth < 1:
        return None
    said = []
    for pair, rating in zip(PAIRS, RATING, strict=True):
        if pair[side] == number:
            vector = recursion(net, 1 - side, pair[1 - side], depth - 1)
            if vector is not None:
                said.append(plain(others, [*vector, rating]))
    return None if len(said) < 2 else np.mean(said, axis=0)


@pytest.mark.parametrize(("depth", "pair"), [(1, "product"), (2, "network"), (3, "product")])
def test_it_is_the_recursion(depth, pair):
    net = network(depth, pair=pair)
    expected = []
    for u, i in ALL:
        one, other = recursion(net, 0, u, depth), recursion(net, 1, i, depth)
        if one is None or other is None:
            expected.append(net.mean)
        elif pair == "product":
            expected.append(one @ other)
        else:
            expected.append(float(plain(net.net, [*one, *other])))
    found = rate(net, PLACES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert depth > 1 or np.isclose(found, net.mean).any()


def test_with_a_prototype_for_each_it_is_matrix_factorisation():
    net = network(2, n_prototypes=(N_USERS, N_ITEMS))
    everybody = list(range(N_USERS)), list(range(N_ITEMS))
    product = np.asarray(net.user_prototypes @ net.item_prototypes.T)
    np.testing.assert_allclose(rate(net, everybody), product.ravel(), rtol=1e-5)
