"""Models of clients that draw their directions from candidates: from theta_0, which they hold, and sums."""

from typing import Any

from heron.client.opening import Opener, TensorStore, fitting, kept_theta, take_held
from heron.errors import MessageError
from heron.wire import Broadcast, ModelBroadcast
from heron.wire.candidates import PROBABILITIES, STANDING, Candidates
from heron.wire.digests import digest_of
from heron.wire.learning import Learning
from heron.wire.walk_log import rebuild
from heron.wire.walks import Replayer, Theta


class CandidateOpener(Opener):
    """Turns broadcasts into models for clients that hold the theta with which the run began.

    Args:
        store: place in which they hold it.
        like: arrays like those of theta, in the order of the flat buffer; only looked at.
        learning: settings of the clients' learning.
    """

    def __init__(self, store: TensorStore, like: Theta, learning: Learning) -> None:
        super().__init__(store, like, Replayer(learning))
        self._candidates = Candidates(learning)

    def open(self, broadcast: Broadcast) -> dict[str, Any] | None:
        """Make the model of the round, and keep theta_0; None if the client needs a snapshot.

        Returns:
            The model; with `pro` sampling the probabilities of the round's draws, too.

        Raises:
            MessageError: if the sums are damaged, or a snapshot is not one of theta.
        """
        rest, standing = dict(broadcast.model), None
        if isinstance(broadcast, ModelBroadcast):
            standing = rest.pop(STANDING, None)
            start = self._snapshot(broadcast)
        else:
            scalars = [walk.scalars_P for done in rebuild(broadcast.entries, broadcast.scalars) for walk in done.walks]
            if len(scalars) != 1:
                raise MessageError(f"expected the sums of one pool of candidates, found {len(scalars)}")
            (standing,) = scalars
            held = fitting(kept_theta(take_held(self._store, broadcast.client_id)), self._like)
            if held is None:
                return None
            start = held
        sums_K, probabilities_K = (None, None) if standing is None else self._candidates.parsed(standing)
        theta = start if sums_K is None else self._candidates.reached(start, sums_K)
        if not isinstance(broadcast, ModelBroadcast) and broadcast.digest and digest_of(theta) != broadcast.digest:
            return None
        self._keep(broadcast, start)
        drawn: dict[str, Any] = {} if probabilities_K is None else {PROBABILITIES: probabilities_K}
        return {**rest, **theta, **drawn}
