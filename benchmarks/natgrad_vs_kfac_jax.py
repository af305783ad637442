"""Kronecker factors beside kfac-jax's, and which layers each sees.

    python benchmarks/natgrad_vs_kfac_jax.py

kfac-jax finds layers by matching patterns in the traced program, and sees one in `x @ w + b`; on that network
both are given the same batch and the same sampled targets. Install it beforehand: pip install kfac-jax. The
last line is JSON for the results table.
"""

# pyright: reportMissingImports=false

import itertools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import kfac_jax
import numpy as np
from kfac_jax._src import tag_graph_matcher

from backthrough.natgrad import find_blocks, pull_back
from backthrough.natgrad.kronecker import factors_of

N_ROWS, SIZES = 64, (5, 8, 3)


def evaluate(equation, values):
    """As kfac-jax 0.0.8 does it, with what JAX 0.10's `get_bind_params` returns taken as it is."""
    bound = equation.primitive.get_bind_params(equation.params)
    functions, parameters = bound if isinstance(bound, tuple) else ((), bound)
    output = equation.primitive.bind(*functions, *values, **parameters)
    return output if isinstance(output, list) else [output]


tag_graph_matcher.eval_jaxpr_eqn = evaluate


def plain(parameters, x):
    """Two layers written down."""
    (w1, b1), (w2, b2) = parameters
    return jnp.tanh(x @ w1 + b1) @ w2 + b2


def theirs(parameters, x):
    """kfac-jax's factors of each layer for the empirical Fisher information of unit-noise targets 0."""

    def loss(parameters, x):
        outputs = plain(parameters, x)
        kfac_jax.register_squared_error_loss(outputs, jnp.zeros_like(outputs))
        return 0.5 * (outputs * outputs).sum() / len(x)

    estimator = kfac_jax.BlockDiagonalCurvature(loss, params_index=0)
    state = estimator.init(
        jax.random.key(0), (parameters, x), exact_powers_to_cache=None, approx_powers_to_cache=None
    )
    state = estimator.update_curvature_matrix_estimate(
        state, 0.0, 1.0, 1.0, len(x), jax.random.key(0), (parameters, x), estimation_mode="fisher_empirical"
    )
    # its mode divides by the batch once more, and its loss is twice that of unit noise
    extra = len(x) / 4
    found = [[np.asarray(factor.value) for factor in block.factors] for block in state.blocks_states]
    return [(inputs, extra * gradients) for inputs, gradients in found]


def ours(parameters, x):
    """Ours for the same."""
    keys = jax.random.split(jax.random.key(0), 2)
    model = eqx.nn.MLP(SIZES[0], SIZES[2], SIZES[1], 1, activation=jnp.tanh, key=keys[0])
    for place, (w, b) in enumerate(parameters):
        model = eqx.tree_at(lambda m, i=place: (m.layers[i].weight, m.layers[i].bias), model, (w.T, b))
    blocks = find_blocks(model, x[0])
    outputs, pull = pull_back(model, blocks, x)
    _, seen = pull(-outputs)
    return [tuple(np.asarray(own) for own in factors_of(seen, layer)) for layer in blocks.layers]


def largest_difference() -> float:
    keys = jax.random.split(jax.random.key(1), 3)
    shapes = list(itertools.pairwise(SIZES))
    parameters = [
        (jax.random.normal(key, shape) / shape[0] ** 0.5, 0.1 * jnp.ones(shape[1]))
        for key, shape in zip(keys, shapes, strict=False)
    ]
    x = jax.random.normal(keys[2], (N_ROWS, SIZES[0]))
    worst = 0.0
    for own, other in zip(ours(parameters, x), theirs(parameters, x), strict=True):
        for mine, same in zip(own, other, strict=True):
            worst = max(worst, float(np.abs(mine - same).max() / np.abs(same).max()))
    return worst


def n_kronecker() -> tuple[int, ...]:
    """Arrays of an MLP and of a small convolutional network with a block of their layer's."""
    keys = jax.random.split(jax.random.key(0), 3)
    mlp = eqx.nn.MLP(4, 2, 8, 1, key=keys[0])
    convolution = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 4, 3, key=keys[1]),
            eqx.nn.Lambda(lambda x: jnp.tanh(x).ravel()),
            eqx.nn.Linear(4 * 16, 2, key=keys[2]),
        ]
    )
    tables = find_blocks(mlp, jnp.ones(4)).table(), find_blocks(convolution, jnp.ones((1, 6, 6))).table()
    return tuple(int((table.block != "diagonal").sum()) for table in tables)


def seen_by_kfac_jax() -> list[str]:
    """The kinds of block that kfac-jax finds in `eqx.nn.MLP`."""
    model = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
    arrays, static = eqx.partition(model, eqx.is_array)

    def loss(arrays, x):
        outputs = jax.vmap(eqx.combine(arrays, static))(x)
        kfac_jax.register_squared_error_loss(outputs, jnp.zeros_like(outputs))
        return (outputs * outputs).sum()

    estimator = kfac_jax.BlockDiagonalCurvature(loss, params_index=0)
    estimator.finalize((arrays, jnp.ones((3, 4))))
    return [type(block).__name__ for block in estimator.blocks or ()]


def main() -> None:
    found = n_kronecker()
    blocks = ", ".join(sorted(set(seen_by_kfac_jax())))
    print(
        json.dumps(
            {
                "natgrad.7-factors": {"ours": largest_difference()},
                "natgrad.7-blocks": {
                    "ours": sum(found),
                    "note": f"kfac-jax {kfac_jax.__version__} sees in equinox.nn.MLP: {blocks}.",
                },
            }
        )
    )


if __name__ == "__main__":
    main()
