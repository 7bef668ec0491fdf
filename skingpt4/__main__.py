"""`python -m skingpt4` is `skingpt4`."""

import sys

from skingpt4.cli import main

if __name__ == "__main__":
    sys.exit(main())
