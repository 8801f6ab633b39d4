"""Privacy in reports: figures for every party, and what they do not cover beside them."""

import re
from dataclasses import replace

import pytest

from heron.cli.main import main
from heron.config import RECIPES
from heron.report import ExportedModel, model_card, print_run, write_report
from heron.report.collect import collect_runs
from heron.report.groups import group_runs
from heron.report.privacy import COVERED, privacy_rows, statement_text
from heron.wire.privacy import Privacy
from tests.report.saved_runs import save_run

SPENT = {
    "epsilon_other_clients": 2.9991,
    "epsilon_public": 2.9991,
    "epsilon_fed_server": 8.7,
    "epsilon_main_server": 8.7,
    "delta": 1e-5,
}
ROW = {"round": 3, "uplink_bytes": 2048, "downlink_bytes": 1024, "test_accuracy": 0.9}


def test_the_page_has_a_row_for_every_private_configuration(tmp_path):
    save_run(tmp_path, "heron", 0, changes=("privacy.epsilon=3",), **SPENT)
    save_run(tmp_path, "heron", 1, changes=("privacy.epsilon=3",), **SPENT | {"epsilon_public": 2.5})
    save_run(tmp_path, "frozen")
    (row,) = privacy_rows(group_runs(collect_runs([tmp_path])))
    assert row["cells"] == ["3", "3", "8.7", "8.7"]
    assert row["delta"] == "1e-05"
    page = tmp_path / "report.html"
    write_report([tmp_path], page)
    text = page.read_text()
    assert "epsilon against Main Server" in text
    assert "smashed data have no guarantee" in text


def test_a_page_without_privacy_says_nothing_of_it(tmp_path):
    save_run(tmp_path, "heron")
    page = tmp_path / "report.html"
    write_report([tmp_path], page)
    assert "<h2>Privacy</h2>" not in page.read_text()


def test_a_card_tells_what_is_covered():
    config = RECIPES["digits-published"].build("heron")
    plain = model_card(ExportedModel(config, 10, [ROW], {}))
    assert "updates had no noise" in plain
    assert "give the same weights" in plain
    private = replace(config, privacy=Privacy(epsilon=3.0))
    card = model_card(ExportedModel(private, 10, [ROW | SPENT], {}))
    assert "updates had no noise" not in card
    assert "epsilon 3 at delta 1e-05" in card
    assert "it has no guarantee" in card
    assert "give the same weights" not in card
    without_uploads = {key: value for key, value in SPENT.items() if key != "epsilon_main_server"}
    assert "it has no guarantee" not in model_card(ExportedModel(private, 10, [ROW | without_uploads], {}))


SUMMARY = {
    "privacy": {
        "unit": "one example of one client",
        "covers": "updates",
        "noise": 3.5442,
        "noise_over_each_clip": 5.0123,
        "clip": 1.0,
        "exact_clip": 0.5,
        "sampling": "poisson",
        "client_rounds": 80,
        "does_not_cover": "smashed data",
    },
    "exposure": {"uploads_per_example": 20.0, "label_epsilon": 4.0},
}
STATEMENT = (
    "Noise of 5.012 times the norm that examples are clipped to (clip 1, exact_clip 0.5), sampling=poisson; rounds of "
    "the client with most: 80. It is for one example of one client, and covers updates. It does not cover smashed data."
)


def test_the_statement_is_in_words():
    assert statement_text(SUMMARY) == STATEMENT
    assert statement_text({}) == ""
    whole = {key: value for key, value in SUMMARY["privacy"].items() if key not in ("does_not_cover", "exact_clip")}
    assert "(clip 1)" in statement_text({"privacy": whole})
    assert statement_text({"privacy": whole}).endswith("covers updates.")
    assert statement_text({"privacy": whole | {"limits": ["One.", "Two."]}}).endswith("covers updates. One. Two.")


def test_the_card_has_the_statement_and_what_uploads_show():
    config = RECIPES["digits-published"].build("heron")
    card = model_card(ExportedModel(config, 10, [ROW | SPENT], {}, summary=SUMMARY))
    assert f"- {STATEMENT}" in card
    assert "examples: uploads of an example: 20; epsilon of a label: 4." in card
    assert "uploads of an example" not in model_card(ExportedModel(config, 10, [ROW], {}))


def test_the_table_after_a_run(tmp_path, capsys):
    summary = ROW | SPENT | {"elapsed_s": 1.0, "algorithm": "heron"}
    summary |= {"rounds_without_update": 3, "privacy": {"limits": ["Sampling hides nothing."]}}
    print_run("digits", summary | {"uplink_bytes_by_kind": {}, "downlink_bytes_by_kind": {}}, tmp_path)
    shown = capsys.readouterr().out
    assert re.search(rf"rounds without update +│ +3 of {ROW['round']}", shown)
    assert "Sampling hides nothing." in shown
    assert "epsilon against Main Server" in shown
    assert COVERED in shown


@pytest.mark.slow
def test_a_private_run_from_the_command_line_to_the_report(tmp_path, capsys):
    folder = tmp_path / "run"
    settings = ("rounds=1", "client.local_steps=1", "privacy.noise=20", "data.validation=0.1")
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert main(["train", "digits-published", *arguments, "--tensorboard", "--out", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    assert "epsilon against other clients" in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    assert "<h2>Privacy</h2>" in page
    assert "(clip 1), sampling=poisson; rounds of the client with most: 1" in page
    assert "<h2>Uploads</h2>" in page
    card_folder = tmp_path / "model"
    assert main(["export", str(folder), "--out", str(card_folder)]) == 0
    card = (card_folder / "README.md").read_text()
    assert "Noise of 20 times the norm" in card
    assert "uploads of an example: " in card
