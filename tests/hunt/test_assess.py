"""The first look as a user takes it: the real command, at the practice providers and over real logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import openai
import pytest

from tests.providers.drivers.conftest import _served, practice  # noqa: F401 -- fixtures
from tests.shared import shared

KEY = "sk-admin-practice-0123456789"
BEDROCK = "data/stratus/aws.impact.bedrock-invoke-model.json"


def assess(home, *options, **environment):
    kept = {name: value for name, value in os.environ.items() if "ADMIN_KEY" not in name}
    return subprocess.run(
        [sys.executable, "-P", "-m", "jackstop", "assess", *map(str, options)],
        env={**kept, "JACKSTOP_HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def organisation(practice):  # noqa: F811 -- the fixture
    """One key that is used, one that never was."""
    used = practice.seed("openai", name="app", project="proj_one", service_account="sa_one")
    practice.seed("openai", name="forgotten", project="proj_two")
    with openai.OpenAI(base_url=f"{practice.url}/openai/v1", api_key=used["secret"]) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])
    practice.clock.advance(3_700)
    return ["--openai", "--openai-url", f"{practice.url}/openai/v1"]


def test_an_organisation_s_keys_usage_and_gaps_in_one_look(organisation, tmp_path):
    ran = assess(tmp_path / "home", *organisation, "--json", OPENAI_ADMIN_KEY=KEY)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert {key["name"] for key in found["keys"]} == {"app", "forgotten", "Practice Admin Key"}
    assert found["not_read"] == []
    assert found["hunt"]["counts"]["by_source"]["openai_usage"] == 1
    assert found["hunt"]["coverage"]["gaps"]
    assert "read for usage" in ran.stderr


def test_the_admin_key_is_kept_nowhere(organisation, tmp_path):
    ran = assess(tmp_path / "home", *organisation, OPENAI_ADMIN_KEY=KEY)
    assert ran.returncode == 0, ran.stderr
    assert KEY not in ran.stdout + ran.stderr
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert KEY.encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0, file


def test_logs_and_an_organisation_in_one_report(organisation, tmp_path):
    report = tmp_path / "look.html"
    ran = assess(
        tmp_path / "home", shared(BEDROCK), *organisation, "--format", "html", "--output", report, OPENAI_ADMIN_KEY=KEY
    )
    assert ran.returncode == 0, ran.stderr
    page = report.read_text()
    assert "forgotten" in page
    assert "Models were listed, and then one was called" in page


def test_what_may_not_be_read_is_told_with_what_it_needs(organisation, tmp_path):
    ran = assess(tmp_path / "home", *organisation, "--fail-on", "blind", OPENAI_ADMIN_KEY="sk-proj-no-admin-key")
    assert ran.returncode == 1, ran.stderr
    assert "not read at openai: keys of projects" in ran.stdout
    assert "read for projects and their API keys" in ran.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "s3:ListBucket"),
        (["--openai"], "OPENAI_ADMIN_KEY"),
        (["--openai", "--days", "0"], "1 to 90"),
        (["no-such-folder"], "no-such-folder"),
    ],
)
def test_without_anything_to_look_at_it_says_what_is_needed(options, said, tmp_path):
    ran = assess(tmp_path / "home", *options)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
