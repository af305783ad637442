import equinox as eqx
import jax
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
