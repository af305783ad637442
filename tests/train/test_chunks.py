import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.train import map_in_chunks


class Scale(eqx.Module):
    by: float = eqx.field(static=True)


def test_what_is_kept_is_of_its_fixed_fields(tmp_path):
    def scaled(by):
        return map_in_chunks(
            lambda scale, x: jax.vmap(lambda own: own * scale.by)(x),
            Scale(by),
            np.arange(3.0, dtype=np.float32),
            at_once=2,
            label="scaling",
            keep=tmp_path,
        )

    assert scaled(2.0).tolist() == [0, 2, 4]
    n_files = len(list(tmp_path.iterdir()))
    assert scaled(2.0).tolist() == [0, 2, 4]
    assert len(list(tmp_path.iterdir())) == n_files
    assert scaled(3.0).tolist() == [0, 3, 6]


def test_chunks_compiled_with_less_effort_are_kept_and_read_again(tmp_path):
    x = np.arange(6.0, dtype=np.float32)

    def double(shared, chunk):
        return shared * chunk

    options = {"at_once": 3, "label": "doubling", "keep": tmp_path, "effort": 1}
    first = map_in_chunks(double, jnp.float32(2), x, **options)
    again = map_in_chunks(double, jnp.float32(2), x, **options)
    np.testing.assert_array_equal(first, 2 * x)
    np.testing.assert_array_equal(again, first)
    assert len(list(tmp_path.iterdir())) == 2
