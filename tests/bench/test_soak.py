"""The soak runner: what a section found is kept, whatever becomes of the section."""

import numpy as np
import pytest

from bench import record, soak


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The page that the runs of some sections come to."""

    class Module:
        SECTIONS = {}

    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(soak, "PAGE", tmp_path / "soak.md")
    monkeypatch.setattr(soak, "modules", lambda: {"some": Module})

    def run(section):
        Module.SECTIONS = {"some": ("something", section)}
        held = soak.run("some", "something", section, 1)
        soak.render()
        return held, soak.PAGE.read_text()

    return run


def test_what_was_found_before_a_section_failed_stays(page):
    def section(folder, seed):
        yield "kills", 20, ">= 20", True
        raise RuntimeError("no room")

    held, text = page(section)
    assert not held
    assert "| kills | 20 | >= 20 | yes |" in text
    assert "| the section came to its end | RuntimeError: no room | it does | **no** |" in text


def test_a_figure_of_any_type_is_kept(page, tmp_path):
    found = [("kills", np.int64(20), ">= 30", np.bool_(False)), ("where", tmp_path, "", True)]
    held, text = page(lambda folder, seed: found)
    assert not held
    assert "| kills | 20 | >= 30 | **no** |" in text
    assert f"| where | {tmp_path} |" in text
