"""Sphinx settings of the report site: offline, quiet, the same bytes for the same notebooks.

`python -m ferlab.reporting.site.build` gathers the pages and calls Sphinx with this folder as its configuration.
"""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml

project = "ferlab"
extensions = ["myst_nb"]
templates_path = ["_templates"]

# Notebooks arrive executed; nothing runs here, and no script is fetched for widgets.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
nb_code_prompt_show = "Show code"
nb_code_prompt_hide = "Hide code"
nb_render_markdown_format = "gfm"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 2
suppress_warnings = ["mystnb.unknown_mime_type"]

exclude_patterns = ["**/hub/*"]  # cards with front matter: offered as files

html_theme = "pydata_sphinx_theme"
html_title = "ferlab report"
html_static_path = ["_static"]
html_css_files = ["report.css"]
html_js_files = [("report.js", {"defer": "defer"})]
html_sidebars = {"**": ["site-map.html"]}
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_domain_indices = False
html_last_updated_fmt = None
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "ferlab report"},
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button-field"],
    "search_bar_text": "Search the report",
    "article_header_start": ["breadcrumbs"],
    "secondary_sidebar_items": ["page-toc"],
    "primary_sidebar_end": [],
    "footer_start": [],
    "footer_end": [],
    "show_toc_level": 1,
    "back_to_top_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def visit_math(writer, node, *, block=False):
    """Write a formula as MathML, which browsers draw by themselves: MathJax would come from the network."""
    try:
        writer.body.append(tex2mathml(node.astext(), as_block=block))
    except MathError as error:
        raise ValueError(f"{writer.builder.current_docname}: cannot write the formula {node.astext()!r}: {error}") from error
    raise nodes.SkipNode


def visit_math_block(writer, node):
    """Write a displayed formula."""
    visit_math(writer, node, block=True)


def setup(app):
    """Register the MathML renderer."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
