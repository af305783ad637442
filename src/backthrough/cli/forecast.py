"""`backthrough forecast SERIES.csv`."""

from backthrough.cli import run

USAGE = """usage: backthrough forecast SERIES.csv --time NAME [--columns NAME NAME...] [--series NAME]
                            [--horizon ROWS] [--run-dir DIR] [options]

Fits a latent ODE to irregular series with gaps: times are numbers or ISO dates, cells may be blank, and
--series names the column that tells several series apart. The last rows of each are held out. Into the run
directory come the held-out error beside naive forecasts, forecast.csv with means and bands of the held-out
rows and of what comes after the end, and a page with a picture.
All options: backthrough run forecast --help"""


def main(arguments: list[str]) -> int:
    """Runs the recipe on the table."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    table, *options = arguments
    return run.main(["forecast", "--data", table, *options])
