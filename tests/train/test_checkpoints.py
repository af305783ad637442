import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import CheckpointError, DamagedCheckpointError
from backthrough.train import load_checkpoint, load_newest, save_checkpoint
from backthrough.train.checkpoints import FORMAT_VERSION, _manifest_digest
from train.problem import plain

STATE = {
    "weights": [jnp.arange(6.0).reshape(2, 3), jnp.array(2, jnp.int8)],
    "half": jnp.arange(4, dtype=jnp.bfloat16) / 3,
    "key": jax.random.key(3),
    "keys": jax.random.split(jax.random.key(4, impl="rbg"), 2),
    "flag": jnp.array(True),
    "empty": jnp.zeros((0, 3)),
}


def save(folder, step, scale=1.0, config_hash="c"):
    state = {**STATE, "half": STATE["half"] * jnp.bfloat16(scale)}
    return save_checkpoint(folder, step, state, config_hash=config_hash, records={"window": {"a": 0.1}})


def newest(folder, like=STATE, config_hash="c"):
    return load_newest(folder, like, config_hash=config_hash)


def test_what_is_saved_is_what_is_read(tmp_path):
    path = save(tmp_path, 12)
    found = newest(tmp_path)
    assert (found.step, found.records, found.path) == (12, {"window": {"a": 0.1}}, path)
    assert plain(found.state) == plain(STATE)
    for key in ("key", "keys"):
        assert jax.random.key_impl(found.state[key]) == jax.random.key_impl(STATE[key])
    assert load_checkpoint(path.with_suffix(".json"), STATE).step == 12


def test_nothing_saved_is_no_error(tmp_path):
    assert newest(tmp_path / "missing") is None
    assert newest(tmp_path) is None


def test_only_the_newest_three_stay(tmp_path):
    (tmp_path / ".tmp-step-000000000001.npz").write_bytes(b"left by a kill")
    (tmp_path / "step-000000000002.npz").write_bytes(b"left by a kill before its manifest")
    for step in (3, 4, 5, 6):
        save(tmp_path, step)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"step-{s:012d}.{end}" for s in (4, 5, 6) for end in ("json", "npz")]


def test_every_flipped_bit_and_every_cut_is_detected(tmp_path):
    """One random bit in each of 300 bytes spread over both files, and 40 lengths."""
    save(tmp_path, 1)
    generator = np.random.default_rng(0)
    for path in tmp_path.iterdir():
        good = path.read_bytes()
        for position in np.unique(np.linspace(0, len(good) - 1, 300).astype(int)):
            bad = bytearray(good)
            bad[position] ^= 1 << generator.integers(8)
            path.write_bytes(bad)
            manifest = tmp_path / "step-000000000001.json"
            with pytest.raises(CheckpointError, match="step-000000000001"):
                load_checkpoint(manifest, STATE, config_hash="c")
        for length in np.linspace(0, len(good) - 1, 20).astype(int):
            path.write_bytes(good[:length])
            with pytest.raises(DamagedCheckpointError, match="damaged"):
                load_checkpoint(manifest, STATE, config_hash="c")
        path.write_bytes(good)
    assert newest(tmp_path).step == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "half-written manifest"])
def test_the_one_before_is_used_with_a_warning(tmp_path, damage):
    save(tmp_path, 1)
    path = save(tmp_path, 2, scale=2.0)
    data = path.read_bytes()
    if damage == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "remove":
        path.unlink()
    else:
        path.with_suffix(".json").write_text('{"format": 1, "st')
    with pytest.warns(UserWarning, match="checkpoint not used: .*step-000000000002"):
        found = newest(tmp_path)
    assert found.step == 1
    assert plain(found.state) == plain(STATE)


def test_when_all_are_damaged_nothing_is_silently_started_anew(tmp_path):
    save(tmp_path, 1).write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="not used"),
        pytest.raises(CheckpointError, match="all 1 checkpoints in .* are damaged"),
    ):
        newest(tmp_path)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="another configuration"):
        newest(tmp_path, config_hash="d")
    with pytest.raises(CheckpointError, match=r"state\['flag'\] is bool\[\] there, and float32\[2\] here"):
        newest(tmp_path, {**STATE, "flag": jnp.zeros(2, jnp.float32)})
    with pytest.raises(CheckpointError, match=r"has no array for state\['more'\]"):
        newest(tmp_path, {**STATE, "more": jnp.zeros(2)})
    with pytest.raises(CheckpointError, match=r"arrays that the state lacks: \['flag'\]"):
        newest(tmp_path, {name: leaf for name, leaf in STATE.items() if name != "flag"})


def test_another_format_is_refused_with_its_version(tmp_path):
    manifest = save(tmp_path, 1).with_suffix(".json")
    for version in (FORMAT_VERSION - 1, FORMAT_VERSION + 1):
        values = {**json.loads(manifest.read_text()), "format": version}
        values["manifest_sha256"] = _manifest_digest(values)
        manifest.write_text(json.dumps(values))
        with pytest.raises(CheckpointError, match=f"has format {version}; .* reads format"):
            newest(tmp_path)
