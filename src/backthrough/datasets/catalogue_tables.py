"""Registry entries of time series, patient records and ratings."""

from functools import partial

from backthrough.datasets.entry import DataFile, Entry
from backthrough.datasets.table_loaders import (
    read_dated_series,
    read_movielens,
    read_rating_matrix,
    read_yearly_series,
)
from backthrough.datasets.text_loaders import read_named_arrays

MONTI = "Monti, Bronstein, Bresson, Geometric matrix completion, 2017"
MONTI_NOTES = (
    "Made from training_test_dataset.mat: arrays user, item, rating_x2 (rating times two), is_test (the "
    "published split) and the graph edges W_*_src, W_*_dst. "
)
read_monti = partial(read_rating_matrix, shape=(3000, 3000))

ENTRIES = (
    Entry(
        name="physionet2012",
        summary="irregular measurements of intensive-care patients (set A)",
        shapes="3,996 records, 1,750,434 measurements of 41 parameters, 5 outcomes a record",
        licence="Open Data Commons Attribution 1.0, not confirmed",
        citation="Silva et al., Predicting in-hospital mortality of ICU patients, CinC 2012; Goldberger et "
        "al., PhysioNet, Circulation 101, 2000.",
        home="https://physionet.org/content/challenge-2012/1.0.0/",
        files=(
            DataFile(
                "physionet2012/set_a.npz", "cc6697e8ceb9605e89c40d68db27bbec273cc552af3fc1de03ca9e7bf7185220"
            ),
        ),
        read=read_named_arrays,
        notes="Record i owns rows offset[i]:offset[i+1] of minute, param and value; nothing imputed or "
        "normalised. -1 in Height, Weight and Gender means missing. Four records of the original are "
        "absent (139060, 140501, 140936, 141264).",
    ),
    Entry(
        name="co2",
        summary="carbon dioxide at Mauna Loa, weekly, 1958-2001",
        shapes="2,284 weeks, of which 59 are missing (NaN)",
        licence="public domain",
        citation="Keeling and Whorf, Atmospheric CO2 at Mauna Loa, 2004 (as packaged by statsmodels).",
        home="https://www.statsmodels.org/stable/datasets/generated/co2.html",
        files=(
            DataFile(
                "timeseries_small/co2_maunaloa_weekly.csv",
                "16695fa2786e53414e5a6b54767a3fdf5de99cfbc68617f69d1362d92776a92f",
            ),
        ),
        read=read_dated_series,
        notes="Missing weeks are kept, as NaN.",
        bundled=True,
    ),
    Entry(
        name="sunspots",
        summary="yearly number of sunspots, 1700-2008",
        shapes="309 years",
        licence="public domain",
        citation="National Geophysical Data Center, Sunspot numbers (as packaged by statsmodels).",
        home="https://www.statsmodels.org/stable/datasets/generated/sunspots.html",
        files=(
            DataFile(
                "timeseries_small/sunspots_yearly.csv",
                "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
            ),
        ),
        read=read_yearly_series,
        bundled=True,
    ),
    Entry(
        name="lynx-hare",
        summary="pelts of lynx and hare of the Hudson's Bay Company, 1900-1920",
        shapes="21 years, two series in thousands",
        licence="BSD-3-Clause (the repository that publishes it)",
        citation="Hewitt, The conservation of the wild life of Canada, 1921; Carpenter, Predator-prey "
        "population dynamics in Stan, 2018.",
        home="https://github.com/stan-dev/example-models/tree/master/knitr/lotka-volterra",
        files=(
            DataFile(
                "timeseries_small/hudson_bay_lynx_hare.csv",
                "66d3b24d30221a5654ab48cc461ea1d3f725f8f5719016f702cfb56610b4ee63",
            ),
        ),
        read=read_yearly_series,
        bundled=True,
    ),
    Entry(
        name="ml-latest-small",
        summary="film ratings of MovieLens (September 2018)",
        shapes="100,836 ratings, 610 users, 9,724 films, in half stars",
        licence="GroupLens terms: research use, no commercial use without permission; redistribution under "
        "the same terms (README_grouplens.txt)",
        citation="Harper and Konstan, The MovieLens datasets: history and context, 2015, doi "
        "10.1145/2827872.",
        home="https://grouplens.org/datasets/movielens/",
        files=(
            DataFile(
                "ratings/ml-latest-small/ratings.npz",
                "b75da2eea75c39e37f5767d633d2c53339e7621f31a25c1411fdfa8092b26b6d",
            ),
            DataFile(
                "ratings/ml-latest-small/movies.csv.gz",
                "c87192ac9b653b05f97d750bc8d3be4f8b34d967cf7356c5d6042385941de474",
            ),
        ),
        read=read_movielens,
        notes="A development data set: use it for tests and comparisons, not for published claims. Ratings "
        "are sorted by user and time; folds and cold users were drawn with a fixed seed.",
        bundled=True,
    ),
    Entry(
        name="douban-monti",
        summary="a 3,000 x 3,000 part of Douban's ratings, with a user graph",
        shapes="136,891 ratings (13,689 of them test), whole stars, 2,690 user edges",
        licence="unknown",
        citation=f"Ma et al., Recommender systems with social regularization, 2011; {MONTI}.",
        home="https://github.com/muhanzhang/IGMC",
        files=(
            DataFile(
                "ratings/douban-monti/ratings.npz",
                "d8a51afe00ec5720687b053ce47c7fc9dbac17a31eafafa075acc38cd1a152cf",
            ),
        ),
        read=read_monti,
        notes=f"{MONTI_NOTES}One user has no rating.",
    ),
    Entry(
        name="flixster-monti",
        summary="a 3,000 x 3,000 part of Flixster's ratings, with graphs",
        shapes="26,173 ratings (2,617 of them test), half stars, 59,354 user and 50,918 item edges",
        licence="unknown",
        citation=f"Jamali and Ester, A matrix factorization technique with trust propagation, 2010; {MONTI}.",
        home="https://github.com/muhanzhang/IGMC",
        files=(
            DataFile(
                "ratings/flixster-monti/ratings.npz",
                "15a308852d2c95aa8debf5830ad750631e1f9dd28a3a560872dccd04adb1a535",
            ),
        ),
        read=read_monti,
        notes=f"{MONTI_NOTES}659 users and 44 items have no rating.",
    ),
)
