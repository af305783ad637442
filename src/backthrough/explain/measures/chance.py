"""What is left of a score when as many units are chosen at random: the plainest alternative to a region."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar, check_integer
from backthrough.explain.explanation import Explanation, Kind
from backthrough.explain.infill import Infiller
from backthrough.explain.objective import Objective, Question
from backthrough.explain.problem import make_problem


def scores_at_random(
    model: Any, explanation: Explanation, *, infill: Infiller, key: PRNGKey, n_sets: int = 16
) -> dict[Kind, Float[np.ndarray, "input set"]]:
    """The scores with units hidden (SDR) or kept (SSR) at random, as many as each region has.

    Args:
        model: The model that was explained; its score is the log-odds of a class.
        explanation: What was found.
        infill: Fills in what is hidden, one draw for each set.
        key: Determines sets and draws.
        n_sets: Sets for each input and region.

    Returns:
        For each kind of region that was asked for, the scores.
    """
    check_integer("n_sets", n_sets, minimum=1)
    problem = make_problem(model, explanation.x, explanation.target)
    partition = explanation.partition
    area = jnp.asarray(partition.area, jnp.float32)
    objective = Objective(
        problem.score, infill, jnp.asarray(partition.labels), area, jnp.zeros((), jnp.float32)
    )

    @eqx.filter_jit
    def scores(objective: Objective, rows: Any) -> Float[Array, "input set"]:
        def of_input(row: tuple[Array, Array, Array, Array, PRNGKey]) -> Float[Array, "set"]:
            x, target, is_sdr, n_chosen, key = row

            def of_set(key: PRNGKey) -> Scalar:
                order_key, draw_key = jax.random.split(key)
                rank = jax.random.permutation(order_key, partition.n_units)
                chosen = (rank < n_chosen).astype(area.dtype)
                question = Question(x, target, is_sdr, jnp.asarray(jnp.inf))
                return objective.scores(question, chosen, key=draw_key, n_draws=1)[0]

            return jax.vmap(of_set)(jax.random.split(key, n_sets))

        return jax.lax.map(of_input, rows)

    n = len(explanation)
    found: dict[Kind, Float[np.ndarray, "input set"]] = {}
    for region in explanation.regions:
        is_sdr = region.kind == "sdr"
        keys = jax.random.split(jax.random.fold_in(key, int(is_sdr)), n)
        counts = jnp.asarray(region.selected.sum(1))
        found[region.kind] = np.asarray(
            scores(objective, (problem.x, problem.target, jnp.full(n, is_sdr), counts, keys))
        )
    return found
