"""`python -m evenbit` is the command `evenbit`."""

import sys

from evenbit.cli import main

if __name__ == "__main__":
    sys.exit(main())
