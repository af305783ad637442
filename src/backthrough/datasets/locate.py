"""Where the files of a data set are, and what to do when they are not there."""

import os
from pathlib import Path

import platformdirs

from backthrough.core import DataError
from backthrough.datasets.entry import DataFile, Entry

DATA_VARIABLE = "BACKTHROUGH_DATA"
BUNDLED_FOLDER = Path(__file__).parent / "bundled"


def cache_folder() -> Path:
    """The folder of the user's cache that fetched files are put into."""
    return Path(platformdirs.user_cache_dir("backthrough/data"))


def data_folders() -> tuple[Path, ...]:
    """The folders that are searched for files that are not bundled, first the one in `BACKTHROUGH_DATA`."""
    named = os.environ.get(DATA_VARIABLE)
    return (Path(named), cache_folder()) if named else (cache_folder(),)


def find_file(entry: Entry, file: DataFile) -> Path | None:
    """The path of a file of `entry`, or None when it is nowhere."""
    folders = (BUNDLED_FOLDER,) if entry.bundled else data_folders()
    for folder in folders:
        path = folder / file.path
        if path.is_file():
            return path
    return None


def locate(entry: Entry) -> tuple[Path, ...]:
    """The paths of all files of `entry`.

    Raises:
        DataError: if one is missing, saying how to get it.
    """
    paths = [find_file(entry, file) for file in entry.files]
    found = tuple(path for path in paths if path is not None)
    if len(found) < len(paths):
        missing = [file for file, path in zip(entry.files, paths, strict=True) if path is None]
        raise DataError(_how_to_get(entry, missing))
    return found


def _by_hand(entry: Entry) -> str:
    """What to do to get a data set whose files have no public address."""
    files = "".join(f"\n  {file.path}  (content SHA-256 {file.sha256})" for file in entry.files)
    return (
        f"{entry.name} cannot be downloaded: no public address with exactly these files is known. The "
        f"original is at {entry.home}. {entry.notes} Put the prepared files into a folder, name that "
        f"folder in the environment variable {DATA_VARIABLE}, and they are found there as:{files}"
    )


def _how_to_get(entry: Entry, missing: list[DataFile]) -> str:
    names = ", ".join(file.path for file in missing)
    if entry.bundled:
        return f"the installation is incomplete: {names} is missing from {BUNDLED_FOLDER}; install again"
    places = " and ".join(str(folder) for folder in data_folders())
    text = f"{entry.name} is not here ({names} is not in {places}). "
    named = os.environ.get(DATA_VARIABLE)
    if named and not Path(named).is_dir():
        text += f"{DATA_VARIABLE} names {named}, which is not a folder. "
    if entry.fetchable:
        text += (
            f"Download it with: backthrough data fetch {entry.name} (licence: {entry.licence}). If you "
            f"have its files already, name the folder in which they are found as above in {DATA_VARIABLE}."
        )
    else:
        text += _by_hand(entry)
    if entry.smaller:
        text += f" The smaller {entry.smaller} comes with the package."
    return text
