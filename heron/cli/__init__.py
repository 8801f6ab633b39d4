"""The command line: thin entry points over config, engines and report."""
