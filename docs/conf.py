"""How Sphinx builds these pages. They are Markdown, and read as well where they lie."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polar_portal import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "polar_portal"
author = "the polar_portal contributors"
release = version = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# A link to a heading of another page, by the name that GitHub gives it too.
myst_heading_anchors = 3

html_theme = "furo"
html_title = "polar_portal"
html_copy_source = False


def lead_to_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let links to the README and to SECURITY.md, which lie above this folder, lead to a page of the site."""
    for file, page in {"README": "/index.md", "SECURITY": "/security-policy.md"}.items():
        source[0] = re.sub(rf"\]\((?:\.\./)+{file}\.md[^)]*", f"]({page}", source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", lead_to_pages)
