"""Progress of a run elsewhere than on a terminal: loss and quality, whichever measure judges the run."""

import pytest

from heron.cli.progress import round_progress


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ({"train_loss": 1.5, "test_accuracy": 0.4567}, "loss 1.500  accuracy 45.7%"),
        ({"train_loss": 3.25, "test_perplexity": 25.789}, "loss 3.250  perplexity 25.79"),
        ({"train_loss": 3.25, "test_perplexity": None}, "loss 3.250"),
        ({"train_loss": None, "test_perplexity": 3.0}, "  perplexity 3.00"),
        ({"train_loss": 1.5}, "loss 1.500"),
    ],
)
def test_a_line_tells_loss_and_quality(capsys, values, note):
    with round_progress("heron", done=0, total=2) as show:
        show({"round": 1, **values})
    first, line = capsys.readouterr().err.splitlines()
    assert first == "heron: round 0/2"
    start, shown, _ = line.partition(f"{note}  ")
    assert (start, shown) == ("heron: round 1/2  ", f"{note}  ")
    assert ("perplexity" in line, "accuracy" in line) == ("perplexity" in note, "accuracy" in note)


def test_the_first_line_comes_before_the_first_round(capsys):
    with round_progress("heron", done=3, total=5):
        assert capsys.readouterr().err == "heron: round 3/5\n"
