"""Privacy in reports: epsilon against each party, in the words of a table, with what it does not cover."""

from collections.abc import Mapping, Sequence
from typing import Any

from heron.report.groups import Group

PARTIES = {
    "epsilon_other_clients": "other clients",
    "epsilon_public": "public",
    "epsilon_fed_server": "Fed Server",
    "epsilon_main_server": "Main Server",
}
"""Keys of a row of metrics, and whom epsilon is against."""
COVERED = (
    "Updates of clients, for one example of one client; smashed data have no guarantee, labels that of "
    "privacy.label_epsilon alone."
)
"""The limit that stands next to every figure."""
_SHARED = "The servers share a process and see which examples a batch has, where smashed data are uploaded."


def epsilon_text(row: Mapping[str, Any], key: str) -> str:
    """Write epsilon against one party; a dash where there is no such party.

    Args:
        row: a row of metrics of a run with privacy.
        key: one of `PARTIES`.
    """
    return f"{row[key]:.3g}" if key in row else "-"


def privacy_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Rows of the table of privacy: the seed that has spent most of each group whose runs have privacy.

    Args:
        groups: of a report.
    """
    rows = []
    for group in groups:
        spent = [run for run in group.runs if "delta" in run.metrics[-1]]
        if spent:
            most = max(spent, key=lambda run: float(run.metrics[-1]["epsilon_public"]))
            row = most.metrics[-1]
            cells = [epsilon_text(row, key) for key in PARTIES]
            statement = statement_text(most.summary)
            rows.append({"label": group.label, "delta": f"{row['delta']:g}", "cells": cells, "statement": statement})
    return rows


def statement_text(summary: Mapping[str, Any]) -> str:
    """Write how a guarantee was given, and for what; nothing where there is none.

    Args:
        summary: of a complete run, with what `PrivacyAccount.statement` returned.
    """
    said = summary.get("privacy")
    if said is None:
        return ""
    clips = ", ".join(f"{name} {said[name]:g}" for name in ("clip", "exact_clip") if name in said)
    rest = f" It does not cover {said['does_not_cover']}." if "does_not_cover" in said else ""
    return (
        f"Noise of {said['noise_over_each_clip']:.4g} times the norm that examples are clipped to ({clips}), sampling="
        f"{said['sampling']}; rounds of the client with most: {said['client_rounds']}. It is for {said['unit']}, and "
        f"covers {said['covers']}.{rest}{''.join(f' {limit}' for limit in limits_of_run(summary))}"
    )


def limits_of_run(summary: Mapping[str, Any]) -> list[str]:
    """Return what weakens a guarantee, one sentence each; none where nothing does, or there is no guarantee.

    Args:
        summary: of a complete run.
    """
    return list(summary.get("privacy", {}).get("limits", []))


def exposure_cells(summary: Mapping[str, Any]) -> dict[str, str]:
    """Write what uploads show, by heading; nothing where a run uploads nothing.

    Args:
        summary: of a run.
    """
    shown = summary.get("exposure", {})
    cells = {}
    if "uploads_per_example" in shown:
        cells["uploads of an example"] = f"{shown['uploads_per_example']:.4g}"
    if "smashed_noise" in shown:
        noise = shown["smashed_noise"]
        cells["noise on smashed data"] = f"{noise['noise']:g} at norm {noise['clip']:g}"
        cells["epsilon of one upload, no claim"] = f"{noise['epsilon_of_one_upload']:.3g}"
    if "label_epsilon" in shown:
        cells["epsilon of a label"] = f"{shown['label_epsilon']:g}"
    return cells


def exposure_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Rows of the table of uploads: the first complete run of each group that uploads something.

    Args:
        groups: of a report.
    """
    rows = []
    for group in groups:
        summary = next((run.summary for run in group.runs if exposure_cells(run.summary)), None)
        if summary is not None:
            rows.append({"label": group.label, "cells": exposure_cells(summary), "note": exposure_note(summary)})
    return rows


def exposure_note(summary: Mapping[str, Any]) -> str:
    """Return what noise on smashed data does not do; nothing where there is none.

    Args:
        summary: of a run.
    """
    noise = summary.get("exposure", {}).get("smashed_noise")
    if noise is None:
        return ""
    averaged = noise["noise_if_it_were_drawn_for_each_upload_and_averaged"]
    return (
        f"Noise on smashed data obscures and guarantees nothing: epsilon of one upload is "
        f"{noise['epsilon_of_one_upload']:.3g}, and an example has several, from a client part that changes. It "
        f"is drawn once for each example; drawn for each upload, averaging would leave {averaged:.2g} of "
        f"{noise['noise']:g}."
    )


def exposure_limits(summary: Mapping[str, Any]) -> list[str]:
    """Write what uploads of a run show, as limits of a model card.

    Args:
        summary: of a complete run.
    """
    cells, note = exposure_cells(summary), exposure_note(summary)
    shown = "; ".join(f"{heading}: {text}" for heading, text in cells.items())
    lines = [f"What the Main Server received of the clients' examples: {shown}."] if cells else []
    return lines + [note] * bool(note)


def privacy_note() -> str:
    """Return what the figures of a table say and do not say."""
    return f"{COVERED} {_SHARED} The joined model has a guarantee only where nothing is uploaded."


def privacy_limit(row: Mapping[str, Any]) -> str:
    """Return the sentence about privacy of a model card.

    Args:
        row: last row of the run's metrics.
    """
    if "delta" not in row:
        return "Raw data stayed with the clients, but smashed data and updates can reveal them; updates had no noise."
    guarantee = (
        f"Updates of clients were noised: epsilon {epsilon_text(row, 'epsilon_public')} at delta {row['delta']:g} for "
        f"each example, for the seed and settings of this one run"
    )
    if "epsilon_main_server" in row:
        return f"{guarantee}. The server part was trained on smashed data and labels: it has no guarantee."
    return f"{guarantee}."
