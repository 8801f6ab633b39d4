"""`python -m pages`: write the pages that are made from code; `--check` names those that are not up to date."""

import argparse
import sys

from pages.content import changed_pages, write_pages
from pages.notebooks import store_outputs


def main() -> int:
    """Run the command.

    Returns:
        Exit code: 1 if `--check` found pages to write, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m pages", description="Pages of docs/ that are made from code.")
    parser.add_argument("--check", action="store_true", help="write nothing; name the pages that are not up to date")
    parser.add_argument("--run-notebooks", action="store_true", help="run the notebooks first, and store their outputs")
    options = parser.parse_args()
    if options.run_notebooks:
        store_outputs()
    if options.check:
        stale = changed_pages()
        sys.stdout.write("".join(f"{path}: run `python -m pages`\n" for path in stale))
        return 1 if stale else 0
    sys.stdout.write("".join(f"{path}\n" for path in write_pages()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
