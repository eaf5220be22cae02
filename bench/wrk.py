"""wrk from Debian, a load generator that nobody here wrote, to check ours: the same requests, keys in turn."""

import json
import os
import subprocess

from bench.peers.base import debian_packages

PACKAGES = ("wrk", "libluajit-5.1-2")
SCRIPT = """\
local heads, at = {}, 0

function init(args)
  local file = io.open(args[2], "rb")
  local body = file:read("*a")
  file:close()
  for line in io.lines(args[1]) do
    local headers = {["content-type"] = "application/json", ["accept"] = "*/*"}
    local name, value = line:match("^([^:]+): (.*)$")
    headers[name] = value
    heads[#heads + 1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  at = at % #heads + 1
  return heads[at]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\\n{"requests": %d, "us": %d, "failed": %d, "p50": %d, "p99": %d}\\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
"""


def install(cache):
    return debian_packages(cache / "wrk", *PACKAGES)


def run(cache, folder, way, body, *, connections, seconds, core):
    """{"rps", "p50", "p99" (µs), "failed"} of as many requests as the connections bear, one after the other on each."""
    root = cache / "wrk"
    script, headers, payload = folder / "wrk.lua", folder / "wrk-headers", folder / "wrk-body"
    script.write_text(SCRIPT)
    headers.touch(mode=0o600)
    headers.write_text("\n".join(way.headers) + "\n")
    payload.write_bytes(body)
    libraries = os.pathsep.join(str(each.parent) for each in root.glob("usr/lib/*/libluajit*.so.2"))
    done = subprocess.run(
        [
            *("taskset", "-c", str(core), root / "usr/bin/wrk"),
            *("-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", script),
            *(f"http://{way.host}:{way.port}{way.path}", "--", headers, payload),
        ],
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {**found, "rps": found["requests"] * 1e6 / found["us"]}
