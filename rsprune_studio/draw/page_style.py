"""The style of the whole tool: ten tabs on a laptop, one column on a phone, with the gauges in sight of the sliders."""

__all__ = ["STYLE"]

_TABS = ".rsprune-panel .jupyter-widgets.widget-tab.jupyter-widget-tab > .lm-TabBar"
# Below this width the two columns become one. A box that scrolls would hold the gauges within itself, so none does;
# only what is wider than a phone by nature, a table of numbers, scrolls on its own.
STYLE = f"""<style>
{_TABS} .lm-TabBar-tab {{ flex: 0 1 auto; padding: 0 9px; }}
.rsprune-panel summary {{ cursor: pointer; }}
.rsprune-panel .rsprune-table {{ overflow-x: auto; }}
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
    order: -1; position: sticky; top: 0; z-index: 5; background: white; padding: 4px 0; margin: 0;
  }}
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
