"""Exceptions for the caller's mistakes. Each message is one line: what was expected, what was found, what to do."""


class HeronError(Exception):
    """Base of every error that `heron` raises for a caller's mistake; the command line prints it and exits 2."""


class ConfigError(HeronError):
    """A configuration, recipe, algorithm or option that cannot be run."""


class SplitError(HeronError):
    """A network that cannot be cut, or a part that cannot be trained without backpropagation."""


class DataError(HeronError):
    """A data set, partition or example that cannot be used."""


class MessageError(HeronError):
    """Bytes or a message that a role refuses."""


class BundleError(HeronError):
    """A client's bundle that is absent, damaged, foreign or of another version; a client that cannot be exported."""


class CheckpointError(HeronError):
    """A checkpoint or run directory that is absent, truncated, foreign or not writable."""


class ReportError(HeronError):
    """Saved results that lack what a report needs."""


class TrainingError(HeronError):
    """A run that cannot continue: a loss or an update that is not finite."""


class WithheldError(HeronError):
    """A message that a client holds back, because its own notes of what it has released do not allow it."""


class UnchargedError(WithheldError):
    """A release that a client holds back until the servers' account has charged it."""


class DeployError(HeronError):
    """A deployment's folder that cannot be made, or that will not work in its present state."""


class MissingExtraError(HeronError, ImportError):
    """An optional library that the request needs and that is not installed.

    Args:
        library: name of the library.
        extra: extra of the package that installs it.
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"this needs the library {library!r}, which is not installed; run: pip install 'heron-sfl[{extra}]'"
        )
