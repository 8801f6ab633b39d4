"""Recovery of gradients from scalars: a client's share of each label, read from the walks that it sends.

With `update=scalars` a reply has s_p = <g, u_p> of known directions u_p, so that the mean of s_p u_p is an estimate of
the gradient g. For the bias of the last layer under cross-entropy g is the mean of (probability - share), which falls
where a label is frequent (iDLG, Zhao et al., 2020, for sums over a client). Summed over rounds the noise of the
estimate averages out. Differential privacy of examples does not hide it: it is a property of the client.

`C` classes, `K` clients.
"""

import numpy as np
from numpy.typing import NDArray

from heron.arrays import to_host
from heron.audit.outcome import Outcome
from heron.audit.view import View
from heron.data import labels_of
from heron.engines.in_process import Federation
from heron.wire.messages import Message, ScalarReply
from heron.wire.walks import direction_seeds, schedule_of
from heron.zo.stream import direction

_ROUNDS = 20


def read_shares(view: View) -> Outcome:
    """Run the first rounds again, listen to what the Fed Server receives, and estimate each client's label shares.

    Args:
        view: of the attacker.

    Returns:
        `share_correlation` of estimated and true shares over clients and labels, after 20 rounds or as many as the run
        has, and `share_correlation_1` after one.
    """
    if not view.are_classes or not view.algorithm.learning(view.settings).sends_scalars:
        return Outcome()
    federation = view.federation()
    place = bias_of(federation, view.splits.num_classes)
    if place is None or federation.clients.learning.candidates:
        return Outcome()
    estimates = np.zeros((len(federation.partition), view.splits.num_classes))
    figures: dict[str, float] = {}

    def listen(message: Message, _: object) -> None:
        if isinstance(message, ScalarReply):
            estimates[message.client_id] -= gradient_of(federation, message, place)

    federation.listeners.append(listen)
    for done in range(1, min(_ROUNDS, view.settings.rounds) + 1):
        federation.run_round()
        if done == 1:
            figures["share_correlation_1"] = correlation(estimates, true_shares(federation, estimates.shape[1]))
    figures["share_correlation"] = correlation(estimates, true_shares(federation, estimates.shape[1]))
    return Outcome(figures, notes=(f"walks are seen by {_readers(view)}",))


def _readers(view: View) -> str:
    if view.settings.secure_sum:
        return "nobody: only sums under masks leave a client"
    return (
        "the Fed Server alone, others receive sums" if view.settings.seed_groups else "the Fed Server and all clients"
    )


def bias_of(federation: Federation, num_classes: int) -> tuple[int, int] | None:
    """Find the place of the last layer's bias among the parameters that scalars tell: first entry, and one past it.

    Args:
        federation: of the run.
        num_classes: C.

    Returns:
        None where the last vector of C parameters is none of the clients' head, or is trained exactly.
    """
    head, theta = federation.algorithm.head, federation.runtime.theta
    if head is None or theta is None:
        return None
    start, found = 0, None
    for name, array in theta.named_tensors().items():
        size = int(np.prod(array.shape))
        if name.startswith(f"{head}.") and tuple(array.shape) == (num_classes,):
            found = (start, start + size)
        start += size
    return found


def gradient_of(federation: Federation, reply: ScalarReply, place: tuple[int, int]) -> NDArray[np.float64]:
    """Estimate a range of the client's gradient from its reply, summed over its steps.

    Args:
        federation: of the run; what is used of it everybody knows.
        reply: of the client.
        place: first entry, and one past the last.
    """
    settings, estimator = federation.settings, federation.clients.learning.estimator
    assert estimator is not None  # clients that send scalars have probes
    q = estimator.num_probes
    # Under masks more is added up than scalars, which come first.
    scalars = to_host(reply.projected_gradients)[: reply.num_steps * q].astype(np.float64).reshape(-1, q)
    schedule = schedule_of(reply.client_id, federation.clients.learning.settings.seed_groups)
    total = np.zeros(place[1] - place[0])
    for step, of_step in enumerate(scalars):
        for seed, scalar in zip(
            direction_seeds(settings.seed, reply.round_index, schedule, step, q), of_step, strict=True
        ):
            total += scalar / q * direction(seed, *place, distribution=estimator.distribution)
    return total


def true_shares(federation: Federation, num_classes: int) -> NDArray[np.float64]:
    """Count the share of each label in each client's data, shape (K, C)."""
    labels = labels_of(federation.dataset)
    counts = [np.bincount(labels[own], minlength=num_classes) for own in federation.partition]
    return np.stack([count / count.sum() for count in counts])


def correlation(estimates: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Correlate estimates with the truth over the clients of which there are any; 0 where nothing varies.

    Args:
        estimates: shape (K, C), up to a factor; all 0 of a client that never took part.
        truth: shape (K, C).
    """
    seen = np.abs(estimates).sum(1) > 0
    own, other = estimates[seen].ravel(), truth[seen].ravel()
    if len(own) < 2 or own.std() == 0.0 or other.std() == 0.0:
        return 0.0
    return float(np.corrcoef(own, other)[0, 1])
