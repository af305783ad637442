"""`backthrough density TABLE.csv`."""

from backthrough.cli import run

USAGE = """usage: backthrough density TABLE.csv [--columns NAME NAME...] [--run-dir DIR] [options]

Fits a continuous normalising flow to the rows of a table of numbers. Into the run directory come the
held-out log-likelihood beside a Gaussian's, rows.csv with the log-density of every row (the lowest are the
strangest), draws.csv, and a page with pictures. All options: backthrough run density --help"""


def main(arguments: list[str]) -> int:
    """Runs the recipe on the table."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    table, *options = arguments
    return run.main(["density", "--data", table, *options])
