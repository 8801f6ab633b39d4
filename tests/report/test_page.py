"""The HTML report: what it reads, what it warns of, and how it behaves in a real browser."""

import json
import re

import pytest

from heron.analysis import ACCURACY, PERPLEXITY
from heron.cli.main import main
from heron.errors import ReportError
from heron.report import write_report
from heron.report.collect import collect_runs
from heron.report.groups import curve, differences, group_runs, rows
from tests.report.browser import chromium
from tests.report.saved_runs import save_run


@pytest.fixture
def folder(tmp_path):
    for algorithm in ("frozen", "heron", "cse_fsl"):
        for seed in (0, 1):
            save_run(tmp_path, algorithm, seed)
    return tmp_path


@pytest.fixture
def language_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("language")
    for algorithm in ("frozen", "heron", "cse_fsl"):
        for seed in (0, 1):
            save_run(path, algorithm, seed, quality=PERPLEXITY)
    return path


def test_seeds_are_one_group_and_settings_are_told_apart(folder):
    save_run(folder, "heron", 0, changes=("estimator.mu=1e-4",))
    groups = group_runs(collect_runs([folder]))
    assert sorted(group.label for group in groups) == ["cse_fsl", "frozen", "heron, mu=0.0001", "heron, mu=0.001"]
    assert {group.label: len(group.runs) for group in groups}["heron, mu=0.001"] == 2
    keys = {row["key"]: row["values"] for row in differences(groups)}
    assert set(keys) == {"estimator.mu", "server.learning_rate"}
    assert sorted(keys["estimator.mu"]) == ["0.0001", "0.001", "0.001", "0.001"]


def test_the_figures_of_a_group(folder):
    groups = group_runs(collect_runs([folder]))
    heron = next(row for row in rows(groups, ACCURACY) if row["label"] == "heron")
    # Accuracies 0.60 and 0.61: mean 0.605, standard error 0.01 / sqrt(2) / sqrt(2).
    assert heron["quality"] == pytest.approx(0.605)
    assert heron["standard_error"] == pytest.approx(0.005)
    # frozen 0.405, cse_fsl 0.805: half of the way.
    assert heron["gain_recovered"] == pytest.approx(0.5)
    drawn = curve(next(group for group in groups if group.label == "heron"), ACCURACY)
    assert drawn["rounds"] == [1, 2, 3]
    assert drawn["uplink"] == [1000, 2000, 3000]
    assert drawn["compute"] == pytest.approx([6.4e6, 12.8e6, 19.2e6])  # 64 examples are two steps of 32
    assert drawn["low"] == pytest.approx([40, 50, 60])
    assert drawn["high"] == pytest.approx([41, 51, 61])


def test_the_figures_of_a_group_judged_by_perplexity(language_folder):
    groups = group_runs(collect_runs([language_folder]))
    heron = next(row for row in rows(groups, PERPLEXITY) if row["label"] == "heron")
    # Perplexities 40 and 39; frozen 59.5, cse_fsl 19.5: half of the way down.
    assert heron["quality"] == pytest.approx(39.5)
    assert heron["standard_error"] == pytest.approx(0.5)
    assert heron["gain_recovered"] == pytest.approx(0.5)
    drawn = curve(next(group for group in groups if group.label == "heron"), PERPLEXITY)
    assert drawn["mean"] == pytest.approx([59.5, 49.5, 39.5])
    assert drawn["low"] == pytest.approx([59, 49, 39])
    assert drawn["high"] == pytest.approx([60, 50, 40])


def test_a_seed_that_diverged_leaves_no_mean_and_no_point(language_folder):
    path = language_folder / "heron" / "seed0" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"test_perplexity": 40.0', '"test_perplexity": null'))
    groups = group_runs(collect_runs([language_folder]))
    heron = next(row for row in rows(groups, PERPLEXITY) if row["label"] == "heron")
    assert (heron["quality"], heron["standard_error"], heron["gain_recovered"]) == (None, None, None)
    assert curve(next(group for group in groups if group.label == "heron"), PERPLEXITY)["rounds"] == [1, 2]
    write_report([language_folder], language_folder / "report.html")


def test_a_page_names_the_measure_of_its_runs(folder, language_folder):
    for runs, own, other in ((folder, "accuracy", "perplexity"), (language_folder, "perplexity", "accuracy")):
        write_report([runs], runs / "report.html")
        page = (runs / "report.html").read_text()
        text = page.partition("<body>")[2].partition('<script type="application/json"')[0]
        assert f"Gain recovered = ({own} " in text
        assert f"<h2>Test {own}</h2>" in text
        assert other not in text


def test_measures_are_never_mixed(folder, capsys):
    save_run(folder / "language", quality=PERPLEXITY)
    assert main(["report", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "one measure, found accuracy and perplexity" in line
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("changes", "headings"),
    [
        (("estimator.mu=1e-4",), ["configuration", "estimator.mu", "server.learning_rate"]),
        # Five keys of four configurations.
        (
            ("estimator.mu=1e-4", "clients.total=7", "client.batch_size=8", "rounds=4"),
            ["key", "cse_fsl", "frozen"],
        ),
    ],
)
def test_the_longer_side_of_the_differences_goes_down(folder, changes, headings):
    save_run(folder, "heron", 0, changes=changes)
    write_report([folder], folder / "report.html")
    table = (folder / "report.html").read_text().partition("Where the configurations differ")[2]
    cells = re.findall(r"<th.*?</th>", table.partition("</thead>")[0])
    assert [re.sub("<.*?>", "", cell) for cell in cells][:3] == headings


def test_gain_needs_controls_of_the_same_settings(folder):
    save_run(folder, "heron", 0, changes=("clients.total=7",))
    found = {row["label"]: row["gain_recovered"] for row in rows(group_runs(collect_runs([folder])), ACCURACY)}
    assert found["heron, total=7"] is None
    assert found["heron, total=5"] == pytest.approx(0.5)


def test_damage_is_a_warning_and_good_lines_stay(folder):
    path = folder / "heron" / "seed0"
    lines = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text("\n".join([lines[0], '{"round": 2, "upl', "[]", lines[2]]) + "\n")
    (path / "summary.json").unlink()
    (path / "cost.json").write_text("{nonsense")
    (run,) = collect_runs([path])
    assert [row["round"] for row in run.metrics] == [1, 3]
    warnings = write_report([folder], folder / "report.html")
    assert [re.sub(r".*seed0", "", line)[:28] for line in warnings] == [
        "/metrics.jsonl, line 2: not ",
        "/metrics.jsonl, line 3: not ",
        "/cost.json: not a JSON objec",
        ": unfinished, 3 of 3 rounds",
        ": no cost.json, so no memory",
    ]
    page = (folder / "report.html").read_text()
    assert "metrics.jsonl, line 2: not a row of metrics, left out" in page


def test_different_recipes_are_a_warning(folder):
    save_run(folder, "frozen", 7, recipe="cifar10-resnet18-small")
    (warning,) = write_report([folder], folder / "report.html")
    assert warning.startswith("runs of different recipes in one report (cifar10-resnet18-small, digits-published)")


def test_names_from_files_are_text_and_nothing_else(folder):
    path = folder / "heron" / "seed0" / "config.toml"
    hostile = "</script><script>window.hacked=1</script>"
    path.write_text(path.read_text().replace('recipe = "digits-published"', f"recipe = '{hostile}'"))
    write_report([path.parent], folder / "report.html")
    page = (folder / "report.html").read_text()
    assert hostile not in page
    assert "&lt;/script&gt;" in page


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda run: (run / "metrics.jsonl").unlink(), "expected at least one finished round"),
        (lambda run: (run / "metrics.jsonl").write_text("\n"), "expected at least one finished round"),
        (lambda run: (run / "config.toml").write_text("= 3"), "cannot read"),
        (lambda run: (run / "config.toml").write_text("rounds = 3"), "expected the configuration of a run"),
        (lambda run: (run / "config.toml").unlink(), "found no config.toml"),
    ],
)
def test_what_cannot_be_shown_is_one_line(tmp_path, capsys, spoil, reason):
    run = save_run(tmp_path)
    spoil(run)
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert not (tmp_path / "page.html").exists()


def test_an_absent_or_huge_file_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ReportError, match="found nothing at"):
        collect_runs([tmp_path / "nowhere"])
    run = save_run(tmp_path)
    monkeypatch.setattr("heron.report.collect._MAX_FILE_BYTES", 100)
    with pytest.raises(ReportError, match="at most 100 bytes"):
        collect_runs([run])


def test_a_page_that_cannot_be_written(folder, capsys):
    (folder / "file").write_text("")
    assert main(["report", str(folder), "--out", str(folder / "file" / "page.html")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_command_says_where_the_page_is(folder, monkeypatch, capsys):
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    monkeypatch.chdir(folder)
    assert main(["report", "heron", "frozen"]) == 0
    assert capsys.readouterr().out.strip() == "report.html"


BLANK = """() => [...document.querySelectorAll("canvas")].filter((canvas) => {
  const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return !new Uint32Array(image.data.buffer).some((pixel) => pixel);
}).length"""
CURVES = ("rounds", "uplink-curve", "compute")
SHOWN = """(id) => {
  const chart = Chart.getChart(id);
  return chart.data.datasets.filter((set, at) => !set.band && chart.isDatasetVisible(at)).length;
}"""
FITS = "() => document.documentElement.scrollWidth <= 360"


@pytest.mark.slow
def test_in_a_real_browser(folder):
    write_report([folder], folder / "report.html")
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        complaints, requests = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{folder / 'report.html'}")
        assert complaints == []
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
        assert page.locator("canvas").count() == 6
        assert page.evaluate(BLANK) == 0
        first = "document.querySelector('table.sortable tbody tr th').textContent"
        heading = page.get_by_role("button", name="test accuracy %")
        orders = []
        for _ in range(2):
            heading.press("Enter")
            orders.append((page.evaluate(first), heading.locator("..").get_attribute("aria-sort")))
        assert orders == [("cse_fsl", "descending"), ("frozen", "ascending")]
        assert [page.evaluate(SHOWN, canvas) for canvas in CURVES] == [3, 3, 3]
        legend = page.get_by_role("group", name="curves shown").get_by_role("button", name="heron")
        legend.press("Enter")
        assert [page.evaluate(SHOWN, canvas) for canvas in CURVES] == [2, 2, 2]
        assert legend.get_attribute("aria-pressed") == "false"
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.emulate_media(color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        page.set_viewport_size({"width": 360, "height": 740})
        page.wait_for_function(FITS, timeout=5000)  # charts resize after an event


@pytest.mark.slow
def test_perplexity_in_a_real_browser(language_folder):
    write_report([language_folder], language_folder / "report.html")
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"file://{language_folder / 'report.html'}")
        assert page.evaluate(BLANK) == 0
        for canvas in CURVES:
            options = f"Chart.getChart({canvas!r}).options.scales.y"
            assert page.evaluate(f"[{options}.type, {options}.title.text]") == [
                "logarithmic",
                "test perplexity (logarithmic)",
            ]
        tooltip = "Chart.getChart('rounds').options.plugins.tooltip.callbacks.label"
        assert page.evaluate(f"{tooltip}({{ dataset: {{ label: 'heron' }}, parsed: {{ y: 39.5 }} }})") == "heron: 39.50"
        heading = page.get_by_role("button", name="test perplexity")
        orders = []
        for _ in range(2):
            heading.press("Enter")
            first = page.evaluate("document.querySelector('table.sortable tbody tr th').textContent")
            orders.append((first, heading.locator("..").get_attribute("aria-sort")))
        assert orders == [("cse_fsl", "ascending"), ("frozen", "descending")]  # the best first
        assert complaints == []


def test_events_are_written_once_a_round_and_resume(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from heron.report import EventWriter

    def write(done, last):
        with EventWriter(tmp_path, done=done) as writer:
            for number in range(done + 1, last + 1):
                writer.write({"round": number, "algorithm": "heron", "test_accuracy": number / 10, "client_loss": None})

    write(0, 4)
    write(2, 3)  # killed after round 4, of which the checkpoint of round 2 knows nothing
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["test_accuracy"]
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("test_accuracy")] == [
        (1, 0.1),
        (2, 0.2),
        (3, 0.3),
    ]


def test_a_report_of_an_interrupted_comparison_is_json_all_through(folder):
    write_report([folder], folder / "report.html")
    page = (folder / "report.html").read_text()
    data = re.search(r'<script type="application/json" id="chart-data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data.group(1))["labels"] == ["cse_fsl", "frozen", "heron"]
