"""A Spark that is not there: what the engine says, without one."""

from __future__ import annotations

import sys

import pytest

from jackstop.errors import UserError
from jackstop.hunt.engines.spark import SparkEngine

pytest.importorskip("pyspark")


def test_a_server_that_does_not_answer_is_named_without_its_token() -> None:
    with pytest.raises(UserError, match=r"no Spark Connect server answers at sc://127\.0\.0\.1:1: ") as raised:
        SparkEngine("sc://127.0.0.1:1/;token=hidden")
    assert "hidden" not in str(raised.value)
    assert "docs/spark.md" in raised.value.remedy


@pytest.mark.parametrize("url", ["http://127.0.0.1:15002", "sc://", "127.0.0.1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="is no address of a Spark Connect server") as raised:
        SparkEngine(url)
    assert raised.value.status == 2


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="no such port"):
        SparkEngine("sc://127.0.0.1:99999")


def test_the_address_may_come_from_sparks_own_setting(monkeypatch) -> None:
    monkeypatch.setenv("SPARK_REMOTE", "sc://127.0.0.1:2")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:2"):
        SparkEngine()


def test_without_the_client_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql.connect.session", None)
    with pytest.raises(UserError, match="need its client") as raised:
        SparkEngine("sc://127.0.0.1:1")
    assert "jackstop[spark]" in raised.value.remedy
