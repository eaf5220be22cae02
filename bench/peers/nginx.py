"""nginx from Debian as a bare proxy: no keys, no limits, no body read; the least that a proxy in C does."""

import os
import subprocess
from urllib.parse import urlsplit

from bench.peers.base import bare_proxy, debian_packages, family, free_port, spawn, wait_listening

NAME = "nginx"
CONFIGURATION = """\
worker_processes {workers};
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  client_max_body_size 64m;
  client_body_buffer_size 1m;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  upstream provider {{
    server {upstream};
    keepalive 1024;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port} {listen};
    {tls}
    location / {{
      proxy_pass {scheme}://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host {host};
      proxy_buffering {buffering};
      proxy_read_timeout 600s;
      {trust}
    }}
  }}
}}
"""
TRUST = """proxy_ssl_trusted_certificate {ca};
      proxy_ssl_verify on;
      proxy_ssl_name {host};
      proxy_ssl_server_name on;"""
"""The provider's certificate is verified, as the gate does it."""


def install(cache):
    debian_packages(cache / NAME, "nginx")


def version(cache):
    done = subprocess.run([_program(cache), "-v"], capture_output=True, text=True, check=True)
    return done.stderr.strip().rpartition("/")[2]


def _program(cache):
    return cache / NAME / "usr/sbin/nginx"


def start(cache, folder, upstream, *, cores, workers=1, keys=1000, ca=None, buffering=False):
    """`buffering` False: answers pass as they come, as streams need it."""
    to = urlsplit(upstream)
    trust = TRUST.format(ca=ca, host=to.hostname) if to.scheme == "https" else ""
    return _run(
        cache,
        folder,
        cores,
        keys,
        workers=workers,
        upstream=to.netloc.replace("localhost", "127.0.0.1"),
        scheme=to.scheme,
        host=to.hostname,
        trust=trust,
        listen="",
        tls="",
        buffering="on" if buffering else "off",
    )


def start_tls(cache, folder, upstream, certificate, key, *, cores):
    """TLS before a plain upstream: the provider's side of a TLS measurement, at https://localhost:PORT."""
    return _run(
        cache,
        folder,
        cores,
        0,
        workers=1,
        upstream=urlsplit(upstream).netloc,
        scheme="http",
        host="localhost",
        trust="",
        listen="ssl",
        tls=f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_session_cache shared:s:10m;",
        buffering="off",
    )


def _run(cache, folder, cores, keys, **values):
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "nginx.log"
    configuration = folder / "nginx.conf"
    # As root it would become `nobody`, who cannot write large bodies into our folder.
    user = "" if os.geteuid() else "user root;"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, user=user, **values))
    command = [_program(cache), "-p", folder, "-c", configuration, "-e", folder / "error.log"]
    process = spawn(command, log, cores)
    wait_listening(port, process, log)
    return bare_proxy(port, process, keys, serving=lambda: family(process.pid)[1:])
