"""Reference pages of the site, made from the code: `python -m pages` writes them, `--check` compares them."""
