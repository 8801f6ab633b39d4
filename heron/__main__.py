"""`python -m heron`: the `heron` command, for an environment whose folder of scripts is not on the path."""

import sys

from heron.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
