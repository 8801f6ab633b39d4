"""The sections about what travels between clients and servers."""

from heron.comms import Codec
from heron.config.section import Section


class SmashedConfig(Section):
    """How clients write the smashed data that they upload; hosl's clients have the defaults only.

    Attributes:
        codec: bits of a value: `fp32` and `fp16`, or `int8` and `int4` per channel with stochastic rounding.
        zstd: lossless compression on top, tensor by tensor where it pays.
    """

    codec: Codec
    zstd: bool


class LinkConfig(Section):
    """The link between clients and servers.

    Attributes:
        bundle: one message for all that a client sends in a round, and compressed headers; decoupled algorithms only.
    """

    bundle: bool
