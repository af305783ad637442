import numpy as np
import pytest

from backthrough.core import (
    ArgumentError,
    DataError,
    check_choice,
    check_integer,
    check_positive,
    check_unit_interval,
    write_atomically,
)


def test_integers():
    assert check_integer("n_steps", np.int64(3), minimum=1) == 3
    with pytest.raises(ArgumentError, match="n_steps must be at least 1, got -4"):
        check_integer("n_steps", -4, minimum=1)
    for wrong in (2.0, "3", None, True):
        with pytest.raises(ArgumentError, match="n_steps must be a whole number"):
            check_integer("n_steps", wrong, minimum=1)


def test_positive_numbers():
    assert check_positive("rtol", 1e-3) == 1e-3
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="rtol must be finite and greater than zero"):
            check_positive("rtol", wrong)
    with pytest.raises(ArgumentError, match="rtol must be a number, got 'a'"):
        check_positive("rtol", "a")  # type: ignore[arg-type]


def test_choices_suggest_the_nearest_name():
    assert check_choice("recipe", "vae-mnist", ["vae-mnist", "other"]) == "vae-mnist"
    with pytest.raises(ArgumentError, match="unknown recipe 'vae-minst'; did you mean 'vae-mnist'"):
        check_choice("recipe", "vae-minst", ["vae-mnist", "other"])
    with pytest.raises(ArgumentError, match=r"unknown recipe 'zzz' \(known: vae-mnist\)"):
        check_choice("recipe", "zzz", ["vae-mnist"])


def test_unit_interval_names_the_entry():
    values = np.array([[0.0, 1.0], [0.5, 1.5]])
    with pytest.raises(DataError, match=r"entry \(1, 1\) is 1.5"):
        check_unit_interval("x", values)
    with pytest.raises(DataError, match="divide 8-bit grey levels by 255"):
        check_unit_interval("x", np.array([0, 200], np.uint8))
    with pytest.raises(DataError, match=r"entry \(0,\) is nan"):
        check_unit_interval("x", np.array([np.nan]))
    with pytest.raises(DataError, match="x is empty"):
        check_unit_interval("x", np.zeros((0, 3)))


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
