"""The attacks of an audit by name, and what their figures mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from heron.audit.canaries import check_claims
from heron.audit.decoder import decode
from heron.audit.dependence import depend
from heron.audit.inversion import invert
from heron.audit.labels import probe_labels
from heron.audit.membership import infer_membership
from heron.audit.outcome import Outcome
from heron.audit.shares import read_shares
from heron.audit.tokens import recover_tokens
from heron.audit.view import View


@dataclass(frozen=True)
class Figure:
    """Meaning of a figure.

    Attributes:
        heading: of its column.
        percent: whether it is a share, shown in percent.
        floor: name of the figure that says what somebody has who saw nothing; empty for a number that needs none.
    """

    heading: str
    percent: bool = False
    floor: str = ""


@dataclass(frozen=True)
class Attack:
    """An attack.

    Attributes:
        name: on the command line.
        summary: one line for a person.
        run: makes the attack; figures are empty where it does not apply.
        figures: what it may report.
    """

    name: str
    summary: str
    run: Callable[[View], Outcome]
    figures: Mapping[str, Figure]


ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack(
            "decoder",
            "a decoder, trained on other images, rebuilds inputs from smashed data",
            decode,
            {
                "decoder_ssim": Figure("decoder SSIM", floor="mean_ssim"),
                "mean_ssim": Figure("mean image"),
            },
        ),
        Attack(
            "inversion",
            "a search for inputs with these smashed data, the client's part being known",
            invert,
            {"inversion_ssim": Figure("white-box SSIM", floor="mean_ssim")},
        ),
        Attack(
            "tokens",
            "a linear map to the embeddings reads texts from smashed data",
            recover_tokens,
            {
                "token_accuracy": Figure("tokens read %", percent=True, floor="token_guess"),
                "token_guess": Figure("guessed %", percent=True),
            },
        ),
        Attack(
            "labels",
            "a linear classifier, trained on other data, reads labels from smashed data",
            probe_labels,
            {
                "label_accuracy": Figure("labels read %", percent=True, floor="label_guess"),
                "label_guess": Figure("guessed %", percent=True),
                "label_shown": Figure("shown %", percent=True),
            },
        ),
        Attack(
            "membership",
            "the loss of the trained model tells which examples it was trained on",
            infer_membership,
            {"membership_auc": Figure("membership AUC")},
        ),
        Attack(
            "dependence",
            "distance correlation of inputs and smashed data, no attack but a figure",
            depend,
            {"distance_correlation": Figure("distance corr.")},
        ),
        Attack(
            "scalars",
            "walks of update=scalars tell a client's share of each label",
            read_shares,
            {
                "share_correlation": Figure("label shares, corr."),
                "share_correlation_1": Figure("after one round"),
            },
        ),
        Attack(
            "canaries",
            "steps with and without an example bound epsilon from below, with privacy on",
            check_claims,
            {
                "epsilon_claimed": Figure("epsilon claimed"),
                "epsilon_allowed": Figure("at least, if Gaussian"),
                "epsilon_proven": Figure("at least, in one step"),
                "unnoised": Figure("without noise"),
            },
        ),
    )
}
"""Attacks by name."""

LEAKS = ("decoder_ssim", "inversion_ssim", "token_accuracy", "label_accuracy")
"""Figures that a defence of smashed data should lower, the one that speaks for it first."""


def figures_of(names: Sequence[str]) -> dict[str, Figure]:
    """Return the figures of some attacks, in the order of a table."""
    return {key: figure for name in names for key, figure in ATTACKS[name].figures.items()}


def run_attacks(view: View, names: Sequence[str], show: Callable[[str], None] = lambda _: None) -> dict[str, Outcome]:
    """Make some attacks on one run.

    Args:
        view: of the attacker.
        names: keys of `ATTACKS`.
        show: called with each name before its attack.

    Returns:
        Outcomes by name.
    """
    outcomes = {}
    for name in names:
        show(name)
        outcomes[name] = ATTACKS[name].run(view)
    return outcomes
