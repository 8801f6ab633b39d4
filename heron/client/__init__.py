"""The client: a round, a step, its orders of learning, and what it keeps between rounds. Nothing here imports torch.

A client computes its network through a `Runtime`; the one in PyTorch is `heron.client.torch_runtime`, which is imported
where it is chosen.
"""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.client.learner import Learner as Learner
    from heron.client.round import client_round as client_round
    from heron.client.runtime import ExactPart as ExactPart
    from heron.client.runtime import ExactPass as ExactPass
    from heron.client.runtime import Finished as Finished
    from heron.client.runtime import Orders as Orders
    from heron.client.runtime import Runtime as Runtime
    from heron.client.runtime import Surrogate as Surrogate
    from heron.client.step import ClientLearner as ClientLearner
    from heron.client.step import StepResult as StepResult
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "ClientLearner": "heron.client.step",
            "ExactPart": "heron.client.runtime",
            "ExactPass": "heron.client.runtime",
            "Finished": "heron.client.runtime",
            "Learner": "heron.client.learner",
            "Orders": "heron.client.runtime",
            "Runtime": "heron.client.runtime",
            "StepResult": "heron.client.step",
            "Surrogate": "heron.client.runtime",
            "client_round": "heron.client.round",
        },
    )
