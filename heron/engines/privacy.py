"""The account of a run's privacy: the noise that its budget asks for, what was spent, and against whom.

A client spends in every round that it takes part in, whether or not its reply arrives. Figures are those of the client
that has spent most, and of updates alone: smashed data and labels have no guarantee (docs/concepts/privacy.md).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from heron.algorithms import Algorithm
from heron.data.order import num_local_steps
from heron.engines.participants import drawn_participants
from heron.engines.privacy_limits import limits_of
from heron.engines.refusals import check_settings
from heron.errors import CheckpointError, ConfigError, TrainingError
from heron.privacy import Releases, hidden_epsilon, noise_for, seen_epsilon
from heron.privacy.accounting import check_accountant
from heron.wire.groups import Settings

_SLACK = 1e-9


class PrivacyAccount:
    """Account of what the clients of a run have spent.

    Args:
        settings: of the run; `privacy.noise` is found from the budget if it is `auto`.
        sizes: number of examples of each client.
        planned: number of rounds that each client will take part in.
        uploads: whether a Main Server receives smashed data, which show which examples a batch has.
        clips: names of the clips of `[privacy]` that count: one for each vector that a step releases.

    Attributes:
        settings: those of the run, with the noise in them.
        sizes: number of examples that it takes each client to have.
        rounds: number of rounds that each client has taken part in.
        fixes_rounds: whether the noise was found for the planned rounds, so that there can be no further ones.

    Raises:
        ConfigError: if delta is too large for a client, or the planned rounds exceed the budget.
        MissingExtraError: if the accountant is not installed.
    """

    def __init__(
        self,
        settings: Settings,
        sizes: Sequence[int],
        planned: Sequence[int],
        *,
        uploads: bool,
        clips: Sequence[str] = ("clip",),
    ) -> None:
        privacy = settings.privacy
        _check_delta(privacy.delta, max(sizes))
        if privacy.sampling == "poisson":
            check_accountant()
        self.sizes = list(sizes)
        self._uploads = uploads
        self._clips = tuple(clips)
        self.rounds = [0] * len(sizes)
        self._planned = list(planned)
        self.settings = settings
        self.fixes_rounds = privacy.fixes_rounds
        budget = privacy.budget
        if budget is not None and self.fixes_rounds:
            noise = noise_for(budget, lambda noise: self._spent(planned, noise, sees_batches=False))
            self.settings = replace(settings, privacy=replace(privacy, noise=noise))
        elif budget is not None:
            self._check_budget(planned, budget)

    def charge(self, participants: Sequence[int]) -> None:
        """Charge the participants of a round, before anything of it is computed.

        Raises:
            TrainingError: if a client's budget does not allow the round.
        """
        rounds = list(self.rounds)
        for client_id in participants:
            rounds[client_id] += 1
        budget = self.settings.privacy.budget
        if budget is not None and self._spent(rounds, self._noise, sees_batches=False) > budget * (1.0 + _SLACK):
            spent = self._spent(self.rounds, self._noise, sees_batches=False)
            raise TrainingError(
                f"expected rounds within privacy.epsilon={budget:g}, found that it is spent ({spent:.4g} so far) and a "
                f"further round exceeds it; stop here, or start a new run with more noise"
            )
        self.rounds = rounds

    def charge_one(self, client_id: int) -> None:
        """Charge one client for a round that it is asked for, be it once more.

        Raises:
            TrainingError: if its budget does not allow the round.
        """
        if self.rounds[client_id] < self._planned[client_id]:  # the budget allows these
            self.rounds[client_id] += 1
        else:
            self.charge([client_id])

    def figures(self) -> dict[str, float]:
        """Return epsilon against each party so far, and delta, as plain numbers for a row of metrics."""
        hidden = self._spent(self.rounds, self._noise, sees_batches=False)
        seen = self._spent(self.rounds, self._noise, sees_batches=True)
        servers = {"epsilon_fed_server": seen, "epsilon_main_server": seen} if self._uploads else {}
        return {
            "epsilon_other_clients": hidden,
            "epsilon_public": hidden,
            "epsilon_fed_server": hidden,
            **servers,
            "delta": self.settings.privacy.delta,
        }

    def statement(self) -> dict[str, Any]:
        """Return what can be claimed and what cannot, for the summary of a run."""
        privacy = self.settings.privacy
        covered = {
            "unit": "one example of one client, in whose place nothing would contribute; their number is not hidden",
            "covers": "updates: what clients learn and send to the Fed Server, and all that is made of it",
            "noise": self._noise,
            "noise_over_each_clip": self._noise * math.sqrt(len(self._clips)),
            **{name: getattr(privacy, name) for name in self._clips},
            "sampling": privacy.sampling,
            "client_rounds": max(self.rounds),
        }
        if limits := limits_of(self.settings, self.sizes, self.figures()["epsilon_public"]):
            covered["limits"] = limits
        if not self._uploads:
            return covered
        return covered | {
            "does_not_cover": "smashed data and labels, which the Main Server receives, and what it "
            "trains on them: the server part, and so the joined model, has no guarantee; nor have train_loss and "
            "traffic in a run's files"
        }

    def state(self) -> dict[str, Any]:
        """Return what was spent and at which noise, for a checkpoint."""
        return {"client_rounds": self.rounds, "noise": self._noise}

    def load_state(self, facts: Mapping[str, Any]) -> None:
        """Continue from a result of `state`.

        Raises:
            CheckpointError: if the accountant finds another noise now: a round that is run again would be released
                with both, from which its sum without noise follows.
        """
        if facts["noise"] != self._noise:
            raise CheckpointError(
                f"expected the noise that this run began with, {facts['noise']:.6g}, found {self._noise:.6g} for its "
                f"budget; continue with the version of dp-accounting that it began with, or start a new run"
            )
        self.rounds = [int(number) for number in facts["client_rounds"]]

    @property
    def _noise(self) -> float:
        return self.settings.privacy.noise_multiplier

    def _check_budget(self, planned: Sequence[int], budget: float) -> None:
        needed = self._spent(planned, self._noise, sees_batches=False)
        if needed > budget:
            raise ConfigError(
                f"expected rounds within privacy.epsilon={budget:g}, found that {max(planned)} of a client spend "
                f"{needed:.4g} at privacy.noise={self._noise:g}; raise either, or lower rounds or client.local_steps"
            )

    def _spent(self, rounds: Sequence[int], noise: float, *, sees_batches: bool) -> float:
        """Epsilon of the client that has spent most."""
        delta = self.settings.privacy.delta
        passes = self.settings.privacy.sampling == "passes"
        epsilon = seen_epsilon if sees_batches or passes else hidden_epsilon
        spent = {self._releases(size, number, noise, passes=passes) for size, number in self._worst(rounds)}
        return max(epsilon(releases, delta) for releases in spent)

    def _worst(self, rounds: Sequence[int]) -> set[tuple[int, int]]:
        """Sizes and rounds of the clients that could have spent most: none is smaller and was there as often."""
        worst: set[tuple[int, int]] = set()
        most = -1
        for size, number in sorted(zip(self.sizes, rounds, strict=True), key=lambda pair: (pair[0], -pair[1])):
            if number > most:
                worst.add((size, number))
                most = number
        return worst

    def _releases(self, size: int, rounds: int, noise: float, *, passes: bool) -> Releases:
        client = self.settings.client
        if not passes:
            return Releases(rounds * client.local_steps, min(1.0, client.batch_size / size), noise)
        per_pass = num_local_steps(size, client.batch_size, None, joins=True)
        return Releases(rounds * math.ceil(client.local_steps / per_pass), 1.0, noise)


def private_account(
    algorithm: Algorithm, settings: Settings, sizes: Sequence[int], *, has_data: bool = True
) -> PrivacyAccount | None:
    """Open the account of a run's privacy; None where it is off.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: of the run.
        sizes: number of examples of each client; `privacy.least_examples` takes their place if it is set.
        has_data: whether these are the clients' examples; else the clients themselves refuse if they have fewer.

    Raises:
        ConfigError: if there can be no guarantee, or not within the budget.
        MissingExtraError: if the accountant is not installed.
    """
    check_settings(algorithm, settings)
    if not settings.privacy.is_on:
        return None
    planned, least = [0] * len(sizes), settings.privacy.least_examples
    for round_index in range(settings.rounds):
        for client_id in drawn_participants(settings, round_index):
            planned[client_id] += 1
    if has_data:
        _check_sizes(settings, sizes)
    taken = [least] * len(sizes) if least else sizes
    uploads = algorithm.uploads != "never"
    return PrivacyAccount(settings, taken, planned, uploads=uploads, clips=_clips(algorithm, settings))


def _check_sizes(settings: Settings, sizes: Sequence[int]) -> None:
    """Refuse clients that are smaller than the account takes them to be, or too large for delta."""
    _check_delta(settings.privacy.delta, max(sizes))
    if min(sizes) < settings.privacy.least_examples:
        raise ConfigError(
            f"expected privacy.least_examples of at most {min(sizes)}, which the smallest client has, found "
            f"{settings.privacy.least_examples}; lower it"
        )


def _clips(algorithm: Algorithm, settings: Settings) -> list[str]:
    """Names of the clips that count: of a head that learns exactly, and of everything else that learns."""
    learning = algorithm.learning(settings)
    has_head, has_probes = learning.has_exact_head, algorithm.orders(learning).probes
    return ["clip"] * (has_probes or not has_head) + ["exact_clip"] * has_head


def _check_delta(delta: float, largest: int) -> None:
    """Refuse a delta at which publishing an example outright would be private."""
    if delta >= 1.0 / largest:
        raise ConfigError(
            f"expected privacy.delta below 1/n = {1.0 / largest:.3g} of the client with the most examples, {largest}, "
            f"found {delta:g}; lower it, e.g. to {0.01 / largest:.0e}"
        )
