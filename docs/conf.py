"""The site, which ``./dev docs`` builds from these pages, the docstrings, and Doxygen's reading of the headers."""

import importlib.util
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent

project = "Stillbit"
author = copyright = "the Stillbit authors"
html_title = "Stillbit"
html_theme = "furo"
html_static_path = ["pictures"]
html_theme_options = {"navigation_with_keys": True}

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "breathe"]
exclude_patterns = ["reference_decoder", "_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
# Shell sessions and bit diagrams are blocks without a language.
highlight_language = "none"

# Attributes of several classes have the same names: their types are no references.
# Each header opens the namespace anew.
suppress_warnings = ["ref.python", "duplicate_declaration.cpp"]
autodoc_typehints = "none"  # docstrings name types, with shapes
autodoc_mock_imports = [
    name
    for name in ("torch", "torch_geometric", "transformers", "accelerate", "safetensors")
    if importlib.util.find_spec(name) is None
]
if autodoc_mock_imports:
    print(f"not installed, so that parts of the API may be left out: {', '.join(autodoc_mock_imports)}")
    suppress_warnings.append("autodoc")
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True

# The headers of the public API, as Doxygen reads them: without designated initializers, which Sphinx cannot parse.
xml = HERE.parent / "build" / "docs" / "doxygen"
breathe_projects = {"stillbit": str(xml / "xml")}
breathe_default_project = "stillbit"
DOXYGEN = f"""
PROJECT_NAME = Stillbit
INPUT = {HERE.parent / "include" / "stillbit"}
OUTPUT_DIRECTORY = {xml}
GENERATE_XML = YES
GENERATE_HTML = NO
GENERATE_LATEX = NO
EXTRACT_ALL = YES
JAVADOC_AUTOBRIEF = YES
QUIET = YES
WARN_IF_UNDOCUMENTED = NO
WARN_AS_ERROR = YES
ENABLE_PREPROCESSING = NO
INPUT_FILTER = "sed s/{{[.].*}}//"
"""


def read_headers(_app):
    """Let Doxygen read the headers."""
    xml.mkdir(parents=True, exist_ok=True)
    subprocess.run(["doxygen", "-"], input=DOXYGEN, text=True, check=True)


def mend_links(_app, name, source):
    """Lead links to specifications to their pages here; what else lies outside docs/ becomes plain text."""
    up = "../" * name.count("/")
    source[0] = re.sub(r"\]\((?:\.\./)+src/codecs/(\w+)/spec\.md\)", rf"]({up}codecs/\1.md)", source[0])
    source[0] = re.sub(r"\[([^]\[]*)\]\((?:\.\./)+(?:src|examples|include|bench|CONTRIBUTING)[^)]*\)", r"\1", source[0])
    source[0] = re.sub(r"\[([^]\[]*)\]\(reference_decoder[^)]*\)", r"\1", source[0])


def setup(app):
    """Register what is done here."""
    app.connect("builder-inited", read_headers)
    app.connect("source-read", mend_links)
