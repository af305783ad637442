"""Data parallelism: a batch is cut into shards, which lie on one device or many, in one process or several.

What is computed depends on the number of shards alone. Each shard has its own key, and what must be the same
for all of them goes through `mean_over_shards`. So a run gives the same numbers, to rounding, on one device
and on many, and can be resumed on another number of devices or processes.
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
from backthrough.train.processes import Group

LANES, DEVICES = "shards of a device", "devices"


def mean_over_shards(tree: PyTree) -> PyTree:
    """The mean of every array over the shards of the batch; outside `fit`, or with one shard, the arrays.

    A step calls it on its gradients, so that all shards make the same update:

        gradients = mean_over_shards(jax.grad(loss)(parameters, batch))
    """
    leaves, structure = jax.tree_util.tree_flatten(tree)
    with contextlib.suppress(NameError):  # JAX's way to say that there is no such axis here
        leaves = [jax.lax.pmean(leaf, LANES) for leaf in leaves]
    with contextlib.suppress(NameError):
        leaves = _mean_over_devices(leaves)
    return jax.tree_util.tree_unflatten(structure, leaves)


def _mean_over_devices(leaves: list[jax.Array]) -> list[jax.Array]:
    """One exchange for all leaves of a type; six took six times as long between processes on CPUs."""
    means = list(leaves)
    for dtype in dict.fromkeys(jnp.result_type(leaf) for leaf in leaves):
        own = [i for i, leaf in enumerate(leaves) if jnp.result_type(leaf) == dtype]
        together = jax.lax.pmean(jnp.concatenate([jnp.ravel(leaves[i]) for i in own]), DEVICES)
        ends = np.cumsum([np.size(leaves[i]) for i in own])[:-1]
        for i, part in zip(own, jnp.split(together, ends), strict=True):
            means[i] = part.reshape(np.shape(leaves[i]))
    return means


@dataclass(frozen=True)
class Placement:
    """On which devices the shards of a batch are worked on.

    Attributes:
        shards: Parts of the batch.
        devices: The devices, those of one process after those of another, each with shards / len(devices).
        processes: How many processes the devices belong to.
        process: Number of this process.
    """

    shards: int
    devices: tuple[Any, ...]
    processes: int = 1
    process: int = 0

    @classmethod
    def choose(cls, *, n_shards: int | None, n_devices: int | None, group: Group) -> "Placement":
        """The first devices of each process, with one shard each unless told otherwise.

        One device by default, or all that several processes have.

        Raises:
            ArgumentError: if there are fewer devices, or they or the shards cannot be shared out evenly.
        """
        default = 1 if group.size == 1 else jax.device_count()
        n_devices = check_integer("devices", default if n_devices is None else n_devices, minimum=1)
        n_shards = check_integer("shards", n_devices if n_shards is None else n_shards, minimum=1)
        _check_shares("devices", n_devices, group.size, "processes")
        _check_shares("shards", n_shards, n_devices, "devices")
        here = n_devices // group.size
        chosen = []
        for process in range(group.size):
            present = [device for device in jax.devices() if device.process_index == process]
            if here > len(present):
                which = f" in process {process}" if group.size > 1 else ""
                raise ArgumentError(
                    f"devices={here} were asked for{which} and there are {len(present)} "
                    f"({present[0].device_kind})"
                )
            chosen += present[:here]
        return cls(n_shards, tuple(chosen), group.size, group.index)

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

    def own_rows(self, n_rows: int) -> slice:
        """The rows of a batch that this process works on."""
        here = n_rows // self.processes
        return slice(self.process * here, (self.process + 1) * here)

    def cut(self, inputs: np.ndarray) -> np.ndarray:
        """This process's inputs of many steps, (step, row, ...) -> (step, shard, row of the shard, ...)."""
        if self.shards == 1:
            return inputs[:, None]
        return inputs.reshape(inputs.shape[0], self.shards // self.processes, -1, *inputs.shape[2:])

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
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        if self.processes == 1:
            return jax.device_put(tree, everywhere)

        def put(array: Any) -> jax.Array:
            if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
                raw = put(jax.random.key_data(array))
                return jax.random.wrap_key_data(raw, impl=jax.random.key_impl(array))
            return jax.make_array_from_process_local_data(everywhere, np.asarray(array), array.shape)

        return jax.tree_util.tree_map(put, tree)

    def distribute(self, inputs: PyTree) -> PyTree:
        """This process's inputs (step, shard, row, ...) with each device's shards on that device."""
        if len(self.devices) == 1:
            return inputs
        sharding = NamedSharding(self.mesh, PartitionSpec(None, DEVICES))
        return jax.tree_util.tree_map(
            lambda array: jax.make_array_from_process_local_data(sharding, array), inputs
        )

    def local(self, tree: PyTree) -> PyTree:
        """Replicated arrays as this process can read them, whatever the others do."""
        if self.processes == 1:
            return tree
        return jax.tree_util.tree_map(lambda array: array.addressable_data(0), tree)


def _check_shares(name: str, number: int, among: int, what: str) -> None:
    if number % among:
        nearest = max(1, round(number / among)) * among
        raise ArgumentError(
            f"{name}={number} cannot be shared out among {among} {what}; the nearest that can is {nearest}"
        )


def _only(inputs: PyTree) -> PyTree:
    return jax.tree_util.tree_map(lambda array: array[0], inputs)
