import pytest

from bench import record, run
from bench.record import Table


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A bench of one section, whose results and page are in a folder of their own."""

    class Module:
        SECTIONS = {}

    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(run, "modules", lambda: {"some": Module})
    return Module


def _run(bench, function, *, quick=False):
    bench.SECTIONS = {"some": ("something", function)}
    good = run.run("some", "something", function, (), quick)
    run.render()
    return good, run.PAGE.read_text()


def test_the_page_begins_with_the_targets(bench):
    def section(folder, quick):
        yield Table("Figures", ["what", "figure"], [["a|b", 12_345]], "How.", [("fast", "2×", ">= 1×", True)])
        yield Table("More", ["what"], [["c"]], targets=[("small", "9 MiB", "<= 8 MiB", False)])

    good, page = _run(bench, section)
    assert good
    assert "| some | fast | 2× | >= 1× | yes |\n| some | small | 9 MiB | <= 8 MiB | **no** |" in page
    assert "### Figures\n\nHow.\n\n| what | figure |\n|---|---|\n| a\\|b | 12,345 |" in page


def test_what_was_found_before_a_section_failed_stays(bench):
    def section(folder, quick):
        yield Table("Figures", ["what"], [["kept"]])
        raise RuntimeError("no room")

    good, page = _run(bench, section)
    assert not good
    assert "| kept |" in page
    assert "RuntimeError: no room" in page


def test_a_quick_run_keeps_nothing(bench):
    good, page = _run(bench, lambda folder, quick: [Table("Figures", ["what"], [["kept"]])], quick=True)
    assert good
    assert "kept" not in page


def test_a_section_is_named_by_itself_or_by_its_module(bench):
    bench.SECTIONS = {"one": ("first", None), "two": ("second", None)}
    assert [section[0] for section in run.chosen([])] == ["one", "two"]
    assert [section[0] for section in run.chosen(["some"])] == ["one", "two"]
    assert [section[0] for section in run.chosen(["two"])] == ["two"]
    with pytest.raises(SystemExit):
        run.chosen(["three"])
