"""What turns the library into a course: profiles, exercise checks, the headless runner, the report.

Heavy parts (papermill, ipywidgets) are imported when they are first used.
"""

import importlib

from rsprune_lib.course.checks.expect import CheckFailed, Passed
from rsprune_lib.course.headless.notebooks import notebook_names
from rsprune_lib.course.headless.record import record
from rsprune_lib.course.measured import measured, over_seeds
from rsprune_lib.course.profiles import PROFILES, Profile, equal_pixels, profile
from rsprune_lib.places import bundle_path, project_root

_LAZY = {
    "Chooser": "chooser",
    "CourseRun": "headless.runner",
    "CHAPTERS": "syllabus",
    "ClassPanel": "widgets.class_panel",
    "ClassPruning": "widgets.class_pruning",
    "Judged": "judged",
    "ClassMapPanel": "widgets.class_map_panel",
    "MapView": "widgets.class_map_panel",
    "LiveCurves": "widgets.live_curves",
    "LossPanel": "widgets.loss_panel",
    "DeployPanel": "widgets.deploy_panel",
    "NotebookRun": "headless.execute",
    "PlainFolder": "plain_loop",
    "SYSTEMS": "syllabus",
    "Table": "show",
    "begin": "parameters",
    "best_of": "answers",
    "bench_results": "bench_rows",
    "bench_table": "bench_rows",
    "build_report": "headless.report",
    "mean_text": "show",
    "closing_table": "tables",
    "confused_pairs": "answers",
    "images_per_second": "plain_loop",
    "listed": "answers",
    "mask_row": "judged",
    "results_table": "show",
    "run_course": "headless.runner",
    "trained": "trained",
    "widget_errors": "headless.notebook_files",
}

__all__ = [
    "CHAPTERS",
    "PROFILES",
    "SYSTEMS",
    "CheckFailed",
    "Chooser",
    "ClassMapPanel",
    "ClassPanel",
    "ClassPruning",
    "CourseRun",
    "DeployPanel",
    "Judged",
    "LiveCurves",
    "LossPanel",
    "MapView",
    "NotebookRun",
    "Passed",
    "PlainFolder",
    "Profile",
    "Table",
    "begin",
    "bench_results",
    "bench_table",
    "best_of",
    "build_report",
    "bundle_path",
    "closing_table",
    "confused_pairs",
    "equal_pixels",
    "images_per_second",
    "listed",
    "mask_row",
    "mean_text",
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
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
