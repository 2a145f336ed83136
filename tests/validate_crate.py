"""Judge crates by the public validator, without a network; prints what it finds in each as JSON.

Runs in the validator's own environment: `.venv/validator/bin/python tests/validate_crate.py CACHE CRATE…`.
The validator would fetch the context of RO-Crate 1.1: it finds it in its cache, with the words that a crate
of ours may use. A word beyond them is a finding.
"""

import json
import sys
from io import BytesIO
from pathlib import Path

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import models, services
from urllib3 import HTTPResponse

URL = "https://w3id.org/ro/crate/1.1/context"
CONTEXT = Path(__file__).with_name("workflow") / "ro-crate-1.1-context.json"


class FromFile(HTTPAdapter):
    """Answers every request with the context."""

    def send(self, request: PreparedRequest, **_) -> Response:
        raw = HTTPResponse(
            BytesIO(CONTEXT.read_bytes()),
            headers={"Content-Type": "application/ld+json"},
            status=200,
            preload_content=False,
            request_url=request.url,
        )
        return self.build_response(request, raw)


def remember(cache: str) -> None:
    """Put the context into the validator's cache, as if it had been fetched."""
    session = CachedSession(cache, backend="sqlite")
    session.mount(URL, FromFile())
    session.get(URL)


def findings(folder: str, cache: str) -> list[dict]:
    """Return every issue, with its severity, the profile that asks for it and the entity."""
    result = services.validate(
        {
            "rocrate_uri": folder,
            "profile_identifier": "provenance-run-crate",
            "requirement_severity": models.Severity.RECOMMENDED,
            "offline": True,
            "cache_path": cache,
        }
    )
    return [
        {
            "severity": issue.severity.name,
            "check": issue.check.identifier,
            "message": issue.message,
            "entity": issue.violatingEntity,
        }
        for issue in result.get_issues(models.Severity.RECOMMENDED)
    ]


if __name__ == "__main__":
    _, cache, *folders = sys.argv
    remember(cache)
    json.dump([findings(folder, cache) for folder in folders], sys.stdout)
