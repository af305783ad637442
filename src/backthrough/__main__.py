"""`python -m backthrough`."""

import sys

from backthrough.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
