"""What turns the library into a course: profiles, exercise checks, the headless runner, the report.

Heavy parts (papermill, ipywidgets) are imported when they are first used.
"""

import importlib

from rsprune_lib.course.checking import CheckFailed, Passed
from rsprune_lib.course.measured import measured, over_seeds
from rsprune_lib.course.places import notebook_names
from rsprune_lib.course.profiles import PROFILES, Profile, profile
from rsprune_lib.course.record import record
from rsprune_lib.places import bundle_path, project_root

_LAZY = {
    "Chooser": "chooser",
    "CourseRun": "runner",
    "GateBrowser": "gate_browser",
    "GateView": "gate_browser",
    "LESSONS": "syllabus",
    "LiveCurves": "live",
    "LossPanel": "loss_panel",
    "NotebookRun": "runner",
    "PlainFolder": "pace",
    "SYSTEMS": "syllabus",
    "Table": "show",
    "build_report": "report",
    "checks": None,
    "closing_table": "table",
    "draw_gates": "gate_browser",
    "images_per_second": "pace",
    "results_table": "show",
    "run_course": "runner",
    "trained": "trained",
    "widget_errors": "files",
}

__all__ = [
    "LESSONS",
    "PROFILES",
    "SYSTEMS",
    "CheckFailed",
    "Chooser",
    "CourseRun",
    "GateBrowser",
    "GateView",
    "LiveCurves",
    "LossPanel",
    "NotebookRun",
    "Passed",
    "PlainFolder",
    "Profile",
    "Table",
    "build_report",
    "bundle_path",
    "checks",
    "closing_table",
    "draw_gates",
    "images_per_second",
    "measured",
    "notebook_names",
    "over_seeds",
    "profile",
    "project_root",
    "record",
    "results_table",
    "run_course",
    "trained",
    "widget_errors",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LAZY[name] or name}")
    value = getattr(module, name) if _LAZY[name] else module
    globals()[name] = value  # a submodule of the same name (curate) must not hide the function
    return value
