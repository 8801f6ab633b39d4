"""Canaries: many short trainings of a run's own client, half of them with an example that shall not be noticed.

Everything that a claim of privacy rests on takes part: the client's code, its clip, its secret, its batches, its reply
and the account. A training has a few steps on a few examples, with the noise that spends the run's epsilon in so few
steps. The attacker knows all examples but whether the canary is there, the network, the directions, and what each
example contributes; it scores what it receives by the likelihood ratio.

`S` steps, `D` numbers of a step, `n` examples.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heron.audit.bounds import epsilon_bound
from heron.audit.outcome import Outcome
from heron.audit.trials import Trials
from heron.audit.view import View
from heron.engines.participants import drawn_participants
from heron.privacy import Secret

_TRIALS = 1_000
_MOST_EPSILON = 20.0
_LOG_TINY = -700.0
CANARIES = {
    "public": "epsilon_public",
    "servers": "epsilon_fed_server",
}
"""Parties of the bound, and the claim that it is beside: who does not see which examples a batch has, and who does."""


@dataclass(frozen=True)
class Bound:
    """Claim and proof.

    Attributes:
        claimed: epsilon of the short training, by the account.
        proven: lower bound by the canary.
    """

    claimed: float
    proven: float


def check_claims(view: View) -> Outcome:
    """Bound epsilon from below, beside what the run claims.

    Args:
        view: of the attacker.

    Returns:
        `epsilon_claimed`, that of the run against the public, `epsilon_proven`, and the same for the servers; and
        `unnoised`, the number of fields of a reply that differ without noise. Nothing where privacy is off.
    """
    if not view.settings.privacy.is_on:
        return Outcome()
    target = epsilon_of(view)
    if target > _MOST_EPSILON:
        return Outcome(notes=(f"epsilon {target:.3g} claims nothing that canaries could test",))
    trials = Trials(view, target)
    bounds = canary_bounds(trials, _TRIALS, view.seed)
    leaks = trials.unnoised(Secret(np.random.default_rng(view.seed).bytes(32)))
    figures = {
        "epsilon_claimed": bounds["public"].claimed,
        "epsilon_proven": bounds["public"].proven,
        "epsilon_claimed_servers": bounds["servers"].claimed,
        "epsilon_proven_servers": bounds["servers"].proven,
        "unnoised": float(len(leaks)),
    }
    broken = [party for party, bound in bounds.items() if bound.proven > bound.claimed]
    notes = [f"canaries break the claim against {party}" for party in broken]
    notes += [f"{field} of a reply tells of an example without noise" for field in leaks]
    return Outcome(figures, notes=tuple(notes))


def epsilon_of(view: View) -> float:
    """Compute the epsilon that a run claims against the public when it is finished."""
    federation = view.federation()
    account = federation.servers.account
    assert account is not None  # privacy is on
    for round_index in range(view.settings.rounds):
        for client_id in drawn_participants(federation.settings, round_index):
            account.rounds[client_id] += 1
    return account.figures()["epsilon_public"]


def canary_bounds(trials: Trials, number: int, seed: int) -> dict[str, Bound]:
    """Train with and without the canary, and bound epsilon against each party.

    Args:
        trials: makes the trainings.
        number: of trainings in each world.
        seed: of the secrets.

    Returns:
        Bounds by the names of `CANARIES`.
    """
    contributions = trials.contributions()
    generator = np.random.default_rng(seed)
    scores: dict[str, list[NDArray[np.float64]]] = {party: [] for party in CANARIES}
    for is_there in (True, False):
        of_world = [_scores(trials, contributions, generator.bytes(32), is_there=is_there) for _ in range(number)]
        for index, party in enumerate(CANARIES):
            scores[party].append(np.array([pair[index] for pair in of_world]))
    claims, delta = trials.claims, trials.settings.privacy.delta
    return {
        party: Bound(claims[key], epsilon_bound(scores[party][0], scores[party][1], delta))
        for party, key in CANARIES.items()
    }


def _scores(
    trials: Trials, contributions_nSD: NDArray[np.float64], key: bytes, *, is_there: bool
) -> tuple[float, float]:
    """Score one training by the likelihood ratio: for who does not see the batches, and for who does."""
    released_SD, chosen_Sn = trials.run(Secret(key), is_there=is_there)
    canary_SD, others_nSD = contributions_nSD[0], contributions_nSD[1:]
    variance = (trials.settings.privacy.noise * trials.settings.privacy.clip) ** 2
    expected_SD = trials.rate * others_nSD.sum(0)
    known_SD = np.einsum("sn,nsd->sd", chosen_Sn[:, 1:].astype(float), others_nSD)
    half = 0.5 * np.square(canary_SD).sum(1)
    blind_S = (((released_SD - expected_SD) * canary_SD).sum(1) - half) / variance
    seeing_S = (((released_SD - known_SD) * canary_SD).sum(1) - half) / variance
    mixed_S = np.logaddexp(math.log1p(-trials.rate) if trials.rate < 1 else _LOG_TINY, math.log(trials.rate) + blind_S)
    return float(mixed_S.sum()), float((seeing_S * chosen_Sn[:, 0]).sum())
