"""How Sphinx builds these pages. They are Markdown, and read as well where they lie."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import django
from django.conf import settings
from pygments.lexers.templates import HtmlDjangoLexer

from polar_portal import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "polar_portal"
author = "the polar_portal contributors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
# A link to a heading of another page, by the name that GitHub gives it too.
myst_heading_anchors = 3

# Docstrings: what stands in backticks is code, and what is not ours leads nowhere.
default_role = "code"
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
nitpick_ignore_regex = [(r"py:.*", r"(?!polar_portal\.).*|polar_portal\.testing\..*|.*\._\w+")]
# To be read, the models need a Django with their apps.
settings.configure(
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "polar_portal"]
)
django.setup()

html_theme = "furo"
html_title = "polar_portal"
html_copy_source = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["phone.css"]
html_use_index = False


def lead_to_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let links to the README and to SECURITY.md, which lie above this folder, lead to a page of the site."""
    for file, page in {"README": "/index.md", "SECURITY": "/security-policy.md"}.items():
        source[0] = re.sub(rf"\]\((?:\.\./)+{file}\.md[^)]*", f"]({page}", source[0])


def setup(app: Sphinx) -> None:
    # Our HTML is all Django's; GitHub knows no name for that.
    app.add_lexer("html", HtmlDjangoLexer)
    app.connect("source-read", lead_to_pages)
