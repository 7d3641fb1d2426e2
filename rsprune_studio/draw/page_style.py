"""The style of the whole tool: ten tabs on a laptop, one column on a phone, with the gauges in sight of the sliders."""

from rsprune_studio.draw.theme import DARK, GRID, PAPER

__all__ = ["STYLE"]

_TABS = ".rsprune-panel .jupyter-widgets.widget-tab.jupyter-widget-tab > .lm-TabBar"
# JupyterLab says by an attribute which theme it has. Voila's page has the light one, but follows the reader's system:
# the colours of JupyterLab's widgets are set anew, at the root, where others are computed from them.
_JUPYTER = {
    "layout-color0": "#15191E", "layout-color1": "#15191E", "layout-color2": "#222931", "layout-color3": "#39424C",
    "layout-color4": "#4B5662", "border-color0": "#66727F", "border-color1": "#5A6571", "border-color2": "#39424C",
    "border-color3": "#2C343C", "ui-font-color0": "#F2F5F7", "ui-font-color1": "#E3E8ED", "ui-font-color2": "#A3AEB9",
    "ui-font-color3": "#66727F", "content-font-color0": "#F2F5F7", "content-font-color1": "#E3E8ED",
    "content-font-color2": "#A3AEB9", "content-font-color3": "#66727F", "input-active-background": "#222931",
    "inverse-layout-color3": "#A3AEB9", "brand-color1": "#4FA3E0", "brand-color2": "#2C7FBE", "brand-color3": "#1D5C8C",
}  # fmt: skip
_ARROW = (  # of drop-down lists; ipywidgets has a dark one
    "--jp-widgets-dropdown-arrow: url(\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' "
    "viewBox='0 0 18 18'%3E%3Cpath fill='%23A3AEB9' d='M5.2 5.9L9 9.7l3.8-3.8 1.2 1.2-4.9 5-4.9-5z'/%3E%3C/svg%3E\");"
)
_PAGE = "".join(f"--jp-{name}:{colour};" for name, colour in _JUPYTER.items())
# Below this width the two columns become one. A box that scrolls would hold the gauges within itself, so none does;
# only what is wider than a phone by nature, a table of numbers, scrolls on its own.
STYLE = f"""<style>
body[data-jp-theme-light="false"] {{ {DARK}{_ARROW} }}
@media (prefers-color-scheme: dark) {{
  :root:has(body[data-voila]) {{ {DARK}{_PAGE}{_ARROW}color-scheme: dark; }}
  body[data-voila] {{ background: {PAPER}; }}
}}
{_TABS} .lm-TabBar-tab {{ flex: 0 1 auto; padding: 0 9px; }}
.rsprune-panel summary {{ cursor: pointer; }}
.rsprune-panel .rsprune-table {{ overflow-x: auto; }}
.rsprune-waiting .rsprune-pruned, .rsprune-waiting .rsprune-changed {{ visibility: hidden; }}
.rsprune-waiting .rsprune-tile {{ border-color: {GRID} !important; pointer-events: none; }}
.rsprune-hand .widget-toggle-button:not(.mod-active) {{ opacity: 0.75; }}
.rsprune-hand .widget-toggle-button.mod-active {{ background: #0B6FB8; color: white; }}
.rsprune-panel button:focus-visible, .rsprune-panel summary:focus-visible {{ outline: 2px solid #0B6FB8; }}
@media (max-width: 760px) {{
  body[data-voila] .jp-Cell, body[data-voila] #rendered_cells {{ padding: 4px !important; }}
  :is(.jp-Cell, .jp-Cell-outputWrapper, .jp-Cell-outputArea, .jp-OutputArea-child):has(.rsprune-panel),
  .jp-OutputArea-output:has(.rsprune-panel),
  .rsprune-app, .rsprune-app .widget-box, .rsprune-panel, .rsprune-panel .widget-box,
  .rsprune-panel .widget-tab, .rsprune-panel .widget-tab > .widget-tab-contents {{ overflow: visible !important; }}
  .rsprune-app .jupyter-widgets, .rsprune-panel .jupyter-widgets {{
    max-width: 100% !important; min-width: 0 !important; box-sizing: border-box;
  }}
  .rsprune-app .widget-hbox, .rsprune-panel .widget-hbox {{ flex-wrap: wrap; }}
  #rendered_cells {{ scroll-padding-top: 220px; }}
  .rsprune-panel .rsprune-labelled, .rsprune-panel .rsprune-percent {{ flex-wrap: nowrap; }}
  .rsprune-panel .widget-toggle-buttons, .rsprune-panel .widget-toggle-buttons > div {{ flex: 1 1 0; display: flex; }}
  .rsprune-panel .widget-toggle-buttons button {{ flex: 1 1 0; width: auto !important; padding: 0 2px; min-width: 0; }}
  .rsprune-controls .widget-box > button {{ flex: 1 1 40%; }}
  .rsprune-panel .widget-dropdown, .rsprune-panel .widget-slider {{ flex: 1 1 auto; }}
  .rsprune-panel .rsprune-controls {{ flex: 1 1 100% !important; width: 100% !important; }}
  .rsprune-panel .rsprune-answers {{ display: contents !important; }}
  .rsprune-panel .rsprune-answers > * {{ flex: 1 1 100%; width: 100% !important; }}
  .rsprune-panel .rsprune-gauges {{
    order: -1; position: sticky; top: 0; z-index: 50; background: {PAPER}; padding: 4px 0; margin: 0;
  }}
  .rsprune-panel .rsprune-overview {{ display: contents !important; }}
  .rsprune-panel .rsprune-overview > :first-child {{ order: -1; }}
  .rsprune-panel .rsprune-overview > * {{ flex: 1 1 100%; width: 100% !important; }}
  .rsprune-panel .rsprune-legend {{ grid-column: 1 / -1; }}
  .rsprune-gauges .rsprune-cards {{ display: grid !important; grid-template-columns: 1fr 1fr; gap: 4px !important; }}
  .rsprune-gauges .rsprune-card {{ padding: 2px 8px !important; }}
  .rsprune-gauges .rsprune-card > div {{
    font-size: 11px !important; line-height: 14px !important; margin: 0 !important;
  }}
  .rsprune-gauges .rsprune-card > .rsprune-value {{ font-size: 17px !important; line-height: 20px !important; }}
  {_TABS} {{ height: auto !important; min-height: 0; overflow: visible; }}
  {_TABS} > .lm-TabBar-content {{ flex-wrap: wrap !important; height: auto; }}
  {_TABS} .lm-TabBar-tab {{ flex: 0 0 auto !important; min-width: 0; margin: 0 2px 2px 0; }}
}}
</style>"""
