"""Certificates for servers that terminate TLS themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificate(directory: Path) -> tuple[str, str]:
    """Return the paths of a key and its certificate, which are made in the folder."""
    key, certificate = str(directory / "key.pem"), str(directory / "certificate.pem")
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
        f"-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}",
        shell=True,
        check=True,
        capture_output=True,
    )
    return key, certificate
