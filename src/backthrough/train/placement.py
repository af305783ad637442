"""Data parallelism: a batch is cut into shards, and the shards lie on one device or on many.

What is computed depends on the number of shards alone. Each shard has its own key, and what must be the same
for all of them goes through `mean_over_shards`. So a run gives the same numbers, to rounding, on one device
and on many, and can be resumed on another number of devices.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from backthrough.core import ArgumentError, PRNGKey, PyTree, check_integer

LANES, DEVICES = "shards of a device", "devices"


def mean_over_shards(tree: PyTree) -> PyTree:
    """The mean of every array over the shards of the batch; outside `fit`, or with one shard, the arrays.

    A step calls it on its gradients, so that all shards make the same update:

        gradients = mean_over_shards(jax.grad(loss)(parameters, batch))
    """

    def mean(array: jax.Array) -> jax.Array:
        for axis in (LANES, DEVICES):
            with contextlib.suppress(NameError):  # JAX's way to say that there is no such axis here
                array = jax.lax.pmean(array, axis)
        return array

    return jax.tree_util.tree_map(mean, tree)


@dataclass(frozen=True)
class Placement:
    """On which devices the shards of a batch are worked on.

    Attributes:
        shards: Parts of the batch.
        devices: The devices, each with shards / len(devices) of them.
    """

    shards: int
    devices: tuple[Any, ...]

    @classmethod
    def choose(cls, *, n_shards: int | None, n_devices: int | None) -> "Placement":
        """The first devices (one by default), with one shard each unless told otherwise.

        Raises:
            ArgumentError: if there are fewer devices, or the shards cannot be shared out evenly.
        """
        n_devices = check_integer("devices", 1 if n_devices is None else n_devices, minimum=1)
        n_shards = check_integer("shards", n_devices if n_shards is None else n_shards, minimum=1)
        present = jax.devices()
        if n_devices > len(present):
            raise ArgumentError(
                f"devices={n_devices} were asked for and there are {len(present)} ({present[0].device_kind})"
            )
        if n_shards % n_devices:
            nearest = max(1, round(n_shards / n_devices)) * n_devices
            raise ArgumentError(
                f"shards={n_shards} cannot be shared out among {n_devices} devices; the nearest that can "
                f"is {nearest}"
            )
        return cls(n_shards, tuple(present[:n_devices]))

    @property
    def mesh(self) -> Mesh:
        """The devices in a row."""
        return Mesh(np.array(self.devices), (DEVICES,))

    def check_batch(self, n_rows: int) -> None:
        """Raises `ArgumentError` unless a batch of so many rows can be cut into the shards."""
        if n_rows % self.shards:
            nearest = max(1, round(n_rows / self.shards)) * self.shards
            raise ArgumentError(
                f"a batch of {n_rows} rows cannot be cut into {self.shards} shards; the nearest size that "
                f"can is {nearest}"
            )

    def cut(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs of many steps, (step, row, ...) -> (step, shard, row of the shard, ...)."""
        return inputs.reshape(inputs.shape[0], self.shards, -1, *inputs.shape[2:])

    def over_shards(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A step on all shards that lie on this device.

        Args:
            step: `step(arrays, data, inputs, key) -> (arrays, metrics)` on one shard.

        Returns:
            The same on inputs with a leading axis of shards; the metrics are means over all shards.
        """
        if self.shards == 1:
            return lambda arrays, data, inputs, key: step(arrays, data, _only(inputs), key)
        here = self.shards // len(self.devices)

        def sharded(arrays: PyTree, data: PyTree, inputs: PyTree, key: PRNGKey) -> Any:
            first = jax.lax.axis_index(DEVICES) * here if len(self.devices) > 1 else 0
            keys = jax.vmap(lambda shard: jax.random.fold_in(key, shard))(first + jnp.arange(here))
            lanes = jax.vmap(
                step, in_axes=(None, None, 0, 0), out_axes=(None, None), axis_name=LANES, axis_size=here
            )
            return lanes(arrays, data, inputs, keys)

        return sharded

    def across_devices(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """A program on one device's shards, made to run on all devices with the same state.

        Args:
            program: `program(arrays, data, inputs, start, count, key)`, inputs being (step, shard, row, ...).
        """
        if len(self.devices) == 1:
            return program
        same, cut = PartitionSpec(), PartitionSpec(None, DEVICES)
        return jax.shard_map(
            program,
            mesh=self.mesh,
            in_specs=(same, same, cut, same, same, same),
            out_specs=same,
            check_vma=False,
        )

    def replicate(self, tree: PyTree) -> PyTree:
        """The arrays on every device."""
        if len(self.devices) == 1:
            return tree
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def distribute(self, inputs: PyTree) -> PyTree:
        """Inputs (step, shard, row, ...) with each device's shards on that device."""
        if len(self.devices) == 1:
            return inputs
        return jax.device_put(inputs, NamedSharding(self.mesh, PartitionSpec(None, DEVICES)))


def _only(inputs: PyTree) -> PyTree:
    return jax.tree_util.tree_map(lambda array: array[0], inputs)
