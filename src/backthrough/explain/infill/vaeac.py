"""Rows and sequences filled in by draws: a variational autoencoder with arbitrary conditioning."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Shaped

from backthrough.core import PRNGKey, Scalar, check_integer, check_positive
from backthrough.explain.infill.columns import Columns, last_axis_groups
from backthrough.explain.infill.fitted import Seen, training_examples
from backthrough.explain.infill.infiller import Example, Mask, hide, keep
from backthrough.explain.infill.masks import subset_mask
from backthrough.explain.infill.vaeac_networks import Networks
from backthrough.train import Batches, Run, fit, mean_over_shards, schedule


class VAEAC(eqx.Module):
    """Draws hidden features by a variational autoencoder that any of them may be given to.

    Ivanov, Figurnov and Vetrov 2019, "Variational Autoencoder with Arbitrary Conditioning". A prior network
    sees what is kept and gives a Gaussian over the latent z; a decoder sees z and, through connections from
    the layers of the prior network, what is kept, and gives a distribution of each feature: normal for a
    number, categorical for a group. Both are drawn from.

    Attributes:
        networks: Prior, proposal and decoder.
        columns: What the features are.
        seen: What it was fitted to.
        sizes: Width, depth and latent entries of the networks.

    Examples:
        >>> rows = np.array([[0.5, 1, 0], [1.5, 0, 1], [2.5, 0, 1]])  # a number and one of two categories
        >>> infiller = VAEAC.fit(
        ...     rows, one_hot=((1, 2),), key=jax.random.key(0), n_steps=1, width=4, depth=1, n_latent=2
        ... )
        >>> x, mask = jnp.asarray(rows[0]), jnp.array([True, False, False])
        >>> draws = eqx.filter_jit(infiller.sample)(x, mask, key=jax.random.key(1), n_samples=5)
        >>> draws[:, 1:].sum(axis=1).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    networks: Networks
    columns: Columns
    seen: Seen
    sizes: tuple[int, int, int] = eqx.field(static=True)
    conditional: bool = eqx.field(default=True, init=False, static=True)
    leaks: bool = eqx.field(default=False, init=False, static=True)

    def __init__(self, columns: Columns, seen: Seen, sizes: tuple[int, int, int], *, key: PRNGKey):
        self.networks = Networks(len(columns.mean), columns.n_outputs, *sizes, key=key)
        self.columns, self.seen, self.sizes = columns, seen, sizes

    @classmethod
    def fit(
        cls,
        X: Any,
        *,
        key: PRNGKey,
        one_hot: Sequence[Sequence[int]] | Literal["last"] = (),
        n_steps: int = 3000,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        width: int = 64,
        depth: int = 2,
        n_latent: int = 8,
        run: Run | None = None,
    ) -> "VAEAC":
        """Trains the networks under random subsets of the features.

        Args:
            X: Rows of a table, or examples of any shape, along the leading axis.
            key: Determines weights, masks, noise and order.
            one_hot: Features that are one category as one-hot, such as ((2, 3, 4), (5, 6)), counted in
                a flat example; they are drawn as a whole. `"last"` for a sequence of letters, shape (place,
                letter).
            n_steps: Of Adam.
            batch_size: Examples in a batch, at most.
            learning_rate: The largest; it falls along half a cosine.
            width: Of the layers.
            depth: Residual blocks of each encoder.
            n_latent: Entries of the latent.
            run: Where metrics and checkpoints go; one that is resumed goes on.

        Raises:
            ArgumentError: for a wrong option, or groups that overlap.
            DataError: for numbers that are not finite, or a group that is not one 1 among zeros.
        """
        sizes = tuple(
            check_integer(name, value, minimum=1)
            for name, value in (("width", width), ("depth", depth), ("n_latent", n_latent))
        )
        check_positive("learning_rate", learning_rate)
        examples = training_examples(X)
        flat = examples.reshape(len(examples), -1)
        columns = Columns.of(flat, last_axis_groups(examples.shape[1:]) if one_hot == "last" else one_hot)
        model_key, fit_key = jax.random.split(key)
        model = cls(columns, Seen.of(examples), (sizes[0], sizes[1], sizes[2]), key=model_key)
        rows = ((flat - np.asarray(columns.mean)) / np.asarray(columns.std)).astype(np.float32)
        batch_size = min(batch_size, len(rows))
        networks = _train(model.networks, columns, rows, n_steps, batch_size, learning_rate, fit_key, run)
        return eqx.tree_at(lambda own: own.networks, model, networks)

    def check(self, x: Shaped[np.ndarray | Array, "example ..."]) -> None:
        """Refuses examples unlike those that it was fitted to."""
        self.seen.check(x)

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`. A group of which a part is kept is drawn as if none was."""
        units = self.columns.unit_mask(mask.reshape(-1))
        known = self.columns.feature_mask(units)
        row = (hide(x, mask).reshape(-1).astype(jnp.float32) - self.columns.mean) / self.columns.std
        latent, seen = self.networks.prior(_with_holes(row, known))

        def draw(key: PRNGKey) -> Float[Array, "feature"]:
            latent_key, row_key = jax.random.split(key)
            outputs = self.networks.decoder(latent.draw(latent_key), seen)
            return self.columns.draw(outputs, key=row_key)

        rows = self.columns.mean + self.columns.std * jax.vmap(draw)(jax.random.split(key, n_samples))
        return keep(x, mask, rows.reshape(n_samples, *x.shape))


def vaeac_bound(
    networks: Networks,
    columns: Columns,
    row: Float[Array, "feature"],
    units: Bool[Array, "unit"],
    *,
    key: PRNGKey,
) -> tuple[Scalar, Scalar]:
    """The evidence bound of one row's hidden units in nats, and the regularisation of the prior.

    E_q[log p(x_h | z, x_k)] - KL(q(z | x) || p(z | x_k)); Ivanov et al. 2019, equations 6 and 8.
    """
    known = columns.feature_mask(units)
    prior, seen = networks.prior(_with_holes(row, known))
    proposal, _ = networks.proposal(jnp.concatenate([row, known.astype(row.dtype)]))
    outputs = networks.decoder(proposal.draw(key), seen)
    likelihood = jnp.sum(jnp.where(units, 0, columns.log_prob(outputs, row)))
    return likelihood - proposal.divergence(prior), prior.pull()


class State(NamedTuple):
    """What training carries."""

    networks: Networks
    optimiser: optax.OptState


def _train(
    networks: Networks,
    columns: Columns,
    rows: Float[np.ndarray, "row feature"],
    n_steps: int,
    batch_size: int,
    learning_rate: float,
    key: PRNGKey,
    run: Run | None,
) -> Networks:
    rate = schedule("cosine", learning_rate, n_steps=n_steps, warm_up=min(50, n_steps // 10))
    optimiser = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(rate))
    state = State(networks, optimiser.init(eqx.filter(networks, eqx.is_inexact_array)))

    def loss(networks: Networks, batch: Array, key: PRNGKey) -> tuple[Scalar, Scalar]:
        def of(row: Array, key: PRNGKey) -> tuple[Scalar, Scalar]:
            mask_key, noise_key = jax.random.split(key)
            units = subset_mask(mask_key, columns.n_units)
            return vaeac_bound(networks, columns, row, units, key=noise_key)

        bounds, pulls = jax.vmap(of)(batch, jax.random.split(key, len(batch)))
        return -(bounds + pulls).mean(), bounds.mean()

    def step(state: State, batch: Array, *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        (_, bound), gradients = eqx.filter_value_and_grad(loss, has_aux=True)(state.networks, batch, key)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        new = State(eqx.apply_updates(state.networks, updates), memory)
        return new, {"bound on hidden features (nats)/train": bound}

    batches = Batches(rows, batch_size, seed=0)
    fitted = fit(step, state, batches, n_steps=n_steps, key=key, run=run, label="infiller")
    return fitted.state.networks


def _with_holes(row: Float[Array, "feature"], known: Bool[Array, "feature"]) -> Float[Array, "twice_feature"]:
    return jnp.concatenate([jnp.where(known, row, 0), known.astype(row.dtype)])
