"""The export of a client to a bundle that runs without PyTorch."""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.export.client import export_client as export_client
    from heron.export.client import make_bundle as make_bundle
else:
    __getattr__, __dir__ = lazy_face(
        __name__, {"export_client": "heron.export.client", "make_bundle": "heron.export.client"}
    )
