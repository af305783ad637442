"""Makes the data files that come with the package from a folder of the full data sets.

    python tools/bundle_data.py DATA_FOLDER [OUTPUT_FOLDER]

The output (by default `src/backthrough/datasets/bundled`) depends on nothing but the inputs, whose digests
are checked first. The digest of each file made is printed, for the registry.
"""

import gzip
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backthrough.datasets.contents import Arrays
from backthrough.datasets.digests import Content, content_digest
from backthrough.datasets.files import read_content, read_verified
from backthrough.datasets.image_loaders import parse_idx
from backthrough.recipes.explain.cells import cut_windows

BUNDLED = Path(__file__).parents[1] / "src" / "backthrough" / "datasets" / "bundled"
EARLIEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
SUBSET_SEED = 0
TRAIN_PER_DIGIT, TEST_PER_DIGIT = 1000, 200
CELLS_WITH, CELLS_WITHOUT, WINDOW_SEED = 8, 4, 2
GENOME_START, GENOME_LENGTH, LINE_WIDTH = 800_000, 100_000, 50  # a stretch without N

SOURCES = """
1b2d344b048f05db870b338d2ef5fd115c3d7f47bbd106aed1631dbc9beb9547 bccd_wbc/bccd_96x128.npz
4f6443377c55c017bb9e9c11b3d44bf7a8ccbf1be222079194a8a568bc195380 dna/genomes/hg38_chr1_0-1Mb.fa.gz
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 mnist/t10k-images-idx3-ubyte.gz
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2 mnist/t10k-labels-idx1-ubyte.gz
ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db mnist/train-images-idx3-ubyte.gz
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 mnist/train-labels-idx1-ubyte.gz
caa1eb1d1d113578e9dbb36b37398404e00f379492b7aa31df0b30c855017095 ratings/ml-latest-small/README_grouplens.txt
c87192ac9b653b05f97d750bc8d3be4f8b34d967cf7356c5d6042385941de474 ratings/ml-latest-small/movies.csv
b75da2eea75c39e37f5767d633d2c53339e7621f31a25c1411fdfa8092b26b6d ratings/ml-latest-small/ratings.npz
16695fa2786e53414e5a6b54767a3fdf5de99cfbc68617f69d1362d92776a92f timeseries_small/co2_maunaloa_weekly.csv
66d3b24d30221a5654ab48cc461ea1d3f725f8f5719016f702cfb56610b4ee63 timeseries_small/hudson_bay_lynx_hare.csv
f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b timeseries_small/sunspots_yearly.csv
59714a1f3ea2d199dc09888725f4f17e9111c1f7111ef1877583c8a23da6e7ba uci/concrete.npz
1dc1b263ff41e2f7148d043c49fb3a9db4f0a681294cfde828e570786dd61aa5 uci/energy.npz
368e767525ed92cd94408b539e57a440ea67f9dc68de015bf768a41933e285a4 uci/power-plant.npz
76faf1464495b06f13f115adcd0135334edb1c82606f2f1594747cdef3815a3e uci/yacht.npz
"""


def main(data: Path, output: Path) -> None:
    """Writes every bundled file below `output`."""
    for path, content in bundled_files(data).items():
        target = output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode(path, content))
        print(content_digest(read_content(target)), f"{target.stat().st_size:>9,}", path)


def bundled_files(data: Path) -> dict[str, Content]:
    """The content of every bundled file, made from the folder of the full data sets."""
    digests = [line.split() for line in SOURCES.strip().splitlines()]
    source: dict[str, Any] = {path: read_verified(data / path, sha256) for sha256, path in digests}
    made: dict[str, Content] = {"mnist_small/mnist_small.npz": mnist_subset(source)}
    for name in ("concrete", "energy", "power-plant", "yacht"):
        table = source[f"uci/{name}.npz"]
        made[f"uci/{name}.npz"] = {key: np.ascontiguousarray(table[key]) for key in ("X", "y")}
    for name in ("co2_maunaloa_weekly", "sunspots_yearly", "hudson_bay_lynx_hare"):
        made[f"timeseries_small/{name}.csv"] = source[f"timeseries_small/{name}.csv"]
    movielens = "ratings/ml-latest-small"
    made[f"{movielens}/ratings.npz"] = source[f"{movielens}/ratings.npz"]
    made[f"{movielens}/movies.csv.gz"] = source[f"{movielens}/movies.csv"]
    made[f"{movielens}/README_grouplens.txt"] = source[f"{movielens}/README_grouplens.txt"]
    made["bccd_wbc/cell_windows.npz"] = cell_windows(source["bccd_wbc/bccd_96x128.npz"])
    made["dna/genomes/hg38_chr1_100kb.fa.gz"] = genome_part(source["dna/genomes/hg38_chr1_0-1Mb.fa.gz"])
    return made


def mnist_subset(source: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Equally many digits of each class, drawn with a fixed seed, in their original order."""
    generator = np.random.default_rng(SUBSET_SEED)
    arrays = {}
    for part, stem, per_digit in (("train", "train", TRAIN_PER_DIGIT), ("test", "t10k", TEST_PER_DIGIT)):
        images = parse_idx(source[f"mnist/{stem}-images-idx3-ubyte.gz"])
        labels = parse_idx(source[f"mnist/{stem}-labels-idx1-ubyte.gz"])
        drawn = [
            generator.choice(np.flatnonzero(labels == digit), per_digit, replace=False) for digit in range(10)
        ]
        index = np.sort(np.concatenate(drawn))
        arrays |= {f"{part}_images": images[index], f"{part}_labels": labels[index]}
    return arrays


def cell_windows(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Windows of test photographs with and without a white cell, each from a photograph of its own."""
    windows = cut_windows(Arrays(arrays, "", ""), "test", n_each=1, seed=WINDOW_SEED)
    without, with_one = (np.flatnonzero(windows.labels == label) for label in (0, 1))
    without = _spread(without, CELLS_WITHOUT)
    with_one = with_one[~np.isin(windows.photograph[with_one], windows.photograph[without])]
    rows = np.concatenate([_spread(with_one, CELLS_WITH), without])
    return {
        "images": np.rint((windows.images[rows] + 1) * 127.5).astype(np.uint8),
        "labels": windows.labels[rows].astype(np.uint8),
        "boxes": windows.boxes[rows].astype(np.float32),
        "photograph": windows.photograph[rows].astype(np.int32),
    }


def _spread(rows: np.ndarray, n: int) -> np.ndarray:
    """So many of the rows, equally far apart."""
    return rows[np.arange(n) * len(rows) // n]


def genome_part(content: bytes) -> bytes:
    """A FASTA file of a part of the first megabase of chromosome 1, its coordinates in the header."""
    letters = "".join(content.decode("ascii").splitlines()[1:])
    part = letters[GENOME_START : GENOME_START + GENOME_LENGTH]
    if set(part) != set("ACGT"):
        raise ValueError(f"the part holds other letters than ACGT: {sorted(set(part))}")
    lines = [part[start : start + LINE_WIDTH] for start in range(0, GENOME_LENGTH, LINE_WIDTH)]
    header = f">hg38 chr1:{GENOME_START + 1}-{GENOME_START + GENOME_LENGTH}"
    return "\n".join([header, *lines, ""]).encode("ascii")


def encode(path: str, content: Any) -> bytes:
    """The bytes of the file: compressed as its name says, with no times in it."""
    if path.endswith(".npz"):
        return encode_npz(content)
    return gzip.compress(content, compresslevel=9, mtime=0) if path.endswith(".gz") else content


def encode_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A compressed npz file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", EARLIEST_ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue(), compresslevel=9)
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else BUNDLED)
