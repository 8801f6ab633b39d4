"""Canaries: many local steps of a run's own client, half of them with an example that shall not be noticed.

Everything that a claim of privacy rests on takes part: the client's code, its clip, its secret, its batches, its reply
and the account. A training is one step on two examples, with the noise that spends the run's epsilon in it. The
attacker knows both examples but not whether the canary is there, the network, the directions, and what each example
contributes; it scores what it receives by the likelihood ratio.

`D` numbers of a step.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from heron.audit.bounds import epsilon_bound, gaussian_distance
from heron.audit.outcome import Outcome
from heron.audit.trials import Trials
from heron.audit.view import View
from heron.engines.participants import drawn_participants
from heron.engines.privacy import PrivacyAccount
from heron.privacy.secret import Secret

_TRIALS = 1_000
_MOST_EPSILON = 20.0
_LEAST_NOISE = 0.01  # of what is claimed: below it every figure is infinite


@dataclass(frozen=True)
class Bounds:
    """Empirical lower bounds on epsilon of a step, with the claims that they are compared with.

    Attributes:
        claimed: epsilon of the step against an attacker who does not see which examples a batch has, by the account.
        proven: lower bound on it.
        claimed_seen: epsilon against an attacker who sees the batch.
        proven_seen: lower bound on it.
        noise: largest noise that the canaries allow, over the noise that is claimed, if what is released is Gaussian; 1
            or more where nothing is wrong, infinite where both worlds look alike.
    """

    claimed: float
    proven: float
    claimed_seen: float
    proven_seen: float
    noise: float

    @property
    def is_broken(self) -> bool:
        """True if a claim is wrong."""
        return self.proven > self.claimed or self.proven_seen > self.claimed_seen or self.noise < 1.0


def check_claims(view: View) -> Outcome:
    """Bound epsilon from below, to compare it with what the run claims.

    Args:
        view: of the attacker.

    Returns:
        `epsilon_claimed`, that of the run against the public; `epsilon_allowed`, what it would be with the largest
        noise that the canaries allow; `epsilon_proven`, a lower bound for a step with the whole budget, without any
        assumption; and `unnoised`, the number of fields of a reply that differ without noise. Nothing where privacy is
        off.
    """
    if not view.settings.privacy.is_on:
        return Outcome()
    account = _finished(view)
    target = account.figures()["epsilon_public"]
    if target > _MOST_EPSILON:
        return Outcome(notes=(f"epsilon {target:.3g} claims nothing that canaries could test",))
    trials = Trials(view, target)
    found = canary_bounds(trials, _TRIALS, view.seed)
    leaks = trials.unnoised(Secret(np.random.default_rng(view.seed).bytes(32)))
    figures = {
        "epsilon_claimed": target,
        "epsilon_allowed": _epsilon_with(account, view, found.noise),
        "epsilon_proven": found.proven,
        "unnoised": float(len(leaks)),
    }
    notes = ["canaries break the claimed epsilon"] if found.is_broken else []
    notes += [f"{field} of a reply depends on an example without noise" for field in leaks]
    return Outcome(figures, notes=tuple(notes))


def canary_bounds(trials: Trials, number: int, seed: int) -> Bounds:
    """Train with and without the canary, and bound epsilon.

    Args:
        trials: makes the trainings.
        number: of trainings in each world.
        seed: of the secrets, which are the same in both: so the batches are, too.

    Returns:
        The bounds, with the claims.
    """
    canary_D, other_D = trials.contributions()
    generator = np.random.default_rng(seed)
    secrets = [Secret(generator.bytes(32)) for _ in range(number)]
    privacy, rate = trials.settings.privacy, trials.rate
    variance = (privacy.noise_multiplier * trials.clip) ** 2
    absent = math.log1p(-rate) if rate < 1 else -math.inf  # in a pass every example is there
    blind, seeing, drawn = np.zeros((2, number)), np.zeros((2, number)), np.zeros((2, number), bool)
    for world, is_there in enumerate((True, False)):
        for trial, secret in enumerate(secrets):
            released_D, has_canary, has_other = trials.run(secret, is_there=is_there)
            ratio = _log_ratio(released_D - has_other * other_D, canary_D, variance)
            guessed = _log_ratio(released_D - rate * other_D, canary_D, variance)
            blind[world, trial] = np.logaddexp(absent, math.log(rate) + guessed)
            seeing[world, trial], drawn[world, trial] = has_canary * ratio, has_canary
    distance = gaussian_distance(*(scores[of_world] for scores, of_world in zip(seeing, drawn, strict=True)))
    return Bounds(
        claimed=trials.claims["epsilon_public"],
        proven=epsilon_bound(blind[0], blind[1], privacy.delta),
        claimed_seen=trials.claims["epsilon_fed_server"],
        proven_seen=epsilon_bound(seeing[0], seeing[1], privacy.delta),
        noise=1.0 / (distance * privacy.noise_multiplier) if distance else math.inf,
    )


def _log_ratio(released_D: NDArray[np.float64], canary_D: NDArray[np.float64], variance: float) -> float:
    """Log of the likelihood of a release with the canary over that without it."""
    return float((released_D @ canary_D - 0.5 * canary_D @ canary_D) / variance)


def _finished(view: View) -> PrivacyAccount:
    """Return the account of a run as it will be after its last round."""
    federation = view.federation()
    account = federation.servers.account
    assert account is not None  # privacy is on
    for round_index in range(view.settings.rounds):
        for client_id in drawn_participants(federation.settings, round_index):
            account.rounds[client_id] += 1
    return account


def _epsilon_with(account: PrivacyAccount, view: View, share: float) -> float:
    """Compute epsilon of a run with a share of its noise."""
    if math.isinf(share):
        return 0.0
    noise = max(share, _LEAST_NOISE) * account.settings.privacy.noise_multiplier
    settings = replace(account.settings, privacy=replace(account.settings.privacy, epsilon="off", noise=noise))
    other = PrivacyAccount(settings, account.sizes, account.rounds, uploads=view.algorithm.uploads != "never")
    other.rounds = list(account.rounds)
    return other.figures()["epsilon_public"]
