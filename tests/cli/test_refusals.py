"""Every mistake of a caller: one line on stderr, code 2, and no file made or changed."""

import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import TensorDataset

import heron.config.build
from heron.cli.main import main
from heron.data import Splits
from heron.engines.in_process import Federation

QUICK = ["--set", "rounds=2"]
DIGITS = ["train", "digits", *QUICK]
LOCAL = [*DIGITS, "--set", "client.learning=local_exact"]
PRIVATE = [*DIGITS, "--set", "client.exact=0", "--set", "client.local_steps=2", "--set", "privacy.epsilon=3"]
MASKED = ["train", "digits-published", *QUICK, "--set", "update=scalars", "--set", "seed_groups=1"]
MASKED += ["--set", "client.optimizer=sgd", "--set", "client.keep_state=false", "--set", "client.local_steps=2"]
MASKED += ["--set", "secure_sum=true"]
SCALARS = [*DIGITS, "--set", "update=scalars"]
COMPARE = ["compare", "digits", *QUICK]
GRID = [*COMPARE, "--algorithms", "heron", "--vary"]


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def check(*arguments):
        before, paths = files(tmp_path), sorted(tmp_path.rglob("*"))
        code = main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        # `plan` has said what it is about to do.
        lines = [line for line in output.err.splitlines() if not line.startswith("plan ")]
        assert (code, len(lines), output.out) == (2, 1, ""), output.err
        assert lines[0].startswith("heron: ")
        assert len(lines[0]) > len("heron: ")
        assert files(tmp_path) == before
        assert sorted(tmp_path.rglob("*")) == paths
        return lines[0]

    return check


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main([*DIGITS, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def unfinished(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "summary.json").unlink()
    capsys.readouterr()
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "COMMAND"),
        (["tain"], "train"),
        (["train"], "--resume DIR"),
        (["train", "digit"], "did you mean 'digits'"),
        (["train", "digits", "--algorithm", "heroon"], "did you mean 'heron'"),
        (["train", "digits", "--rounds", "2"], "--rounds"),
        (["train", "digits", "--set"], "--set"),
        ([*DIGITS, "--set", "client.lr=1"], "did you mean 'client.learning_rate'"),
        ([*DIGITS, "--set", "client.learning_rate=-1"], "client.learning_rate"),
        ([*DIGITS, "--set", "data.validation=2"], " data.validation: "),
        ([*DIGITS, "--set", "client.batch_size=big"], "client.batch_size"),
        ([*DIGITS, "--set", "seed"], "key=value"),
        ([*DIGITS, "--set", "split.cut=relu9"], "relu9"),
        ([*DIGITS, "--set", "clients.total=5000"], "clients.total"),
        ([*DIGITS, "--set", "clients.per_round=6"], "clients.per_round"),
        ([*DIGITS, "--set", "estimator.mu=0"], "estimator.mu"),
        (["train", "digits-published", "--set", "estimator.probes=0"], "estimator.probes"),
        ([*DIGITS, "--set", "client.exact=9"], "expected client.exact from 0 to 4"),
        (
            [*DIGITS, "--set", "client.exact=some"],
            " client.exact: expected an integer of at least 0 or one of all, device",
        ),
        ([*DIGITS, "--set", "client.exact=-1"], " client.exact: "),
        ([*DIGITS, "--set", "client.exact=true"], " client.exact: "),
        ([*DIGITS, "--set", "client.exact=1.5"], " client.exact: "),
        ([*DIGITS, "--set", "client.exact_learning_rate=-1"], " client.exact_learning_rate: "),
        ([*DIGITS, "--set", "client.learning=local"], " client.learning: "),
        ([*LOCAL, "--algorithm", "ho_sfl"], "expected client.learning=zeroth_order with ho_sfl, found local_exact"),
        ([*LOCAL, "--set", "client.groups=4"], "expected client.groups from 1 to 2, the layer groups"),
        ([*LOCAL, "--set", "client.exact=4"], "expected client.exact below 4"),
        ([*LOCAL, "--set", "client.exact=all"], "expected client.exact to leave layers"),
        ([*LOCAL, "--set", "update=scalars"], "expected update=dense with client.learning=local_exact (heron)"),
        ([*LOCAL, "--set", "client.runtime=onnx"], "expected client.runtime=torch with client.learning=local_exact"),
        ([*LOCAL, "--set", "client.memory_budget=1MiB"], "expected client.memory_budget=0 with client.learning"),
        ([*DIGITS, "--algorithm", "local", "--set", "update=scalars"], "expected update=dense with client.learning"),
        (
            [*DIGITS, "--algorithm", "local", "--set", "client.learning=local_zeroth_order"],
            "expected client.learning=local_exact with local, found local_zeroth_order",
        ),
        (
            [*DIGITS, "--set", "privacy.epsilon=-1"],
            " privacy.epsilon: expected a finite number above 0 or 'off', found -1",
        ),
        (
            [*DIGITS, "--set", "privacy.epsilon=0"],
            " privacy.epsilon: expected a finite number above 0 or 'off', found 0",
        ),
        ([*DIGITS, "--set", "privacy.noise=0"], " privacy.noise: expected a finite number above 0 or 'auto', found 0"),
        (
            [*DIGITS, "--set", "privacy.label_epsilon=0"],
            " privacy.label_epsilon: expected a finite number above 0 or 'off', found 0",
        ),
        ([*DIGITS, "--set", "privacy.clip=0"], " privacy.clip: expected a finite number above 0, found 0"),
        (
            [*DIGITS, "--set", "privacy.clip=2"],
            "expected a number for privacy.epsilon or privacy.noise next to privacy.clip",
        ),
        (
            [*DIGITS, "--set", "privacy.noise=2"],  # both at once, so that nobody is told twice
            "layers below the head are not clipped; client.local_steps of at least 1, found 0: the length of a pass",
        ),
        (
            [*DIGITS, "--set", "privacy.noise=2", "--set", "client.exact=1"],
            "expected client.local_steps of at least 1 with privacy, found 0",
        ),
        (
            [*PRIVATE, "--set", "privacy.exact_clip=2"],
            "expected privacy.exact_clip=1, or heron with client.exact=1 and no layer groups, with privacy, found 2",
        ),
        ([*PRIVATE, "--set", "client.local_steps=0"], "expected client.local_steps of at least 1 with privacy"),
        ([*PRIVATE, "--set", "privacy.delta=0.1"], "expected privacy.delta below 1/n"),
        (
            [*PRIVATE, "--set", "privacy.noise=0.5"],
            "expected rounds within privacy.epsilon=3, found that 2 of a client",
        ),
        (
            [*PRIVATE, "--set", "client.exact=1", "--set", "client.learning=local_zeroth_order"],
            "expected client.exact=0 with client.learning=local_zeroth_order with privacy, found 1",
        ),
        (
            [*PRIVATE, "--set", "client.learning=local_exact", "--set", "privacy.exact_clip=2"],
            "expected privacy.exact_clip=1, or heron with client.exact=1 and no layer groups, with privacy, found 2",
        ),
        ([*PRIVATE, "--algorithm", "frozen"], "expected privacy off with frozen, found privacy"),
        ([*PRIVATE, "--algorithm", "sflv2"], "expected privacy off with sflv2, found privacy"),
        ([*DIGITS, "--set", "secure_sum=true"], "expected update=scalars with secure_sum, found dense"),
        (
            [*MASKED, "--set", "fed_server.aggregation=trimmed_mean"],
            "expected fed_server.aggregation=mean with secure_sum",
        ),
        ([*MASKED, "--set", "seed_groups=2"], "expected at least 3 clients of a seed group in a round with secure_sum"),
        ([*DIGITS, "--set", "smashed.codec=int3"], " smashed.codec: "),
        ([*DIGITS, "--set", "smashed.zstd=1"], " smashed.zstd: "),
        ([*DIGITS, "--set", "link.bundle=yes"], " link.bundle: "),
        ([*DIGITS, "--set", "server.reuse=-1"], " server.reuse: "),
        ([*DIGITS, "--set", "server.buffer_size=0"], " server.buffer_size: "),
        ([*DIGITS, "--algorithm", "hosl", "--set", "smashed.codec=int8"], "expected smashed.codec=fp32"),
        ([*DIGITS, "--algorithm", "sflv2", "--set", "server.reuse=2"], "expected server.reuse=0 with sflv2, found 2"),
        ([*DIGITS, "--algorithm", "ho_sfl", "--set", "link.bundle=true"], "expected link.bundle=false with ho_sfl"),
        ([*DIGITS, "--set", "device=cuda:99"], "device"),
        ([*DIGITS, "--set", "device=abacus"], "device"),
        ([*DIGITS, "--set", "device=meta"], "device"),
        ([*DIGITS, "--set", f"threads={10**12}"], "threads"),
        ([*COMPARE, "--algorithms", "heron,nope"], "nope"),
        ([*COMPARE, "--algorithms", "heron,heron"], "heron,heron"),
        ([*COMPARE, "--algorithms", ","], "--algorithms"),
        ([*COMPARE, "--algorithms", "heron", "--seeds", "1,x"], "whole numbers"),
        ([*COMPARE, "--algorithms", "heron", "--seeds", "-1"], "--seeds"),
        ([*COMPARE, "--algorithms", "heron", "--seeds", "1,1"], "1,1"),
        ([*COMPARE, "--algorithms", "heron", "--seeds", "1,01"], "1,01"),
        ([*COMPARE, "--algorithms", "heron", "--seeds", "²"], "--seeds"),
        ([*COMPARE, "--algorithms", "heron", "--seeds", str(2**63)], "seed"),
        ([*COMPARE, "--algorithms", "heron,frozen", "--set", "algorithm=cse_fsl"], "algorithm"),
        (
            [*COMPARE, "--algorithms", "heron,ho_sfl", "--set", "client.optimizer=adam"],
            "ho_sfl: expected client.optimizer of sgd, found adam",
        ),
        *[
            ([*SCALARS, "--algorithm", name], f"{name}: expected update=dense, found scalars")
            for name in ("cse_fsl", "fsl_sage", "sflv1", "sflv2", "fedavg", "frozen")
        ],
        ([*SCALARS, "--set", "client.exact=all"], "heron: expected update=dense, found scalars"),
        ([*SCALARS, "--set", "estimator.probes=0"], "heron: expected update=dense, found scalars"),
        *[
            (
                [*SCALARS, "--set", "client.keep_state=true", "--set", f"client.optimizer={rule}"],
                f"found true with {rule}",
            )
            for rule in ("adam", "momentum")
        ],
        *[
            (
                [
                    *SCALARS,
                    "--set",
                    "seed_groups=2",
                    "--set",
                    f"client.optimizer={rule}",
                    "--set",
                    f"client.exact={exact}",
                ],
                f"where seed groups send scalars, whose sum is one walk for SGD alone; found {rule}",
            )
            for rule in ("adam", "momentum")
            for exact in (0, 2)
        ],
        ([*SCALARS, "--set", "fed_server.optimizer=adam"], "expected fed_server.optimizer=average"),
        ([*DIGITS, "--set", "update=scalar"], " update: "),
        ([*DIGITS, "--set", "seed_groups=-1"], " seed_groups: "),
        ([*DIGITS, "--set", "digest_period=0"], " digest_period: "),
        (
            [*GRID, "update=dense,scalars", "--set", "client.keep_state=true"],
            "client.keep_state=false with update=scalars",
        ),
        ([*GRID], "--vary"),
        ([*GRID, "estimator.mu"], "key=value,value"),
        ([*GRID, "estimator.mu="], "no empty value"),
        ([*GRID, "=1,2"], "key=value,value"),
        ([*GRID, "estimator.mu=1e-3,"], "no empty value"),
        ([*GRID, "estimator.mu=1e-3, ,1e-2"], "no empty value"),
        ([*GRID, "estimator.nu=1e-3"], "did you mean 'estimator.mu'"),
        ([*GRID, "estimator=1,2"], "unknown key 'estimator'"),
        ([*GRID, "estimator.mu=1e-3,0"], "estimator.mu: "),
        ([*GRID, "estimator.probes=1,1.5"], "estimator.probes: "),
        ([*GRID, "estimator.scheme=central,centre"], "estimator.scheme: "),
        ([*GRID, "estimator.mu=1e-3,1e-2,0.001"], "found 1e-3 and 0.001"),
        ([*GRID, "clients.alpha=1,1.0"], "found 1 and 1.0"),
        ([*GRID, "estimator.mu=1", "--vary", "estimator.mu=2"], "given twice"),
        ([*GRID, "estimator.mu=1", "--vary", "estimator.mu =2"], "given twice"),
        ([*GRID, "rounds=1,2"], "by --set and by --vary"),
        ([*GRID, "seed=1,2"], "--seeds"),
        ([*GRID, "algorithm=heron,frozen"], "--algorithms"),
        ([*GRID, "recipe=digits"], "recipe cannot be --vary"),
        ([*GRID, f"clients.total={','.join(map(str, range(1, 10_002)))}"], "10,001"),
        ([*GRID, "split.cut=relu3,relu9"], "relu9"),
        ([*GRID, "client.exact=0,9"], "from 0 to 4"),
        ([*GRID, "clients.total=5,5000"], "clients.total"),
        ([*GRID, "device=cpu,cuda:99"], "device 'cuda:99'"),
        ([*COMPARE, "--algorithms", "heron,nope", "--vary", "estimator.mu=1"], "nope"),
        (["profile", "digits", "--algorithms", "heron", "--set", "estimator.mu=0"], "estimator.mu"),
        (["recipes", "digit"], "did you mean 'digits'"),
        ([*DIGITS, "--set", "client.memory_budget=64 nibbles"], "client.memory_budget: expected a size"),
        ([*DIGITS, "--set", "client.memory_budget=-1"], "client.memory_budget"),
        ([*DIGITS, "--set", "client.memory_budget=1MiB", "--set", "client.exact=1"], "1048576 and 1; set one to 0"),
        ([*GRID, "client.memory_budget=1MiB", "--set", "client.exact=1"], "1048576 and 1; set one to 0"),
        ([*DIGITS, "--set", "client.memory_budget=100KiB"], "138,728 bytes"),
        ([*DIGITS, "--set", "client.memory_budget=100KiB", "--set", "split.cut=relu9"], "relu9"),
        ([*GRID, "client.memory_budget=1MiB,100KiB"], "138,728 bytes"),
        (["plan", "digits"], "--memory"),
        (["plan", "digit", "--memory", "1MiB"], "did you mean 'digits'"),
        (["plan", "digits", "--memory", "plenty"], "expected a size in bytes such as 64MiB"),
        (["plan", "digits", "--memory", "0"], "at least 1 byte"),
        (["plan", "digits", "--memory", "1MiB", "--set", "client.exact=1"], "drop"),
        (["plan", "digits", "--memory", "1MiB", "--set", "client.exact=0"], "drop"),
        (["plan", "digits", "--memory", "1MiB", "--set", "client.memory_budget=1MiB"], "drop"),
        (["plan", "digits", "--memory", "1MiB", "--set", "split.cut=relu9"], "relu9"),
        (["plan", "digits", "--memory", "1MiB", "--set", "split.cut=fc2"], "nothing to train"),
        (["plan", "digits", "--memory", "1MiB", "--set", "device=cuda:99"], "device"),
        (["plan", "cifar10-resnet18-small", "--memory", "1MiB", "--set", "client.micro_batch=8"], "BatchNorm"),
        (["algorithms", "heron"], "heron"),
    ],
    ids=lambda value: " ".join(value)[-60:] if isinstance(value, list) else "",
)
def test_mistakes_on_the_command_line(refused, arguments, expected):
    assert expected in refused(*arguments)


def test_a_process_ends_with_code_2(tmp_path):
    command = [sys.executable, "-m", "heron.cli.main", "train", "nope"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith("heron: unknown recipe 'nope'")


def test_micro_batches_with_batch_norm(refused, monkeypatch):
    examples = TensorDataset(torch.rand(40, 3, 32, 32), torch.arange(40) % 10)
    monkeypatch.setattr(heron.config.build, "load_splits", lambda _: Splits(examples, examples, examples, 10))
    line = refused("train", "cifar10-resnet18-small", "--set", "client.micro_batch=4", "--set", "threads=1")
    assert "BatchNorm" in line


def test_an_output_folder_that_is_not_empty(refused, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "--out" in refused(*DIGITS, "--out", "mine")
    assert "--out" in refused(*DIGITS, "--out", "mine/thesis.txt")


@pytest.mark.parametrize("arguments", [DIGITS, [*COMPARE, "--algorithms", "heron"]], ids=["train", "compare"])
def test_an_output_folder_that_cannot_be_written(refused, tmp_path, arguments):
    (tmp_path / "file").write_text("")
    assert "file" in refused(*arguments, "--out", "file/run")


@pytest.mark.parametrize("target", ["file/costs.json", "folder"])
def test_costs_that_cannot_be_written(refused, tmp_path, target):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    assert target in refused("profile", "digits", "--algorithms", "heron", "--json", target)


@pytest.mark.parametrize(
    "extra", [["digits"], ["--set", "seed=3"], ["--out", "other"], ["--algorithm", "frozen"]], ids=lambda e: e[0]
)
def test_resume_with_other_arguments(refused, unfinished, extra):
    assert "config.toml" in refused("train", "--resume", unfinished, *extra)


def test_resume_of_what_is_no_run(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for place in ("empty", "absent", "file"):
        assert place in refused("train", "--resume", place)


@pytest.mark.parametrize("content", [b"", b"rounds = ", b"\xff\xfe", b"rounds = 2\n"])
def test_resume_of_a_damaged_configuration(refused, unfinished, content):
    (unfinished / "config.toml").write_bytes(content)
    refused("train", "--resume", unfinished)


def test_resume_of_a_truncated_checkpoint(refused, unfinished):
    checkpoint = unfinished / "checkpoint" / "state.safetensors"
    whole = checkpoint.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        checkpoint.write_bytes(whole[:length])
        assert "state.safetensors" in refused("train", "--resume", unfinished)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"heron": "not json"},
        {"heron": "[]"},
        {"heron": '{"format": "heron-checkpoint-0", "facts": {}}'},
        {"heron": '{"format": "heron-checkpoint-1"}'},
        {"heron": '{"format": "heron-checkpoint-1", "facts": []}'},
    ],
    ids=str,
)
def test_resume_of_a_foreign_checkpoint(refused, unfinished, metadata):
    checkpoint = unfinished / "checkpoint" / "state.safetensors"
    save_file({"embedding": torch.zeros(3)}, checkpoint, metadata=metadata)
    assert "state.safetensors" in refused("train", "--resume", unfinished)


def test_resume_of_garbage(refused, unfinished):
    (unfinished / "checkpoint" / "state.safetensors").write_bytes(b"GARBAGE!" * 500)
    assert "state.safetensors" in refused("train", "--resume", unfinished)


def test_resume_of_the_checkpoint_of_another_configuration(refused, unfinished):
    config = unfinished / "config.toml"
    config.write_text(config.read_text().replace("seed = 0", "seed = 1"))
    assert "another configuration" in refused("train", "--resume", unfinished)


def test_resume_without_the_metrics_of_finished_rounds(refused, unfinished):
    metrics = unfinished / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines(keepends=True)[0])
    assert "metrics.jsonl" in refused("train", "--resume", unfinished)


def test_a_loss_that_is_not_finite_in_the_first_round(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*DIGITS, "--set", "client.learning_rate=1e30", "--out", str(out)]) == 2
    *_, line = capsys.readouterr().err.splitlines()  # after the progress
    assert line.startswith("heron: ")
    assert "finite" in line
    assert not (out / "checkpoint").exists()
    assert not (out / "summary.json").exists()
    assert not (out / "metrics.jsonl").read_text()


@pytest.mark.parametrize("algorithm", ["heron", "cse_fsl", "frozen"])
def test_a_loss_that_is_not_finite_later_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, capsys, algorithm):
    honest = Federation.run_round

    def poisoned(federation):
        if federation.next_round == 1:
            for tensor in federation.split.server.state_dict().values():
                if tensor.is_floating_point():
                    tensor.fill_(float("nan"))
        return honest(federation)

    monkeypatch.setattr(Federation, "run_round", poisoned)
    out = tmp_path / "run"
    assert main(["train", "digits", "--algorithm", algorithm, "--set", "rounds=20", "--out", str(out)]) == 2
    *_, line = capsys.readouterr().err.splitlines()  # after the progress
    assert line.startswith("heron: ")
    assert "finite" in line
    tensors = load_file(out / "checkpoint" / "state.safetensors")
    assert tensors
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 1
    assert not (out / "summary.json").exists()
