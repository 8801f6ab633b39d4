"""CPU time, bytes and exactness of sums under masks: 100 clients of 1,000 scalars, and of 100,000.

    python benchmarks/secure_sum.py

A round has three parts: every client covers its values, answers for its neighbours, and the server adds up. In the
first round of a run the clients agree on keys, too. Sums are compared with those of Python's integers, bit for bit.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from hardware import describe

from heron.privacy import Secret
from heron.privacy.masks import Circle, Covered, KeyPair, Member, unmasked_sum
from heron.privacy.masks.fixed_point import to_fixed
from heron.privacy.masks.keys import MARK_BYTES, NUM_BYTES, SEALED_BYTES

RESULT = Path(__file__).parent / "results" / "secure_sum.json"
CLIENTS, ROUNDS = 100, 3
CASES = ((1_000, 0), (1_000, 10), (1_000, 30), (100_000, 0), (100_000, 10), (100_000, 30))


def measure(length: int, dropped: int, pairs: dict[int, KeyPair], secret: Secret, round_index: int) -> dict[str, Any]:
    """One round; CPU seconds of each part."""
    draw = np.random.default_rng(round_index)
    values = {one: to_fixed(draw.normal(size=length), CLIENTS) for one in pairs}
    gone = set(draw.choice(CLIENTS, dropped, replace=False).tolist())
    circle = Circle(range(CLIENTS), 0)
    started = time.process_time()
    members = {
        one: Member(one, round_index, secret.of(one), pairs[one], {j: pairs[j].public for j in circle.neighbours(one)})
        for one in values
    }
    covered: dict[int, Covered] = {one: members[one].cover(values[one]) for one in values if one not in gone}
    sent = time.process_time()
    revealed = {}
    for one in covered:
        peers = circle.neighbours(one)
        shares = [
            covered[peer].sealed[circle.neighbours(peer).index(one)] if peer in covered else bytes(SEALED_BYTES)
            for peer in peers
        ]
        revealed[one] = members[one].reveal([peer in covered for peer in peers], shares)
    answered = time.process_time()
    total = unmasked_sum(circle, covered, revealed)
    ended = time.process_time()
    expected = [sum(column) for column in zip(*(values[one].tolist() for one in covered), strict=True)]
    assert total.tolist() == expected, "the sum is not the plain sum"
    return {"clients": sent - started, "answers": answered - sent, "server": ended - answered, "all": ended - started}


def main() -> None:
    """Measure every case and write the result."""
    neighbours = len(Circle(range(CLIENTS), 0).neighbours(0))
    rows = []
    for length, dropped in CASES:
        secret = Secret.fresh()
        pairs = {one: KeyPair(secret.of(one).derived("mask key")) for one in range(CLIENTS)}
        times = [measure(length, dropped, pairs, secret, round_index) for round_index in range(ROUNDS)]
        extra = neighbours * (SEALED_BYTES + 2 * MARK_BYTES + NUM_BYTES) + MARK_BYTES
        row = {
            "clients": CLIENTS,
            "scalars": length,
            "dropped": dropped,
            "first_round_cpu_s": times[0],
            "later_rounds_cpu_s": {part: float(np.median([one[part] for one in times[1:]])) for part in times[0]},
            "bytes_up_per_client": 8 * length + extra,
            "bytes_up_plain_float32": 4 * length,
        }
        rows.append(row)
        print(json.dumps(row))
    result = {"hardware": describe(), "neighbours": neighbours, "exact": True, "cases": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
