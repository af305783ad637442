"""Families on networks: exact where theory says so, the same under jit and vmap, refused where wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.natgrad import (
    Categorical,
    Curvature,
    FixedNoise,
    Gaussian,
    expected_gradient,
    find_blocks,
    load_posterior,
    noisy_adam,
    noisy_ekfac,
    noisy_full,
    noisy_kfac,
    posterior,
    pull_back,
)
from backthrough.natgrad.blocks import leaves_of

MAKERS = {"adam": noisy_adam, "kfac": noisy_kfac, "ekfac": noisy_ekfac, "full": noisy_full}
X = jax.random.normal(jax.random.key(10), (12, 3))
KEY = jax.random.key(0)


def deep_linear(key=KEY):
    return eqx.nn.MLP(3, 2, 4, 1, activation=lambda x: x, key=key)


def network(key=KEY):
    return eqx.nn.MLP(3, 2, 4, 1, activation=jnp.tanh, key=key)


def stacked(model):
    return jax.tree_util.tree_map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, model)


def seen_by(model, likelihood, y, *, x=X, fisher="exact", key=KEY):
    blocks = find_blocks(model, x[0])
    parameters = jax.tree_util.tree_map(lambda leaf: leaf[None], likelihood.init())
    return blocks, expected_gradient(
        stacked(model), blocks, likelihood, parameters, x, y, key=key, fisher=fisher
    )


def exact_fisher(model, likelihood, x=X):
    """The mean over examples of J^T F_out J, by a Jacobian; arrays one behind the other."""
    arrays, static = eqx.partition(model, eqx.is_inexact_array)

    def outputs(arrays):
        return jax.vmap(lambda own: eqx.combine(arrays, static)(own))(x)

    jacobian = leaves_of(jax.jacobian(outputs)(arrays))
    flat = {path: own.reshape(*own.shape[:2], -1) for path, own in jacobian.items()}
    factors = jax.vmap(lambda out: likelihood.fisher_factors(out, likelihood.init()))(outputs(arrays))
    rows = {path: jnp.einsum("nko,nop->nkp", factors, own) for path, own in flat.items()}
    return {(a, b): jnp.einsum("nkp,nkq->pq", rows[a], rows[b]) / len(x) for a in rows for b in rows}


def one_step(make, model, found, blocks, **settings):
    transform = make(blocks, n_data=50, decay=0.0, initial=0.0, **settings)
    state = transform.init(eqx.filter(model, eqx.is_inexact_array))
    updates, state = transform.update(found.gradient, state, curvature=found.curvature)
    return updates, state


LIKELIHOODS = {
    "gaussian": (Gaussian(FixedNoise((0.5, 2.0)), 2), jnp.ones((12, 2))),
    "categorical": (Categorical(2), jnp.arange(12) % 2),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_noisy_full_keeps_the_exact_fisher_information(name):
    likelihood, y = LIKELIHOODS[name]
    model = network()
    blocks, found = seen_by(model, likelihood, y)
    _, state = one_step(noisy_full, model, found, blocks)
    # with decay 0 the first step's rate is 1, so the identity has gone
    wanted = exact_fisher(model, likelihood)
    paths = state.blocks[0].leaves
    dense = jnp.block([[wanted[a, b] for b in paths] for a in paths])
    np.testing.assert_allclose(state.kept.fisher, dense, atol=2e-6)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_noisy_adam_keeps_its_diagonal(name):
    likelihood, y = LIKELIHOODS[name]
    model = network()
    blocks, found = seen_by(model, likelihood, y)
    _, state = one_step(noisy_adam, model, found, blocks)
    wanted = exact_fisher(model, likelihood)
    for layer in blocks.layers:
        for path, own in layer.scatter(state.kept[layer.name]).items():
            np.testing.assert_allclose(own.ravel(), jnp.diag(wanted[path, path]), rtol=1e-4, atol=1e-6)


def test_kfac_is_exact_on_deep_linear_networks():
    """With a Gaussian likelihood A (x) S is the block of the Fisher information (curvlinops tests by it)."""
    likelihood, y = LIKELIHOODS["gaussian"]
    model = deep_linear()
    blocks, found = seen_by(model, likelihood, y)
    _, state = one_step(noisy_kfac, model, found, blocks)
    wanted = exact_fisher(model, likelihood)
    for layer in blocks.layers:
        inputs, gradients = state.kept.factors[layer.name]
        product = jnp.kron(gradients, inputs[:-1, :-1])  # of the array, whose rows are outputs
        np.testing.assert_allclose(product, wanted[layer.weight, layer.weight], atol=1e-5)
        np.testing.assert_allclose(gradients * inputs[-1, -1], wanted[layer.bias, layer.bias], atol=1e-5)


def test_ekfac_in_its_frame_is_the_diagonal_of_the_exact_fisher_information():
    likelihood, y = LIKELIHOODS["categorical"]
    model = network()
    blocks, found = seen_by(model, likelihood, y)
    transform = noisy_ekfac(blocks, n_data=50, decay=0.0, initial=0.0, refresh_every=100)
    state = transform.init(eqx.filter(model, eqx.is_inexact_array))
    for _ in range(2):  # the first finds the frame, the second the moments in it
        _, state = transform.update(found.gradient, state, curvature=found.curvature)
    wanted = exact_fisher(model, likelihood)
    for layer in blocks.layers:
        n_in = layer.n_in
        block = jnp.block(
            [
                [wanted[layer.weight, layer.weight], wanted[layer.weight, layer.bias]],
                [wanted[layer.bias, layer.weight], wanted[layer.bias, layer.bias]],
            ]
        )
        weights = [(o, i) for o in range(layer.n_out) for i in range(n_in)]
        place = {(i, o): k for k, (o, i) in enumerate(weights)}
        place |= {(n_in, o): len(weights) + o for o in range(layer.n_out)}
        order = jnp.array([place[i, o] for i in range(n_in + 1) for o in range(layer.n_out)])
        frame = state.kept.frames[layer.name]
        rotation = jnp.kron(frame.left, frame.right)
        exact = jnp.diag(rotation.T @ block[order][:, order] @ rotation)
        np.testing.assert_allclose(state.kept.moments[layer.name].ravel(), exact, atol=2e-6)


@pytest.mark.slow
def test_the_mc_fisher_information_has_the_exact_one_as_its_mean():
    """Every entry within 6.5 standard errors of the mean over 4,000 draws of the targets."""
    likelihood, y = LIKELIHOODS["categorical"]
    model, n = network(), 4000
    blocks = find_blocks(model, X[0])

    @jax.jit
    @jax.vmap
    def squares(key):
        found = expected_gradient(stacked(model), blocks, likelihood, (), X, y, key=key, fisher="mc")
        return jnp.mean(jnp.square(found.curvature.seen.per_row(blocks.layers[1])), axis=0)

    drawn = squares(jax.random.split(KEY, n))
    exact = seen_by(model, likelihood, y)[1].curvature.seen.per_row(blocks.layers[1])
    exact = jnp.mean(jnp.square(exact), axis=0)
    assert np.all(np.abs(drawn.mean(0) - exact) < 6.5 * drawn.std(0) / n**0.5 + 1e-7)


def test_the_empirical_fisher_information_is_of_the_targets_seen():
    likelihood, y = LIKELIHOODS["categorical"]
    model = network()
    blocks, found = seen_by(model, likelihood, y, fisher="empirical")
    _, pull = pull_back(model, blocks, X)
    scores = jax.vmap(jax.grad(likelihood.log_prob), (0, 0, None))(jax.vmap(model)(X), y, ())
    for name, own in pull(scores)[1].gradients.items():
        np.testing.assert_allclose(
            jnp.square(found.curvature.seen.gradients[name]), jnp.square(own), rtol=1e-5
        )


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.slow
def test_the_step_is_the_gradient_divided_by_the_precision(name):
    """The step and the posterior follow from one matrix: n_data (F + damping) is the precision here."""
    likelihood, y = LIKELIHOODS["gaussian"]
    model = network()
    blocks, found = seen_by(model, likelihood, y)
    options = {"damping_style": "exact"} if name == "kfac" else {}
    updates, state = one_step(MAKERS[name], model, found, blocks, learning_rate=1.0, **options)
    gradient, weights = leaves_of(found.gradient), leaves_of(model)
    ascent = {path: -own - weights[path] / 50 for path, own in gradient.items()}
    steps = leaves_of(updates)
    q = posterior(state, model)
    for block in q.blocks:
        precision = q.precision_blocks()[block.name] / 50
        reached = precision @ block.gather(steps).ravel()
        np.testing.assert_allclose(reached, block.gather(ascent).ravel(), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize(
    "name", ["kfac", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adam", "ekfac", "full"))]
)
def test_jit_and_vmap_change_nothing(name):
    """Lanes are at other steps of the schedule of frames, and each is what it is alone.

    There are more examples than a full covariance has weights: where eigenvalues are equal, rounding turns
    their eigenvectors.
    """
    likelihood, x = Gaussian(FixedNoise((0.5, 2.0)), 2), jax.random.normal(jax.random.key(11), (40, 3))
    y = jnp.ones((40, 2))
    blocks = find_blocks(network(), X[0])
    options = {} if name == "adam" else {"refresh_every": 2}
    transform = MAKERS[name](blocks, n_data=50, learning_rate=0.1, **options)

    def step(model, state, key):
        weights = posterior(state, model).sample(key=key)
        parameters = likelihood.init()[None]
        found = expected_gradient(stacked(weights), blocks, likelihood, parameters, x, y, key=key)
        updates, state = transform.update(found.gradient, state, curvature=found.curvature)
        return eqx.apply_updates(model, updates), state

    models = [network(jax.random.key(i)) for i in range(2)]
    jitted = eqx.filter_jit(step)
    lanes = []
    for i, model in enumerate(models):
        state = transform.init(eqx.filter(model, eqx.is_inexact_array))
        for n in range(i):  # the second lane is one step ahead
            model, state = jitted(model, state, jax.random.key(100 + n))
        lanes.append((model, state))
    singles = []
    for i, (model, state) in enumerate(lanes):
        for n in range(2):
            model, state = jitted(model, state, jax.random.key(n + 10 * i))
        singles.append((model, state))
    arrays = [eqx.partition(lane, eqx.is_array) for lane in lanes]
    together = jax.tree_util.tree_map(lambda *own: jnp.stack(own), *(own[0] for own in arrays))
    both = eqx.combine(together, arrays[0][1])
    for n in range(2):
        keys = jnp.stack([jax.random.key(n), jax.random.key(n + 10)])
        both = eqx.filter_vmap(step)(*both, keys)
    for i, single in enumerate(singles):
        found = jax.tree_util.tree_map(lambda leaf, i=i: leaf[i], eqx.filter(both, eqx.is_array))
        wanted = eqx.filter(single, eqx.is_array)
        for own, other in zip(*map(jax.tree_util.tree_leaves, (found[0], wanted[0])), strict=True):
            np.testing.assert_allclose(own, other, atol=1e-3 if name == "full" else 1e-5)
        q, r = (posterior(*reversed(pair)) for pair in (found, wanted))
        np.testing.assert_allclose(q.kl(), r.kl(), rtol=1e-4)


def test_a_part_of_the_network_can_be_certain():
    likelihood, y = LIKELIHOODS["gaussian"]
    model = network()
    blocks, found = seen_by(model, likelihood, y)
    params = eqx.filter(model, eqx.is_inexact_array)
    labels = jax.tree_util.tree_map_with_path(
        lambda path, _: "noisy" if "layers[1]" in jax.tree_util.keystr(path) else "plain", params
    )
    transform = optax.multi_transform(
        {"noisy": noisy_kfac(blocks, n_data=50), "plain": optax.sgd(0.1)}, lambda _: labels
    )
    state = transform.init(params)
    updates, state = transform.update(found.gradient, state, params, curvature=found.curvature)
    np.testing.assert_allclose(updates.layers[0].weight, -0.1 * found.gradient.layers[0].weight, rtol=1e-6)
    q = posterior(state, model)
    assert [block.name for block in q.blocks] == [".layers[1]"]
    drawn = q.sample(key=KEY)
    assert np.all(drawn.layers[0].weight == model.layers[0].weight)
    assert np.all(drawn.layers[1].weight != model.layers[1].weight)
    assert float(q.variance().layers[0].weight.max()) == 0


@pytest.mark.parametrize("name", MAKERS)
def test_a_posterior_is_saved_and_read(name, tmp_path):
    likelihood, y = LIKELIHOODS["gaussian"]
    model = network()
    blocks, found = seen_by(model, likelihood, y)
    _, state = one_step(MAKERS[name], model, found, blocks)
    q, fresh = posterior(state, model), network(jax.random.key(7))
    q.save(tmp_path / "q.npz")
    start = MAKERS[name](blocks, n_data=3).init(eqx.filter(fresh, eqx.is_inexact_array))
    again = load_posterior(tmp_path / "q.npz", posterior(start, fresh))
    drawn = [leaves_of(own.sample(key=KEY)) for own in (q, again)]
    for path, own in drawn[0].items():
        np.testing.assert_array_equal(own, drawn[1][path])
    assert float(again.kl()) == float(q.kl())
    other = eqx.nn.MLP(3, 2, 5, 1, key=KEY)
    other_blocks = find_blocks(other, X[0])
    start = MAKERS[name](other_blocks, n_data=3).init(eqx.filter(other, eqx.is_inexact_array))
    with pytest.raises(DataError, match="is of another network or family"):
        load_posterior(tmp_path / "q.npz", posterior(start, other))


@pytest.mark.slow
def test_low_precision_weights_are_moved_in_single_precision(tmp_path):
    likelihood = Gaussian(FixedNoise(1.0), 2)
    model = jax.tree_util.tree_map(
        lambda leaf: leaf.astype(jnp.bfloat16) if eqx.is_inexact_array(leaf) else leaf, network()
    )
    x, y = X.astype(jnp.bfloat16), jnp.ones((12, 2), jnp.bfloat16)
    blocks, found = seen_by(model, likelihood, y, x=x)
    for make in MAKERS.values():
        updates, state = one_step(make, model, found, blocks)
        assert updates.layers[0].weight.dtype == jnp.bfloat16
        kept = [leaf for leaf in jax.tree_util.tree_leaves(state.kept)]
        assert all(jnp.finfo(leaf.dtype).bits >= 32 for leaf in kept)
        q = posterior(state, model)
        drawn = q.sample(key=KEY)
        assert drawn.layers[0].weight.dtype == jnp.bfloat16
        q.save(tmp_path / "q.npz")
        again = load_posterior(tmp_path / "q.npz", like=q).sample(key=KEY)
        np.testing.assert_array_equal(again.layers[0].weight, drawn.layers[0].weight)


REFUSED = {
    "n_data": ({"n_data": 0}, "n_data must be finite and above zero, got 0"),
    "prior_var": ({"prior_var": -1.0}, "prior_var must be finite and above zero"),
    "kl_weight": ({"kl_weight": float("nan")}, "kl_weight must be finite and above zero"),
    "damping": ({"damping": -1e-3}, "damping must be finite and zero or above"),
    "decay": ({"decay": 1.0}, "decay must be finite and at least 0 and less than 1"),
    "refresh_every": ({"refresh_every": 0}, "refresh_every must be finite and a whole number from 1"),
    "damping_style": ({"damping_style": "exakt"}, "did you mean 'exact'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_settings_are_refused(name):
    settings, message = REFUSED[name]
    blocks = find_blocks(network(), X[0])
    with pytest.raises(ArgumentError, match=message):
        noisy_kfac(blocks, **{"n_data": 10, **settings})


def test_wrong_use_is_refused():
    likelihood, y = LIKELIHOODS["gaussian"]
    model = network()
    blocks, found = seen_by(model, likelihood, y)
    transform = noisy_kfac(blocks, n_data=10)
    params = eqx.filter(model, eqx.is_inexact_array)
    state = transform.init(params)
    with pytest.raises(ArgumentError, match="update needs curvature="):
        transform.update(found.gradient, state)
    other = eqx.filter(eqx.nn.MLP(3, 2, 5, 1, key=KEY), eqx.is_inexact_array)
    with pytest.raises(ArgumentError, match="they belong to another network"):
        transform.init(other)
    with pytest.raises(ArgumentError, match="the state belongs to another network"):
        transform.update(other, state, curvature=Curvature(found.curvature.seen, other))
    with pytest.raises(ArgumentError, match="belongs to another network"):
        posterior(state, other)
    with pytest.raises(ArgumentError, match="holds no noisy natural gradient"):
        posterior(optax.adam(1.0).init(params), params)
    with pytest.raises(ArgumentError, match="12 examples and 3 targets"):
        seen_by(model, likelihood, y[:3])
    large = eqx.nn.MLP(50, 2, 100, 1, key=KEY)
    with pytest.raises(ArgumentError, match="too large"):
        noisy_full(find_blocks(large, jnp.ones(50)), n_data=10).init(eqx.filter(large, eqx.is_inexact_array))


def test_the_order_of_a_batch_is_of_no_matter():
    likelihood, y = LIKELIHOODS["categorical"]
    model, order = network(), jax.random.permutation(KEY, 12)
    blocks, found = seen_by(model, likelihood, y)
    _, other = seen_by(model, likelihood, y[order], x=X[order])
    updates, changed = (one_step(noisy_kfac, model, own, blocks)[0] for own in (found, other))
    for path, own in leaves_of(updates).items():
        np.testing.assert_allclose(own, leaves_of(changed)[path], atol=1e-5)


def test_between_two_refreshes_frames_stay_and_factors_move_on():
    likelihood, y = LIKELIHOODS["gaussian"]
    model = network()
    blocks, found = seen_by(model, likelihood, y)
    transform = noisy_kfac(blocks, n_data=50, refresh_every=3)
    states = [transform.init(eqx.filter(model, eqx.is_inexact_array))]
    for _ in range(3):
        states.append(transform.update(found.gradient, states[-1], curvature=found.curvature)[1])
    name = blocks.layers[0].name
    frames = [state.kept.frames[name].left_values for state in states]
    factors = [jnp.linalg.eigvalsh(state.kept.factors[name].inputs) for state in states]
    np.testing.assert_allclose(frames[1], factors[1], atol=1e-5)
    np.testing.assert_array_equal(frames[2], frames[1])
    assert np.abs(factors[2] - factors[1]).max() > 1e-3
    np.testing.assert_allclose(frames[3], factors[3], atol=1e-5)
