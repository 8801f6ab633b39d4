"""Silence, and what was set before it."""

import contextlib
import logging
import warnings

import datasets
import pytest

from heron.data.quiet import quiet_libraries


@pytest.fixture
def bars_on():
    were_off = datasets.are_progress_bars_disabled()
    datasets.enable_progress_bars()
    yield
    if were_off:
        datasets.disable_progress_bars()


@pytest.mark.usefixtures("bars_on")
def test_nothing_is_said_inside(capfd, caplog):
    with quiet_libraries():
        assert datasets.are_progress_bars_disabled()
        warnings.warn("talk", stacklevel=1)
        logging.getLogger("datasets.somewhere").error("talk")
        logging.getLogger("huggingface_hub.utils").warning("talk")
        for _ in datasets.utils.tqdm(range(3)):
            pass
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.usefixtures("bars_on")
@pytest.mark.parametrize("block", [lambda: None, lambda: int("no number")], ids=["succeeds", "fails"])
def test_everything_is_restored(block, caplog):
    caplog.set_level(logging.ERROR, logger="huggingface_hub")
    filters = list(warnings.filters)
    with contextlib.suppress(ValueError), quiet_libraries():
        block()
    assert not datasets.are_progress_bars_disabled()
    assert logging.getLogger("huggingface_hub").level == logging.ERROR
    assert warnings.filters == filters


def test_errors_pass_through():
    with pytest.raises(ValueError, match="no number"), quiet_libraries():
        int("no number")


@pytest.mark.usefixtures("bars_on")
def test_bars_that_were_off_stay_off():
    datasets.disable_progress_bars()
    with quiet_libraries():
        pass
    assert datasets.are_progress_bars_disabled()
