"""The posterior that the state of a noisy natural gradient stands for: one object for every family."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, DataError, PRNGKey, PyTree, Scalar
from backthrough.natgrad.blocks import Block, leaves_of, with_leaves
from backthrough.natgrad.rotated import RotatedNormal
from backthrough.natgrad.transformation import NoisyState
from backthrough.train import load_model, save_model


class NaturalPosterior(eqx.Module):
    """A Gaussian over weights, block by block.

    Attributes:
        mean: The parameters, or the network, with the mean weights; arrays outside every block are certain.
        normals: The distribution of each block, by name.
        prior_vars: Prior variance of each block.
        blocks: How blocks are made of arrays.
    """

    mean: PyTree
    normals: dict[str, RotatedNormal]
    prior_vars: dict[str, Array]
    blocks: tuple[Block, ...] = eqx.field(static=True)

    def sample(self, *, key: PRNGKey) -> PyTree:
        """The parameters, or the network, with weights drawn from the posterior."""
        drawn: dict[str, Array] = {}
        for block, own in zip(self.blocks, jax.random.split(key, len(self.blocks)), strict=True):
            drawn |= block.scatter(self.normals[block.name].sample(key=own))
        return with_leaves(self.mean, drawn)

    def log_prob(self, params: PyTree) -> Scalar:
        """The log-density of weights, nats."""
        leaves = leaves_of(params)
        parts = [self.normals[block.name].log_prob(block.gather(leaves)) for block in self.blocks]
        return jnp.sum(jnp.stack(parts))

    def kl(self) -> Scalar:
        """KL divergence from the prior, nats."""
        parts = [normal.kl(self.prior_vars[name]) for name, normal in self.normals.items()]
        return jnp.sum(jnp.stack(parts))

    def variance(self) -> PyTree:
        """The variance of every weight, in the structure of the mean; 0 for what is certain."""
        found: dict[str, Array] = {}
        for block in self.blocks:
            found |= block.scatter(self.normals[block.name].marginal_variance())
        zeros = {path: jnp.zeros_like(leaf) for path, leaf in leaves_of(self.mean).items()}
        return with_leaves(self.mean, zeros | found)

    def precision_blocks(self) -> dict[str, Float[Array, "size size"]]:
        """The inverse covariance of each block, dense, entries of its matrix in row-major order.

        A layer's matrix has a row for each input, and one for the bias. Memory grows with the square of the
        weights; `normals` has the same as factors.
        """
        return {name: normal.precision() for name, normal in self.normals.items()}

    def save(self, path: str | Path) -> None:
        """Writes the posterior to one file, which `load_posterior` reads."""
        arrays = _named_arrays(self)
        settings = {"blocks": [block.name for block in self.blocks]}
        save_model(path, "NaturalPosterior", settings=settings, arrays=arrays)


def posterior(state: PyTree, params: PyTree) -> NaturalPosterior:
    """The posterior over weights after any number of steps.

    Args:
        state: Of `noisy_adam`, `noisy_kfac`, `noisy_ekfac` or `noisy_full`, or of a chain or another
            transformation around one.
        params: The parameters, or the whole network: the mean.

    Raises:
        ArgumentError: if there is no such state, or it belongs to another network.
    """
    found = jax.tree_util.tree_leaves(state, is_leaf=lambda node: isinstance(node, NoisyState))
    states = [node for node in found if isinstance(node, NoisyState)]
    if not states:
        raise ArgumentError("the state holds no noisy natural gradient: it is another transformation's")
    leaves = leaves_of(params)
    normals, prior_vars, blocks = {}, {}, []
    for own in states:
        for path, kept in own.momentum.items():
            if path not in leaves or leaves[path].shape != kept.shape:
                there = f"have shape {leaves[path].shape}" if path in leaves else "are not there"
                raise ArgumentError(
                    f"the state has {path} of shape {kept.shape}, which among the parameters {there}: it "
                    "belongs to another network"
                )
        spectra = own.spectra(own.settings.intrinsic)
        for block in own.blocks:
            values, left, right = spectra[block.name]
            mean = block.gather(leaves).astype(values.dtype)
            normals[block.name] = RotatedNormal(mean, own.settings.scale / values, left, right)
            prior_vars[block.name] = own.settings.prior_var
        blocks += own.blocks
    return NaturalPosterior(params, normals, prior_vars, tuple(blocks))


def load_posterior(path: str | Path, like: NaturalPosterior) -> NaturalPosterior:
    """Reads a posterior that `save` wrote.

    Args:
        path: The file.
        like: A posterior over the weights of the same network, such as a fresh one's.

    Raises:
        DataError: naming the file that cannot be read, or is that of another network.
    """
    _, arrays = load_model(path, "NaturalPosterior")
    wanted = _named_arrays(like)
    for name in sorted(arrays.keys() | wanted.keys()):
        shapes = [own[name].shape if name in own else None for own in (arrays, wanted)]
        if shapes[0] != shapes[1]:
            raise DataError(
                f"{path} has {name} of shape {shapes[0]}, where {shapes[1]} is wanted: it is of another "
                "network or family"
            )
    flat, structure = jax.tree_util.tree_flatten_with_path(like)
    leaves = [
        jnp.asarray(arrays[jax.tree_util.keystr(where)], leaf.dtype) if eqx.is_array(leaf) else leaf
        for where, leaf in flat
    ]
    return jax.tree_util.tree_unflatten(structure, leaves)


def _named_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Arrays by path; bfloat16 and its kin, which files do not know, in single precision."""
    return {
        jax.tree_util.keystr(path): np.asarray(leaf, np.float32 if leaf.dtype.kind == "V" else leaf.dtype)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if eqx.is_array(leaf)
    }
